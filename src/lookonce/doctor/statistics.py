"""Statistics of a split: numbers of images and boxes, and their sizes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lookonce.geometry.boxes import area
from lookonce.samples import SampleSet

COCO_SMALL, COCO_MEDIUM = 32**2, 96**2  # upper limits of COCO's small and medium areas, square pixels


@dataclass(frozen=True, slots=True)
class Spread:
    """Smallest value, median, and largest value."""

    least: float
    median: float
    most: float

    @classmethod
    def of(cls, values: NDArray[np.floating] | Sequence[float]) -> Self | None:
        """Summarize some values; return None if there are none."""
        if not len(values):
            return None
        return cls(float(np.min(values)), float(np.median(values)), float(np.max(values)))

    def __str__(self) -> str:
        values = (self.least, self.median, self.most)
        return "/".join(f"{value:.4g}" for value in values) if self.least < self.most else f"{self.least:.4g}"


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts and sizes of one split.

    Attributes:
        images: number of images.
        background: number of images without a box.
        boxes: number of boxes, difficult and crowd boxes included.
        difficult: number of boxes that VOC flags as difficult.
        crowd: number of boxes that COCO flags as a crowd.
        per_class: number of boxes by class name, in the order of the names.
        images_per_class: number of images with at least one box of the class, by class name.
        small: number of boxes with an area below 32² pixels of the image.
        medium: number of boxes with an area of 32² or more and below 96² pixels of the image.
        large: number of boxes with an area of 96² or more pixels of the image.
        boxes_per_image: spread of the number of boxes per image.
        image_height: spread of the image heights, in pixels.
        image_width: spread of the image widths, in pixels.
        box_height: spread of the box heights, in pixels of the image.
        box_width: spread of the box widths, in pixels of the image.
    """

    images: int
    background: int
    boxes: int
    difficult: int
    crowd: int
    per_class: dict[str, int]
    images_per_class: dict[str, int]
    small: int
    medium: int
    large: int
    boxes_per_image: Spread | None
    image_height: Spread | None
    image_width: Spread | None
    box_height: Spread | None
    box_width: Spread | None


def statistics(sample_set: SampleSet) -> Statistics:
    """Compute the statistics of one split."""
    samples = sample_set.samples
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(sample.boxes for sample in samples)])
    labels = np.concatenate([np.zeros(0, np.int64), *(sample.labels for sample in samples)])
    counts = [len(sample.boxes) for sample in samples]
    per_class = np.bincount(labels, minlength=len(sample_set.names)).tolist()
    seen_in = Counter(label for sample in samples for label in set(sample.labels.tolist()))
    areas = area(boxes)
    small, medium = int((areas < COCO_SMALL).sum()), int((areas < COCO_MEDIUM).sum())
    heights, widths = np.array([sample.image_size for sample in samples]).reshape(-1, 2).T
    return Statistics(
        images=len(samples),
        background=counts.count(0),
        boxes=len(boxes),
        difficult=sum(int(sample.difficult.sum()) for sample in samples),
        crowd=sum(int(sample.crowd.sum()) for sample in samples),
        per_class=dict(zip(sample_set.names, per_class, strict=True)),
        images_per_class={name: seen_in[label] for label, name in enumerate(sample_set.names)},
        small=small,
        medium=medium - small,
        large=len(boxes) - medium,
        boxes_per_image=Spread.of(counts),
        image_height=Spread.of(heights),
        image_width=Spread.of(widths),
        box_height=Spread.of(boxes[:, 3] - boxes[:, 1]),
        box_width=Spread.of(boxes[:, 2] - boxes[:, 0]),
    )
