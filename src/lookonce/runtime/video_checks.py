"""Records, limits and checks that the readers of videos share."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lookonce._counted import counted
from lookonce._files import open_input
from lookonce._urls import redacted
from lookonce.errors import ImageError

# Pixels of a frame: 8K. A decoder and the pipeline hold several frames, about 20 bytes for each pixel.
MAX_FRAME = 8192 * 4320

SLOWEST_RATE = 1 / 3600  # frames per second; damaged files declare 1 / 2^32,
FASTEST_RATE = 1000.0  # and some cameras and streams 0 or 90,000
USUAL_RATE = 25.0  # used instead
LONGEST_GAP = 60.0  # seconds until the next frame; a longer time is damaged
PATIENCE_MS = 10_000  # for a stream to open, and for each frame of it
# Starts of texts that name other files, which FFmpeg would read: HLS and its own lists. It looks for one
# behind an ID3 tag too, with which no video starts.
PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"ID3")
WHOLE = 0.95  # share of the declared frames below which a video counts as damaged

Origin = Path | str | int  # a video file, a stream's URL, a camera's number


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


def plausible_rate(declared: float) -> float:
    """Return the declared frames per second if plausible, else a default."""
    return declared if SLOWEST_RATE <= declared <= FASTEST_RATE else USUAL_RATE


def turned(image: NDArray[np.uint8], quarters: int) -> NDArray[np.uint8]:
    """Rotate a frame by quarter turns counterclockwise, as its file says: phones store portraits rotated."""
    return np.ascontiguousarray(np.rot90(image, quarters)) if quarters % 4 else image


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


def found_instead(origin: Origin) -> str:
    """Describe a file that does not open as a video."""
    if not isinstance(origin, str):
        return "data that cannot be opened as one"
    from lookonce.runtime.diagnosis import diagnose  # imports HTTP, which takes longer than this module

    return diagnose(origin)


def check_whole(origin: Origin, declared: int, found: int) -> None:
    """Compare the frames found with those declared.

    Raises:
        ImageError: none, or far fewer than declared.
    """
    if found < max(1, WHOLE * declared):
        wanted = counted(declared, "frame") if declared > 0 else "some frames"
        raise ImageError(
            f"{name_of(origin)}: expected {wanted}, found {found}: the video is damaged or cut short"
        )


def check_no_playlist(path: Path) -> None:
    """Refuse a file that makes FFmpeg read files that nobody named.

    Raises:
        ImageError: it is a playlist, whatever its suffix.
    """
    if start_of(path).startswith(PLAYLISTS):
        raise ImageError(f"{path}: expected a video, found a playlist or sound; name the videos themselves")


def start_of(path: Path) -> bytes:
    """Return the first bytes of a file; empty if it cannot be read."""
    try:
        with open_input(path, ImageError) as stream:
            return stream.read(12)
    except ImageError:
        return b""
