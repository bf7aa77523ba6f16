"""Compute 95% intervals by the bootstrap: how much a metric would vary with other images.

Images, or groups of images that belong together, are drawn with replacement a thousand times, and each of
these resamples is measured. Detections are matched only once; a resample only weights each image by how often
it was drawn.

With few images, AP is optimistic. The mean over the resamples exceeds the measured AP about as much as the
measured AP exceeds the true one, so this bias is subtracted. The width comes from Student's t distribution,
because the spread over few images is itself uncertain. For AP, the interval is computed on the angle whose
squared sine is the AP, because the spread of this angle hardly depends on its value.
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
AT_ONCE = 4_000_000  # numbers held in memory at a time: images or detections, times resamples


@dataclass(frozen=True, slots=True)
class Interval:
    """Interval that contains the true value in 95 of 100 measurements.

    Attributes:
        low: lower end; NaN if there is no interval.
        high: upper end; NaN if there is no interval.
    """

    low: float
    high: float

    def around(self, value: float) -> str:
        """Format the measured value with the interval: `0.560 (0.520 to 0.600)`."""
        if math.isnan(value):
            return "–"
        return f"{value:.3f}" if math.isnan(self.low) else f"{value:.3f} ({self.low:.3f} to {self.high:.3f})"

    @classmethod
    def of(cls, values: NDArray[np.float64], units: int) -> Self:
        """Compute the interval of a measured value.

        Args:
            values: (1+B,) measured value, then the value of each resample; NaN if not measurable.
            units: number of images or groups; with fewer than two there is no interval.
        """
        value, seen = float(values[0]), values[1:][~np.isnan(values[1:])]
        if units < 2 or len(seen) < 2 or math.isnan(value):
            return cls(math.nan, math.nan)
        middle = 2 * value - float(seen.mean())
        half = student(units - 1) * float(seen.std()) * math.sqrt(units / (units - 1))
        return cls(middle - half, middle + half)

    @classmethod
    def of_share(cls, values: NDArray[np.float64], units: int) -> Self:
        """Compute the interval of a value from 0 to 1, such as AP, on its angle; arguments as for `of`."""
        angle = cls.of(np.arcsin(np.sqrt(values)), units)
        low, high = np.sin(np.clip([angle.low, angle.high], 0, math.pi / 2)) ** 2
        return cls(float(low), float(high))


def student(freedom: int) -> float:
    """Return the 97.5% quantile of Student's t (Hill 1970), within 0.5% from 4 degrees of freedom up."""
    z = 1.959964
    terms: tuple[float, ...] = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum((term / freedom ** (i + 1) for i, term in enumerate(terms)), start=0.0)


@dataclass(frozen=True, slots=True)
class ClassIntervals:
    """Intervals of one class, or of all classes.

    Attributes:
        ap: interval of AP over ten IoU thresholds.
        ap50: interval of AP at IoU 0.50.
        relative: interval of counted minus annotated objects, as a share of the annotated objects.
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
    """Yield how often each resample contains each image, in blocks of rows (B', I).

    The first block has one row with each image once, for the measured set itself. Every call yields the same.

    Args:
        images: number of images.
        groups: (I,) number of each image's group, from 0; None if every image is its own group.
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
    """Return AP and AP50, (1+B, C+1) each: of the images in row 0, of the resamples in the other rows.

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
    """Append the mean over the classes that are not NaN: (B, C) -> (B, C+1)."""
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
        groups: (I,) number of each image's group, from 0; None if every image is its own group.
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
