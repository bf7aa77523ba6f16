"""Assignment against the original code, and the decisions where we differ."""

import json
from pathlib import Path

import numpy as np
import pytest

from lookonce.config import AssignSettings
from lookonce.data.assign import Column, Positives, assign, join
from lookonce.geometry.boxes import xyxy_to_cxcywh

STRIDES = (8, 16, 32)
COCO = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)
WRAPS = 14  # the reference files a negative center under the last row; we do not


def cases(reference: Path) -> list[dict[str, object]]:
    return json.loads((reference / "targets.json").read_text())["cases"]


@pytest.mark.parametrize("k", [k for k in range(16) if k != WRAPS])
def test_same_positives_as_the_reference(reference: Path, k: int) -> None:
    stored = np.load(reference / "targets.npz")
    case = cases(reference)[k]
    anchors = COCO if case["anchors"] == "coco" else stored["anchors_alt_px"].tolist()
    boxes, num_classes, side = stored[f"boxes{k}"], int(case["num_classes"]), int(case["input_size"])
    found = assign(boxes[:, :4].astype(np.float32), boxes[:, 4], tuple(anchors), STRIDES, (side, side))
    assert len(found.scale) == sum(len(stored[f"idx{k}_{s}"]) for s in range(3))
    for s in range(3):
        here = found.scale == s
        cells = np.stack([found.row[here], found.column[here], found.anchor[here]], axis=1)
        expected = stored[f"idx{k}_{s}"].astype(np.int64)
        order, expected_order = np.lexsort(cells.T), np.lexsort(expected.T)
        np.testing.assert_array_equal(cells[order], expected[expected_order])
        rows = stored[f"rows{k}_{s}"][expected_order]
        np.testing.assert_allclose(xyxy_to_cxcywh(found.box[here][order]), rows[:, :4], atol=1e-6)
        if num_classes > 1:
            np.testing.assert_array_equal(found.label[here][order], rows[:, 5:].argmax(axis=1))


def one(box: list[float], label: int = 0, input_size: tuple[int, int] = (416, 416)) -> Positives[Column]:
    return assign(np.array([box], np.float32), np.array([label]), COCO, STRIDES, input_size)


def test_no_boxes_no_positives() -> None:
    found = assign(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), COCO, STRIDES, (320, 416))
    assert found.box.shape == (0, 4)
    assert found.scale.shape == found.row.shape == found.label.shape == (0,)


@pytest.mark.parametrize(
    "box", [[408, 100, 424, 120], [416, 10, 416, 60], [10, 416, 60, 416]], ids=["right", "thin", "flat"]
)
def test_a_center_on_the_border_belongs_to_the_last_cell(box: list[float]) -> None:
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
    found = assign(boxes, np.array([0, 2]), COCO, STRIDES, (416, 416))
    assert set(found.label.tolist()) == {2}
    assert found.lost == len(found.label)


def found_by(settings: AssignSettings, *boxes: list[float]) -> Positives[Column]:
    sides = np.array(boxes, np.float32).reshape(-1, 4)
    return assign(sides, np.arange(len(boxes)) % 3, COCO, STRIDES, (416, 416), settings)


def places(found: Positives[Column]) -> list[tuple[int, ...]]:
    return list(zip(*(getattr(found, n).tolist() for n in ("scale", "row", "column", "anchor")), strict=True))


RULES = ["iou", "best", "ratio"]


@pytest.mark.parametrize("rule", RULES)
def test_no_boxes_by_any_rule(rule: str) -> None:
    found = found_by(AssignSettings(rule=rule))
    assert found.box.shape == (0, 4)
    assert (len(found.scale), len(found.label), found.lost) == (0, 0, 0)


def test_the_limit_of_iou_is_a_setting() -> None:
    box = [100, 100, 130, 161]
    counts = [len(found_by(AssignSettings(positive_iou=limit), box).scale) for limit in (0.1, 0.3, 0.5, 1.0)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[1]
    assert counts[-1] == 1


@pytest.mark.parametrize(
    ("box", "place"),
    [
        ([200, 200, 210, 213], (0, 25, 25, 0)),  # 10 x 13, an exact shape
        ([200, 200, 230, 261], (1, 14, 13, 0)),  # 30 x 61: center (215, 230.5)
        ([0, 0, 373, 326], (2, 5, 5, 2)),
        ([200, 200, 262, 245], (1, 13, 14, 1)),
        ([200, 200, 200.5, 200.5], (0, 25, 25, 0)),  # smaller than any
        ([0, 0, 416, 416], (2, 6, 6, 2)),
        ([200, 200, 245, 253], (1, 14, 13, 1)),  # 62 x 45 by 0.64, and 30 x 61 by 0.61
    ],
)
def test_best_is_the_one_anchor_of_the_nearest_shape(box: list[float], place: tuple[int, ...]) -> None:
    assert places(found_by(AssignSettings(rule="best"), box)) == [place]


def test_best_gives_one_positive_a_box() -> None:
    boxes = [
        [x, y, x + w, y + h] for x in (5, 205) for y in (5, 205) for w, h in ((9, 30), (33, 20), (90, 80))
    ]
    found = found_by(AssignSettings(rule="best"), *boxes)
    assert found.lost == 0
    np.testing.assert_array_equal(np.sort(found.box, axis=0), np.sort(np.array(boxes, np.float32), axis=0))


def test_best_and_ratio_look_at_shapes_wherever_the_box_stands_in_its_cell() -> None:
    for rule in ("best", "ratio"):
        settings = AssignSettings(rule=rule)
        middle, corner = (
            found_by(settings, [95, 95, 105, 108]),
            found_by(settings, [91.2, 91.2, 101.2, 104.2]),
        )
        kinds = [
            set(zip(each.scale.tolist(), each.anchor.tolist(), strict=True)) for each in (middle, corner)
        ]
        assert kinds[0] == kinds[1]


@pytest.mark.parametrize(
    ("width", "height", "taken"),
    [
        (119.9, 61, True),
        (120.1, 61, False),
        (30, 243.9, True),
        (30, 244.1, False),
        (7.6, 61, True),
        (7.4, 61, False),
        (30, 15.3, True),
        (30, 15.2, False),
        (120, 61, False),  # strictly below
    ],
)
def test_ratio_takes_anchors_up_to_its_limit(width: float, height: float, taken: bool) -> None:
    found = found_by(AssignSettings(rule="ratio", largest_ratio=4), [100, 100, 100 + width, 100 + height])
    asked = (found.scale == 1) & (found.anchor == 0)  # the anchor of 30 x 61
    assert asked.any() == taken
    assert len(found.scale) >= 1


def test_ratio_takes_every_near_anchor_on_every_scale() -> None:
    found = found_by(AssignSettings(rule="ratio", largest_ratio=2), [200, 200, 240, 270])  # 40 x 70
    near = {
        (scale, anchor)
        for scale, sides in enumerate(COCO)
        for anchor, (w, h) in enumerate(sides)
        if max(40 / w, w / 40, 70 / h, h / 70) < 2
    }
    assert len(near) == 3
    assert set(zip(found.scale.tolist(), found.anchor.tolist(), strict=True)) == near


def test_ratio_leaves_out_a_best_anchor_that_is_not_near_where_others_are() -> None:
    """As the limit rises, the best by overlap is alone at first, then it depends on the sides alone."""
    box = [200, 0, 215, 400]
    best = places(found_by(AssignSettings(rule="best"), box))
    for limit in np.arange(1.5, 12, 0.5):
        settings = AssignSettings(rule="ratio", largest_ratio=limit)
        near = [max(15 / w, w / 15, 400 / h, h / 400) < limit for sides in COCO for w, h in sides]
        found = found_by(settings, box)
        expected = np.flatnonzero(near).tolist() or [3 * best[0][0] + best[0][3]]
        assert (3 * found.scale + found.anchor).tolist() == expected


def test_ratio_without_a_near_anchor_takes_the_best() -> None:
    found = found_by(AssignSettings(rule="ratio", largest_ratio=1.01), [200, 200, 400, 210])
    assert len(found.scale) == 1
    assert places(found) == places(found_by(AssignSettings(rule="best"), [200, 200, 400, 210]))


def test_an_iou_at_the_limit_is_not_above_it() -> None:
    """The box has IoU 1 with the first anchor and exactly 1/2 with the second, which is twice as wide."""
    anchors = (((16, 16), (32, 16), (300, 300)),)
    box = np.array([[8, 8, 24, 24]], np.float32)
    for limit, expected in ((0.5, [0]), (np.nextafter(0.5, 0), [0, 1])):
        found = assign(box, np.array([0]), anchors, (32,), (64, 64), AssignSettings(positive_iou=limit))
        assert found.anchor.tolist() == expected


def test_positives_of_a_batch_carry_their_image() -> None:
    first, second = (
        found_by(AssignSettings(rule="best"), *boxes)
        for boxes in ([[10, 10, 40, 40], [10, 10, 40, 40]], [[200, 200, 230, 261]])
    )
    nothing = found_by(AssignSettings())
    batch = join([first, nothing, second])
    assert batch.image.tolist() == [0, 2]
    assert batch.label.tolist() == [1, 0]
    assert batch.lost == 1
    np.testing.assert_array_equal(batch.box, np.concatenate([first.box, second.box]))
    assert join([]).box.shape == (0, 4)
