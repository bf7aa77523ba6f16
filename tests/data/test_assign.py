"""Assignment against the original code, and the decisions where we differ."""

import json
from pathlib import Path

import numpy as np
import pytest

from lookonce.data.assign import assign
from lookonce.errors import AnnotationError
from lookonce.geometry.boxes import xyxy_to_cxcywh

STRIDES = (8, 16, 32)
COCO = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)
WRAPS = 14  # the reference files a negative centre under the last row; we do not


def cases(reference: Path) -> list[dict[str, object]]:
    return json.loads((reference / "targets.json").read_text())["cases"]


@pytest.mark.parametrize("k", [k for k in range(16) if k != WRAPS])
def test_same_positives_as_the_reference(reference: Path, k: int) -> None:
    stored = np.load(reference / "targets.npz")
    case = cases(reference)[k]
    anchors = COCO if case["anchors"] == "coco" else stored["anchors_alt_px"].tolist()
    boxes, num_classes, side = stored[f"boxes{k}"], int(case["num_classes"]), int(case["input_size"])
    found = assign(
        boxes[:, :4].astype(np.float32), boxes[:, 4], tuple(anchors), STRIDES, (side, side), num_classes
    )
    assert len(found.scale) == sum(len(stored[f"idx{k}_{s}"]) for s in range(3))
    for s in range(3):
        here = found.scale == s
        cells = np.stack([found.row[here], found.column[here], found.prior[here]], axis=1)
        expected = stored[f"idx{k}_{s}"].astype(np.int64)
        order, expected_order = np.lexsort(cells.T), np.lexsort(expected.T)
        np.testing.assert_array_equal(cells[order], expected[expected_order])
        rows = stored[f"rows{k}_{s}"][expected_order]
        np.testing.assert_allclose(xyxy_to_cxcywh(found.box[here][order]), rows[:, :4], atol=1e-6)
        if num_classes > 1:
            np.testing.assert_array_equal(found.label[here][order], rows[:, 5:].argmax(axis=1))


def one(box: list[float], label: int = 0, input_size: tuple[int, int] = (416, 416)) -> object:
    return assign(np.array([box], np.float32), np.array([label]), COCO, STRIDES, input_size, 3)


def test_no_boxes_no_positives() -> None:
    found = assign(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), COCO, STRIDES, (320, 416), 3)
    assert found.box.shape == (0, 4)
    assert found.scale.shape == found.row.shape == found.label.shape == (0,)


@pytest.mark.parametrize(
    "box", [[408, 100, 424, 120], [416, 10, 416, 60], [10, 416, 60, 416]], ids=["right", "thin", "flat"]
)
def test_a_centre_on_the_border_belongs_to_the_last_cell(box: list[float]) -> None:
    found = one(box)
    last = 416 // np.array(STRIDES)[found.scale] - 1
    at_border = found.column == last if box[2] >= 416 else found.row == last
    assert at_border.all()
    assert len(found.scale) >= 1


def test_rectangular_input_has_more_columns_than_rows() -> None:
    found = one([600, 20, 616, 50], input_size=(64, 640))
    assert found.column.max() >= 600 // 8
    assert found.row.max() < 64 // 8


def test_the_later_of_two_equal_boxes_wins_and_the_loss_is_counted() -> None:
    boxes = np.array([[100, 100, 116, 130], [100, 100, 116, 130]], np.float32)
    found = assign(boxes, np.array([0, 2]), COCO, STRIDES, (416, 416), 3)
    assert set(found.label.tolist()) == {2}
    assert found.lost == len(found.label)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_class_out_of_range_is_an_error(label: int) -> None:
    with pytest.raises(AnnotationError, match=rf"0 to 2, found {label}"):
        one([10, 10, 40, 40], label)
