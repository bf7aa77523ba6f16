"""Test that detections in ignored areas count neither as correct nor as false in any metric."""

from pathlib import Path

import numpy as np
import pytest

from lookonce.detections import Detections
from lookonce.evaluate.coco import evaluate
from lookonce.evaluate.confusion import confusion
from lookonce.evaluate.errors import Outcome, find_outcomes
from lookonce.evaluate.inputs import in_ignored_areas
from lookonce.evaluate.matching import match
from lookonce.evaluate.ranking import rank
from lookonce.samples import Area, Sample

NAMES = ("cat", "dog")
BOX = (10, 10, 50, 50)
RIGHT_HALF = np.array([[100, 0], [200, 0], [200, 100], [100, 100]], np.float32)


def truth(labels: tuple[int, ...] = ()) -> Sample:
    """Make an image with one cat on the left, whose right half is ignored."""
    return Sample(Path("x"), np.array([BOX], np.float32), np.array([0]), ignored=(Area(RIGHT_HALF, labels),))


def found(boxes: list[tuple[float, ...]], labels: list[int] | None = None) -> Detections:
    scores = np.linspace(0.9, 0.5, len(boxes)).astype(np.float32)
    numbers = np.array(labels or [0] * len(boxes), np.int64)
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), scores, numbers, NAMES)


def test_no_detections_are_in_ignored_areas() -> None:
    assert in_ignored_areas(truth(), Detections.none()).shape == (0,)


@pytest.mark.parametrize(
    ("box", "expected"),
    [((110, 10, 150, 50), True), ((80, 10, 120, 50), True), ((74, 10, 114, 50), False), (BOX, False)],
)
def test_a_detection_is_ignored_if_half_of_it_is_in_an_area(box: tuple[float, ...], expected: bool) -> None:
    assert in_ignored_areas(truth(), found([box])).tolist() == [expected]


def test_an_area_for_some_classes_ignores_only_these() -> None:
    inside = (110, 10, 150, 50)
    assert in_ignored_areas(truth((1,)), found([inside, inside], [0, 1])).tolist() == [False, True]


def test_a_detection_on_an_object_in_an_area_counts() -> None:
    sample = Sample(
        Path("x"), np.array([[110, 10, 150, 50]], np.float32), np.array([0]), ignored=(Area(RIGHT_HALF),)
    )
    near, other = (112, 10, 152, 50), (150, 60, 190, 90)
    result = found([near, near, other], [0, 1, 0])
    assert in_ignored_areas(sample, result).tolist() == [False, True, True]


def test_every_metric_ignores_detections_in_areas() -> None:
    """Without the area, the detection with the highest score is false in all metrics."""
    result = found([(110, 10, 150, 50), BOX])
    plain = Sample(Path("x"), np.array([BOX], np.float32), np.array([0]))
    assert evaluate([truth()], [result], NAMES).ap == 1
    assert evaluate([plain], [result], NAMES).ap == pytest.approx(0.5)
    assert match([truth()], [result], NAMES).correct.tolist() == [True]
    assert match([plain], [result], NAMES).correct.tolist() == [False, True]
    assert find_outcomes([truth()], [result], NAMES).outcome.tolist() == [Outcome.CORRECT]
    assert confusion([truth()], [result], NAMES, 0.1).counts[2].sum() == 0
    assert confusion([plain], [result], NAMES, 0.1).counts[2].sum() == 1
    assert rank([truth()], [result], NAMES)[0].correct.shape == (10, 1)
    assert rank([plain], [result], NAMES)[0].correct.shape == (10, 2)
