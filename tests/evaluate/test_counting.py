"""Test the counts per image, and the score thresholds for counting."""

import math

import numpy as np
import pytest

from lookonce.detections import Detections
from lookonce.evaluate.counting import USUAL_THRESHOLD, choose_thresholds, count
from lookonce.evaluate.matching import match

from .conftest import found, random_case, sample

BOX, FAR = [0, 0, 9, 9], [50, 50, 90, 90]


def test_counts_match_hand_computed_values() -> None:
    truth = [sample([BOX, FAR], [0, 1]), sample([BOX], [0]), sample([])]
    detections = [
        found([BOX, FAR, FAR], [0.9, 0.8, 0.3], [0, 1, 0]),
        found([FAR, BOX], [0.7, 0.6], [0, 0]),
        found([], []),
    ]
    names, images = ("cat", "dog"), ("a.jpg", "b.jpg", "c.jpg")
    counting = count(match(truth, detections, names), names, images, [0.5, 0.85])
    assert counting.annotated.tolist() == [[1, 1], [1, 0], [0, 0]]
    assert counting.counted.tolist() == [[1, 0], [2, 0], [0, 0]]
    cats, dogs, both = counting.of(0), counting.of(1), counting.of()
    assert (cats.annotated, cats.counted, cats.relative) == (2, 3, 0.5)
    assert (cats.mae, cats.bias) == pytest.approx((1 / 3, 1 / 3))
    assert (dogs.mae, dogs.bias, dogs.relative) == pytest.approx((1 / 3, -1 / 3, -1))
    assert (both.annotated, both.counted, both.bias, both.relative) == (3, 3, 0, 0)
    assert both.mae == pytest.approx(2 / 3)
    assert counting.per_image() == [
        {"image": "a.jpg", "annotated": {"cat": 1, "dog": 1}, "counted": {"cat": 1}},
        {"image": "b.jpg", "annotated": {"cat": 1}, "counted": {"cat": 2}},
        {"image": "c.jpg", "annotated": {}, "counted": {}},
    ]


def test_no_images_give_nan() -> None:
    counting = count(match([], [], ("cat",)), ("cat",), ())
    assert counting.thresholds == (USUAL_THRESHOLD,)
    assert math.isnan(counting.of().mae)
    assert math.isnan(counting.of().relative)


def test_difficult_objects_and_crowds_and_their_detections_are_not_counted() -> None:
    truth = [sample([BOX, FAR], difficult=[True, False], crowd=[False, True])]
    matches = match(truth, [found([BOX, FAR], [0.9, 0.9])], ("cat",))
    counting = count(matches, ("cat",), ("a.jpg",), [0.5])
    assert (counting.annotated.tolist(), counting.counted.tolist()) == ([[0]], [[0]])


def test_the_threshold_of_a_class_equalizes_counted_and_annotated() -> None:
    truth = [sample([BOX, FAR], [0, 1])]
    detections = [found([BOX, FAR, FAR, BOX], [0.8, 0.4, 0.6, 0.2], [0, 0, 1, 1])]
    cat, dog, bird = choose_thresholds(match(truth, detections, ("cat", "dog", "bird")))
    assert (cat, dog) == pytest.approx((0.6, 0.4))
    assert bird == pytest.approx(0.5)  # that of all classes: it has no objects


def test_false_alarms_offset_missed_objects() -> None:
    truth = [sample([BOX, FAR, [100, 100, 150, 150]])]
    detections = [found([BOX, [0, 50, 9, 59], FAR, [0, 90, 9, 99]], [0.9, 0.8, 0.7, 0.5])]
    assert choose_thresholds(match(truth, detections, ("cat",))) == pytest.approx((0.6,))
    few = [found([BOX, [0, 50, 9, 59]], [0.9, 0.8])]
    assert choose_thresholds(match(truth, few, ("cat",))) == pytest.approx((0.85,))  # of the best F1


def test_equal_scores_stay_on_one_side_of_the_threshold() -> None:
    truth = [sample([BOX, FAR])]
    detections = [found([BOX, FAR, [0, 50, 9, 59]], [0.8, 0.8, 0.8])]
    assert choose_thresholds(match(truth, detections, ("cat",))) == pytest.approx((0.4,))


@pytest.mark.parametrize("seed", range(5))
def test_totals_agree_with_the_annotations(seed: int) -> None:
    truth, detections, names = random_case(seed, images=15, classes=2, objects=8)
    rng = np.random.default_rng(seed)
    detections = [  # no equal scores, which stay or go together
        Detections(each.boxes, rng.random(len(each)).astype(np.float32), each.labels) for each in detections
    ]
    matches = match(truth, detections, names)
    for label, threshold in enumerate(choose_thresholds(matches)):
        mine, objects = matches.labels == label, int(matches.objects[label])
        if mine.sum() > objects:
            assert int((mine & (matches.scores > threshold)).sum()) == objects


def test_without_thresholds_each_half_uses_those_of_the_other() -> None:
    truth = [sample([BOX]), sample([BOX]), sample([BOX]), sample([BOX])]
    detections = [
        found([BOX, FAR], [0.9, 0.6]),  # 0 and 2: one object above 0.75
        found([BOX, FAR], [0.8, 0.2]),  # 1 and 3: one object above 0.5
        found([BOX, FAR], [0.9, 0.6]),
        found([BOX, FAR], [0.8, 0.2]),
    ]
    counting = count(match(truth, detections, ("cat",)), ("cat",), ("a", "b", "c", "d"))
    assert counting.counted[:, 0].tolist() == [2, 1, 2, 1]  # not 1 each, as at thresholds of all images
    assert counting.thresholds == pytest.approx((0.7,))
    assert counting.source == "these images"
