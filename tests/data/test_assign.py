"""Compare assignment with the original code, and test the deliberate differences."""

import json
from pathlib import Path

import numpy as np
import pytest

from lookonce.config import AssignSettings
from lookonce.data.assign import (
    Column,
    Positives,
    assign,
    cell_of,
    fitting_anchors,
    ignored_cells,
    join,
    numbered,
    outside_ignored,
)
from lookonce.geometry.boxes import xyxy_to_cxcywh
from lookonce.geometry.polygons import rectangle
from lookonce.samples import Area

STRIDES = (8, 16, 32)
COCO = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)
WRAPS = 14  # the reference assigns a negative center to the last row; lookonce does not


def cases(reference: Path) -> list[dict[str, object]]:
    return json.loads((reference / "targets.json").read_text())["cases"]


@pytest.mark.parametrize("k", [k for k in range(16) if k != WRAPS])
def test_positives_equal_the_reference(reference: Path, k: int) -> None:
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


def test_no_boxes_give_no_positives() -> None:
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


def test_a_wide_input_has_more_columns_than_rows() -> None:
    found = one([600, 20, 616, 50], input_size=(64, 640))
    assert found.column.max() >= 600 // 8
    assert found.row.max() < 64 // 8


def test_of_two_equal_boxes_the_later_wins_and_the_lost_one_is_counted() -> None:
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
def test_no_rule_gives_positives_without_boxes(rule: str) -> None:
    found = found_by(AssignSettings(rule=rule))
    assert found.box.shape == (0, 4)
    assert (len(found.scale), len(found.label), found.lost) == (0, 0, 0)


def test_the_iou_limit_is_a_setting() -> None:
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
def test_best_chooses_the_anchor_of_the_nearest_shape(box: list[float], place: tuple[int, ...]) -> None:
    assert places(found_by(AssignSettings(rule="best"), box)) == [place]


def test_best_gives_one_positive_per_box() -> None:
    boxes = [
        [x, y, x + w, y + h] for x in (5, 205) for y in (5, 205) for w, h in ((9, 30), (33, 20), (90, 80))
    ]
    found = found_by(AssignSettings(rule="best"), *boxes)
    assert found.lost == 0
    np.testing.assert_array_equal(np.sort(found.box, axis=0), np.sort(np.array(boxes, np.float32), axis=0))


def test_best_and_ratio_ignore_the_position_in_the_cell() -> None:
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


def test_ratio_leaves_out_the_best_anchor_if_only_others_are_near() -> None:
    """A low limit leaves only the best anchor by overlap; a high one selects anchors by their sides alone."""
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


KINDS = {
    **dict.fromkeys(("image", "scale", "row", "column", "anchor", "label"), np.int64),
    "box": np.float32,
}


def kinds(found: Positives[Column]) -> dict[str, np.dtype]:
    return {name: getattr(found, name).dtype for name in KINDS}


def test_columns_have_fixed_types() -> None:
    boxes, labels = np.array([[10, 10, 40, 40.0]]), np.array([1.0])
    found = assign(boxes, labels, COCO, STRIDES, (416, 416))
    assert kinds(found) == KINDS
    assert kinds(join([found, found])) == kinds(join([])) == KINDS


def test_joining_nothing_gives_empty_columns() -> None:
    nothing = join([])
    assert {name: getattr(nothing, name).shape for name in KINDS} == {
        **dict.fromkeys(KINDS, (0,)),
        "box": (0, 4),
    }
    assert nothing.lost == 0


def test_changing_all_columns_keeps_the_lost_count() -> None:
    box = [100, 100, 116, 130]
    found = found_by(AssignSettings(rule="best"), box, box)
    moved = found.each(lambda column: column + 1)
    assert (found.lost, moved.lost) == (1, 1)
    assert [(getattr(moved, name) - getattr(found, name)).tolist() for name in ("image", "label", "row")] == [
        [1],
        [1],
        [1],
    ]
    np.testing.assert_array_equal(moved.box, found.box + 1)


def test_each_scale_has_its_own_positives() -> None:
    found = found_by(AssignSettings(rule="best"), [200, 200, 210, 213], [0, 0, 373, 326])
    assert [len(found.on_scale(scale).label) for scale in (0, 1, 2)] == [1, 0, 1]
    assert found.on_scale(2).box.tolist() == [[0, 0, 373, 326]]


def test_a_center_outside_the_image_belongs_to_the_nearest_cell() -> None:
    boxes = np.array([[-10, -4, 9, 3], [200, 390, 300, 450], [20, 30, 60, 50]], np.float32)
    found = cell_of(boxes, STRIDES, (416, 256))  # columns and rows
    assert found.tolist() == [[[0, 0]] * 3, [[31, 51], [15, 25], [7, 12]], [[5, 5], [2, 2], [1, 1]]]
    assert found.dtype == np.int64


def test_scales_may_have_different_numbers_of_anchors() -> None:
    anchors = (((10, 13),), ((30, 61), (62, 45)), ((116, 90), (156, 198), (373, 326)))
    scale, within = numbered(anchors)
    assert scale.tolist() == [0, 1, 1, 2, 2, 2]
    assert within.tolist() == [0, 0, 1, 0, 1, 2]
    boxes, cells = np.array([[0, 0, 30, 61]], np.float32), np.zeros((1, 3, 2), np.int64)
    fits, overlap = fitting_anchors(boxes, cells, anchors, STRIDES, AssignSettings(rule="best"))
    assert (fits.dtype, fits.shape, overlap.dtype) == (np.bool_, (1, 6), np.float64)
    assert overlap.argmax() == 1


def test_cells_touched_by_ignored_areas_are_marked() -> None:
    """Channel 0 marks cells ignored altogether, channel 1 + c cells in which class c may lack boxes."""
    areas = [
        Area(rectangle(np.array([0, 0, 32, 32]))),
        Area(rectangle(np.array([20, 0, 64, 16])), (1, 2)),
        Area(rectangle(np.array([0, 0, 96, 64])), (0,), window=(64, 32, 96, 64)),
        Area(rectangle(np.array([64, 0, 96, 32]))),
    ]
    fine, coarse = ignored_cells(areas, (16, 32), (64, 96), 3)
    assert (fine.shape, coarse.shape, coarse.dtype) == ((4, 6, 4), (2, 3, 4), np.bool_)
    assert np.argwhere(coarse).tolist() == [
        [0, 0, 0],
        [0, 0, 2],
        [0, 0, 3],
        [0, 1, 2],
        [0, 1, 3],
        [0, 2, 0],
        [1, 2, 1],
    ]
    assert fine[..., 2].tolist() == [[False, True, True, True, False, False], *[[False] * 6] * 3]
    assert ignored_cells([], (16,), (64, 96), 3)[0].any() == np.False_


def test_boxes_centered_in_an_ignored_area_are_left_out() -> None:
    boxes = np.array([[0, 0, 20, 10], [0, 0, 90, 10], [30, 30, 50, 50], [35, 0, 45, 10]], np.float32)
    left, right, some = (
        rectangle(np.array(box)) for box in ([0, 0, 20, 20], [30, 30, 60, 60], [0, 0, 99, 99])
    )
    assert outside_ignored(boxes, [Area(left), Area(right), Area(some, (1,))]).tolist() == [
        False,
        True,
        False,
        True,
    ]
    everywhere = outside_ignored(boxes, [Area(some, (1,))])
    assert everywhere.tolist() == [True] * 4
    assert everywhere.dtype == np.bool_
