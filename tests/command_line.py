"""Commands as they are typed, run in the process of the test: a process of its own takes seconds to start."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import NamedTuple
from unittest.mock import patch

from typer.testing import CliRunner, Result

from lookonce.cli import app, main


class Ran(NamedTuple):
    """What `subprocess.run` would return."""

    returncode: int
    stdout: str
    stderr: str


def typed(*words: object) -> int:
    """The exit code of the whole program; errors are one line on standard error."""
    with patch.object(sys, "argv", ["lookonce", *map(str, words)]):
        try:
            main()
        except SystemExit as left:
            return int(left.code or 0)
    return 0


def lookonce(*words: object) -> Ran:
    """The exit code of the whole program, and what it printed."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = typed(*words)
    return Ran(code, out.getvalue(), err.getvalue())


def invoke(*words: object, columns: int | None = None) -> Result:
    """Run a command, on a terminal of some width; its errors reach the test."""
    environment = {} if columns is None else {"COLUMNS": str(columns)}
    return CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False, env=environment)


def attempted(*words: object) -> Result:
    """Run a command; the error that ended it, if any, is in the result."""
    return CliRunner().invoke(app, list(map(str, words)))


def output_of(*words: object) -> str:
    """What a command prints that succeeds."""
    result = invoke(*words)
    assert result.exit_code == 0, result.output
    return result.output
