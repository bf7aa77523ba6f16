"""Detect frames that OpenCV returns without having converted them to RGB.

If swscale rejects a frame, as it does interlaced ones, OpenCV 4.13 and 4.14 return unchanged memory without
an error: a black frame, or the previous one. To detect this, the frame is read again without conversion, and
the brightness of both is compared.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce._opencv import silent_opencv

AGREES = 0.9  # correlation of brightness: 0.999 if a frame was converted, usually about 0 if not
FLAT = 2.0  # standard deviation of brightness at or below which frames cannot be correlated
BLACK = 40  # highest stored brightness of a black frame, noise included
PAUSE = 2  # after frame n was compared, repeated frames are not compared again before frame 2n


class ConversionCheck:
    """Compares suspicious frames of a file with their unconverted versions.

    Attributes:
        doubts: number of black frames that may be unwritten memory; 0 after a frame known to be correct.
    """

    def __init__(self, open_raw: Callable[[], cv2.VideoCapture]) -> None:
        """Store the function that opens the file a second time, without conversion."""
        self.doubts = 0
        self._open_raw = open_raw
        self._raw: cv2.VideoCapture | None = None
        self._raw_frames = self._frames = self._due = 0
        self._before: NDArray[np.uint8] | None = None

    def is_converted(self, rgb: NDArray[np.uint8]) -> bool:
        """Return whether the next frame, (H, W, 3), matches the unconverted one; True if unknown."""
        self._frames += 1
        repeated = self._before is None or np.array_equal(self._before, rgb[::8, ::8])
        self._before = rgb[::8, ::8].copy()
        if not repeated or self._frames < self._due:
            self.doubts = self.doubts if repeated else 0
            return True
        luma = self._luma()
        if luma is None or luma.shape != rgb.shape[:2]:
            return True  # no frame, or a pixel format that cannot be compared
        shown = cv2.cvtColor(np.ascontiguousarray(rgb[::4, ::4]), cv2.COLOR_RGB2GRAY).astype(np.float64)
        stored = luma[::4, ::4].astype(np.float64)
        flat, stored_flat = shown.std() <= FLAT, stored.std() <= FLAT
        if flat and stored_flat and not np.median(shown) and not np.median(stored):
            self.doubts += 1  # most videos store black as 16, whereas unwritten memory is mostly 0
            return True
        self.doubts, self._due = 0, PAUSE * self._frames
        self.__exit__(None, None, None)  # the next check reopens the file, so no old frame is in memory
        if flat or stored_flat:
            return (flat and stored_flat) or bool(stored.max() <= BLACK and not stored_flat)
        return bool(np.corrcoef(shown.ravel(), stored.ravel())[0, 1] > AGREES)

    def _luma(self) -> NDArray[np.uint8] | None:
        """Return the current frame's brightness (H, W), unconverted; None if the format is not planar."""
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
