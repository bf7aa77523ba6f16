"""Detect frames that OpenCV returns without having converted them.

OpenCV 4.13 and 4.14 leave the frame's memory unchanged if swscale rejects the frame, as it does with
interlaced ones: the result is black, or the previous frame, without an error. Reading the same frame without
conversion reveals it: its brightness agrees only with that of a correctly converted frame.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce.images import silent_opencv

AGREES = 0.9  # correlation of brightness; 0.999 if a frame was converted, usually about 0 if not
FLAT = 2.0  # standard deviation of a frame whose brightness cannot be compared
BLACK = 40  # brightness as stored, noise included
PAUSE = 2  # a frame equal to its predecessor is compared again at twice the number of the last one compared


class ConversionCheck:
    """Compares suspicious frames of a file with their unconverted versions.

    Attributes:
        doubts: black frames that may be unwritten memory; reset to 0 once a frame is known to be correct.
    """

    def __init__(self, open_raw: Callable[[], cv2.VideoCapture]) -> None:
        """Store how to open the file a second time, without conversion."""
        self.doubts = 0
        self._open_raw = open_raw
        self._raw: cv2.VideoCapture | None = None
        self._raw_frames = self._frames = self._due = 0
        self._before: NDArray[np.uint8] | None = None

    def is_converted(self, rgb: NDArray[np.uint8]) -> bool:
        """Return whether the next frame, (H, W, 3), matches the frame in the file."""
        self._frames += 1
        repeated = self._before is None or np.array_equal(self._before, rgb[::8, ::8])
        self._before = rgb[::8, ::8].copy()
        if not repeated or self._frames < self._due:
            self.doubts = self.doubts if repeated else 0
            return True
        luma = self._luma()
        if luma is None or luma.shape != rgb.shape[:2]:
            return True  # a pixel format that cannot be compared, or no frame
        shown = cv2.cvtColor(np.ascontiguousarray(rgb[::4, ::4]), cv2.COLOR_RGB2GRAY).astype(np.float64)
        stored = luma[::4, ::4].astype(np.float64)
        flat, stored_flat = shown.std() <= FLAT, stored.std() <= FLAT
        if flat and stored_flat and not np.median(shown) and not np.median(stored):
            self.doubts += 1  # most videos store black as 16; unwritten memory is 0, almost everywhere
            return True
        self.doubts, self._due = 0, PAUSE * self._frames
        self.__exit__(None, None, None)  # a file reopened for the next check has no frame in its memory
        if flat or stored_flat:
            return (flat and stored_flat) or bool(stored.max() <= BLACK and not stored_flat)
        return bool(np.corrcoef(shown.ravel(), stored.ravel())[0, 1] > AGREES)

    def _luma(self) -> NDArray[np.uint8] | None:
        """Read the current frame unconverted; for planar formats, the first plane (brightness)."""
        if self._raw is None:
            self._raw, self._raw_frames = self._open_raw(), 0
        while self._raw_frames < self._frames:
            if not self._raw.grab():
                return None
            self._raw_frames += 1
        with silent_opencv():
            found, luma = self._raw.retrieve()
        return np.asarray(luma) if found and luma.ndim == 2 and luma.dtype == np.uint8 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        raw, self._raw = self._raw, None
        if raw is not None:
            raw.release()
