"""Handle standard streams that are closed, full, or without a reader."""

import os
import sys
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import TextIO

NO_READER = 128 + 13  # exit code of a program that SIGPIPE ends


def prepare_streams() -> None:
    """Make the work and exit code of a command independent of the state of its standard streams.

    A closed stream is opened on the null device; otherwise the next opened file would get its number, and so
    the messages of C libraries. Messages that cannot be written to standard error are dropped. An error of
    writing to standard output names it; if its reader has ended, as in `| head -1`, the command ends quietly
    with `NO_READER`.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is `number`
    if sys.platform == "win32":  # the console is not a file
        return
    if sys.stdout is not None and sys.stdout is sys.__stdout__:
        sys.stdout = _on(_Output(1, "w", closefd=False), sys.stdout)
    if sys.stderr is sys.__stderr__:  # if both were None, rich would print on standard output
        sys.stderr = _on(_Messages(2, "w", closefd=False), sys.stderr)


def _on(raw: FileIO, like: TextIO | None) -> TextIOWrapper:
    """Return a text stream on `raw` with the encoding of another stream."""
    encoding, errors = (like.encoding, like.errors) if like else ("utf-8", "backslashreplace")
    return TextIOWrapper(
        BufferedWriter(raw),
        encoding=encoding,
        errors=errors,
        line_buffering=raw.isatty() or raw.fileno() == 2,
    )


class _Output(FileIO):
    """Standard output: its first error ends the command, and later output is dropped.

    If its reader has ended, the exit code is `NO_READER`; any other error is raised and names the stream.
    If later output were not dropped, flushing the stream at exit would raise another error.
    """

    _failed = False

    def write(self, data: object) -> int:
        try:
            if not self._failed:
                return super().write(data)  # type: ignore[arg-type]
        except BrokenPipeError:
            self._failed = True
            raise SystemExit(NO_READER) from None  # typer and rich would turn the error into exit code 1
        except OSError as error:
            self._failed = True
            raise OSError(error.errno, error.strerror, "standard output") from error
        return memoryview(data).nbytes  # type: ignore[arg-type]


class _Messages(FileIO):
    """Standard error that drops text that cannot be written."""

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError:
            return memoryview(data).nbytes  # type: ignore[arg-type]
