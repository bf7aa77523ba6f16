"""Does a score of 0.8 mean right in 80 of 100 cases? Reliability by score, and the calibration error.

Right and false as everywhere at IoU 0.5; ignored detections do not count. The expected calibration error is
that of Naeini et al. 2015 with bins of equal width: the mean distance between score and share right, each bin
weighted by its detections. Thousands of detections with scores near 0, rightly so low, make it small whatever
the others are like; so it is also given for the detections that are used, those above a threshold.
"""

import math
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
        low: of the bin.
        high: of the bin.
        detections: how many.
        score: their mean; NaN without detections.
        right: the share that is right; NaN without detections.
    """

    low: float
    high: float
    detections: int
    score: float
    right: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far scores can be taken for probabilities.

    Attributes:
        bins: ten, from score 0 to 1.
        error: expected calibration error of all detections; NaN without any.
        error_above: of those above the threshold.
        bias_above: mean score less share right of those above the threshold: positive means too sure.
        threshold: that threshold.
    """

    bins: tuple[ScoreBin, ...]
    error: float
    error_above: float
    bias_above: float
    threshold: float


def calibration(outcomes: Outcomes, threshold: float) -> Calibration:
    """Compare scores with the share right.

    Args:
        outcomes: what became of the detections.
        threshold: detections above it are in use.
    """
    counted = ~outcomes.has(Outcome.IGNORED)
    scores = outcomes.scores[counted].astype(np.float64)
    right = outcomes.has(Outcome.RIGHT)[counted]
    used = scores > threshold
    bins = score_bins(scores, right)
    return Calibration(
        bins=bins,
        error=_error(bins),
        error_above=_error(score_bins(scores[used], right[used])),
        bias_above=float(scores[used].mean() - right[used].mean()) if used.any() else math.nan,
        threshold=threshold,
    )


def score_bins(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[ScoreBin, ...]:
    """Count detections by score.

    Args:
        scores: (D,) from 0 to 1.
        right: (D,)
    """
    edges = np.linspace(0, 1, BINS + 1)
    place = np.digitize(scores, edges[1:-1], right=True)
    return tuple(
        ScoreBin(float(low), float(high), int(mine.sum()), _mean(scores[mine]), _mean(right[mine]))
        for k, (low, high) in enumerate(pairwise(edges))
        for mine in [place == k]
    )


def _error(bins: tuple[ScoreBin, ...]) -> float:
    total = sum(each.detections for each in bins)
    filled = (each for each in bins if each.detections)
    return (
        sum(each.detections * abs(each.score - each.right) for each in filled) / total if total else math.nan
    )


def _mean(values: NDArray[np.float64] | NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else math.nan
