"""Recognize and read video files, cameras and streams, without sound.

OpenCV reads everything here. If PyAV is installed (`lookonce[video]`), it reads files and streams, because
OpenCV 4.13 and 4.14 cannot convert interlaced frames, and guess the length of some containers.
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
    """Return whether a file is a video: by its suffix if it is a usual one, else by its content."""
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES + UNREAD_SUFFIXES:  # FFmpeg would take some of these for videos of one frame
        return False
    if suffix in VIDEO_SUFFIXES and suffix != ".ts":  # .ts is TypeScript, too
        return True
    start = start_of(path)
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


def read_frames(path: Path) -> Generator[tuple[NDArray[np.uint8], Moment], None, None]:
    """Read a video file: (H, W, 3) uint8 RGB, one frame at a time.

    Raises:
        ImageError: the file does not open, has no frames, ends well before its declared end, or has a frame
            that cannot be converted.
    """
    found = 0
    for image, moment in read_by_av(path) if find_spec("av") else read_by_opencv(path):
        found = moment.number + 1
        yield image, moment
    check_whole(path, exact_frames(path), found)
    check_bytes(path)


def connected(origin: str | int) -> AbstractContextManager[Connection]:
    """Connect to a camera or stream, while the block runs.

    Raises:
        ImageError: it does not open.
    """
    if isinstance(origin, str) and find_spec("av"):
        return connected_by_av(origin)
    return connected_by_opencv(origin)
