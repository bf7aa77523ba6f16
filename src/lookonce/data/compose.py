"""Draw images into the network input: letterboxed, or at random positions and sizes (zoom, mosaic, mixup).

```
   zoom 1.5                 mosaic
  ┌─────────────┐          ┌────────┬────┐
  │ a part of   │          │        │    │      four images around a random point, each with its own zoom
  │ the image   │          │   1    │ 2  │      and cut off at the border of its window
  │ fills the   │          │        │    │
  │ input       │          ├────────┼────┤
  └─────────────┘          │   3    │ 4  │
                           └────────┴────┘
```

Unlike the augmentations in `augment`, zoom and mosaic may cut objects: a box is clipped with its object, and
dropped if too little of it remains visible. Coordinates are pixels of the input.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from lookonce.config import AugmentSettings
from lookonce.data.augment import AnnotatedImage, Boxes, Image, Rect
from lookonce.geometry.boxes import area
from lookonce.geometry.letterbox import GRAY, Letterbox

IN_SIGHT = 0.3  # visible share of the area below which a box is dropped
SMALLEST_SIDE = 2.0  # pixels of the input; a clipped box with a shorter side is dropped
NEAREST_TO_BORDER = 0.25  # least distance from the border to the point where a mosaic's images meet, per side
MIXUP_BETA = 8.0  # both parameters of the beta distribution: most blends are near half and half

Range = tuple[float, float]


def letterboxed(image: AnnotatedImage, letterbox: Letterbox, canvas: Image) -> AnnotatedImage:
    """Draw the whole image into the canvas, letterboxed as in detection."""
    left, top, (height, width) = letterbox.left, letterbox.top, letterbox.resized
    drawn = image.changed(lambda pixels, boxes: (letterbox.image(pixels, canvas), letterbox.boxes_in(boxes)))
    window = left, top, left + width, top + height
    return replace(drawn, ignored=tuple(replace(area, window=window) for area in drawn.ignored))


def draw(
    image: AnnotatedImage, canvas: Image, window: Rect, scale: float, x: float, y: float
) -> AnnotatedImage:
    """Draw an image into a window of the canvas.

    Args:
        image: image with boxes in its own pixels.
        canvas: (H, W, 3) uint8; overwritten inside the window, gray where the image does not reach.
        window: part of the canvas to draw into.
        scale: enlargement, the same in both directions.
        x: left edge of the image on the canvas.
        y: top edge of the image on the canvas.

    Returns:
        Canvas with the boxes that remain visible, clipped to the window.
    """
    left, top, right, bottom = window
    half = (scale - 1) / 2  # warpAffine counts from pixel centers, boxes from pixel edges
    matrix = np.array([[scale, 0, x - left + half], [0, scale, y - top + half]])
    canvas[top:bottom, left:right] = cv2.warpAffine(
        image.pixels, matrix, (right - left, bottom - top), borderValue=(GRAY, GRAY, GRAY)
    )
    moved = image.changed(
        lambda _, boxes: (canvas, boxes * np.float32(scale) + np.array([x, y, x, y], np.float32))
    )
    whole = moved.boxes
    boxes = np.clip(whole, np.array([left, top] * 2, np.float32), np.array([right, bottom] * 2, np.float32))
    kept = in_sight(boxes, whole)
    height, width = image.size
    shown = max(left, x), max(top, y), min(right, x + scale * width), min(bottom, y + scale * height)
    areas = tuple(replace(area, window=shown) for area in moved.ignored)
    return AnnotatedImage(canvas, boxes[kept], image.labels[kept], areas)


def in_sight(cut: Boxes, whole: Boxes) -> NDArray[np.bool_]:
    """Return which boxes are visible enough after cutting: (N, 4), (N, 4) -> (N,); uncut boxes always are."""
    sides = cut[:, 2:] - cut[:, :2]
    enough = (area(cut) >= IN_SIGHT * area(whole)) & (sides >= SMALLEST_SIDE).all(axis=1)
    kept: NDArray[np.bool_] = enough | (cut == whole).all(axis=1)
    return kept


def random_zoom(
    image: AnnotatedImage, scale: float, canvas: Image, zoom: Range, rng: Generator
) -> AnnotatedImage:
    """Draw an image into the canvas at `scale` times a random zoom, at a random position."""
    height, width = canvas.shape[:2]
    scale *= random_factor(zoom, rng)
    spare = np.array([width, height]) - scale * np.array(image.size[::-1])
    x, y = rng.random(2) * spare  # if negative, a random part of the image fills the input
    return draw(image, canvas, (0, 0, width, height), scale, x, y)


def mosaic(
    images: Sequence[AnnotatedImage], scales: Sequence[float], canvas: Image, zoom: Range, rng: Generator
) -> AnnotatedImage:
    """Draw four images into the canvas around a random point.

    Each image is drawn at the scale it would have alone, times its own random zoom. Objects thus keep their
    usual size, and each window shows a part of its image.
    """
    height, width = canvas.shape[:2]
    share = rng.uniform(NEAREST_TO_BORDER, 1 - NEAREST_TO_BORDER, 2)
    middle_x, middle_y = round(share[0] * width), round(share[1] * height)

    def offset(low: int, high: int, length: float, at_high: bool) -> float:
        """Return where an image starts so that it fills its window or, if smaller, touches the center."""
        if length >= high - low:
            return rng.uniform(high - length, low)
        return high - length if at_high else low

    drawn = []
    for number, (image, scale) in enumerate(zip(images, scales, strict=True)):
        left, right = (0, middle_x) if number % 2 == 0 else (middle_x, width)
        top, bottom = (0, middle_y) if number < 2 else (middle_y, height)
        scale *= random_factor(zoom, rng)
        x = offset(left, right, scale * image.size[1], left == 0)
        y = offset(top, bottom, scale * image.size[0], top == 0)
        drawn.append(draw(image, canvas, (left, top, right, bottom), scale, x, y))
    return together(canvas, drawn)


def together(canvas: Image, images: Sequence[AnnotatedImage]) -> AnnotatedImage:
    """Combine the objects and ignored areas of all images drawn into the canvas."""
    return AnnotatedImage(
        canvas,
        np.concatenate([each.boxes for each in images]),
        np.concatenate([each.labels for each in images]),
        tuple(chain.from_iterable(each.ignored for each in images)),
    )


def mixup(one: AnnotatedImage, other: AnnotatedImage, rng: Generator) -> AnnotatedImage:
    """Blend another image of the same size into the first, in place; the result has the objects of both."""
    share = rng.beta(MIXUP_BETA, MIXUP_BETA)
    cv2.addWeighted(one.pixels, share, other.pixels, 1 - share, 0, dst=one.pixels)
    return together(one.pixels, [one, other])


def random_color(image: Image, settings: AugmentSettings, rng: Generator) -> None:
    """Shift the hue and scale saturation and brightness at random, in place (RGB)."""
    if settings.hue == 0 and settings.saturation == settings.exposure == 1:
        return
    shift = rng.uniform(-settings.hue, settings.hue)
    saturation = random_factor((1 / settings.saturation, settings.saturation), rng)
    exposure = random_factor((1 / settings.exposure, settings.exposure), rng)
    levels = np.arange(256)
    tables = (
        np.rint(levels + 180 * shift) % 180,  # OpenCV halves the hue's degrees to fit a byte
        np.rint(np.minimum(levels * saturation, 255)),
        np.rint(np.minimum(levels * exposure, 255)),
    )
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    cv2.LUT(hsv, np.stack(tables, axis=1).astype(np.uint8)[None], dst=hsv)
    cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB, dst=image)


def fit_scale(image: AnnotatedImage, size: tuple[int, int]) -> float:
    """Return the largest scale at which the whole image fits into (height, width)."""
    return min(size[0] / image.size[0], size[1] / image.size[1])


def random_factor(limits: Range, rng: Generator) -> float:
    """Draw a random factor whose logarithm is uniform between `limits`."""
    return math.exp(rng.uniform(math.log(limits[0]), math.log(limits[1])))
