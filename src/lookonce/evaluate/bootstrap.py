"""Compute 95% intervals by the bootstrap: how far a measurement would move with other images.

Images, or groups of images that belong together, are drawn with replacement a thousand times, and each of
these resamples is measured. The detections are matched only once; a resample is just how often each image was
drawn.

With few images, AP is optimistic. The mean over the resamples lies above the measured AP about as far as the
measured AP lies above that of all images of the kind, so this bias is subtracted. The width comes from
Student's distribution, since with few images the spread is itself uncertain. For an AP it is computed on the
angle whose squared sine is the AP, because there the spread hardly depends on the value.
`tests/evaluate/test_bootstrap.py` measures how often such intervals contain the true value.

Legend: **B** resamples, **I** images, **U** units (images or groups), **C** classes, **T** IoU thresholds.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lookonce.evaluate.counting import Counting
from lookonce.evaluate.ranking import Ranking

RESAMPLES = 1000
LEVEL = 0.95
AT_ONCE = 4_000_000  # numbers in memory at a time: images, or detections, times resamples


@dataclass(frozen=True, slots=True)
class Interval:
    """Interval that contains the true value in 95 of 100 measurements.

    Attributes:
        low: lower end; NaN if there was nothing to measure.
        high: upper end.
    """

    low: float
    high: float

    def around(self, value: float) -> str:
        """Write the measured value with the interval: `0.56 (0.52 to 0.60)`."""
        if math.isnan(value):
            return "–"
        return f"{value:.3f}" if math.isnan(self.low) else f"{value:.3f} ({self.low:.3f} to {self.high:.3f})"

    @classmethod
    def of(cls, values: NDArray[np.float64], units: int) -> Self:
        """Compute the interval of a measured value.

        Args:
            values: (1+B,) measured value, then the value of each resample; NaN if it could not be measured.
            units: number of images or groups; a single one gives no interval.
        """
        value, seen = float(values[0]), values[1:][~np.isnan(values[1:])]
        if units < 2 or len(seen) < 2 or math.isnan(value):
            return cls(math.nan, math.nan)
        middle = 2 * value - float(seen.mean())
        half = student(units - 1) * float(seen.std()) * math.sqrt(units / (units - 1))
        return cls(middle - half, middle + half)

    @classmethod
    def of_share(cls, values: NDArray[np.float64], units: int) -> Self:
        """Compute the interval of a value from 0 to 1, such as an AP, on the angle; arguments as for `of`."""
        angle = cls.of(np.arcsin(np.sqrt(values)), units)
        low, high = np.sin(np.clip([angle.low, angle.high], 0, math.pi / 2)) ** 2
        return cls(float(low), float(high))


def student(freedom: int) -> float:
    """Return the 97.5% quantile of Student's t by Hill's expansion (1970): within 0.5% from 4 degrees up."""
    z = 1.959964
    terms: tuple[float, ...] = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum((term / freedom ** (i + 1) for i, term in enumerate(terms)), start=0.0)


@dataclass(frozen=True, slots=True)
class ClassIntervals:
    """Intervals of one class, or of all.

    Attributes:
        ap: interval of the AP over ten IoU thresholds.
        ap50: interval of the AP at IoU 0.50.
        relative: interval of counted minus annotated, as a share of annotated.
    """

    ap: Interval
    ap50: Interval
    relative: Interval


@dataclass(frozen=True, slots=True)
class Intervals:
    """95% intervals of one evaluation.

    Attributes:
        units: number of images or groups.
        grouped: whether the units are groups.
        overall: intervals of the means over the classes with objects, and of the counts of all classes
            together.
        classes: intervals of each class.
    """

    units: int
    grouped: bool
    overall: ClassIntervals
    classes: tuple[ClassIntervals, ...]


def draws(images: int, groups: Sequence[int] | None = None) -> Iterator[NDArray[np.int64]]:
    """Yield how often each resample contains each image, in blocks of rows (B', I), the same in every call.

    The first row of the first block is the measured set itself: each image once.

    Args:
        images: number of images.
        groups: (I,) number of each image's group, from 0; None: every image is its own group.
    """
    unit = np.arange(images) if groups is None else np.asarray(groups)
    units = int(unit.max(initial=-1)) + 1
    random = np.random.default_rng(0)
    rows = max(1, AT_ONCE // max(images, 1))
    yield np.ones((1, images), np.int64)
    for start in range(0, RESAMPLES if units else 0, rows):
        drawn = random.integers(0, units, (min(rows, RESAMPLES - start), units))
        drawn += np.arange(len(drawn))[:, None] * units
        yield np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)[:, unit]


def precisions(
    rankings: Sequence[Ranking], images: int, groups: Sequence[int] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return AP and AP50, (1+B, C+1) each, of the images in row 0 and of the resamples below.

    The last column is the mean over the classes with objects. A class without objects in a resample is NaN.
    """
    most = max((len(each.image) for each in rankings), default=0)
    rows = max(1, AT_ONCE // max(most, 1))
    parts = [
        np.stack([each.average_precisions(weights[i : i + rows]) for each in rankings], axis=1)
        for weights in draws(images, groups)
        for i in range(0, len(weights), rows)
    ]
    every = np.concatenate(parts)  # (1+B, C, T)
    return with_mean(every.mean(axis=2)), with_mean(every[:, :, 0])


def with_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B, C) -> (B, C+1): append the mean over the classes that could be measured."""
    measured = ~np.isnan(values)
    total = np.where(measured, values, 0).sum(axis=1)
    mean = np.where(measured.any(axis=1), total / np.maximum(measured.sum(axis=1), 1), np.nan)
    return np.column_stack([values, mean])


def intervals(
    rankings: Sequence[Ranking], counting: Counting, groups: Sequence[int] | None = None
) -> Intervals:
    """Compute the 95% intervals of AP, AP50 and counts.

    Args:
        rankings: matched detections of each class.
        counting: annotated and counted objects of the same images.
        groups: (I,) number of each image's group, from 0; None: every image is its own group.
    """
    images = len(counting.annotated)
    units = images if groups is None else len(set(groups))
    weights = np.concatenate(list(draws(images, groups)))
    annotated, counted = (
        np.column_stack([sums, sums.sum(axis=1)])
        for sums in (weights @ counting.annotated, weights @ counting.counted)
    )
    relative = np.where(annotated > 0, (counted - annotated) / np.maximum(annotated, 1), np.nan)
    ap, ap50 = precisions(rankings, images, groups)
    every = [
        ClassIntervals(
            Interval.of_share(ap[:, c], units),
            Interval.of_share(ap50[:, c], units),
            replace(counts, low=max(counts.low, -1.0)),  # -1 means that nothing is counted
        )
        for c in range(len(rankings) + 1)
        for counts in [Interval.of(relative[:, c], units)]
    ]
    return Intervals(units, groups is not None, overall=every[-1], classes=tuple(every[:-1]))
