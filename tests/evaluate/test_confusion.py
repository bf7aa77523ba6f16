"""Test the confusion matrix: rows are true classes, columns detected classes, background last."""

import numpy as np
import pytest

from lookonce.detections import Detections
from lookonce.evaluate.confusion import confusion
from lookonce.evaluate.matching import match
from lookonce.samples import Sample

from .conftest import Case, found, random_case, sample

NAMES = ("cat", "dog")
BOX = [0, 0, 40, 40]
NEAR = [0, 0, 40, 36]
FAR = [100, 100, 140, 140]
BOTH = [BOX, NEAR]


def test_no_images_have_no_counts() -> None:
    assert confusion([], [], NAMES, 0.5).counts.tolist() == [[0, 0, 0]] * 3


@pytest.mark.parametrize(
    ("truth", "result", "counts"),
    [
        (sample([]), found([], []), [[0, 0, 0], [0, 0, 0], [0, 0, 0]]),
        (sample([BOX]), found([], []), [[0, 0, 1], [0, 0, 0], [0, 0, 0]]),  # missed
        (sample([]), found([BOX], [0.9], [1]), [[0, 0, 0], [0, 0, 0], [0, 1, 0]]),  # false alarm
        (sample([BOX]), found([NEAR], [0.9]), [[1, 0, 0], [0, 0, 0], [0, 0, 0]]),
        (sample([BOX]), found([NEAR], [0.9], [1]), [[0, 1, 0], [0, 0, 0], [0, 0, 0]]),  # detected as a dog
        (sample([BOX]), found([FAR], [0.9]), [[0, 0, 1], [0, 0, 0], [1, 0, 0]]),
        # the detection of its own class is paired first, although the other has the better score and box
        (sample([BOX]), found([BOX, NEAR], [0.9, 0.6], [1, 0]), [[1, 0, 0], [0, 0, 0], [0, 1, 0]]),
        # one object, two detections: the second is a false alarm
        (sample([BOX]), found([BOX, NEAR], [0.9, 0.6]), [[1, 0, 0], [0, 0, 0], [1, 0, 0]]),
        # two objects at the same place are paired within their classes
        (sample(BOTH, [0, 1]), found(BOTH[::-1], [0.9, 0.8], [0, 1]), [[1, 0, 0], [0, 1, 0], [0, 0, 0]]),
        (sample(BOTH, [0, 0]), found(BOTH, [0.9, 0.8], [0, 1]), [[1, 1, 0], [0, 0, 0], [0, 0, 0]]),
        (sample(BOTH, [0, 1]), found([BOX], [0.9], [0]), [[1, 0, 0], [0, 0, 1], [0, 0, 0]]),
        (sample([BOX]), found([BOX], [0.5]), [[0, 0, 1], [0, 0, 0], [0, 0, 0]]),  # not above the threshold
        (sample([BOX], difficult=[True]), found([BOX], [0.9], [1]), [[0, 0, 0], [0, 0, 0], [0, 0, 0]]),
        (sample([BOX], difficult=[True]), found([], []), [[0, 0, 0], [0, 0, 0], [0, 0, 0]]),
        (sample([BOX], crowd=[True]), found([BOX, BOX], [0.9, 0.8]), [[0, 0, 0], [0, 0, 0], [0, 0, 0]]),
        (sample([BOX], crowd=[True]), found([BOX], [0.9], [1]), [[0, 0, 0], [0, 0, 0], [0, 1, 0]]),
    ],
)  # fmt: skip
def test_counts_match_hand_computed_tables(truth: Sample, result: Detections, counts: list) -> None:
    assert confusion([truth], [result], NAMES, 0.5).counts.tolist() == counts


def test_the_order_of_the_detections_does_not_matter() -> None:
    """The detection with the higher score takes the object, in any order."""
    neighbors = sample([BOX, [0, 30, 40, 70]])  # the second detection reaches the first object alone
    either, first = [0, 10, 40, 50], NEAR
    sorted_counts = confusion([neighbors], [found([first, either], [0.9, 0.8])], NAMES, 0.5, iou=0.3).counts
    counts = confusion([neighbors], [found([either, first], [0.8, 0.9])], NAMES, 0.5, iou=0.3).counts
    assert counts.tolist() == sorted_counts.tolist() == [[2, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_a_higher_iou_threshold_splits_a_pair() -> None:
    counts = confusion([sample([BOX])], [found([NEAR], [0.9])], NAMES, 0.5, iou=0.95).counts
    assert counts[0, 2] == counts[2, 0] == 1


def test_rows_and_columns_add_up() -> None:
    case = random_case(7, 20, 4, 10, flags=False)
    truth, detections, _ = case
    counts = confusion(*case, threshold=0.3).counts
    assert counts.sum(axis=1)[:-1].tolist() == np.bincount(np.concatenate([s.labels for s in truth])).tolist()
    above = np.concatenate([d.labels[d.scores > 0.3] for d in detections])
    assert counts.sum(axis=0)[:-1].tolist() == np.bincount(above, minlength=4).tolist()


def test_the_diagonal_agrees_with_the_correct_matches(voc_sample: Case) -> None:
    counts = confusion(*voc_sample, threshold=0).counts
    right = match(*voc_sample).correct.sum()
    assert counts.trace() == pytest.approx(right, rel=0.02)  # pairing may save a near-duplicate or two
    assert counts.trace() > 100
