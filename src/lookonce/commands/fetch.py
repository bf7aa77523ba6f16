"""`lookonce fetch`: download official weights."""

import shlex
from dataclasses import asdict
from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from lookonce._outputs import Outputs
from lookonce._terminal import progress_bar, say, terminal
from lookonce.commands import options as shared
from lookonce.darknet import fetch as library
from lookonce.darknet.download import RemoteFile


def fetch(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="yolov3, yolov3-spp, yolov3-tiny or darknet53.")
    ],
    json_to: shared.JsonOption = None,
    force: shared.ForceOption = False,
) -> int:
    """Fetch official weights into the cache, with .cfg and class names.

    The size and SHA-256 of the file are checked. If a download breaks off, run the same command to resume it.

    Example: lookonce fetch yolov3-tiny
    """
    file = library.find(name).weights
    columns = BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    with Outputs("fetch", files=[shared.json_file(json_to)], force=force):
        try:
            with progress_bar(terminal(stderr=True), *columns) as bar:
                fetched = library.fetch(name, _Meter(bar, file))
        except KeyboardInterrupt:
            say(
                "stopped: the bytes received so far are kept; run the same command to resume",
                terminal(stderr=True),
            )
            return 130
        if json_to is not None:
            paths = {kind: path and str(path) for kind, path in asdict(fetched).items()}
            shared.write_json(json_to, paths, indent=None)
    console = terminal()
    if json_to == shared.STANDARD_OUTPUT:
        return 0
    checked = "size and SHA-256 as published" if file.sha256 else "size as published, no SHA-256 available"
    say(f"{fetched.weights} ({file.size:,} bytes; {checked})", console)
    if fetched.cfg is None:
        command = f"lookonce train DATA --model yolov3 --weights {shlex.quote(str(fetched.weights))}"
    else:
        command = f"lookonce detect {shlex.quote(str(fetched.cfg))} image.jpg"
    say(f"next: {command}", console)
    return 0


class _Meter:
    """A progress bar for a download, hidden until something is downloaded."""

    def __init__(self, bar: Progress, file: RemoteFile) -> None:
        self._bar, self._name = bar, file.name
        self._task = bar.add_task(file.name, total=file.size, visible=False)

    def begin(self, url: str, done: int) -> None:
        """Start measuring the speed after the `done` bytes of an earlier attempt."""
        host = urlsplit(url).netloc or "disk"
        self._bar.reset(self._task, completed=done, visible=True, description=f"{self._name} from {host}")

    def advance(self, count: int) -> None:
        """Advance the bar by a number of bytes."""
        self._bar.advance(self._task, count)
