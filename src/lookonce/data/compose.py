"""Images drawn into the network's input at random places and sizes: zoom, mosaic, mixup, colour.

```
   zoom 1.5                 mosaic
  ┌─────────────┐          ┌────────┬────┐
  │ a part of   │          │        │    │      around a random point, each image at a size of its own;
  │ the image │          │   1    │ 2  │      what a window hides is cut off
  │ fills the   │          │        │    │
  │ input       │          ├────────┼────┤
  └─────────────┘          │   3    │ 4  │
                           └────────┴────┘
```

Unlike the changes in `augment`, these may cut into objects: a box is cut with its object, and left out where
too little of it is still in sight. Coordinates are pixels of the input.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from lookonce.config import AugmentSettings
from lookonce.data.augment import AnnotatedImage, Boxes, Image, Rect
from lookonce.geometry.boxes import area
from lookonce.geometry.letterbox import GREY

IN_SIGHT = 0.3  # share of a box's area below which it is left out
SMALLEST_SIDE = 2.0  # pixels of the input; less of a cut object is no object any more
NEAREST_TO_BORDER = 0.25  # of a side: where the mosaic's four images may meet
MIXUP_BETA = 8.0  # both parameters: mostly near half and half

Range = tuple[float, float]
Size = tuple[int, int]  # height, width


def place(
    image: AnnotatedImage, canvas: Image, window: Rect, scale: float, x: float, y: float
) -> AnnotatedImage:
    """Draw an image into a window of the canvas.

    Args:
        image: boxes in its own pixels.
        canvas: (H, W, 3) uint8, changed inside the window; grey where the image does not reach.
        window: of the canvas.
        scale: enlargement, the same both ways.
        x: where the image's left border comes to lie on the canvas.
        y: likewise its upper border.

    Returns:
        The canvas, with the boxes that are in sight.
    """
    left, top, right, bottom = window
    half = (scale - 1) / 2  # pixel centres lie at halves
    matrix = np.array([[scale, 0, x - left + half], [0, scale, y - top + half]])
    canvas[top:bottom, left:right] = cv2.warpAffine(
        image.image, matrix, (right - left, bottom - top), borderValue=(GREY, GREY, GREY)
    )
    whole = image.boxes * np.float32(scale) + np.array([x, y, x, y], np.float32)
    boxes = np.clip(whole, np.array([left, top] * 2, np.float32), np.array([right, bottom] * 2, np.float32))
    kept = in_sight(boxes, whole)
    return AnnotatedImage(canvas, boxes[kept], image.labels[kept])


def in_sight(cut: Boxes, whole: Boxes) -> NDArray[np.bool_]:
    """(N, 4), (N, 4) -> (N,): whether enough of each box is left; one that is whole stays, however small."""
    sides = cut[:, 2:] - cut[:, :2]
    enough = (area(cut) >= IN_SIGHT * area(whole)) & (sides >= SMALLEST_SIDE).all(axis=1)
    kept: NDArray[np.bool_] = enough | (cut == whole).all(axis=1)
    return kept


def random_zoom(image: AnnotatedImage, fit: float, size: Size, zoom: Range, rng: Generator) -> AnnotatedImage:
    """The image at a random size, around its `fit`, and place in an input of the given (height, width)."""
    height, width = size
    scale = fit * _between(zoom, rng)
    spare = np.array([width, height]) - scale * np.array(image.size[::-1])
    x, y = rng.random(2) * spare  # less than none: then a random part fills the input
    canvas = np.empty((height, width, 3), np.uint8)
    return place(image, canvas, (0, 0, width, height), scale, x, y)


def mosaic(
    images: Sequence[AnnotatedImage], fits: Sequence[float], size: Size, zoom: Range, rng: Generator
) -> AnnotatedImage:
    """Four images around a random point of an input of the given (height, width).

    Each is drawn at its fit, which is the enlargement it would have alone, times a zoom of its own, so that
    objects keep their sizes and a window shows a part of its image.
    """
    height, width = size
    share = rng.uniform(NEAREST_TO_BORDER, 1 - NEAREST_TO_BORDER, 2)
    middle_x, middle_y = round(share[0] * width), round(share[1] * height)
    canvas = np.empty((height, width, 3), np.uint8)
    drawn = []
    for number, (image, fit) in enumerate(zip(images, fits, strict=True)):
        left, right = (0, middle_x) if number % 2 == 0 else (middle_x, width)
        top, bottom = (0, middle_y) if number < 2 else (middle_y, height)
        scale = fit * _between(zoom, rng)
        x = _offset(left, right, scale * image.size[1], left == 0, rng)
        y = _offset(top, bottom, scale * image.size[0], top == 0, rng)
        drawn.append(place(image, canvas, (left, top, right, bottom), scale, x, y))
    return AnnotatedImage(
        canvas,
        np.concatenate([each.boxes for each in drawn]),
        np.concatenate([each.labels for each in drawn]),
    )


def mixup(one: AnnotatedImage, other: AnnotatedImage, rng: Generator) -> AnnotatedImage:
    """Two images of one size, one shining through the other; the objects of both."""
    share = rng.beta(MIXUP_BETA, MIXUP_BETA)
    image = np.asarray(cv2.addWeighted(one.image, share, other.image, 1 - share, 0), np.uint8)
    return AnnotatedImage(
        image, np.concatenate([one.boxes, other.boxes]), np.concatenate([one.labels, other.labels])
    )


def random_colour(image: Image, settings: AugmentSettings, rng: Generator) -> None:
    """Turn the colour circle, and strengthen or weaken colours and brightness: in place, RGB."""
    if settings.hue == 0 and settings.saturation == settings.exposure == 1:
        return
    turn = rng.uniform(-settings.hue, settings.hue)
    saturation = _between((1 / settings.saturation, settings.saturation), rng)
    exposure = _between((1 / settings.exposure, settings.exposure), rng)
    levels = np.arange(256)
    tables = (
        np.rint(levels + 180 * turn) % 180,  # OpenCV counts hue to 180, so that it fits a byte
        np.rint(np.minimum(levels * saturation, 255)),
        np.rint(np.minimum(levels * exposure, 255)),
    )
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    cv2.LUT(hsv, np.stack(tables, axis=1).astype(np.uint8)[None], dst=hsv)
    cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB, dst=image)


def fitting(image: AnnotatedImage, size: Size) -> float:
    """The enlargement at which the whole image just fits."""
    return min(size[0] / image.size[0], size[1] / image.size[1])


def _between(limits: Range, rng: Generator) -> float:
    """A factor, and as likely its way up as its way down."""
    return math.exp(rng.uniform(math.log(limits[0]), math.log(limits[1])))


def _offset(low: int, high: int, length: float, at_high: bool, rng: Generator) -> float:
    """Where an image of that length begins: it fills its window, or touches where the four meet."""
    if length >= high - low:
        return rng.uniform(high - length, low)
    return high - length if at_high else low
