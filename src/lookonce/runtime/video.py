"""Frames out of a video file, camera or stream; annotated frames into a file. Sound is not kept."""

import os
import re
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce._files import replacing
from lookonce.errors import ImageError
from lookonce.images import silent_opencv

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")
CLIP_SUFFIXES = (".mp4",)  # of the videos that we write

FASTEST_RATE = 1000.0  # frames a second; some cameras and streams declare 0 or 90,000
USUAL_RATE = 25.0  # taken in their place
PATIENCE_MS = 10_000  # for a stream to open, and for each frame of it
# A container's frame count may be its length times its rate, so a little less is no damage.
WHOLE = 0.95

Origin = Path | str | int  # a video file, a stream's URL, a camera's number

# What goes wrong is raised, with the file's name; FFmpeg need not print it as well.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


@dataclass(frozen=True, slots=True)
class Moment:
    """Where in a video a frame stands.

    Attributes:
        number: frames before it.
        seconds: from the start, as the video has it.
        rate: frames a second of the video.
    """

    number: int
    seconds: float
    rate: float


def name_of(origin: Origin) -> str:
    """What people call it; user and password of a URL are left out."""
    if isinstance(origin, int):
        return f"camera {origin}"
    return re.sub(r"(?<=://)[^/@]*@", "", str(origin)) if isinstance(origin, str) else str(origin)


def count_frames(path: Path) -> int:
    """How many frames a video file says it has; 0 where it does not know or cannot be read."""
    try:
        with silent_opencv():
            capture = _capture(path)
    except ImageError:
        return 0
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    return max(0, count)


def read_frames(path: Path) -> Generator[tuple[NDArray[np.uint8], Moment], None, None]:
    """Read a video file: (H, W, 3) uint8 RGB, one frame at a time.

    Raises:
        ImageError: it does not open, has no frame, or ends well before its declared end.
    """
    number = 0
    with opened(path) as capture:
        declared = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        rate = rate_of(capture)
        for image, seconds in frames_of(capture):
            yield image, Moment(number, seconds, rate)
            number += 1
    check_whole(path, declared, number)


@contextmanager
def opened(origin: Origin) -> Iterator[cv2.VideoCapture]:
    """A video file, stream or camera, opened.

    Raises:
        ImageError: it does not open.
    """
    with silent_opencv():
        capture = _capture(origin)
    try:
        if not capture.isOpened():
            raise ImageError(f"{name_of(origin)}: expected a video, found nothing that opens as one")
        yield capture
    finally:
        capture.release()


def rate_of(capture: cv2.VideoCapture) -> float:
    """Frames a second, as declared where that can be true."""
    rate = capture.get(cv2.CAP_PROP_FPS)
    return rate if 0 < rate <= FASTEST_RATE else USUAL_RATE


def frames_of(capture: cv2.VideoCapture) -> Iterator[tuple[NDArray[np.uint8], float]]:
    """(H, W, 3) uint8 RGB and seconds from the start, until there are no more."""
    while (grabbed := capture.read())[0]:
        seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        yield cv2.cvtColor(grabbed[1], cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False), seconds


def check_whole(origin: Origin, declared: int, found: int) -> None:
    """Compare the frames found with those declared.

    Raises:
        ImageError: there was none, or well fewer than declared.
    """
    if found < max(1, WHOLE * declared):
        raise ImageError(
            f"{name_of(origin)}: expected {declared if declared > 0 else 'some'} frames, found {found}: "
            "the video is damaged or cut short"
        )


def _capture(origin: Origin) -> cv2.VideoCapture:
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
            return cv2.VideoCapture(origin, cv2.CAP_FFMPEG, patience)
        case Path():  # absolute, so that a colon in the name is not taken for a protocol
            return cv2.VideoCapture(_name_for_opencv(origin), cv2.CAP_FFMPEG)


def _name_for_opencv(path: Path) -> str:
    """The absolute path of a video.

    Raises:
        ImageError: it is not UTF-8, of which OpenCV's video functions crash, or no file can have it.
    """
    try:
        name = str(path.resolve())
        name.encode()
    except (OSError, ValueError) as error:
        raise ImageError(f"{path}: expected a video under a name in UTF-8, found {error}") from error
    return name


class ClipWriter:
    """Writes RGB frames into an `.mp4` file, which appears under its name once it is closed."""

    def __init__(self, path: Path, size: tuple[int, int], rate: float) -> None:
        """Begin the file.

        Args:
            path: an `.mp4` file.
            size: (height, width) of the frames. The codec takes even sides: an odd one loses a pixel.
            rate: frames a second.

        Raises:
            ImageError: the file cannot be written.
        """
        self.path = path
        self._size = size
        self._frames = 0
        self._rename = ExitStack()
        self._temporary = self._rename.enter_context(replacing(path))
        with silent_opencv():
            self._writer = cv2.VideoWriter(
                _name_for_opencv(self._temporary),
                cv2.CAP_FFMPEG,
                cv2.VideoWriter.fourcc(*"mp4v"),
                rate,
                size[::-1],
            )
        if not self._writer.isOpened():
            with self._rename:
                raise ImageError(f"{path}: a video of {size[1]} x {size[0]} cannot be written there")

    def add(self, frame: NDArray[np.uint8]) -> None:
        """Append an (H, W, 3) frame; one of another size (a stream may change) is scaled to the first's."""
        if frame.shape[:2] != self._size:
            frame = cv2.resize(frame, self._size[::-1]).astype(np.uint8, copy=False)
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        self._frames += 1

    def close(self) -> None:
        """Finish the file and give it its name.

        Raises:
            ImageError: it does not hold all frames, as when the disk is full; nothing is left then.
        """
        self._writer.release()
        with self._rename:
            written = count_frames(self._temporary)
            if written != self._frames:  # OpenCV does not report a failed write
                raise ImageError(
                    f"{self.path}: expected {self._frames} frames in the written file, found {written}; "
                    "is the disk full?"
                )
