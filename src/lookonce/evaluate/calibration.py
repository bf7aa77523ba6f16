"""Measure how reliable scores are: of 100 detections with a score of 0.8, 80 should be correct.

As for all errors, a detection is correct at an IoU of 0.5 or more, and ignored detections do not count. The
expected calibration error is that of Naeini et al. 2015 with bins of equal width: the mean distance between
the score and the share of correct detections, weighted by the number of detections in each bin. Thousands of
false detections with scores near 0 make it small regardless of all others, so it is also computed for the
detections in use, which are those above a threshold.
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
    """Detections with scores above `low` and up to `high`; the first bin includes a score of 0.

    Attributes:
        low: lower edge, exclusive.
        high: upper edge, inclusive.
        detections: number of detections.
        score: mean score; NaN without detections.
        correct: share of correct detections; NaN without detections.
    """

    low: float
    high: float
    detections: int
    score: float
    correct: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Agreement of scores with probabilities.

    Attributes:
        bins: ten bins, from score 0 to 1.
        error: expected calibration error of all detections; NaN without any.
        error_above: expected calibration error of the detections above the threshold; NaN without any.
        bias_above: mean score minus share of correct detections, above the threshold; positive means
            overconfident.
    """

    bins: tuple[ScoreBin, ...]
    error: float
    error_above: float
    bias_above: float


def calibration(outcomes: Outcomes, threshold: float | Sequence[float]) -> Calibration:
    """Compare scores with the share of correct detections.

    Args:
        outcomes: outcomes of the detections.
        threshold: score threshold, or one per class; detections above it are in use.
    """
    counted = ~outcomes.has(Outcome.IGNORED)
    scores = outcomes.scores[counted].astype(np.float64)
    correct = outcomes.has(Outcome.CORRECT)[counted]
    used = outcomes.are_above(threshold)[counted]
    bins = score_bins(scores, correct)
    return Calibration(
        bins=bins,
        error=_error(bins),
        error_above=_error(score_bins(scores[used], correct[used])),
        bias_above=float(scores[used].mean() - correct[used].mean()) if used.any() else math.nan,
    )


def score_bins(scores: NDArray[np.float64], correct: NDArray[np.bool_]) -> tuple[ScoreBin, ...]:
    """Divide detections into ten bins by score.

    Args:
        scores: (D,) scores from 0 to 1.
        correct: (D,) whether each detection is correct.
    """
    edges = np.linspace(0, 1, BINS + 1)
    bin_of = np.digitize(scores, edges[1:-1], right=True)
    bins = []
    for k, (low, high) in enumerate(pairwise(edges)):
        in_bin = bin_of == k
        means = (float(each[in_bin].mean()) if in_bin.any() else math.nan for each in (scores, correct))
        bins.append(ScoreBin(float(low), float(high), int(in_bin.sum()), *means))
    return tuple(bins)


def _error(bins: tuple[ScoreBin, ...]) -> float:
    total = sum(each.detections for each in bins)
    filled = (each for each in bins if each.detections)
    return (
        sum(each.detections * abs(each.score - each.correct) for each in filled) / total
        if total
        else math.nan
    )
