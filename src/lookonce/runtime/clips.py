"""Write annotated frames with OpenCV as a video that browsers play, without sound and at a constant rate."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce._counted import counted
from lookonce._files import replacing
from lookonce._opencv import silent_opencv
from lookonce.errors import ImageError
from lookonce.runtime.opencv_video import count_frames, name_for_opencv
from lookonce.runtime.timed_clips import TimedClipWriter, keeps_sound
from lookonce.runtime.video_checks import LONGEST_GAP, USUAL_RATE, Moment

# VP8 in WebM: all browsers play it, and OpenCV's FFmpeg writes it. A 720x1280 frame takes 34 ms of CPU time
# in VP8 and 100 ms in VP9. MPEG-4 part 2 takes 6 ms, but browsers do not play it.
CLIP_SUFFIXES = (".webm",)
CODEC = "VP80"
FASTEST = 120.0  # frames per second; a higher declared rate is usually the rate of a millisecond clock


class ClipWriter:
    """Writes RGB frames to a `.webm` file, which gets its final name when it is closed.

    The file has a constant frame rate. A frame is repeated until the next one is due, and dropped if the next
    one is due first, so the file always shows the same frame as the source.
    """

    def __init__(self, path: Path, size: tuple[int, int], rate: float) -> None:
        """Begin the file.

        Args:
            path: a `.webm` file.
            size: (height, width) of the frames; an odd side is padded by repeating its last pixel.
            rate: frames per second.

        Raises:
            ImageError: the file cannot be written.
        """
        self.path = path
        self._rate = rate if rate <= FASTEST else USUAL_RATE
        self._size = size
        self._padding = size[0] % 2, size[1] % 2
        self._frames = 0
        self._first: float | None = None
        self._last: NDArray[np.uint8] | None = None
        self._rename = ExitStack()
        self._temporary = self._rename.enter_context(replacing(path))
        sides = size[1] + size[1] % 2, size[0] + size[0] % 2
        with silent_opencv(), _no_stderr():
            self._writer = cv2.VideoWriter(
                name_for_opencv(self._temporary),
                cv2.CAP_FFMPEG,
                cv2.VideoWriter.fourcc(*CODEC),
                self._rate,
                sides,
            )
        if not self._writer.isOpened():
            with self._rename:
                raise ImageError(
                    f"{path}: a video of {size[0]}x{size[1]} (height x width) at {rate:g} frames per second "
                    "cannot be written there"
                )

    def add(self, frame: NDArray[np.uint8], moment: Moment) -> None:
        """Append an (H, W, 3) frame, scaled to the video's size if it differs, as a stream's may."""
        if frame.shape[:2] != self._size:
            frame = cv2.resize(frame, self._size[::-1]).astype(np.uint8, copy=False)
        if self._first is None:
            self._first = moment.seconds
        due = round((moment.seconds - self._first) * self._rate)
        if due - self._frames > LONGEST_GAP * self._rate:
            self._first, due = moment.seconds - self._frames / self._rate, self._frames
        shown = [] if self._last is None else [self._last] * (due - self._frames)
        self._last = cv2.copyMakeBorder(
            cv2.cvtColor(frame, cv2.COLOR_RGB2BGR),
            0,
            self._padding[0],
            0,
            self._padding[1],
            cv2.BORDER_REPLICATE,
        ).astype(np.uint8, copy=False)
        if self._frames + len(shown) <= due:
            shown.append(self._last)
        for bgr in shown:
            self._writer.write(bgr)
        self._frames += len(shown)

    def close(self, *, complete: bool = True) -> None:
        """Finish the file and give it its final name, whether or not the source was read to its end.

        Raises:
            ImageError: frames are missing, for example because the disk is full; the file is removed.
        """
        self._writer.release()
        with self._rename:
            written = count_frames(self._temporary)
            if written < self._frames:  # OpenCV does not report a failed write
                raise ImageError(
                    f"{self.path}: expected {counted(self._frames, 'frame')} in the written file, found "
                    f"{written}; is the disk full?"
                )


def open_clip(
    path: Path, size: tuple[int, int], rate: float, source: Path | None
) -> ClipWriter | TimedClipWriter:
    """Begin a `.webm` file, with the sound of its source if PyAV is installed."""
    return TimedClipWriter(path, size, rate, source) if keeps_sound() else ClipWriter(path, size, rate)


@contextmanager
def _no_stderr() -> Iterator[None]:
    """Hide OpenCV's message that WebM has no four-letter codec codes, which bypasses its log."""
    try:
        saved = os.dup(2)
    except OSError:  # closed
        saved = -1
    try:
        if saved >= 0:
            with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
                os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        with suppress(OSError):
            os.dup2(saved, 2)
            os.close(saved)
