"""Compare the labels that a model doubts with an example worked out by hand."""

from pathlib import Path

import numpy as np

from lookonce.detections import Detections
from lookonce.doctor.label_doubts import compare_labels
from lookonce.samples import Sample, SampleSet

BOXES = [[0, 0, 10, 10], [50, 0, 60, 10]]


def doubted(*detections: tuple[list[float], float, int], crowd: bool = False) -> list[tuple[str, str]]:
    sample = Sample(
        Path("a.jpg"), np.array(BOXES, np.float32), np.array([0, 1]), crowd=np.full(2, crowd), size=(64, 64)
    )
    found = Detections(
        np.array([box for box, _, _ in detections], np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in detections], np.float32),
        np.array([label for _, _, label in detections], np.int64),
    )
    return [
        (each.kind, each.what)
        for each in compare_labels(SampleSet(("cat", "dog"), [sample], [], ""), sample, found)
    ]


def test_matching_detections_raise_no_doubt() -> None:
    assert doubted((BOXES[0], 0.9, 0), (BOXES[1], 0.1, 1)) == []


def test_a_box_without_a_detection_is_doubted() -> None:
    far = [2, 8, 12, 18]  # IoU 0.09
    assert doubted((far, 0.5, 0), (BOXES[1], 0.9, 1)) == [("unfound-box", "cat: no detection near it")]
    assert [kind for kind, _ in doubted()] == ["unfound-box", "unfound-box"]
    assert doubted(crowd=True) == []


def test_a_confident_detection_without_a_box_is_doubted() -> None:
    near = [(BOXES[0], 0.9, 0), (BOXES[1], 0.9, 1)]
    assert doubted(*near, ([20, 30, 40, 50], 0.61, 1)) == [
        ("missing-box", "dog 0.61 at [20, 30, 40, 50], but no box")
    ]
    assert doubted(*near, ([20, 30, 40, 50], 0.59, 1)) == []


def test_a_confident_detection_of_another_class_is_doubted() -> None:
    second = (BOXES[1], 0.9, 1)
    assert doubted((BOXES[0], 0.7, 1), second) == [
        ("doubtful-class", "labeled 'cat', detected as 'dog' 0.70")
    ]
    assert doubted((BOXES[0], 0.7, 1), (BOXES[0], 0.06, 0), second) == []  # it also detects a cat
    assert doubted((BOXES[0], 0.5, 1), second) == []  # not sure enough


def test_a_detection_in_a_crowd_of_its_class_is_not_doubted() -> None:
    small = [1, 1, 4, 4]  # IoU 0.09 with the crowd around it
    assert [kind for kind, _ in doubted((small, 0.9, 0))] == ["missing-box", "unfound-box", "unfound-box"]
    assert doubted((small, 0.9, 0), crowd=True) == []
    assert [kind for kind, _ in doubted((small, 0.9, 1), crowd=True)] == ["missing-box"]  # a dog among cats
    assert [kind for kind, _ in doubted(([6, 0, 16, 10], 0.9, 0), crowd=True)] == ["missing-box"]
