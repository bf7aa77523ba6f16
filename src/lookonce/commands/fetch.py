"""`lookonce fetch`: the official weights."""

import json
import shlex
from dataclasses import asdict
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from lookonce.commands.report import say
from lookonce.darknet import fetch as library
from lookonce.darknet.download import RemoteFile


def fetch(name: str, *, as_json: bool = False) -> int:
    """Fetch one model or backbone, and say where it lies and what comes next.

    Returns:
        0 done, 130 stopped by Ctrl-C.

    Raises:
        ConfigError: there is nothing of this name.
        DownloadError: it cannot be had, or not be written.
    """
    file = library.find(name).weights
    try:
        with Progress(*_columns(), console=Console(stderr=True)) as bar:
            fetched = library.fetch(name, _Meter(bar, file))
    except KeyboardInterrupt:
        say("stopped: what has come is kept; the same command goes on from there", Console(stderr=True))
        return 130
    console = Console()
    if as_json:
        paths = {kind: path and str(path) for kind, path in asdict(fetched).items()}
        say(json.dumps(paths), console)
        return 0
    checked = "size and SHA-256 as published" if file.sha256 else "size as published, no SHA-256 is known"
    say(f"{fetched.weights} ({file.size:,} bytes; {checked})", console)
    say(f"next: {_next_command(fetched)}", console)
    return 0


def _next_command(fetched: library.Fetched) -> str:
    if fetched.cfg is None:
        return f"lookonce train DATA --model yolov3 --weights {shlex.quote(str(fetched.weights))}"
    return f"lookonce detect {shlex.quote(str(fetched.cfg))} image.jpg"


def _columns() -> tuple[ProgressColumn, ...]:
    text = TextColumn("{task.description}")
    return text, BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()


class _Meter:
    """Shows a download; nothing, where there is nothing to fetch."""

    def __init__(self, bar: Progress, file: RemoteFile) -> None:
        self._bar, self._name = bar, file.name
        self._task = bar.add_task(file.name, total=file.size, visible=False)

    def begin(self, url: str, done: int) -> None:
        """Start the clock: what was there before must not count as speed."""
        host = urlsplit(url).netloc or "disk"
        self._bar.reset(self._task, completed=done, visible=True, description=f"{self._name} from {host}")

    def advance(self, count: int) -> None:
        """Move on by so many bytes."""
        self._bar.advance(self._task, count)
