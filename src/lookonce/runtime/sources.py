"""Read frames of images, videos, cameras and streams; see `origins` for the kinds of source.

The path of `photo.png`: `Sources.map` -> a worker of `pipeline.in_parallel` -> `images.read_image` -> the
caller's work.
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
from lookonce.runtime.opencv_video import count_frames
from lookonce.runtime.origins import PIPED, absolute, find_origins
from lookonce.runtime.pipeline import Parallel, in_parallel, memory_of
from lookonce.runtime.stdin import PipedImages
from lookonce.runtime.video import is_video, read_frames
from lookonce.runtime.video_checks import USUAL_RATE, Moment, name_of
from lookonce.samples import Problem
from lookonce.suffixes import SERIES_SUFFIXES, TIFF_SUFFIXES
from lookonce.tiff import LargeImage, decode_tiff_page, is_large_tiff, tiff_memory, tiff_pages

MOST_DAMAGED = 20  # pages of a TIFF whose structure cannot be read; no more are read after these

T = TypeVar("T")
Stream = TypeVar("Stream", LiveFrames, PipedImages)


@dataclass(frozen=True, slots=True)
class Reading:
    """How the images of a pass over the sources are read.

    Attributes:
        values: range of images of more than 8 bits, as in `read_image`.
        by_windows: whether a TIFF too large for memory is read by windows, for a Detector with tiles.
        least: size of an image -> the smallest that a JPEG may be decoded at; None: always the whole image.
    """

    values: Values | None = None
    by_windows: bool = False
    least: Callable[[Size], Size] | None = None


WHOLE = Reading()


@dataclass(frozen=True, slots=True)
class Frame:
    """One image of a source.

    Attributes:
        image: (H, W, 3) uint8 RGB. A TIFF that is too large for memory is read by windows; a JPEG may be
            decoded at a part of its size (`Reading.least`).
        name: the file as it was given, the camera, the stream's URL without user and password, or `-`; with
            `#2` for the second page of a TIFF that has several.
        relative: path to store results under: below the common folder of all sources, so that equal names in
            different folders do not collide.
        path: the file; None for a camera, a stream or standard input.
        moment: position in the video; None for an image.
        is_series: whether the file has more frames, which are not read.
        page: offset of the page in a TIFF, see `tiff_pages`.
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
    """A frame that is still to be decoded, by a worker."""

    name: str
    decode: Callable[[], Frame]
    memory: int = 0

    @classmethod
    def ready(cls, frame: Frame) -> Self:
        """Wrap a video's frame, which cannot be decoded out of order."""
        return cls(frame.name, lambda: frame, math.prod(frame.image.shape))

    def attempt(self, work: Callable[[Frame], T]) -> tuple[Frame, T] | _Bad:
        """Decode and process; an unreadable image is returned as a result as well.

        A `LargeImage` is read while it is processed, so its damage shows only then.
        """
        try:
            frame = self.decode()
            return frame, work(frame)
        except ImageError as error:
            return _Bad(self.name, error)


class Sources:
    """Frames of several sources, in the order given; a file that is given twice is read once.

    `read` yields one frame at a time; `map` processes several in parallel. Unreadable files are skipped.

    Attributes:
        origins: files, cameras and streams.
        problems: one per file, page or piped image skipped, while and after reading.
        series: files of which only the first frame was read, while and after reading.
        strict: a file that cannot be read ends the pass with its error.
        live: numbers of frames that cameras and streams dropped, and of reconnections.
    """

    def __init__(self, sources: Sequence[str | Path], *, strict: bool = False) -> None:
        """Find the files; none is decoded yet.

        Args:
            sources: see `origins`.
            strict: a file that cannot be read ends the pass with its error.

        Raises:
            SourceError: one of the sources does not exist, or has no images and videos.
        """
        self.origins = find_origins(sources)
        self.problems: list[Problem] = []
        self.series: list[str] = []
        self.live = LiveCounts()
        self.strict = strict
        self._whole = True  # no file was removed yet; only then is an unreadable set an error
        files = [absolute(origin) for origin in self.origins if isinstance(origin, Path)]
        self._root = commonpath([file.parent for file in files]) if files else ""
        self._taken = {file.relative_to(self._root) for file in files}
        self._running: LiveFrames | PipedImages | None = None
        self._stopped = False

    def count(self) -> int | None:
        """Return the number of frames that the files declare; None if it is unknown."""
        total = 0
        for origin in self.origins:
            if not isinstance(origin, Path):
                return None
            if is_video(origin):
                total += count_frames(origin)
            elif origin.suffix.lower() in TIFF_SUFFIXES:
                total += len(tiff_pages(origin)) or 1
            else:
                total += 1
        return total

    def leave_out(self, names: Collection[str]) -> None:
        """Leave out the files with these names, for example because they were read before."""
        self.origins = [origin for origin in self.origins if name_of(origin) not in names]
        self._whole = False

    def __iter__(self) -> Iterator[Frame]:
        return self.read()

    def read(self, reading: Reading = WHOLE) -> Iterator[Frame]:
        """Read frame after frame.

        Raises:
            ImageError: a file cannot be read, and it is the only one, or the sources are strict.
            SourceError: not one of several files can be read.
        """
        items = self._items(reading)
        for _, frame in self._readable(item.attempt(lambda frame: frame) for item in items):
            yield frame

    def map(
        self, work: Callable[[Frame], T], parallel: Parallel, reading: Reading = WHOLE
    ) -> Generator[tuple[Frame, T], None, None]:
        """Read and process several frames in parallel; the results are in order.

        Close it (`contextlib.closing`) if you do not take all results; this ends its threads.

        Args:
            work: called in several threads.
            parallel: number of workers.
            reading: how images are read.

        Raises:
            ImageError: as `read`.
            SourceError: as `read`.
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
        """Yield all frames; images are decoded later, by workers."""
        for number, origin in enumerate(self.origins):
            name = name_of(origin)
            try:
                match origin:
                    case Path():
                        relative = absolute(origin).relative_to(self._root)
                        if not is_video(origin):
                            yield from self._pages(origin, name, relative, reading)
                            continue
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

    def _pages(self, path: Path, name: str, relative: Path, reading: Reading) -> Iterator[_Unread | _Bad]:
        """Yield the image of a file, or each page of a TIFF."""
        places = tiff_pages(path)
        pages, damaged = [at for at in places if at >= 0] or [0], 0
        for number, at in enumerate(pages, 1):
            shown, place = name, relative
            memory = tiff_memory(path, at) if places else 0
            if len(pages) > 1:
                shown, place = f"{name}#{number}", relative.with_name(f"{path.stem}#{number}{path.suffix}")
                further = 2
                while place in self._taken:  # by a file of this name
                    place = relative.with_name(f"{path.stem}#{number}-{further}{path.suffix}")
                    further += 1
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
        """Record problems, pass on the rest."""
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
                for named in (outcome.name, file_of(outcome.name)):
                    what = what.removeprefix(f"{named}: ")
                self.problems.append(Problem(outcome.name, what))
                continue
            any_read = True
            if outcome[0].is_series:
                self.series.append(outcome[0].name)
            yield outcome
        if self._whole and not any_read and first is not None:
            if len(self.origins) == 1:
                raise first
            raise SourceError(f"none of {len(self.origins)} files can be read; the first: {self.problems[0]}")

    def _opened(self, running: Stream) -> Stream:
        """Record the stream that `_stop` has to close."""
        self._running = running
        if self._stopped:  # just before it could be closed
            running.close()
        return running

    def _stop(self) -> None:
        """Stop waiting for frames of a stream, and open no further one."""
        self._stopped = True
        if self._running is not None:
            self._running.close()


def _remote(url: str) -> Callable[[], bytes] | None:
    """Return the function that downloads an image, or None for a stream; HTTP is imported for these alone."""
    from lookonce.runtime.remote import open_remote_image

    return open_remote_image(url)


def file_of(name: str) -> str:
    """Return the file of a frame's name, without the number of a page."""
    file, mark, page = name.rpartition("#")
    return file if mark and page.isdecimal() and not Path(name).exists() else name


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
