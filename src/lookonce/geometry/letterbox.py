"""Fit an image into the network input, and map boxes in both directions.

```
   image (H, W)              input (height, width)
  ┌──────────────┐            ┌──────────────────────┐ ┐
  │              │            │░░░░░░ gray 128 ░░░░░░│ │ top
  │              │   resize   ├──────────────────────┤ ┘
  │              │  ───────►  │  resized             │
  └──────────────┘            ├──────────────────────┤
                              │░░░░░░░░░░░░░░░░░░░░░░│ an odd pixel goes below, or right
                              └──────────────────────┘
```
"""

from dataclasses import dataclass
from typing import Literal, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce.geometry import boxes as box_ops

Fit = Literal["letterbox", "stretch"]  # ways to resize an image to the input

GRAY = 128  # of 255; the reference's padding


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Mapping between one image size and the network input, in both directions.

    Sizes are whole pixels, so rounding can make the scales of the two axes differ. Boxes are mapped with the
    actual scale of each axis and the whole-pixel offsets in both directions (reference fault 6).

    Attributes:
        source: (height, width) of the image.
        target: (height, width) of the network input.
        resized: (height, width) of the image inside the input, at least 1 each.
        top: rows of padding above.
        left: columns of padding to the left.
    """

    source: tuple[int, int]
    target: tuple[int, int]
    resized: tuple[int, int]
    top: int
    left: int

    @classmethod
    def fit(cls, source: tuple[int, int], target: tuple[int, int]) -> Self:
        """Fit an image into the input as large as its aspect ratio allows, centered.

        The size is computed in integers: one side fills the input exactly, and the other is rounded down, but
        never to 0.
        """
        (h, w), (height, width) = source, target
        if width * h <= height * w:
            resized = max(1, width * h // w), width
        else:
            resized = height, max(1, height * w // h)
        return cls(source, target, resized, (height - resized[0]) // 2, (width - resized[1]) // 2)

    @classmethod
    def stretch(cls, source: tuple[int, int], target: tuple[int, int]) -> Self:
        """Fill the input without keeping the aspect ratio, as AlexeyAB's Darknet does."""
        return cls(source, target, target, 0, 0)

    @classmethod
    def for_policy(cls, policy: Fit, source: tuple[int, int], target: tuple[int, int]) -> Self:
        """Letterbox or stretch an image of (height, width) `source` into an input of size `target`."""
        return cls.stretch(source, target) if policy == "stretch" else cls.fit(source, target)

    @classmethod
    def rectangle(cls, source: tuple[int, int], target: tuple[int, int], multiple: int) -> Self:
        """Fit an image into the smallest input whose sides are multiples of `multiple`.

        The image has the same size as with `fit`; only padding is omitted. The sides of `target` must be
        multiples of `multiple`.
        """
        resized = cls.fit(source, target).resized
        height, width = (-(-side // multiple) * multiple for side in resized)
        return cls(source, (height, width), resized, (height - resized[0]) // 2, (width - resized[1]) // 2)

    @property
    def scale(self) -> tuple[float, float]:
        """Return the (vertical, horizontal) factors from image to input."""
        return self.resized[0] / self.source[0], self.resized[1] / self.source[1]

    def image(self, image: NDArray[np.uint8], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Resize and pad an image: (H, W, 3) uint8 -> (height, width, 3) uint8.

        The interpolation is bilinear, with half-pixel centers and no antialiasing. The result is written into
        `out` if given, so that a batch can be filled in place.

        Raises:
            ValueError: the image does not have the size `source`.
        """
        if image.shape[:2] != self.source:
            raise ValueError(f"expected an image of {self.source}, found {image.shape[:2]}")
        canvas = np.empty((*self.target, 3), np.uint8) if out is None else out
        bottom, right = self.top + self.resized[0], self.left + self.resized[1]
        canvas[: self.top] = canvas[bottom:] = GRAY
        canvas[:, : self.left] = canvas[:, right:] = GRAY
        inside = canvas[self.top : bottom, self.left : right]
        if self.resized == self.source:
            inside[:] = image
        else:
            cv2.resize(image, self.resized[::-1], dst=inside)
        return canvas

    def boxes_in(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map (N, 4) xyxy boxes from image pixels to input pixels."""
        factor, offset = self._way_in()
        return (boxes * factor + offset).astype(np.float32)

    def boxes_out(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map (N, 4) xyxy boxes from input pixels to image pixels, clipped to the image."""
        factor, offset = self._way_in()
        return box_ops.clip((boxes - offset) / factor, *self.source).astype(np.float32)

    def _way_in(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the factors and offsets that map xyxy from image to input, (4,) each."""
        vertical, horizontal = self.scale
        factor = np.array([horizontal, vertical, horizontal, vertical])
        return factor, np.array([self.left, self.top, self.left, self.top])
