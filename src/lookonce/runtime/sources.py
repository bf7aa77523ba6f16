"""Read frames from images, videos, cameras and streams; see `origins` for the kinds of source.

An image file takes this path: `Sources.map` -> a worker of `pipeline.in_parallel` -> `images.read_or_reduce`
-> the caller's function.
"""

import math
import sys
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from os.path import commonpath
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from lookonce.eight_bits import Values, as_eight_bits
from lookonce.errors import ImageError, SourceError
from lookonce.images import ReducedImage, Size, read_image_header, read_or_reduce
from lookonce.runtime.live import LiveCounts, LiveFrames
from lookonce.runtime.opencv_video import count_frames, opened
from lookonce.runtime.origins import PIPED, absolute, find_origins
from lookonce.runtime.pipeline import Parallel, in_parallel, memory_of
from lookonce.runtime.stdin import PipedImages
from lookonce.runtime.video import is_video, read_frames
from lookonce.runtime.video_checks import USUAL_RATE, Moment, Origin, name_of
from lookonce.samples import Problem
from lookonce.suffixes import SERIES_SUFFIXES, TIFF_SUFFIXES
from lookonce.tiff import LargeImage, decode_tiff_page, is_large_tiff, tiff_memory, tiff_pages

MOST_DAMAGED = 20  # damaged pages of a TIFF after which the rest is not read

T = TypeVar("T")
Stream = TypeVar("Stream", LiveFrames, PipedImages)


@dataclass(frozen=True, slots=True)
class Reading:
    """Options for reading the images of a pass over the sources.

    Attributes:
        values: range of pixel values in images of more than 8 bits, as in `read_image`.
        by_windows: whether a TIFF too large for memory is read in windows, for a Detector with tiles.
        least: function from an image's size to the smallest size at which a JPEG may be decoded; None to
            decode at full size.
    """

    values: Values | None = None
    by_windows: bool = False
    least: Callable[[Size], Size] | None = None


WHOLE = Reading()


@dataclass(frozen=True, slots=True)
class Frame:
    """One image of a source.

    Attributes:
        image: (H, W, 3) uint8 RGB; a `LargeImage` is read in windows, a `ReducedImage` is a JPEG decoded at a
            fraction of its size.
        name: path of the file as given, the camera, the URL without user and password, or `-`; with `#2` at
            the end for the second page of a TIFF that has several.
        relative: path for the results, relative to the common folder of all sources, so that equal names in
            different folders do not collide.
        path: file; None for a camera, a URL or standard input.
        moment: position in the video or the sequence of images; None for a single image.
        is_series: whether the file has more frames, which are not read.
        page: offset of the page in a TIFF (see `tiff_pages`).
    """

    image: NDArray[np.uint8] | LargeImage | ReducedImage
    name: str
    relative: Path
    path: Path | None = None
    moment: Moment | None = None
    is_series: bool = False
    page: int = 0


@dataclass(frozen=True, slots=True)
class _Bad:
    """An origin that cannot be read, and the reason."""

    name: str
    error: ImageError
    memory: int = 0

    def attempt(self, work: Callable[[Frame], T]) -> "_Bad":
        return self


@dataclass(frozen=True, slots=True)
class _Unread:
    """A frame that a worker is still to decode."""

    name: str
    decode: Callable[[], Frame]
    memory: int = 0

    @classmethod
    def ready(cls, frame: Frame) -> Self:
        """Wrap a frame of a video, already decoded because frames cannot be decoded out of order."""
        return cls(frame.name, lambda: frame, math.prod(frame.image.shape))

    def attempt(self, work: Callable[[Frame], T]) -> tuple[Frame, T] | _Bad:
        """Decode and process the frame; return the error if it cannot be read.

        A `LargeImage` is read during processing, so `work` may raise that error too.
        """
        try:
            frame = self.decode()
            return frame, work(frame)
        except ImageError as error:
            return _Bad(self.name, error)


class Sources:
    """Frames of several sources, in the given order; a file that is given twice is read once.

    `read` yields one frame at a time; `map` processes several in parallel. Unreadable files are skipped.

    Attributes:
        origins: files, cameras and streams.
        problems: problems of the last pass, one per file, page or piped image skipped so far.
        series: names of files in the last pass of which only the first frame was read.
        strict: whether a file that cannot be read ends the pass with its error.
        in_order: whether no file that is left out comes after one that is not.
        live: numbers of dropped frames and of reconnections, for cameras and streams.
    """

    def __init__(self, sources: Sequence[str | Path], *, strict: bool = False) -> None:
        """Find the files, without decoding any.

        Args:
            sources: files, folders, cameras, URLs and other sources; see `origins`.
            strict: whether a file that cannot be read ends the pass with its error.

        Raises:
            SourceError: a source does not exist, has no images or videos, or has the name of another file's
                page.
        """
        self.origins = find_origins(sources)
        self._numbers = {name_of(origin): number for number, origin in enumerate(self.origins)}
        self._left_out: set[str] = set()
        self.in_order = True
        self.problems: list[Problem] = []
        self.series: list[str] = []
        self.live = LiveCounts()
        self.strict = strict
        files = [absolute(origin) for origin in self.origins if isinstance(origin, Path)]
        self._root = commonpath([file.parent for file in files]) if files else ""
        self._taken = {file.relative_to(self._root) for file in files}
        self._running: LiveFrames | PipedImages | None = None
        self._stopped = False
        for name in self._numbers:
            file, _, page = name.rpartition("#")
            if file in self._numbers and name in _page_names(self.origins[self._numbers[file]]):
                raise SourceError(
                    f"{name}: expected a name of its own, found that of page {page} of {file}; rename one of "
                    "the files"
                )

    def count(self) -> int | None:
        """Return the number of frames that the files declare; None if there are cameras, URLs or `-`.

        Files that are left out do not count.
        """
        total = 0
        for _, origin in self._remaining():
            if not isinstance(origin, Path):
                return None
            if is_video(origin):
                total += count_frames(origin)
            elif origin.suffix.lower() in TIFF_SUFFIXES:
                total += len(tiff_pages(origin)) or 1
            else:
                total += 1
        return total

    def relative_of(self, file: Path, page: int = 0) -> Path:
        """Return the path for the results of a file, or of one of its pages, counted from 1; see `Frame`."""
        relative = absolute(file).relative_to(self._root)
        return self.vacant(relative.with_name(f"{file.stem}#{page}{file.suffix}")) if page else relative

    def vacant(self, place: Path) -> Path:
        """Return a relative path for results; if a source has it, `-2` or more is added to the name."""
        found, number = place, 2
        while found in self._taken:
            found = place.with_name(f"{place.stem}-{number}{place.suffix}")
            number += 1
        return found

    def expected(self) -> Iterator[Frame]:
        """Yield the images, the pages and the first frames of videos that the files should hold, unread.

        Their `image` is empty. Cameras, URLs, `-` and files that are left out are missing.
        """
        unread = np.zeros((0, 0, 3), np.uint8)
        for _, origin in self._remaining():
            if not isinstance(origin, Path):
                continue
            pages = _page_names(origin) if origin.suffix.lower() in TIFF_SUFFIXES else []
            for page, name in enumerate(pages, 1):
                yield Frame(unread, name, self.relative_of(origin, page), origin)
            if not pages:
                moment = Moment(0, 0.0, USUAL_RATE) if is_video(origin) else None
                yield Frame(unread, name_of(origin), self.relative_of(origin), origin, moment)

    def leave_out(self, names: Collection[str]) -> None:
        """Leave out the files with the given names, for example because an earlier run read them.

        Then it is no error if none of the others can be read.
        """
        self._left_out.update(names)
        left_out = [name_of(origin) in self._left_out for origin in self.origins]
        self.in_order = left_out == sorted(left_out, reverse=True)

    def file_of(self, name: str) -> str:
        """Return the name of the source that a frame belongs to: its own, without the number of a page."""
        file, mark, page = name.rpartition("#")
        return file if mark and page.isdecimal() and name not in self._numbers else name

    def number_of(self, name: str) -> int:
        """Return the position in `origins` of the source that a frame belongs to; -1 if it is not there."""
        return self._numbers.get(self.file_of(name), -1)

    def _remaining(self) -> Iterator[tuple[int, Origin]]:
        """Yield the sources that are not left out, each with its position."""
        for number, origin in enumerate(self.origins):
            if name_of(origin) not in self._left_out:
                yield number, origin

    def __iter__(self) -> Iterator[Frame]:
        return self.read()

    def read(self, reading: Reading = WHOLE) -> Iterator[Frame]:
        """Yield frame after frame.

        Raises:
            ImageError: a file cannot be read, and it is the only one or `strict` is set.
            SourceError: none of several files can be read.
        """
        items = self._items(reading)
        for _, frame in self._readable(item.attempt(lambda frame: frame) for item in items):
            yield frame

    def map(
        self, work: Callable[[Frame], T], parallel: Parallel, reading: Reading = WHOLE
    ) -> Generator[tuple[Frame, T], None, None]:
        """Process several frames in parallel; yield each frame and its result, in order.

        To stop early, close this generator (`contextlib.closing`), which ends its threads.

        Args:
            work: function called in several threads.
            parallel: number of workers.
            reading: options for reading images.

        Raises:
            ImageError, SourceError: as in `read`.
        """
        self._stopped = False
        outcomes = in_parallel(
            self._items(reading),
            lambda item: item.attempt(work),
            parallel.workers,
            parallel.ahead,
            weight=lambda item: item.memory,
            stop=self._stop,
        )
        with closing(outcomes):
            yield from self._readable(outcomes)

    def _items(self, reading: Reading) -> Iterator[_Unread | _Bad]:
        """Yield all frames; workers decode images later."""
        for number, origin in self._remaining():
            name = name_of(origin)
            try:
                match origin:
                    case Path():
                        if not is_video(origin):
                            yield from self._pages(origin, reading)
                            continue
                        relative = self.relative_of(origin)
                        for image, moment in read_frames(origin):
                            yield _Unread.ready(Frame(image, name, relative, origin, moment))
                    case "-":
                        for count, (data, alone) in enumerate(self._opened(PipedImages(sys.stdin.buffer))):
                            at = None if alone else Moment(count, count / USUAL_RATE, USUAL_RATE)
                            shown = PIPED if alone else f"{PIPED} (image {count})"
                            taken, place = partial(bytes, data), Path("stdin")
                            yield _Unread(shown, partial(_decode, taken, shown, name, place, at, reading))
                    case str() if read := _remote(origin):
                        place = Path(f"url-{number}")
                        yield _Unread(name, partial(_decode, read, name, name, place, None, reading))
                    case _:
                        relative = Path(f"camera-{origin}" if isinstance(origin, int) else f"stream-{number}")
                        for image, moment in self._opened(LiveFrames(origin, self.live)):
                            yield _Unread.ready(Frame(image, name, relative, None, moment))
            except ImageError as error:
                yield _Bad(name, error)

    def _pages(self, path: Path, reading: Reading) -> Iterator[_Unread | _Bad]:
        """Yield the image in a file, or each page of a TIFF."""
        name, places = name_of(path), tiff_pages(path)
        pages, damaged = [at for at in places if at >= 0] or [0], 0
        for number, at in enumerate(pages, 1):
            shown, place = name, self.relative_of(path, number if len(pages) > 1 else 0)
            memory = tiff_memory(path, at) if places else 0
            if len(pages) > 1:
                shown = f"{name}#{number}"
                damaged += not memory
                if damaged > MOST_DAMAGED:
                    what = f"found {MOST_DAMAGED} damaged pages: pages {number} to {len(pages)} left out"
                    yield _Bad(name, ImageError(f"{name}: {what}"))
                    return
            read = partial(_read, path, shown, place, at, reading)
            yield _Unread(shown, read, memory or memory_of(path))
        if len(pages) < len(places):
            yield _Bad(
                name, ImageError(f"{name}: expected the directory of page {len(places)}, found it damaged")
            )

    def _readable(self, outcomes: Iterable[tuple[Frame, T] | _Bad]) -> Iterator[tuple[Frame, T]]:
        """Yield the frames and results, and record the problems."""
        self.problems.clear()
        self.series.clear()
        any_read = False
        first: ImageError | None = None
        for outcome in outcomes:
            if isinstance(outcome, _Bad):
                if self.strict:
                    raise outcome.error
                first = first or outcome.error
                what = str(outcome.error)
                for named in (outcome.name, self.file_of(outcome.name)):
                    what = what.removeprefix(f"{named}: ")
                self.problems.append(Problem(outcome.name, what))
                continue
            any_read = True
            if outcome[0].is_series:
                self.series.append(outcome[0].name)
            yield outcome
        if not self._left_out and not any_read and first is not None:
            if len(self.origins) == 1:
                raise first
            raise SourceError(f"none of {len(self.origins)} files can be read; the first: {self.problems[0]}")

    def _opened(self, running: Stream) -> Stream:
        """Record a stream, so that `_stop` can close it."""
        self._running = running
        if self._stopped:  # before `_running` was set
            running.close()
        return running

    def _stop(self) -> None:
        """Close the open stream, and each one that is opened later."""
        self._stopped = True
        if self._running is not None:
            self._running.close()


def _remote(url: str) -> Callable[[], bytes] | None:
    """Return the function that downloads an image, or None for a stream."""
    from lookonce.runtime.remote import open_remote_image  # HTTP, only for URLs

    return open_remote_image(url)


def _page_names(origin: Origin) -> list[str]:
    """Return the names of a TIFF's pages; empty for a file with one image, and for other sources."""
    pages = sum(at >= 0 for at in tiff_pages(origin)) if isinstance(origin, Path) else 0
    return [f"{name_of(origin)}#{page}" for page in range(1, pages + 1)] if pages > 1 else []


def can_be_opened(path: Path) -> bool:
    """Return whether a file looks like an image or a video that can be read; what follows may be damaged."""
    try:
        if is_video(path):
            with opened(path):
                return True
        read_image_header(path)
    except ImageError:
        return False
    return True


def _read(path: Path, name: str, relative: Path, at: int, reading: Reading) -> Frame:
    values = reading.values
    if reading.by_windows and is_large_tiff(path, at):
        return Frame(LargeImage(path, values, at, name), name, relative, path, page=at)
    if at:
        return Frame(as_eight_bits(decode_tiff_page(path, at, name), values), name, relative, path, page=at)
    image, is_series = read_or_reduce(path, str(path), values, reading.least), False
    if path.suffix.lower() in SERIES_SUFFIXES:
        header = read_image_header(path)
        is_series = header.is_series and header.format != "TIFF"
    return Frame(image, name, relative, path, is_series=is_series)


def _decode(
    read: Callable[[], bytes],
    shown: str,
    name: str,
    relative: Path,
    moment: Moment | None,
    reading: Reading,
) -> Frame:
    image = read_or_reduce(read(), shown, reading.values, reading.least)
    return Frame(image, name, relative, moment=moment)
