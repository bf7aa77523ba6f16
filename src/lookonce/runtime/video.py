"""Read the frames of a video file, camera or stream, without sound.

OpenCV reads everything here. If PyAV is installed (`lookonce[video]`), it reads files and streams, because
OpenCV 4.13 and 4.14 cannot convert interlaced frames, and guess the length of some containers.
"""

import os
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce._files import open_input
from lookonce._image_header import is_image
from lookonce._optional import install_line
from lookonce._urls import redacted
from lookonce.errors import ImageError
from lookonce.images import silent_opencv
from lookonce.runtime.containers import check_bytes
from lookonce.runtime.conversion import ConversionCheck
from lookonce.suffixes import IMAGE_SUFFIXES, UNREAD_SUFFIXES

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

VIDEO_SUFFIXES = (
    ".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".m2t", ".m2ts", ".m2v", ".m4v", ".mjpeg",
    ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".qt", ".ts", ".vob", ".webm",
    ".wmv", ".y4m",
)  # fmt: skip

# Pixels of a frame: 8K. A decoder and the pipeline hold several frames, about 20 bytes for each pixel.
MAX_FRAME = 8192 * 4320

SLOWEST_RATE = 1 / 3600  # frames per second; damaged files declare 1 / 2^32,
FASTEST_RATE = 1000.0  # and some cameras and streams 0 or 90,000
USUAL_RATE = 25.0  # used instead
LONGEST_GAP = 60.0  # seconds until the next frame; a longer time is damaged
PATIENCE_MS = 10_000  # for a stream to open, and for each frame of it
PROGRESSIVE = (b"VP80", b"VP90", b"AV01", b"MJPG")  # codecs whose videos are hardly ever interlaced
# Starts of texts that name other files, which FFmpeg would read: HLS and its own lists. It looks for one
# behind an ID3 tag too, with which no video starts.
PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"ID3")
WHOLE = 0.95  # share of the declared frames below which a video counts as damaged

Origin = Path | str | int  # a video file, a stream's URL, a camera's number

# An error is raised with the file's name, so FFmpeg prints nothing.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


@dataclass(frozen=True, slots=True)
class Moment:
    """Position of a frame in its video.

    Attributes:
        number: number of frames before it.
        seconds: time since the first frame.
        rate: frames per second of the video.
    """

    number: int
    seconds: float
    rate: float


class Connection(NamedTuple):
    """An open camera or stream.

    Attributes:
        frames: (H, W, 3) uint8 RGB and seconds, until it ends.
        rate: frames per second.
        declared: number of frames that it declares; 0 for none, as live ones do.
    """

    frames: Iterator[tuple[NDArray[np.uint8], float]]
    rate: float
    declared: int


def name_of(origin: Origin) -> str:
    """Return the name to show: a path, `camera 0`, or a URL without its secrets."""
    if isinstance(origin, int):
        return f"camera {origin}"
    return redacted(origin) if isinstance(origin, str) else str(origin)


def is_video(path: Path) -> bool:
    """Return whether a file is a video: by its suffix if it is a usual one, else by its content."""
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES + UNREAD_SUFFIXES:  # FFmpeg would take some of these for videos of one frame
        return False
    if suffix in VIDEO_SUFFIXES and suffix != ".ts":  # .ts is TypeScript, too
        return True
    start = _start(path)
    if suffix == ".ts":
        return start[:1] == b"\x47"
    if not start or is_image(start):
        return False
    if start.startswith(PLAYLISTS):  # for `opened` to refuse
        return True
    try:
        with opened(path):
            return True
    except ImageError:
        return False


def count_frames(path: Path) -> int:
    """Return the approximate number of frames that a video file declares; 0 if unknown."""
    try:
        with opened(path) as capture:
            return max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    except ImageError:
        return 0


def exact_frames(origin: Path | str) -> int:
    """Return the number of frames that a file's index lists; 0 for containers without one.

    Matroska, FLV and transport streams only declare a duration, which may be that of a longer sound track or,
    with a variable frame rate, cover any number of frames.
    """
    if isinstance(origin, str):
        return 0
    start = _start(origin)
    indexed = start[4:8] in {b"ftyp", b"moov", b"mdat", b"wide"} or (start[:4], start[8:]) == (
        b"RIFF",
        b"AVI ",
    )
    return count_frames(origin) if indexed else 0


def read_frames(path: Path) -> Generator[tuple[NDArray[np.uint8], Moment], None, None]:
    """Read a video file: (H, W, 3) uint8 RGB, one frame at a time.

    Raises:
        ImageError: the file does not open, has no frames, ends well before its declared end, or has a frame
            that cannot be converted.
    """
    found = 0
    for image, moment in _frames_by_av(path) if find_spec("av") else _frames_by_opencv(path):
        found = moment.number + 1
        yield image, moment
    check_whole(path, exact_frames(path), found)
    check_bytes(path)


def _frames_by_opencv(path: Path) -> Iterator[tuple[NDArray[np.uint8], Moment]]:
    with opened(path) as capture:
        rate = rate_of(capture)
        quarters = -round(capture.get(cv2.CAP_PROP_ORIENTATION_META) / 90)  # stored clockwise
        with ConversionCheck(lambda: _capture(path, convert=False)) as check:
            interlaced: int | None = None
            held: list[Moment] = []  # of frames that are black from the first on: all are alike
            for number, (image, seconds) in enumerate(frames_of(capture)):
                if not check.is_converted(image):
                    interlaced = number
                    break
                moment = Moment(number, seconds, rate)
                if check.doubts == number + 1:
                    held.append(moment)
                    black = image
                    continue
                yield from ((turned(black, quarters).copy(), each) for each in held)
                held.clear()
                yield turned(image, quarters), moment
            codec = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little")
            if held and interlaced is None and codec not in PROGRESSIVE:
                interlaced = 0
            elif interlaced is None:
                yield from ((turned(black, quarters).copy(), each) for each in held)
    if interlaced is not None:
        raise ImageError(
            f"{path}: frame {interlaced}: expected one that OpenCV {cv2.__version__} can convert, found an "
            f"interlaced one; {install_line('video')}, or deinterlace the file: ffmpeg -i IN -vf yadif OUT"
        )


def _frames_by_av(path: Path) -> Iterator[tuple[NDArray[np.uint8], Moment]]:
    from av import FFmpegError

    number = -1
    _check_no_playlist(path)
    with open_input(path, ImageError) as stream, _opened_by_av(path, stream) as (container, video):
        rate = _rate_by_av(video)
        try:
            for number, (image, seconds) in enumerate(_decoded_by_av(path, container, video)):
                yield image, Moment(number, seconds, rate)
        except FFmpegError as error:
            check_whole(path, exact_frames(path), number + 1)
            raise ImageError(
                f"{path}: expected frames, found damaged data after {number + 1} of them"
            ) from error


@contextmanager
def _opened_by_av(
    origin: Path | str, source: BinaryIO | str, **options: Any
) -> Iterator[tuple["InputContainer", "VideoStream"]]:
    """Open the first video of a file or stream.

    Raises:
        ImageError: it does not open, or its frames are too large.
    """
    import av

    with ExitStack() as stack:
        try:
            opened = av.open(source, mode="r", metadata_errors="replace", **options)
            container = stack.enter_context(opened)
            video = container.streams.video[0]
        except (av.FFmpegError, IndexError, OSError) as error:
            found = _found_instead(origin)
            raise ImageError(f"{name_of(origin)}: expected a video, found {found}") from error
        check_frame_size(origin, video.height, video.width)
        yield container, video


def _rate_by_av(video: "VideoStream") -> float:
    """Return the declared frames per second if plausible, else a default."""
    declared = float(video.average_rate or video.guessed_rate or 0)
    return declared if SLOWEST_RATE <= declared <= FASTEST_RATE else USUAL_RATE


def _decoded_by_av(
    origin: Path | str, container: "InputContainer", video: "VideoStream"
) -> Iterator[tuple[NDArray[np.uint8], float]]:
    """Yield (H, W, 3) uint8 RGB and seconds from the first frame; time always advances.

    Raises:
        ImageError: a frame is too large.
        FFmpegError: damaged data.
    """
    rate, first = _rate_by_av(video), None
    # a rate below the slowest means that times are counted in clock ticks
    timed = not 0 < (video.average_rate or video.guessed_rate or 0) < SLOWEST_RATE
    seconds = -1 / rate
    for frame in container.decode(video):
        check_frame_size(origin, frame.height, frame.width)
        first = frame.time if first is None else first
        stored = -1.0 if frame.time is None or first is None or not timed else frame.time - first
        seconds = stored if stored > seconds else seconds + 1 / rate
        yield turned(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90)), seconds


def turned(image: NDArray[np.uint8], quarters: int) -> NDArray[np.uint8]:
    """Rotate a frame by quarter turns counterclockwise, as its file says: phones store portraits rotated."""
    return np.ascontiguousarray(np.rot90(image, quarters)) if quarters % 4 else image


@contextmanager
def connected(origin: str | int) -> Iterator[Connection]:
    """Connect to a camera or stream.

    Raises:
        ImageError: it does not open.
    """
    if isinstance(origin, str) and find_spec("av"):
        with _connected_by_av(origin) as connection:
            yield connection
        return
    with opened(origin) as capture:
        declared = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        yield Connection(frames_of(capture), rate_of(capture), declared)


@contextmanager
def _connected_by_av(url: str) -> Iterator[Connection]:
    import av

    patience = PATIENCE_MS / 1000
    over_tcp = {"rtsp_flags": "prefer_tcp"} if url.lower().startswith("rtsp") else {}  # as OpenCV does
    with _opened_by_av(url, url, timeout=(patience, patience), options=over_tcp) as (container, video):

        def frames() -> Iterator[tuple[NDArray[np.uint8], float]]:
            with suppress(av.FFmpegError, OSError):  # it broke off
                yield from _decoded_by_av(url, container, video)

        rate, seconds = _rate_by_av(video), (container.duration or 0) / av.time_base
        yield Connection(frames(), rate, max(0, video.frames or round(seconds * rate)))


def _found_instead(origin: Origin) -> str:
    """Describe a file that does not open as a video."""
    if not isinstance(origin, str):
        return "data that cannot be opened as one"
    from lookonce.runtime.diagnosis import diagnose  # imports HTTP, which takes longer than this module

    return diagnose(origin)


@contextmanager
def opened(origin: Origin) -> Iterator[cv2.VideoCapture]:
    """Open a video file, stream or camera.

    Raises:
        ImageError: it does not open, or its frames are too large.
    """
    if isinstance(origin, Path):
        open_input(origin, ImageError).close()  # a FIFO or a device would block forever
        _check_no_playlist(origin)
    capture = _capture(origin)
    try:
        if not capture.isOpened():
            found = _found_instead(origin)
            raise ImageError(f"{name_of(origin)}: expected a video, found {found}")
        sides = (capture.get(side) for side in (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH))
        check_frame_size(origin, *map(int, sides))  # OpenCV scales larger frames to the size of the first
        yield capture
    finally:
        capture.release()


def check_frame_size(origin: Origin, height: int, width: int) -> None:
    """Check that a frame is not too large to be decoded.

    Raises:
        ImageError: it is.
    """
    if height * width > MAX_FRAME:
        raise ImageError(
            f"{name_of(origin)}: expected frames of at most {MAX_FRAME:,} pixels (8K), found "
            f"{height:,}x{width:,}; not decoded: ffmpeg -i IN -vf scale=4096:-2 OUT makes them smaller"
        )


def rate_of(capture: cv2.VideoCapture) -> float:
    """Return the declared frames per second if plausible, else a default."""
    rate = capture.get(cv2.CAP_PROP_FPS)
    return rate if SLOWEST_RATE <= rate <= FASTEST_RATE else USUAL_RATE


def frames_of(capture: cv2.VideoCapture) -> Iterator[tuple[NDArray[np.uint8], float]]:
    """Yield (H, W, 3) uint8 RGB and seconds from the start, until there are no more.

    Time always advances: the last frames of a file may have no time of their own.
    """
    rate = rate_of(capture)
    timed = capture.get(cv2.CAP_PROP_FPS) == rate
    seconds = -1 / rate
    while (grabbed := capture.read())[0]:
        stored = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        seconds = stored if timed and stored > seconds else seconds + 1 / rate
        yield cv2.cvtColor(grabbed[1], cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False), seconds


def check_whole(origin: Origin, declared: int, found: int) -> None:
    """Compare the frames found with those declared.

    Raises:
        ImageError: none, or far fewer than declared.
    """
    if found < max(1, WHOLE * declared):
        raise ImageError(
            f"{name_of(origin)}: expected {declared if declared > 0 else 'some'} frames, found {found}: "
            "the video is damaged or cut short"
        )


def _check_no_playlist(path: Path) -> None:
    """Refuse a file that makes FFmpeg read files that nobody named.

    Raises:
        ImageError: it is a playlist, whatever its suffix.
    """
    if _start(path).startswith(PLAYLISTS):
        raise ImageError(f"{path}: expected a video, found a playlist or sound; name the videos themselves")


def _start(path: Path) -> bytes:
    try:
        with open_input(path, ImageError) as stream:
            return stream.read(12)
    except ImageError:
        return b""


def _capture(origin: Origin, *, convert: bool = True) -> cv2.VideoCapture:
    with silent_opencv():
        match origin:
            case int():
                return cv2.VideoCapture(origin)
            case str():
                patience = [
                    cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
                    PATIENCE_MS,
                    cv2.CAP_PROP_READ_TIMEOUT_MSEC,
                    PATIENCE_MS,
                ]
                capture = cv2.VideoCapture(origin, cv2.CAP_FFMPEG, patience)
                capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)  # its default depends on version and settings
                return capture
            case Path():
                capture = cv2.VideoCapture(
                    name_for_opencv(origin), cv2.CAP_FFMPEG, [cv2.CAP_PROP_CONVERT_RGB, int(convert)]
                )
                capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)  # turned here, after the check of conversion
                return capture


def name_for_opencv(path: Path) -> str:
    """Return the absolute path of a video, so that a colon in the name is not parsed as a protocol.

    Raises:
        ImageError: it is not UTF-8, on which OpenCV's video functions crash, or not a possible name.
    """
    try:
        name = str(path.resolve())
        name.encode()
    except (OSError, ValueError) as error:
        raise ImageError(f"{path}: expected a video under a name in UTF-8, found {error}") from error
    return name
