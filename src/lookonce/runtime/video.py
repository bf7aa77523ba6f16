"""Recognize and read video files, cameras and streams, without sound.

OpenCV can read all of them. If PyAV is installed (`lookonce[video]`), it reads files and streams instead,
because OpenCV 4.13 and 4.14 cannot convert interlaced frames, and only guess the length of some containers.
"""

from collections.abc import Generator
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookonce._image_header import is_image
from lookonce.errors import ImageError
from lookonce.runtime.av_video import connected_by_av, read_by_av
from lookonce.runtime.containers import check_bytes
from lookonce.runtime.opencv_video import connected_by_opencv, exact_frames, opened, read_by_opencv
from lookonce.runtime.video_checks import PLAYLISTS, Connection, Moment, check_whole, start_of
from lookonce.suffixes import IMAGE_SUFFIXES, UNREAD_SUFFIXES

VIDEO_SUFFIXES = (
    ".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".m2t", ".m2ts", ".m2v", ".m4v", ".mjpeg",
    ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".qt", ".ts", ".vob", ".webm",
    ".wmv", ".y4m",
)  # fmt: skip


def is_video(path: Path) -> bool:
    """Return whether a file is a video, by its suffix if that is common, else by its content."""
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES + UNREAD_SUFFIXES:  # FFmpeg opens some of these as a video of one frame
        return False
    if suffix in VIDEO_SUFFIXES and suffix != ".ts":  # .ts may be TypeScript
        return True
    start = start_of(path)
    if suffix == ".ts":
        return start[:1] == b"\x47"
    if not start or is_image(start):
        return False
    if start.startswith(PLAYLISTS):  # `check_no_playlist` rejects it
        return True
    try:
        with opened(path):
            return True
    except ImageError:
        return False


def read_frames(path: Path) -> Generator[tuple[NDArray[np.uint8], Moment], None, None]:
    """Yield the frames of a video file, (H, W, 3) uint8 RGB, one at a time.

    Raises:
        ImageError: the file cannot be opened, has no frames, is damaged or cut short, or has a frame that
            cannot be converted.
    """
    found = 0
    for image, moment in read_by_av(path) if find_spec("av") else read_by_opencv(path):
        found = moment.number + 1
        yield image, moment
    check_whole(path, exact_frames(path), found)
    check_bytes(path)


def connected(origin: str | int) -> AbstractContextManager[Connection]:
    """Connect to a camera or stream for the duration of a `with` block.

    Raises:
        ImageError: it cannot be opened.
    """
    if isinstance(origin, str) and find_spec("av"):
        return connected_by_av(origin)
    return connected_by_opencv(origin)
