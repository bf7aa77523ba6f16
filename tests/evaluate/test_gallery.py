"""Errors drawn on the worst images."""

from pathlib import Path

import numpy as np
import pytest

from lookonce.detections import Detections
from lookonce.evaluate import gallery
from lookonce.evaluate.errors import Outcome, find_outcomes
from lookonce.evaluate.gallery import COLOURS, error_marks
from lookonce.samples import Sample

BOX = [0, 0, 40, 40]


def test_marks_are_errors_first_and_right_detections_last() -> None:
    box, far, away = [0, 0, 40, 40], [100, 100, 140, 140], [200, 200, 240, 240]
    truth = Sample(Path("a.png"), np.array([box, far, away], np.float32), np.array([0, 0, 1]))
    boxes = np.array([box, [100, 100, 140, 112], [300, 300, 340, 340]], np.float32)
    found = Detections(boxes, np.array([0.9, 0.8, 0.7], np.float32), np.array([0, 0, 1]))
    outcomes = find_outcomes([truth], [found], ("cat", "dog"))

    marks = error_marks(outcomes, 0, ("cat", "dog"))

    assert [(mark.name + mark.suffix, mark.dashed) for mark in marks] == [
        ("box cat 0.80", False),
        ("backgr. dog 0.70", False),
        ("cat", True),  # the loose box stands for it
        ("missed dog", True),
        (" 0.90", False),
    ]
    assert [mark.colour for mark in marks] == [
        COLOURS[Outcome.LOCALISATION],
        COLOURS[Outcome.BACKGROUND],
        COLOURS[Outcome.RIGHT],
        COLOURS[Outcome.MISSED],
        COLOURS[Outcome.RIGHT],
    ]


def test_a_single_class_is_not_named_on_every_box() -> None:
    truth = Sample(Path("a.png"), np.array([BOX], np.float32), np.array([0]))

    (mark,) = error_marks(find_outcomes([truth], [Detections.none()], ("head",)), 0, ("head",))

    assert mark.name == "missed"


@pytest.mark.parametrize(
    ("most", "names"),
    [(1, ["backgr."]), (2, ["backgr.", "missed"]), (9, ["backgr.", "missed", "missed", "missed"])],
)
def test_only_so_many_boxes_are_drawn(monkeypatch: pytest.MonkeyPatch, most: int, names: list[str]) -> None:
    monkeypatch.setattr(gallery, "MOST_MARKS", most)
    objects = np.array([BOX, [200, 0, 240, 40], [300, 0, 340, 40]], np.float32)
    truth = Sample(Path("a.png"), objects, np.zeros(3, np.int64))
    found = Detections(np.array([[90, 90, 99, 99]], np.float32), np.array([0.9], np.float32), np.array([0]))
    marks = error_marks(find_outcomes([truth], [found], ("head",)), 0, ("head",))
    assert [mark.name for mark in marks] == names
