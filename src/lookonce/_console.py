"""Extensions of rich: a console that escapes control characters, and a progress bar column for the rate.

They are not in `_terminal`, so that commands without tables and progress bars need not import rich.
"""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import ProgressColumn, Task
from rich.segment import Segment
from rich.text import Text

from lookonce._terminal import escaped


class RateColumn(ProgressColumn):
    """A progress bar column for items per second."""

    def render(self, task: Task) -> Text:
        """Return the rate; empty until it is known."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed else "")


class SafeConsole(Console):
    """A console that escapes control characters in everything it draws: tables, bars, lines."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the parts of a drawing, escaped except for rich's own control codes."""
        for part in super().render(renderable, options):
            yield part if part.control else Segment(escaped(part.text), part.style)
