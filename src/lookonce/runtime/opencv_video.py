"""Read video files, cameras and streams with OpenCV."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce._files import open_input
from lookonce._opencv import silent_opencv
from lookonce._optional import install_line
from lookonce.errors import ImageError
from lookonce.runtime.conversion import ConversionCheck
from lookonce.runtime.video_checks import (
    PATIENCE_MS,
    Connection,
    Moment,
    Origin,
    check_frame_size,
    check_no_playlist,
    found_instead,
    name_of,
    plausible_rate,
    start_of,
    turned,
)

PROGRESSIVE = (b"VP80", b"VP90", b"AV01", b"MJPG")  # codecs of videos that are hardly ever interlaced

# Errors are raised with the file's name, so FFmpeg's own messages are turned off.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


def read_by_opencv(path: Path) -> Iterator[tuple[NDArray[np.uint8], Moment]]:
    """Yield the frames of a video file, (H, W, 3) uint8 RGB, one at a time.

    Raises:
        ImageError: the file cannot be opened, or has a frame that cannot be converted.
    """
    with opened(path) as capture:
        rate = rate_of(capture)
        quarters = -round(capture.get(cv2.CAP_PROP_ORIENTATION_META) / 90)  # stored clockwise
        with ConversionCheck(lambda: _capture(path, convert=False)) as check:
            interlaced: int | None = None
            held: list[Moment] = []  # positions of the black frames at the start, which are identical
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


@contextmanager
def connected_by_opencv(origin: str | int) -> Iterator[Connection]:
    """Connect to a camera or stream.

    Raises:
        ImageError: it cannot be opened.
    """
    with opened(origin) as capture:
        declared = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        yield Connection(frames_of(capture), rate_of(capture), declared)


@contextmanager
def opened(origin: Origin) -> Iterator[cv2.VideoCapture]:
    """Open a video file, stream or camera.

    Raises:
        ImageError: it cannot be opened, or its frames are too large.
    """
    if isinstance(origin, Path):
        open_input(origin, ImageError).close()  # a FIFO or a device would block forever
        check_no_playlist(origin)
    capture = _capture(origin)
    try:
        if not capture.isOpened():
            found = found_instead(origin)
            raise ImageError(f"{name_of(origin)}: expected a video, found {found}")
        sides = (capture.get(side) for side in (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH))
        check_frame_size(origin, *map(int, sides))  # OpenCV scales larger frames to the size of the first
        yield capture
    finally:
        capture.release()


def rate_of(capture: cv2.VideoCapture) -> float:
    """Return the declared frame rate if plausible, else a default, in frames per second."""
    return plausible_rate(capture.get(cv2.CAP_PROP_FPS))


def frames_of(capture: cv2.VideoCapture) -> Iterator[tuple[NDArray[np.uint8], float]]:
    """Yield each frame, (H, W, 3) uint8 RGB, and the seconds since the start.

    The seconds always increase: frames without a valid time, such as the last ones of some files, follow at
    the frame rate.
    """
    rate = rate_of(capture)
    timed = capture.get(cv2.CAP_PROP_FPS) == rate
    seconds = -1 / rate
    while (grabbed := capture.read())[0]:
        stored = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        seconds = stored if timed and stored > seconds else seconds + 1 / rate
        yield cv2.cvtColor(grabbed[1], cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False), seconds


def count_frames(path: Path) -> int:
    """Return the approximate number of frames that a video file declares; 0 if unknown."""
    try:
        with opened(path) as capture:
            return max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    except ImageError:
        return 0


def exact_frames(origin: Path | str) -> int:
    """Return the number of frames that a file's index lists; 0 for containers without an index.

    Matroska, FLV and transport streams only declare a duration. It may be that of a longer audio track, and
    with a variable frame rate it does not determine the number of frames.
    """
    if isinstance(origin, str):
        return 0
    start = start_of(origin)
    indexed = start[4:8] in {b"ftyp", b"moov", b"mdat", b"wide"} or (start[:4], start[8:]) == (
        b"RIFF",
        b"AVI ",
    )
    return count_frames(origin) if indexed else 0


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
                capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)  # `read_by_opencv` rotates, after its check
                return capture


def name_for_opencv(path: Path) -> str:
    """Return the absolute path of a video, so that a colon in its name does not look like a protocol.

    Raises:
        ImageError: the path is not UTF-8, which crashes OpenCV's video functions, or not a valid path.
    """
    try:
        name = str(path.resolve())
        name.encode()
    except (OSError, ValueError) as error:
        raise ImageError(f"{path}: expected a video under a name in UTF-8, found {error}") from error
    return name
