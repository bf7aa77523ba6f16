"""Compute average precision as PASCAL VOC has done since 2010."""

import math

import numpy as np
from numpy.typing import NDArray

from lookonce.evaluate.matching import Matches


def average_precisions(matches: Matches) -> tuple[float, ...]:
    """Return the AP of each class at the IoU threshold of the matches; NaN for a class without objects."""
    return tuple(
        average_precision(matches.correct[matches.labels == c], int(objects))
        for c, objects in enumerate(matches.objects)
    )


def average_precision(correct: NDArray[np.bool_], objects: int) -> float:
    """Compute the area under the precision-recall curve, interpolated at every point.

    Each correct detection raises recall by 1 / objects. Its precision is the best at its or any lower score,
    so the curve never rises.

    Args:
        correct: (D,) bool, whether each detection is correct, by descending score.
        objects: number of objects; without objects, AP is NaN.
    """
    if objects == 0:
        return math.nan
    precision = np.cumsum(correct) / np.arange(1, len(correct) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(envelope[correct].sum() / objects)


def mean_average_precision(per_class: tuple[float, ...]) -> float:
    """Average over the classes that have objects; NaN if there are none."""
    measured = [value for value in per_class if not math.isnan(value)]
    return sum(measured) / len(measured) if measured else math.nan
