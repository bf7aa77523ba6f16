"""Counts per image, and the thresholds to count at."""

import math

import numpy as np
import pytest

from lookonce.evaluate.counting import USUAL_THRESHOLD, choose_thresholds, count, least_error_threshold
from lookonce.evaluate.matching import Matches, match

from .conftest import found, random_case, sample

BOX, FAR = [0, 0, 9, 9], [50, 50, 90, 90]


def test_by_hand() -> None:
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


def test_without_images() -> None:
    counting = count(match([], [], ("cat",)), ("cat",), ())
    assert counting.thresholds == (USUAL_THRESHOLD,)
    assert math.isnan(counting.of().mae)
    assert math.isnan(counting.of().relative)


def test_difficult_objects_and_crowds_are_not_counted_nor_what_lies_on_them() -> None:
    truth = [sample([BOX, FAR], difficult=[True, False], crowd=[False, True])]
    matches = match(truth, [found([BOX, FAR], [0.9, 0.9])], ("cat",))
    counting = count(matches, ("cat",), ("a.jpg",), [0.5])
    assert (counting.annotated.tolist(), counting.counted.tolist()) == ([[0]], [[0]])


def test_each_class_gets_the_threshold_of_its_best_f1() -> None:
    truth = [sample([BOX, FAR], [0, 1])]
    detections = [found([BOX, FAR, FAR, BOX], [0.8, 0.4, 0.6, 0.2], [0, 0, 1, 1])]
    cat, dog, bird = choose_thresholds(match(truth, detections, ("cat", "dog", "bird")))
    assert (cat, dog) == pytest.approx((0.6, 0.4))
    assert bird == pytest.approx(0.5)  # that of all classes: it has no objects


def errors_by_trying(matches: Matches, label: int) -> dict[float, int]:
    scores = np.unique(matches.scores[matches.labels == label])
    edges = [0.0, *((scores[1:] + scores[:-1]) / 2).tolist(), 1.0]
    errors = {}
    for edge in edges:
        kept = (matches.labels == label) & (matches.scores > edge)
        counted = np.bincount(matches.image[kept], minlength=len(matches.annotated))
        errors[edge] = int(np.abs(counted - matches.annotated[:, label]).sum())
    return errors


@pytest.mark.parametrize("seed", range(5))
def test_no_threshold_counts_with_a_smaller_error(seed: int) -> None:
    truth, detections, names = random_case(seed, images=15, classes=2, objects=8)
    matches = match(truth, detections, names)
    for label in range(2):
        chosen = least_error_threshold(matches, label)
        kept = (matches.labels == label) & (matches.scores > chosen)
        counted = np.bincount(matches.image[kept], minlength=15)
        error = int(np.abs(counted - matches.annotated[:, label]).sum())
        assert error == min(errors_by_trying(matches, label).values())
