"""Run commands as typed in the process of the test, because a new process takes seconds to start."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import NamedTuple
from unittest.mock import patch

from typer.testing import CliRunner, Result

from lookonce.cli import app, main


class Ran(NamedTuple):
    """The result that `subprocess.run` would return."""

    returncode: int
    stdout: str
    stderr: str


def typed(*words: object) -> int:
    """Run the whole program and return its exit code; errors are one line on standard error."""
    with patch.object(sys, "argv", ["lookonce", *map(str, words)]):
        try:
            main()
        except SystemExit as left:
            return int(left.code or 0)
    return 0


def lookonce(*words: object) -> Ran:
    """Run the whole program; return its exit code and output."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = typed(*words)
    return Ran(code, out.getvalue(), err.getvalue())


def invoke(*words: object, columns: int | None = None) -> Result:
    """Run a command on a terminal of a given width; its errors are raised."""
    environment = {} if columns is None else {"COLUMNS": str(columns)}
    return CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False, env=environment)


def attempted(*words: object) -> Result:
    """Run a command; its error, if any, is in the result."""
    return CliRunner().invoke(app, list(map(str, words)))


def output_of(*words: object) -> str:
    """Run a command that must succeed, and return its output."""
    result = invoke(*words)
    assert result.exit_code == 0, result.output
    return result.output
