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

# Pixels of a frame, 8K. The decoder and the pipeline hold several frames, in all about 20 bytes per pixel.
MAX_FRAME = 8192 * 4320

# Plausible frames per second. Damaged files declare 1 / 2^32, and some cameras and streams 0 or 90,000.
SLOWEST_RATE = 1 / 3600
FASTEST_RATE = 1000.0
USUAL_RATE = 25.0  # frames per second, in place of an implausible rate
LONGEST_GAP = 60.0  # seconds between frames; a longer gap is due to an invalid time
PATIENCE_MS = 10_000  # milliseconds to wait for a stream to open, and for each of its frames
# First bytes of lists of other files, which FFmpeg would read: HLS and its own format. FFmpeg also looks for
# such a list after an ID3 tag, with which no video starts.
PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"ID3")
WHOLE = 0.95  # share of the declared frames below which a video counts as damaged

Origin = Path | str | int  # a video file, the URL of a stream, the number of a camera


@dataclass(frozen=True, slots=True)
class Moment:
    """Position of a frame in its video.

    Attributes:
        number: index of the frame, from 0.
        seconds: time since the first frame.
        rate: frames per second of the video.
    """

    number: int
    seconds: float
    rate: float


class Connection(NamedTuple):
    """An open camera or stream.

    Attributes:
        frames: frames, (H, W, 3) uint8 RGB, and their times in seconds.
        rate: frames per second.
        declared: declared number of frames; 0 for a live source, which declares none.
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
    """Return the declared frame rate if plausible, else a default, in frames per second."""
    return declared if SLOWEST_RATE <= declared <= FASTEST_RATE else USUAL_RATE


def turned(image: NDArray[np.uint8], quarters: int) -> NDArray[np.uint8]:
    """Rotate a frame counterclockwise by quarter turns; phones store upright videos rotated."""
    return np.ascontiguousarray(np.rot90(image, quarters)) if quarters % 4 else image


def check_frame_size(origin: Origin, height: int, width: int) -> None:
    """Check that a frame is not too large to be decoded.

    Raises:
        ImageError: the frame has more than `MAX_FRAME` pixels.
    """
    if height * width > MAX_FRAME:
        raise ImageError(
            f"{name_of(origin)}: expected frames of at most {MAX_FRAME:,} pixels (8K), found "
            f"{height:,}x{width:,}; not decoded: ffmpeg -i IN -vf scale=4096:-2 OUT makes them smaller"
        )


def found_instead(origin: Origin) -> str:
    """Describe a file, camera or stream that cannot be opened as a video."""
    if not isinstance(origin, str):
        return "data that cannot be opened as one"
    from lookonce.runtime.diagnosis import diagnose  # imports HTTP, which is slow

    return diagnose(origin)


def check_whole(origin: Origin, declared: int, found: int) -> None:
    """Check the number of frames found against the declared number.

    Raises:
        ImageError: there are no frames, or far fewer than declared.
    """
    if found < max(1, WHOLE * declared):
        wanted = counted(declared, "frame") if declared > 0 else "some frames"
        raise ImageError(
            f"{name_of(origin)}: expected {wanted}, found {found}: the video is damaged or cut short"
        )


def check_no_playlist(path: Path) -> None:
    """Reject a playlist, which would make FFmpeg read files that the user did not name.

    Raises:
        ImageError: the file is a playlist, with any suffix.
    """
    if start_of(path).startswith(PLAYLISTS):
        raise ImageError(f"{path}: expected a video, found a playlist or sound; name the videos themselves")


def start_of(path: Path) -> bytes:
    """Return the first 12 bytes of a file; empty if it cannot be read."""
    try:
        with open_input(path, ImageError) as stream:
            return stream.read(12)
    except ImageError:
        return b""
