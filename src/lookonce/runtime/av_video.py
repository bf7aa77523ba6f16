"""Read video files and streams with PyAV, if it is installed (`lookonce[video]`)."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lookonce._files import open_input
from lookonce.errors import ImageError
from lookonce.runtime.opencv_video import exact_frames
from lookonce.runtime.video_checks import (
    PATIENCE_MS,
    SLOWEST_RATE,
    Connection,
    Moment,
    check_frame_size,
    check_no_playlist,
    check_whole,
    found_instead,
    name_of,
    plausible_rate,
    turned,
)

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream


def read_by_av(path: Path) -> Iterator[tuple[NDArray[np.uint8], Moment]]:
    """Yield the frames of a video file, (H, W, 3) uint8 RGB, one at a time.

    Raises:
        ImageError: the file cannot be opened, or is damaged.
    """
    from av import FFmpegError

    number = -1
    check_no_playlist(path)
    with open_input(path, ImageError) as stream, _opened(path, stream) as (container, video):
        rate = _rate_of(video)
        try:
            for number, (image, seconds) in enumerate(_decoded(path, container, video)):
                yield image, Moment(number, seconds, rate)
        except FFmpegError as error:
            check_whole(path, exact_frames(path), number + 1)
            raise ImageError(
                f"{path}: expected frames, found damaged data after {number + 1} of them"
            ) from error


@contextmanager
def connected_by_av(url: str) -> Iterator[Connection]:
    """Connect to a stream.

    Raises:
        ImageError: the stream cannot be opened.
    """
    import av

    patience = PATIENCE_MS / 1000
    over_tcp = {"rtsp_flags": "prefer_tcp"} if url.lower().startswith("rtsp") else {}  # as OpenCV does
    with _opened(url, url, timeout=(patience, patience), options=over_tcp) as (container, video):

        def frames() -> Iterator[tuple[NDArray[np.uint8], float]]:
            with suppress(av.FFmpegError, OSError):  # the connection broke
                yield from _decoded(url, container, video)

        rate, seconds = _rate_of(video), (container.duration or 0) / av.time_base
        yield Connection(frames(), rate, max(0, video.frames or round(seconds * rate)))


@contextmanager
def _opened(
    origin: Path | str, source: BinaryIO | str, **options: Any
) -> Iterator[tuple["InputContainer", "VideoStream"]]:
    """Open the first video track of a file or stream.

    Raises:
        ImageError: it cannot be opened, has no video, or its frames are too large.
    """
    import av

    with ExitStack() as stack:
        try:
            opened = av.open(source, mode="r", metadata_errors="replace", **options)
            container = stack.enter_context(opened)
            video = container.streams.video[0]
        except (av.FFmpegError, IndexError, OSError) as error:
            found = found_instead(origin)
            raise ImageError(f"{name_of(origin)}: expected a video, found {found}") from error
        check_frame_size(origin, video.height, video.width)
        yield container, video


def _rate_of(video: "VideoStream") -> float:
    """Return the declared frame rate if plausible, else a default, in frames per second."""
    return plausible_rate(float(video.average_rate or video.guessed_rate or 0))


def _decoded(
    origin: Path | str, container: "InputContainer", video: "VideoStream"
) -> Iterator[tuple[NDArray[np.uint8], float]]:
    """Yield (H, W, 3) uint8 RGB and the seconds since the first frame, which always increase.

    Raises:
        ImageError: a frame is too large.
        FFmpegError: the data is damaged.
    """
    rate, first = _rate_of(video), None
    # a rate below the slowest plausible one means that times are in clock ticks
    timed = not 0 < (video.average_rate or video.guessed_rate or 0) < SLOWEST_RATE
    seconds = -1 / rate
    for frame in container.decode(video):
        check_frame_size(origin, frame.height, frame.width)
        first = frame.time if first is None else first
        stored = -1.0 if frame.time is None or first is None or not timed else frame.time - first
        seconds = stored if stored > seconds else seconds + 1 / rate
        yield turned(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90)), seconds
