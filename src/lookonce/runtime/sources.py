"""Images to detect on, wherever they come from.

A source is an image or video file, a folder, a glob such as `photos/**/*.jpg`, a camera's number, a stream's
URL, `-` for images on standard input, `@list.txt` for a text file that names a source in each line, or `@-`
for such a list on standard input. A folder stands for the images and videos directly in it; hidden files
are left out.
"""

import sys
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from glob import glob, has_magic
from itertools import chain
from os.path import abspath, commonpath
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lookonce.errors import ImageError, SourceError
from lookonce.images import IMAGE_SUFFIXES, decode_image, read_image
from lookonce.runtime.live import LiveCounts, LiveFrames
from lookonce.runtime.pipeline import Plan, in_parallel
from lookonce.runtime.stdin import PipedImages
from lookonce.runtime.video import (
    USUAL_RATE,
    VIDEO_SUFFIXES,
    Moment,
    Origin,
    count_frames,
    name_of,
    read_frames,
)
from lookonce.samples import Problem

T = TypeVar("T")
Stream = TypeVar("Stream", LiveFrames, PipedImages)

PIPED = "-"  # images on standard input
LIST = "@"  # before the name of a list


@dataclass(frozen=True, slots=True)
class Frame:
    """One image of a source.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        name: the file as it was given, the camera, the stream's URL without user and password, or `-`.
        relative: a path to store results under: below the folder that holds all files of the sources, so
            that equal names in several folders stay apart.
        path: the file; None for a camera, a stream or standard input.
        moment: where in its video it stands; None for an image.
    """

    image: NDArray[np.uint8]
    name: str
    relative: Path
    path: Path | None = None
    moment: Moment | None = None


@dataclass(frozen=True, slots=True)
class _Unread:
    """A frame that is still to be decoded, or an error that is still to be met."""

    name: str
    read: Callable[[], Frame]


@dataclass(frozen=True, slots=True)
class _Bad:
    """What could not be read, and why."""

    name: str
    error: ImageError


class Sources:
    """The frames of several sources, in the order given; a file that is given twice comes once.

    Iterating reads one frame at a time; `map` works on several at the same time. What cannot be read is set
    aside.

    Attributes:
        origins: the files, cameras and streams.
        problems: one for each file skipped, while and after iterating.
        live: what cameras and streams dropped, and how often they came back.
    """

    def __init__(self, sources: Sequence[str | Path], *, strict: bool = False) -> None:
        """Find the files; none is opened yet.

        Args:
            sources: see above.
            strict: a file that cannot be read ends the iteration with its error.

        Raises:
            SourceError: one of the sources is nothing that exists, or holds no image and no video.
        """
        distinct: dict[Origin, Origin] = {}
        for origin in chain.from_iterable(map(_resolve, sources)):
            distinct.setdefault(_identity(origin), origin)
        self.origins = list(distinct.values())
        self.problems: list[Problem] = []
        self.live = LiveCounts()
        self._strict = strict
        self._whole = True  # nothing was left out; then it is an error when nothing can be read
        folders = [_absolute(origin.parent) for origin in self.origins if isinstance(origin, Path)]
        self._root = commonpath(folders) if folders else ""
        self._running: LiveFrames | PipedImages | None = None
        self._stopped = False

    def count(self) -> int | None:
        """How many frames there will be, by what the files declare; None where only time will tell."""
        total = 0
        for origin in self.origins:
            if not isinstance(origin, Path):
                return None
            total += count_frames(origin) if _is_video(origin) else 1
        return total

    def leave_out(self, names: Collection[str]) -> None:
        """Do not read the files of these names, for example because they were read before."""
        self.origins = [origin for origin in self.origins if name_of(origin) not in names]
        self._whole = False

    def __iter__(self) -> Iterator[Frame]:
        """Read frame after frame.

        Raises:
            ImageError: a file cannot be read, and it is the only one, or the sources are strict.
            SourceError: not one of several files can be read.
        """
        for frame, _ in self._sort_out(map(partial(_attempt, lambda frame: None), self._unread())):
            yield frame

    def map(self, work: Callable[[Frame], T], plan: Plan) -> Generator[tuple[Frame, T], None, None]:
        """Read and work on several frames at the same time; the results come in order.

        Close it (`contextlib.closing`) where not all results are wanted: that ends its threads.

        Args:
            work: called in several threads.
            plan: how many at a time.

        Raises:
            ImageError: as when iterating.
            SourceError: likewise.
        """
        self._stopped = False
        attempt = partial(_attempt, work)
        outcomes = in_parallel(self._unread(), attempt, plan.workers, plan.ahead, stop=self._stop)
        with closing(outcomes):
            yield from self._sort_out(outcomes)

    def _stop(self) -> None:
        """Do not wait for another frame of a stream, nor begin with one."""
        self._stopped = True
        if self._running is not None:
            self._running.close()

    def _opened(self, running: Stream) -> Stream:
        """What `_stop` has to close."""
        self._running = running
        if self._stopped:  # just before it could be closed
            running.close()
        return running

    def _sort_out(self, outcomes: Iterable[tuple[Frame, T] | _Bad]) -> Iterator[tuple[Frame, T]]:
        """Skipped what is bad, hand on the rest."""
        self.problems.clear()
        frames = 0
        for outcome in outcomes:
            if isinstance(outcome, _Bad):
                if self._strict or (self._whole and len(self.origins) == 1 and not frames):
                    raise outcome.error
                what = str(outcome.error).removeprefix(f"{outcome.name}: ")
                self.problems.append(Problem(outcome.name, what))
                continue
            frames += 1
            yield outcome
        if self._whole and not frames and self.problems:
            raise SourceError(f"none of {len(self.origins)} files can be read; the first: {self.problems[0]}")

    def _unread(self) -> Iterator[_Unread]:
        """Everything there is to read. Images are only named here: whoever calls `read` decodes them."""
        for number, origin in enumerate(self.origins):
            name = name_of(origin)
            try:
                match origin:
                    case Path():
                        yield from self._of_file(origin)
                    case "-":
                        yield from self._of_stdin()
                    case _:
                        relative = Path(f"camera-{origin}" if isinstance(origin, int) else f"stream-{number}")
                        for image, moment in self._opened(LiveFrames(origin, self.live)):
                            yield _Unread(name, partial(Frame, image, name, relative, None, moment))
            except ImageError as error:
                yield _Unread(name, partial(_fail, error))

    def _of_file(self, path: Path) -> Iterator[_Unread]:
        name, relative = name_of(path), _absolute(path).relative_to(self._root)
        if not _is_video(path):
            yield _Unread(name, lambda: Frame(read_image(path), name, relative, path))
            return
        for image, moment in read_frames(path):
            yield _Unread(name, partial(Frame, image, name, relative, path, moment))

    def _of_stdin(self) -> Iterator[_Unread]:
        """One image, or images one after the other, which are a video without a known rate."""
        for number, (data, alone) in enumerate(self._opened(PipedImages(sys.stdin.buffer))):
            moment = None if alone else Moment(number, number / USUAL_RATE, USUAL_RATE)
            name = PIPED if alone else f"{PIPED} (image {number})"
            yield _Unread(name, partial(_decode, data, name, moment))


def _attempt(work: Callable[[Frame], T], unread: _Unread) -> tuple[Frame, T] | _Bad:
    """Read and work; what is wrong with the file is a result too."""
    try:
        frame = unread.read()
    except ImageError as error:
        return _Bad(unread.name, error)
    return frame, work(frame)


def _decode(data: bytes, name: str, moment: Moment | None) -> Frame:
    return Frame(decode_image(data, name), PIPED, Path("stdin"), moment=moment)


def _fail(error: ImageError) -> Frame:
    raise error


def _resolve(source: str | Path) -> list[Origin]:
    """The files, camera or stream that a source stands for."""
    text, path = str(source), Path(source)
    if text in (PIPED, LIST + PIPED) and sys.stdin is None:
        raise SourceError(f"{text}: expected something on standard input, found it closed")
    if "://" in text or text == PIPED:
        return [text]
    if path.is_dir():
        return _readable(path.iterdir(), f"{text}: expected images or videos directly in this folder")
    if path.exists():
        return [path]
    if text.startswith(LIST):
        return _listed(text.removeprefix(LIST))
    if text.isdecimal():
        return [int(text)]
    if has_magic(text):
        matches = map(Path, glob(text, recursive=True))  # noqa: PTH207  (Path.glob takes no absolute pattern)
        return _readable(matches, f"{text}: expected a pattern that matches images or videos")
    raise SourceError(f"{text}: expected a file, folder, pattern, camera number or URL, found no such file")


def _listed(name: str) -> list[Origin]:
    """The files, folders and streams of a list; a file that does not exist is met when its turn comes."""
    try:
        text = sys.stdin.read() if name == PIPED else Path(name).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{LIST}{name}: expected a text file of paths, found {error}") from error
    if "\0" in text:
        raise SourceError(f"{LIST}{name}: expected a path in each line, found NUL bytes (`find -print0`?)")
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if line.strip()]
    if not lines:
        raise SourceError(f"{LIST}{name}: expected a path in each line, found an empty list")
    return [
        origin
        for line in lines
        for origin in (_resolve(line) if "://" in line or Path(line).is_dir() else [Path(line)])
    ]


def _readable(entries: Iterable[Path], expected: str) -> list[Origin]:
    """The images and videos among them, sorted; it is an error when there are none."""
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
