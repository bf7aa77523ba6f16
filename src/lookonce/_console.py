"""What lookonce adds to rich: a console that escapes what it draws, and a column of a progress bar.

Apart from `_terminal`, so that commands that need neither start without importing rich.
"""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import ProgressColumn, Task
from rich.segment import Segment
from rich.text import Text

from lookonce._terminal import escaped


class RateColumn(ProgressColumn):
    """Items per second."""

    def render(self, task: Task) -> Text:
        """Return the rate once it is known."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed else "")


class SafeConsole(Console):
    """Console that removes control characters from everything it draws: tables, bars, lines."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the parts of a drawing, escaped, except for rich's own terminal control codes."""
        for part in super().render(renderable, options):
            yield part if part.control else Segment(escaped(part.text), part.style)
