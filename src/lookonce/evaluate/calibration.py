"""Reliability of scores, and the calibration error: of 100 detections with score 0.8, 80 should be right.

Right means IoU 0.5 or more, as in all error measures; ignored detections do not count. The expected
calibration error is that of Naeini et al. 2015 with bins of equal width: the mean distance between score and
share right, each bin weighted by its detections. Thousands of detections with scores near 0, rightly low,
make it small regardless of the others; so it is also given for the detections in use, those above a
threshold.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lookonce.evaluate.errors import Outcome, Outcomes

BINS = 10


@dataclass(frozen=True, slots=True)
class ScoreBin:
    """Detections with scores above `low`, up to `high`.

    Attributes:
        low: lower edge, exclusive.
        high: upper edge, inclusive.
        detections: number of detections.
        score: mean score; NaN without detections.
        right: share of right detections; NaN without detections.
    """

    low: float
    high: float
    detections: int
    score: float
    right: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Agreement of scores with probabilities.

    Attributes:
        bins: ten bins, from score 0 to 1.
        error: expected calibration error of all detections; NaN without any.
        error_above: expected calibration error of those above the threshold.
        bias_above: mean score minus share right, above the threshold; positive means overconfident.
    """

    bins: tuple[ScoreBin, ...]
    error: float
    error_above: float
    bias_above: float


def calibration(outcomes: Outcomes, threshold: float | Sequence[float]) -> Calibration:
    """Compare scores with the share of right detections.

    Args:
        outcomes: outcomes of the detections.
        threshold: score threshold, or that of each class; detections above it are in use.
    """
    counted = ~outcomes.has(Outcome.IGNORED)
    scores = outcomes.scores[counted].astype(np.float64)
    right = outcomes.has(Outcome.RIGHT)[counted]
    used = outcomes.are_above(threshold)[counted]
    bins = score_bins(scores, right)
    return Calibration(
        bins=bins,
        error=_error(bins),
        error_above=_error(score_bins(scores[used], right[used])),
        bias_above=float(scores[used].mean() - right[used].mean()) if used.any() else math.nan,
    )


def score_bins(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[ScoreBin, ...]:
    """Divide detections into bins of score.

    Args:
        scores: (D,) from 0 to 1.
        right: (D,)
    """
    edges = np.linspace(0, 1, BINS + 1)
    bin_of = np.digitize(scores, edges[1:-1], right=True)
    return tuple(
        ScoreBin(float(low), float(high), int(mine.sum()), _mean(scores[mine]), _mean(right[mine]))
        for k, (low, high) in enumerate(pairwise(edges))
        for mine in [bin_of == k]
    )


def _error(bins: tuple[ScoreBin, ...]) -> float:
    total = sum(each.detections for each in bins)
    filled = (each for each in bins if each.detections)
    return (
        sum(each.detections * abs(each.score - each.right) for each in filled) / total if total else math.nan
    )


def _mean(values: NDArray[np.float64] | NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else math.nan
