"""Compare scores with the share of correct detections."""

import math

import numpy as np
import pytest

from lookonce.evaluate.calibration import calibration, score_bins
from lookonce.evaluate.errors import find_outcomes

from .conftest import found, sample

BOX, FAR = [0, 0, 40, 40], [100, 100, 140, 140]


def test_a_bin_includes_its_upper_edge_only() -> None:
    bins = score_bins(
        np.array([0, 0.1, 0.11, 0.2, 0.95, 1]), np.array([False, False, True, False, True, True])
    )

    assert [each.detections for each in bins] == [2, 2, 0, 0, 0, 0, 0, 0, 0, 2]
    assert bins[1].score == pytest.approx(0.155)
    assert bins[1].correct == 0.5
    assert math.isnan(bins[4].score)


def test_calibrated_scores_have_no_error() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(200_000)
    correct = rng.random(200_000) < scores

    assert all(abs(each.score - each.correct) < 0.02 for each in score_bins(scores, correct))


def test_calibration_matches_hand_computed_values() -> None:
    images = [sample([BOX])] * 4
    results = [found([BOX, FAR], [0.9, 0.1])] * 3 + [found([FAR], [0.9])]

    measured = calibration(find_outcomes(images, results, ("cat",)), 0.5)

    # four at 0.9, three of them correct; three at 0.1, none correct
    assert measured.bins[8].detections == 4
    assert measured.bins[8].correct == 0.75
    assert measured.error == pytest.approx((4 * 0.15 + 3 * 0.1) / 7)
    assert measured.error_above == pytest.approx(0.15)
    assert measured.bias_above == pytest.approx(0.15)  # overconfident


def test_ignored_detections_do_not_count() -> None:
    outcomes = find_outcomes([sample([BOX], crowd=[True])], [found([BOX, FAR], [0.9, 0.8])], ("cat",))

    assert sum(each.detections for each in calibration(outcomes, 0.5).bins) == 1


def test_no_detections_give_nan() -> None:
    measured = calibration(find_outcomes([sample([BOX])], [found([], [])], ("cat",)), 0.5)

    assert math.isnan(measured.error)
    assert math.isnan(measured.bias_above)
