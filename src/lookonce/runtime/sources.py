"""Pictures to detect on, wherever they come from, one at a time.

A source is a picture or video file, a folder, a glob such as `photos/**/*.jpg`, a camera's number, or a
stream's URL. A folder stands for the pictures and videos directly in it; hidden files are left out.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from itertools import chain
from os.path import abspath, commonpath
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookonce.errors import ImageError, SourceError
from lookonce.images import IMAGE_SUFFIXES, read_image
from lookonce.runtime.video import VIDEO_SUFFIXES, Moment, Origin, count_frames, name_of, read_frames
from lookonce.samples import Problem


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a source.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        name: the file as it was given, the camera, or the stream's URL without user and password.
        relative: a path to store results under: below the folder that holds all files of the sources, so
            that equal names in several folders stay apart.
        path: the file; None for a camera or stream.
        moment: where in its video it stands; None for a picture.
    """

    image: NDArray[np.uint8]
    name: str
    relative: Path
    path: Path | None = None
    moment: Moment | None = None


class Sources:
    """The frames of several sources, in the order given; a file that is given twice comes once.

    Iterating reads one frame at a time. A file that cannot be read is set aside.

    Attributes:
        origins: the files, cameras and streams.
        problems: one for each file set aside, while and after iterating.
    """

    def __init__(self, sources: Sequence[str | Path], *, strict: bool = False) -> None:
        """Find the files; none is opened yet.

        Args:
            sources: see above.
            strict: a file that cannot be read ends the iteration with its error.

        Raises:
            SourceError: one of the sources is nothing that exists, or holds no picture and no video.
        """
        distinct: dict[Origin, Origin] = {}
        for origin in chain.from_iterable(map(_resolve, sources)):
            distinct.setdefault(_identity(origin), origin)
        self.origins = list(distinct.values())
        self.problems: list[Problem] = []
        self._strict = strict
        folders = [_absolute(origin.parent) for origin in self.origins if isinstance(origin, Path)]
        self._root = commonpath(folders) if folders else ""

    def count(self) -> int | None:
        """How many frames there will be, by what the files declare; None where a camera or stream is."""
        total = 0
        for origin in self.origins:
            if not isinstance(origin, Path):
                return None
            total += count_frames(origin) if _is_video(origin) else 1
        return total

    def __iter__(self) -> Iterator[Frame]:
        """Read frame after frame.

        Raises:
            ImageError: a file cannot be read, and it is the only one, or the sources are strict.
            SourceError: not one of several files can be read.
        """
        self.problems.clear()
        frames = 0
        for number, origin in enumerate(self.origins):
            try:
                for frame in self._frames(number, origin):
                    frames += 1
                    yield frame
            except ImageError as error:
                if self._strict or len(self.origins) == 1:
                    raise
                name = name_of(origin)
                self.problems.append(Problem(name, str(error).removeprefix(f"{name}: ")))
        if not frames:
            raise SourceError(f"none of {len(self.origins)} files can be read; the first: {self.problems[0]}")

    def _frames(self, number: int, origin: Origin) -> Iterator[Frame]:
        """The frames of one origin; `number` tells streams apart."""
        name = name_of(origin)
        match origin:
            case Path():
                relative = _absolute(origin).relative_to(self._root)
                if not _is_video(origin):
                    yield Frame(read_image(origin), name, relative, origin)
                    return
            case int():
                relative = Path(f"camera-{origin}")
            case str():
                relative = Path(f"stream-{number}")
        path = origin if isinstance(origin, Path) else None
        for image, moment in read_frames(origin):
            yield Frame(image, name, relative, path, moment)


def _resolve(source: str | Path) -> list[Origin]:
    """The files, camera or stream that a source stands for."""
    text, path = str(source), Path(source)
    if "://" in text:
        return [text]
    if path.is_dir():
        return _readable(path.iterdir(), f"{text}: expected pictures or videos directly in this folder")
    if path.exists():
        return [path]
    if text.isdecimal():
        return [int(text)]
    if has_magic(text):
        matches = map(Path, glob(text, recursive=True))  # noqa: PTH207  (Path.glob takes no absolute pattern)
        return _readable(matches, f"{text}: expected a pattern that matches pictures or videos")
    raise SourceError(f"{text}: expected a file, folder, pattern, camera number or URL, found no such file")


def _readable(entries: Iterable[Path], expected: str) -> list[Origin]:
    """The pictures and videos among them, sorted; it is an error when there are none."""
    entries = list(entries)
    wanted = IMAGE_SUFFIXES + VIDEO_SUFFIXES
    found: list[Origin] = sorted(
        entry
        for entry in entries
        if entry.suffix.lower() in wanted and not entry.name.startswith(".") and entry.is_file()
    )
    if not found:
        raise SourceError(f"{expected}, found none among {len(entries)} entries")
    return found


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def _identity(origin: Origin) -> Origin:
    """Equal for two ways to write one path."""
    return _absolute(origin) if isinstance(origin, Path) else origin


def _absolute(path: Path) -> Path:
    """Absolute and without `..`; links stay what they are, their names are what the user knows."""
    return Path(abspath(path))  # noqa: PTH100  (resolve would follow links)
