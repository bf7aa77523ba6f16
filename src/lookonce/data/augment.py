"""Augment an image together with its boxes.

`flip`, `turn`, `crop` and `translate` transform pixels and boxes with explicit arguments. The `random_*`
functions draw these arguments from a random generator; `PIPELINE` lists those that run after `random_turn`,
in the write-up's order. To add an augmentation that keeps every box whole, write a function of the same form
and add it to `PIPELINE`. `compose` holds the augmentations that cut boxes or combine several images.

Every box stays whole: crop never cuts into the union of all boxes, and translate never moves it across the
border. In an image without boxes, the middle half of width and height takes the place of this union, so that
background images are augmented too without losing their center.

Coordinates are pixels; boxes keep their fractions (the reference truncates them to integers, its fault 5).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from lookonce.config import AugmentSettings
from lookonce.samples import Area

Boxes = NDArray[np.float32]  # (N, 4) xyxy
Image = NDArray[np.uint8]  # (H, W, 3)
Rect = tuple[int, int, int, int]  # left, top, right, bottom


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedImage:
    """Pixels and objects of an image, either as read or as drawn into the network input.

    Attributes:
        pixels: (H, W, 3) uint8 RGB; may share memory with the image it was made from.
        boxes: (N, 4) float32 xyxy, inside the image.
        labels: (N,) int64 class numbers.
        ignored: areas in which objects may lack a box; they may extend beyond the image.
    """

    pixels: Image
    boxes: Boxes
    labels: NDArray[np.int64]
    ignored: tuple[Area, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Return (height, width) in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def changed(self, change: Callable[[Image, Boxes], tuple[Image, Boxes]]) -> "AnnotatedImage":
        """Apply a geometric change to pixels, boxes and ignored areas."""
        corners = [np.tile(area.corners, 2) for area in self.ignored]  # (K, 4): each corner as an empty box
        pixels, moved = change(self.pixels, np.concatenate([self.boxes, *corners]))
        boxes, *corners = np.split(moved, np.cumsum([len(self.boxes), *map(len, corners)])[:-1])
        areas = zip(self.ignored, corners, strict=True)
        return AnnotatedImage(
            pixels, boxes, self.labels, tuple(replace(area, corners=each[:, :2]) for area, each in areas)
        )


def flip(image: Image, boxes: Boxes) -> tuple[Image, Boxes]:
    """Mirror left to right: x becomes width - x."""
    mirrored = boxes.copy()
    mirrored[:, 0::2] = image.shape[1] - boxes[:, 2::-2]
    return np.asarray(cv2.flip(image, 1), np.uint8), mirrored


def turn(image: Image, boxes: Boxes) -> tuple[Image, Boxes]:
    """Rotate by 90 degrees counterclockwise: (x, y) becomes (y, width - x)."""
    width = image.shape[1]
    left, top, right, bottom = boxes.T
    turned = np.stack([top, width - right, bottom, width - left], axis=1)
    return np.asarray(cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE), np.uint8), turned


def crop(image: Image, boxes: Boxes, rect: Rect) -> tuple[Image, Boxes]:
    """Crop to a rectangle of whole pixels; the returned image is a view."""
    left, top, right, bottom = rect
    return image[top:bottom, left:right], boxes - np.array([left, top, left, top], np.float32)


def translate(image: Image, boxes: Boxes, x: float, y: float) -> tuple[Image, Boxes]:
    """Shift right by x and down by y pixels (bilinear); the size is kept, and the uncovered part is black."""
    height, width = image.shape[:2]
    matrix = np.array([[1, 0, x], [0, 1, y]], np.float64)
    shifted = cv2.warpAffine(image, matrix, (width, height))
    return np.asarray(shifted, np.uint8), boxes + np.array([x, y, x, y], np.float32)


def random_flip(image: AnnotatedImage, settings: AugmentSettings, rng: Generator) -> AnnotatedImage:
    """Mirror left to right, with probability `settings.flip`."""
    if rng.random() >= settings.flip:
        return image
    return image.changed(flip)


def random_turn(
    image: AnnotatedImage, settings: AugmentSettings, rng: Generator, shape: tuple[int, int] | None = None
) -> AnnotatedImage:
    """Rotate by a random multiple of 90 degrees, if `settings.orientation` is free.

    Args:
        image: image with its boxes inside.
        settings: orientation of the images.
        rng: random generator.
        shape: (height, width) of the input; a landscape image is rotated to portrait for a portrait input,
            and vice versa, so that it fills the input well. None allows every multiple.
    """
    if settings.orientation == "upright":
        return image
    quarters = int(rng.integers(4))
    if shape is not None:
        alike = (image.size[0] - image.size[1]) * (shape[0] - shape[1])
        quarters = quarters if alike == 0 else quarters & 2 | (alike < 0)
    for _ in range(quarters):
        image = image.changed(turn)
    return image


def random_crop(image: AnnotatedImage, settings: AugmentSettings, rng: Generator) -> AnnotatedImage:
    """Crop each of the four sides at random, up to the boxes, with probability `settings.crop`.

    The reference never crops the right and bottom sides because of a bug (its fault 4).
    """
    if rng.random() >= settings.crop:
        return image
    margins = rng.uniform(0, margins_around(image))
    rect = crop_rect(image, margins)
    return image.changed(lambda pixels, boxes: crop(pixels, boxes, rect))


def random_translate(image: AnnotatedImage, settings: AugmentSettings, rng: Generator) -> AnnotatedImage:
    """Shift by a random distance that keeps every box inside, with probability `settings.translate`."""
    if rng.random() >= settings.translate:
        return image
    left, top, right, bottom = margins_around(image)
    x, y = rng.uniform((-left, -top), (right, bottom))
    return image.changed(lambda pixels, boxes: translate(pixels, boxes, x, y))


Augmentation = Callable[[AnnotatedImage, AugmentSettings, Generator], AnnotatedImage]
PIPELINE: tuple[Augmentation, ...] = (random_flip, random_crop, random_translate)


def augment(image: AnnotatedImage, settings: AugmentSettings, rng: Generator) -> AnnotatedImage:
    """Run `PIPELINE`; the number of boxes is kept.

    Args:
        image: image with its boxes inside.
        settings: probability of each augmentation.
        rng: random generator; the same state gives the same result.
    """
    for step in PIPELINE:
        image = step(image, settings, rng)
    return image


def union_of_boxes(image: AnnotatedImage) -> NDArray[np.float64]:
    """Return the region that must stay visible, (4,) xyxy: all boxes or, without boxes, the middle half."""
    if len(image.boxes) == 0:
        height, width = image.size
        return np.array([width, height, 3 * width, 3 * height]) / 4
    low, high = image.boxes[:, :2].min(axis=0), image.boxes[:, 2:].max(axis=0)
    return np.concatenate([low, high]).astype(np.float64)


def margins_around(image: AnnotatedImage) -> NDArray[np.float64]:
    """Return the pixels between `union_of_boxes` and the left, top, right and bottom border: (4,), >= 0."""
    height, width = image.size
    left, top, right, bottom = union_of_boxes(image)
    return np.maximum([left, top, width - right, height - bottom], 0)


def crop_rect(image: AnnotatedImage, margins: NDArray[np.float64]) -> Rect:
    """Extend `union_of_boxes` by margins (left, top, right, bottom), rounded outward to whole pixels."""
    height, width = image.size
    left, top, right, bottom = union_of_boxes(image) + margins * (-1, -1, 1, 1)
    return (
        max(0, int(np.floor(left))),
        max(0, int(np.floor(top))),
        min(width, int(np.ceil(right))),
        min(height, int(np.ceil(bottom))),
    )
