"""Terminal output, escaped so that no name from a file can control the terminal.

Control characters, and Unicode characters that change the direction of text, are printed as backslash
escapes.
"""

import json
import re
import sys
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.text import Text

from lookonce._files import as_given

ERROR_LENGTH = 600  # characters of an error message

# C0 but tab and line feed, DEL, C1, marks and overrides of direction, lone surrogates
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Return text on one line with control characters as escapes, such as `\x1b` and `\n`.

    An archive stands for the folder that it was unpacked to.
    """
    return _escaped(as_given(text)).replace("\n", "\\n").replace("\t", "\\t")


def shortened(message: str, length: int = ERROR_LENGTH) -> str:
    """Return an error message on one line, without its middle if it is longer than `length`."""
    message = printable(message)
    if len(message) <= length:
        return message
    tail = length // 3
    return f"{message[: length - tail - 5]} ... {message[-tail:]}"


def say(text: str, console: Console) -> None:
    """Print one line verbatim: no markup, no guessed colors, no line breaks inside a path."""
    console.print(Text(printable(text)), soft_wrap=True)


def print_json(tree: object, indent: int | None = 2) -> None:
    r"""Print JSON to standard output; control characters become `\uXXXX`, which JSON reads back."""
    text = json.dumps(as_given(tree), indent=indent, ensure_ascii=False)
    print(_UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def terminal(*, stderr: bool = False) -> Console:
    """Return a console on standard output, or on standard error, which keeps messages apart from results."""
    return _SafeConsole(file=sys.stderr if stderr else sys.stdout)


def progress_bar(console: Console, *columns: ProgressColumn, transient: bool = False) -> Progress:
    """Return a progress bar; nothing is shown unless the console is a terminal.

    Args:
        console: console to draw it on.
        *columns: columns after the description; none: bar, count, rate and remaining time.
        transient: remove the bar at the end.
    """
    usual = (BarColumn(), MofNCompleteColumn(), RateColumn(), TimeRemainingColumn())
    return Progress(
        TextColumn("{task.description}", markup=False),
        *(columns or usual),
        console=console,
        transient=transient,
        disable=not console.is_terminal,
    )


class RateColumn(ProgressColumn):
    """Items per second."""

    def render(self, task: Task) -> Text:
        """Return the rate once it is known."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed else "")


class _SafeConsole(Console):
    """Console that removes control characters from everything it draws: tables, bars, lines."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the parts of a drawing, escaped, except for rich's own terminal control codes."""
        for part in super().render(renderable, options):
            yield part if part.control else Segment(_escaped(part.text), part.style)


def _escaped(text: str) -> str:
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
