"""Compare two models on the same images, and decide whether one is significantly better.

Both are measured on the same resamples (`bootstrap.draws`), so an image that is hard for both hardly affects
their difference, whose interval is narrower than the intervals of the two APs suggest.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lookonce.detections import Detections
from lookonce.evaluate.bootstrap import Interval, precisions
from lookonce.evaluate.coco import without_nan
from lookonce.evaluate.ranking import rank
from lookonce.samples import Sample

MOST_TIMES = 100  # largest factor on the number of images up to which an estimate is given


@dataclass(frozen=True, slots=True)
class Difference:
    """Difference of one metric between two models, A and B.

    Attributes:
        a: metric of A; NaN without objects.
        b: metric of B; NaN without objects.
        a_interval: 95% interval of A's metric.
        b_interval: 95% interval of B's metric.
        interval: 95% interval of B's metric minus A's.
        units: number of images or groups of images.
    """

    a: float
    b: float
    a_interval: Interval
    b_interval: Interval
    interval: Interval
    units: int

    @property
    def decided(self) -> bool:
        """Return whether the interval of the difference excludes 0."""
        return self.interval.low > 0 or self.interval.high < 0

    @property
    def more_units(self) -> int | None:
        """Estimate how many more images would decide the comparison if the difference stayed the same.

        The width of an interval falls with the square root of the number of images. The estimate is None if
        the comparison is decided, or if `MOST_TIMES` as many images would not decide it.
        """
        half, difference = (self.interval.high - self.interval.low) / 2, abs(self.b - self.a)
        if self.decided or math.isnan(half) or half >= difference * math.sqrt(MOST_TIMES):
            return None
        return max(1, math.ceil(self.units * ((half / difference) ** 2 - 1)))

    def sentence(self, unit: str = "image") -> str:
        """Describe which model is better, by how much, and whether this is decided."""
        if math.isnan(self.a) or math.isnan(self.b):
            return "nothing to compare: no object"
        if self.a == self.b and self.interval.high == self.interval.low:
            return "A and B are equal"
        ahead, low, high = ("B", self.interval.low, self.interval.high)
        if self.b < self.a:
            ahead, low, high = "A", -high, -low
        better = f"{ahead} is better by {abs(self.b - self.a):.3f}"
        if math.isnan(low):
            return f"{better}: not decided by one {unit}"
        better = f"{better} ({signed(low)} to {signed(high)})"
        if self.decided:
            return f"{better}: decided"
        more = self.more_units
        if more is None:
            return f"{better}: not decided, even with {MOST_TIMES} times as many {unit}s"
        power = 10 ** max(0, len(str(more)) - 2)
        more = round(more / power) * power  # two digits
        return f"{better}: not decided; about {more} more {unit}s would decide it"

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers for JSON, with None in place of NaN."""
        numbers = {
            "a": self.a,
            "b": self.b,
            "a_interval": [self.a_interval.low, self.a_interval.high],
            "b_interval": [self.b_interval.low, self.b_interval.high],
            "difference": self.b - self.a,
            "difference_interval": [self.interval.low, self.interval.high],
            "decided": self.decided,
            "more_units": self.more_units,
        }
        result: dict[str, Any] = without_nan(numbers)
        return result


def signed(value: float) -> str:
    """Format a number with three decimals and a typographic minus sign."""
    return f"{value:.3f}".replace("-", "\N{MINUS SIGN}")


def compare_pair(
    truth: Sequence[Sample],
    a: Sequence[Detections],
    b: Sequence[Detections],
    names: Sequence[str],
    groups: Sequence[int] | None = None,
) -> tuple[Difference, Difference]:
    """Compare the AP and the AP50 of two models.

    Args:
        truth: annotated images.
        a: results of A for the same images, in the same order.
        b: results of B for the same images, in the same order.
        names: class names that all labels index.
        groups: number of each image's group, from 0; None if every image is its own group.

    Raises:
        ValueError: the results are not one per image, or a label is outside the names.
    """
    units = len(truth) if groups is None else len(set(groups))
    of_a, of_b = (
        [values[:, -1] for values in precisions(rank(truth, found, names), len(truth), groups)]
        for found in (a, b)
    )
    ap, ap50 = (
        Difference(
            a=float(first[0]),
            b=float(second[0]),
            a_interval=Interval.of_share(first, units),
            b_interval=Interval.of_share(second, units),
            interval=Interval.of(np.asarray(second - first), units),
            units=units,
        )
        for first, second in zip(of_a, of_b, strict=True)
    )
    return ap, ap50
