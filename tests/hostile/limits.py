"""Run a command on a hostile input under limits, and report problems with its end."""

import importlib
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

from lookonce.cli import main

# imports of every command, without torch, which few commands need
for name in ("cv2", "onnx", "yaml", "lookonce._onnxruntime", "lookonce.commands.data_check",
             "lookonce.commands.data_convert", "lookonce.commands.detect", "lookonce.commands.evaluate",
             "lookonce.commands.explain", "lookonce.commands.export", "PIL.Image"):  # fmt: skip
    importlib.import_module(name)

SECONDS, MEMORY, SPACE = 10.0, 1 << 30, 16 << 30  # engines reserve much unused address space
PATIENCE = 120.0  # elapsed seconds until a command counts as blocked, with a margin for a busy machine
LONGEST_LINE, LONGEST_OUTPUT = 1000, 20_000


class Ran(NamedTuple):
    """A finished process."""

    code: int
    output: str
    seconds: float
    memory: int


class Case(NamedTuple):
    """A command on a hostile input.

    Attributes:
        folder: working folder.
        command: words, separated by |.
        codes: correct exit codes.
        results: function that returns the results of good inputs, which must not change.
        expected: value of `results` without the hostile input.
        keeps: whether the command must leave its folder as it is if it ends with exit code 2.
        prepare: function that makes the folder before its first case runs.
    """

    folder: Path
    command: str
    codes: tuple[int, ...]
    results: Callable[[], object] | None = None
    expected: object = None
    keeps: bool = False
    prepare: Callable[[], None] = lambda: None


def state(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return size and modification time of every file in a folder; -1 for a folder in it."""
    found = {path: path.lstat() for path in folder.rglob("*")}
    return {
        path: (-1, -1) if path.is_dir() else (about.st_size, about.st_mtime_ns)
        for path, about in found.items()
    }


def run(command: str, folder: Path) -> Ran:
    """Run a command line in a folder under limits, in a fork of this process that has the imports."""
    start = time.monotonic()
    with tempfile.TemporaryFile() as output:
        if (child := os.fork()) == 0:
            _become(command, folder, output.fileno())
        signal.signal(signal.SIGALRM, lambda *_: os.killpg(child, signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, PATIENCE)
        _, status, usage = os.wait4(child, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        code = os.waitstatus_to_exitcode(status)
        output.seek(0)
        said = output.read(1 << 20).decode(errors="replace")
    seconds = usage.ru_utime + usage.ru_stime if code >= 0 else time.monotonic() - start
    return Ran(code, said, seconds, usage.ru_maxrss << 10)


def _become(command: str, folder: Path, output: int) -> None:
    """Run the command line in this process, and end it."""
    os.setsid()
    os.chdir(folder)
    resource.setrlimit(resource.RLIMIT_AS, (SPACE, SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (int(SECONDS) + 1, int(SECONDS) + 1))
    for descriptor, source in enumerate((os.open(os.devnull, os.O_RDONLY), output, output)):
        os.dup2(source, descriptor)
    be_command(command)


def be_command(command: str) -> NoReturn:
    """Run a command line, with words separated by |, and end this process with its exit code."""
    sys.argv = ["lookonce", *command.split("|")]
    code: object = 0
    try:
        main()
    except SystemExit as left:
        code = left.code
    except BaseException:
        traceback.print_exc()
        code = 1
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def complaints(case: Case, ran: Ran, before: dict[Path, tuple[int, int]]) -> Iterator[str]:
    """Yield problems with the end of a command; `before` is the state of its folder."""
    if ran.code not in case.codes:
        yield f"exit {ran.code}, expected {' or '.join(map(str, case.codes))}"
    if "Traceback" in ran.output:
        yield "a traceback"
    lines = ran.output.splitlines()
    if ran.code == 2 and sum(line.startswith("lookonce: ") for line in lines) != 1:
        yield "not one line of error"
    if case.keeps and ran.code == 2 and (changed := state(case.folder).items() ^ before.items()):
        yield f"{sorted({path.name for path, _ in changed})[:3]} written"
    if len(ran.output) > LONGEST_OUTPUT or any(len(line) > LONGEST_LINE for line in lines):
        yield f"{len(ran.output)} characters of output"
    if any(ord(letter) < 32 and letter not in "\n\t" for letter in ran.output):
        yield "control characters"
    if ran.seconds > SECONDS:
        yield f"{ran.seconds:.1f} s"
    if ran.memory > MEMORY:
        yield f"{ran.memory / 2**30:.1f} GiB"
    if case.results is not None and ran.code in case.codes and ran.code != 2:
        try:
            found = case.results()
        except (OSError, ValueError) as error:
            yield f"no results: {error!r}"
        else:
            if found != case.expected:
                yield "other results for the good inputs"
