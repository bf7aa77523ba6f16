"""Print to the terminal, with escapes so that no name from a file can control it.

Control characters, and Unicode characters that change the direction of text, are printed as backslash
escapes. rich takes as long to import as the rest of `lookonce detect` (`benchmarks/startup.md`), so it is
only imported for tables, colors and progress bars.
"""

import json
import re
import sys
from typing import TYPE_CHECKING

from lookonce._files import as_given
from lookonce.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn

ERROR_LENGTH = 600  # characters of an error message

# C0 except tab and line feed, DEL, C1, marks and overrides of text direction, lone surrogates
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Return text on one line with control characters as escapes, such as `\x1b` and `\n`.

    A path in the folder of an unpacked archive is shown as a path in the archive.
    """
    return escaped(as_given(text)).replace("\n", "\\n").replace("\t", "\\t")


def shortened(message: str, length: int = ERROR_LENGTH) -> str:
    """Return an error message on one line, shortened in the middle to at most `length` characters."""
    message = printable(message)
    if len(message) <= length:
        return message
    tail = length // 3
    return f"{message[: length - tail - 5]} ... {message[-tail:]}"


def say(text: str, console: "Console | None" = None) -> None:
    """Print a line verbatim, without markup, added colors or line breaks in paths.

    Args:
        text: text of the line.
        console: console to print on, above a progress bar; None for standard error, without rich.
    """
    if console is None:
        print(printable(text), file=sys.stderr, flush=True)
        return
    from rich.text import Text

    console.print(Text(printable(text)), soft_wrap=True)


def print_line(text: str) -> None:
    """Print a line to standard output, verbatim and without rich."""
    print(printable(text), flush=True)


def print_json(tree: object, indent: int | None = 2) -> None:
    r"""Print JSON to standard output; control characters become `\uXXXX`, which JSON reads back."""
    if sys.stdout is None:
        raise ConfigError("--json -: expected an open standard output, found it closed")
    text = json.dumps(as_given(tree), indent=indent, ensure_ascii=False)
    print(UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def terminal(*, stderr: bool = False) -> "Console":
    """Return a console on standard output, or on standard error to keep messages apart from results."""
    from lookonce._console import SafeConsole

    return SafeConsole(file=sys.stderr if stderr else sys.stdout)


def progress_bar(console: "Console", *columns: "ProgressColumn", transient: bool = False) -> "Progress":
    """Return a progress bar, which is only shown if the console is a terminal.

    Args:
        console: console to draw on.
        *columns: columns after the description; none for bar, count, rate and remaining time.
        transient: whether to remove the bar at the end.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from lookonce._console import RateColumn

    usual = (BarColumn(), MofNCompleteColumn(), RateColumn(), TimeRemainingColumn())
    return Progress(
        TextColumn("{task.description}", markup=False),
        *(columns or usual),
        console=console,
        transient=transient,
        disable=not console.is_terminal,
    )


def escaped(text: str) -> str:
    """Return text with its control characters as backslash escapes."""
    return UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
