"""Test the curves and their operating points."""

import math

import numpy as np
import pytest

from lookonce.evaluate.curves import NOWHERE, curves
from lookonce.evaluate.matching import Matches, match
from lookonce.evaluate.voc import average_precision

from .conftest import Case, random_case


def matches(scores: list[float], correct: list[bool], objects: int) -> Matches:
    return Matches(
        np.zeros(len(scores), np.int64),
        np.array(scores, np.float32),
        np.zeros(len(scores), np.int64),
        np.array(correct, bool),
        np.array([[objects]]),
    )


def test_without_detections_there_is_no_point_to_choose() -> None:
    curve = curves(matches([], [], 3)).overall
    assert curve.recall.shape == (0,)
    assert curve.best() == curve.at_precision(0) == NOWHERE


def test_without_objects_recall_is_unknown() -> None:
    curve = curves(matches([0.9], [False], 0)).overall
    assert math.isnan(curve.recall[0])
    assert curve.best() == curve.at_precision(0) == NOWHERE


def test_the_curve_matches_hand_computed_values() -> None:
    curve = curves(matches([0.9, 0.8, 0.6, 0.2], [True, False, True, False], 4)).overall
    np.testing.assert_allclose(curve.precision, [1, 1 / 2, 2 / 3, 1 / 2])
    np.testing.assert_allclose(curve.recall, [1 / 4, 1 / 4, 1 / 2, 1 / 2])
    np.testing.assert_allclose(curve.f1, [2 / 5, 1 / 3, 4 / 7, 1 / 2])
    best = curve.best()
    assert (best.threshold, best.precision, best.recall) == pytest.approx((0.4, 2 / 3, 1 / 2))
    assert best.f1 == pytest.approx(4 / 7)


def test_only_false_detections_give_f1_zero() -> None:
    assert curves(matches([0.9, 0.8], [False, False], 4)).overall.f1.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("precision", "recall", "threshold"), [(0.9, 1 / 4, 0.85), (0.6, 1 / 2, 0.4), (0.5, 1 / 2, 0.1)]
)
def test_recall_at_a_precision_uses_the_best_point(precision: float, recall: float, threshold: float) -> None:
    curve = curves(matches([0.9, 0.8, 0.6, 0.2], [True, False, True, False], 4)).overall
    point = curve.at_precision(precision)
    assert (point.recall, point.threshold) == pytest.approx((recall, threshold))


def test_an_unreached_precision_has_no_point() -> None:
    assert curves(matches([0.9, 0.8], [False, True], 1)).overall.at_precision(0.9) == NOWHERE


def test_equal_scores_are_one_threshold() -> None:
    curve = curves(matches([0.5, 0.5, 0.4], [False, True, True], 2)).overall
    np.testing.assert_allclose(curve.scores, [0.5, 0.4], rtol=1e-6)
    np.testing.assert_allclose(curve.precision, [1 / 2, 2 / 3])


def test_each_class_has_a_curve_and_the_overall_curve_combines_them() -> None:
    case = random_case(3, 10, 3, 10)
    outcomes = match(*case)
    both = curves(outcomes)
    assert both.overall.objects == sum(curve.objects for curve in both.classes)
    assert both.overall.recall[-1] * both.overall.objects == pytest.approx(
        sum(curve.recall[-1] * curve.objects for curve in both.classes)
    )
    for c, curve in enumerate(both.classes):
        assert curve.recall[-1] * curve.objects == pytest.approx(outcomes.correct[outcomes.labels == c].sum())


def test_filtering_at_the_best_threshold_gives_its_precision_and_recall(voc_sample: Case) -> None:
    truth, detections, names = voc_sample
    best = curves(match(truth, detections, names)).overall.best()
    kept = match(truth, [found[found.scores > best.threshold] for found in detections], names)
    assert kept.correct.mean() == pytest.approx(best.precision)
    assert kept.correct.sum() / kept.objects.sum() == pytest.approx(best.recall)


def test_the_area_under_the_curve_equals_voc_ap(voc_sample: Case) -> None:
    outcomes = match(*voc_sample)
    for c, curve in enumerate(curves(outcomes).classes):
        envelope = np.maximum.accumulate(curve.precision[::-1])[::-1]
        area = (np.diff(curve.recall, prepend=0) * envelope).sum()
        assert area == pytest.approx(average_precision(outcomes.correct[outcomes.labels == c], curve.objects))
