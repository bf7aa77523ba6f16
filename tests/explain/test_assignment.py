"""The recorded assignment and its reasons, compared with the original code."""

import json
from pathlib import Path

import numpy as np
import pytest

from lookonce.config import AssignSettings, LossSettings, Objective
from lookonce.explain.assignment import Assignment, assign_objects, describe_positives
from lookonce.explain.records import ScaleOutput
from lookonce.explain.truth_records import Positive
from lookonce.geometry.anchors import YOLOV3, Anchors
from lookonce.geometry.boxes import ciou, cxcywh_to_xyxy, giou, iou, xyxy_to_cxcywh
from lookonce.geometry.letterbox import Letterbox
from lookonce.samples import Sample

# The reference assigns a box without area, and assigns a negative center to the last row. Here, neither gets
# that far, because boxes are clipped to the image first.
NOT_ASSIGNED = (8, 14)
WRITE_UP = Objective()


def scales_of(
    all_anchors: Anchors, size: tuple[int, int], classes: int, scale_x_y: float = 1.0
) -> tuple[ScaleOutput, ...]:
    """Return the scales of a network that predicts its anchors everywhere, with an objectness of 0.5."""
    scales = []
    for number, anchors in enumerate(all_anchors):
        stride = 8 * 2**number
        rows, columns = size[0] // stride, size[1] // stride
        raw = np.zeros((rows, columns, len(anchors), 5 + classes), np.float32)
        centers = (np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1) + 0.5) * stride
        cxcywh = np.empty((rows, columns, len(anchors), 4), np.float32)
        cxcywh[..., :2], cxcywh[..., 2:] = centers[:, :, None], np.array(anchors)
        half = np.full((rows, columns, len(anchors)), 0.5, np.float32)
        probabilities = np.full((*half.shape, classes), 0.5, np.float32)
        scales.append(
            ScaleOutput(
                stride,
                0,
                (rows, columns),
                anchors,
                scale_x_y,
                "yolo",
                raw,
                cxcywh_to_xyxy(cxcywh),
                half,
                probabilities,
                0,
            )
        )
    return tuple(scales)


def assigned(
    boxes: np.ndarray,
    labels: list[int],
    anchors: Anchors = YOLOV3,
    size: tuple[int, int] = (416, 416),
    settings: AssignSettings = WRITE_UP.assign,
) -> tuple[Assignment, tuple[ScaleOutput, ...]]:
    """Assign boxes in pixels of an image with the size of the input."""
    scales = scales_of(anchors, size, 3)
    truth = Sample(Path("p.jpg"), np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64))
    return assign_objects(truth, Letterbox.fit(size, size), scales, settings), scales


def positives(
    assignment: Assignment, scales: tuple[ScaleOutput, ...], objective: Objective = WRITE_UP
) -> list[tuple[Positive, ...]]:
    return [describe_positives(assignment, i, scales, objective, {}) for i in range(len(assignment.numbers))]


@pytest.mark.parametrize("k", [k for k in range(16) if k not in NOT_ASSIGNED])
def test_positives_equal_the_reference(reference: Path, k: int) -> None:
    stored = np.load(reference / "targets.npz")
    case = json.loads((reference / "targets.json").read_text())["cases"][k]
    anchors = YOLOV3 if case["anchors"] == "coco" else _tuples(stored["anchors_alt_px"].tolist())
    side, classes = int(case["input_size"]), int(case["num_classes"])
    truth = Sample(Path("p.jpg"), stored[f"boxes{k}"][:, :4].astype(np.float32), stored[f"boxes{k}"][:, 4])
    scales = scales_of(anchors, (side, side), classes)

    assignment = assign_objects(truth, Letterbox.fit((side, side), (side, side)), scales, WRITE_UP.assign)

    standing = {
        positive.position: assignment.boxes[i]
        for i in range(len(assignment.numbers))
        for positive in describe_positives(assignment, i, scales, WRITE_UP, {})
        if positive.replaced_by is None
    }
    expected = {
        (s, *position): row[:4]
        for s in range(3)
        for position, row in zip(stored[f"idx{k}_{s}"].tolist(), stored[f"rows{k}_{s}"], strict=True)
    }
    assert standing.keys() == expected.keys()
    for position, box in standing.items():
        np.testing.assert_allclose(xyxy_to_cxcywh(box), expected[position], atol=1e-6)


def _tuples(anchors: list[list[list[float]]]) -> Anchors:
    return tuple(tuple((w, h) for w, h in scale) for scale in anchors)


def test_each_positive_has_its_reason() -> None:
    # 16 x 30 is an anchor of the finest scale; 2 x 2 is unlike all anchors
    assignment, scales = assigned([[100, 100, 116, 130], [200, 200, 202, 202]], [0, 2])
    first, second = positives(assignment, scales)

    assert [positive.reason for positive in second] == ["best of all"]
    assert second[0].anchor_iou == assignment.ious[1].max() < 0.3
    assert {positive.reason for positive in first} == {"above 0.3"}
    assert [positive.anchor_iou for positive in first] == [each for each in assignment.ious[0] if each > 0.3]
    best = max(first, key=lambda positive: positive.anchor_iou)
    assert best.position == (0, 115 // 8, 108 // 8, 1)
    assert best.anchor_iou == max(assignment.ious[0]) > 0.5


BOXES = [[100, 100, 116, 130], [200, 200, 202, 202], [37, 51, 90, 171]]


@pytest.mark.parametrize(
    ("settings", "reason", "best_alone"),
    [
        (AssignSettings(positive_iou=0.6), "above 0.6", 1),
        (AssignSettings(rule="best"), None, 3),
        (AssignSettings(rule="ratio", largest_ratio=1.5), "sides within a factor of 1.5", 1),
    ],
)
def test_every_rule_chooses_the_same_as_training(
    settings: AssignSettings, reason: str | None, best_alone: int
) -> None:
    assignment, scales = assigned(BOXES, [0, 1, 2], settings=settings)
    objective = Objective(assign=settings)
    found = positives(assignment, scales, objective)

    trained = assignment.positives
    positions = np.stack([trained.scale, trained.row, trained.column, trained.anchor], axis=1)
    standing = {tuple(position) for position in positions.tolist()}
    assert {positive.position for each in found for positive in each} == standing
    reasons = [{positive.reason for positive in each} for each in found]
    assert reasons.count({"best of all"}) == best_alone
    assert set().union(*reasons) == {"best of all", reason} - {None}


def test_targets_follow_the_recorded_loss_settings() -> None:
    assignment, scales = assigned([[102, 100, 116, 133]], [0])
    objective = Objective(loss=LossSettings(objectness="iou", box="ciou", label_smoothing=0))
    (write_up,), (found,) = positives(assignment, scales), positives(assignment, scales, objective)

    for before, after in zip(write_up, found, strict=True):
        assert (before.target_objectness, before.measure) == (1.0, before.giou)
        predicted, box = (np.array(each, np.float32) for each in (after.box, [102, 100, 116, 133]))
        assert after.target_objectness == after.iou == pytest.approx(float(iou(predicted, box)))
        assert after.measure == pytest.approx(float(ciou(predicted, box)))
        assert after.measure != after.giou
        assert after.target_classes == (1.0, 0.0)


def test_a_replaced_positive_names_the_later_object() -> None:
    box = [100, 100, 116, 130]
    assignment, scales = assigned([box, [300, 300, 340, 330], box], [0, 1, 2])
    first, second, third = positives(assignment, scales)

    assert {positive.replaced_by for positive in first} == {2}
    assert {positive.replaced_by for positive in (*second, *third)} == {None}
    assert assignment.positives.lost == len(first)


def test_targets_decode_to_the_object() -> None:
    assignment, scales = assigned([[37, 51, 90, 171]], [1], size=(320, 416))
    (found,) = positives(assignment, scales)

    assert len(found) > 1
    for positive in found:
        scale, row, column, anchor = positive.position
        tx, ty, tw, th = positive.target_raw
        stride, sides = scales[scale].stride, scales[scale].anchors[anchor]
        assert tx is not None
        assert ty is not None
        center = [(cell + 1 / (1 + np.exp(-t))) * stride for cell, t in ((column, tx), (row, ty))]
        box = cxcywh_to_xyxy(np.array([*center, sides[0] * np.exp(tw), sides[1] * np.exp(th)]))
        np.testing.assert_allclose(box, [37, 51, 90, 171], atol=1e-3)
        assert positive.target_offset == pytest.approx((63.5 / stride - column, 111 / stride - row))
        assert positive.target_classes == pytest.approx((0.99 + 0.01 / 3, 0.01 / 3))


def test_a_center_on_the_border_of_its_cell_has_no_target() -> None:
    assignment, scales = assigned([[96, 100, 112, 130]], [0])  # the center 104 = 13 * 8

    (tx, *_), (_, _, _, _) = (positive.target_raw for positive in positives(assignment, scales)[0][:2])
    assert tx is None


def test_each_positive_has_its_predicted_box_and_overlap() -> None:
    box = np.array([100, 100, 116, 130], np.float32)
    assignment, scales = assigned([box], [0])
    for positive in positives(assignment, scales)[0]:
        scale, *where = positive.position[0], *positive.position[1:]
        predicted = scales[scale].boxes[tuple(where)]
        assert positive.box == tuple(predicted.tolist())
        assert positive.iou == pytest.approx(float(iou(predicted, box)))
        assert positive.giou == pytest.approx(float(giou(predicted, box)))
        left, top, right, bottom = positive.enclosing
        assert (left, top) == (min(predicted[0], 100), min(predicted[1], 100))
        assert (right, bottom) == (max(predicted[2], 116), max(predicted[3], 130))
        assert (positive.objectness, positive.probability) == (0.5, 0.5)


def test_crowds_and_boxes_outside_are_not_trained_on() -> None:
    boxes = np.array([[10, 10, 40, 40], [500, 10, 540, 40], [60, 60, 90, 90]], np.float32)
    truth = Sample(Path("p.jpg"), boxes, np.array([0, 1, 2]), crowd=np.array([True, False, False]))
    scales = scales_of(YOLOV3, (416, 416), 3)

    assert assign_objects(
        truth, Letterbox.fit((416, 416), (416, 416)), scales, WRITE_UP.assign
    ).numbers.tolist() == [2]


def test_no_objects_have_no_positives() -> None:
    assignment, scales = assigned(np.zeros((0, 4)), [])

    assert positives(assignment, scales) == []
    assert assignment.owner == {}


def test_scales_may_have_different_numbers_of_anchors() -> None:
    scales = scales_of((((10, 13), (16, 30)), ((30, 61),)), (64, 64), 3)
    truth = Sample(Path("p.jpg"), np.array([[10, 2, 40, 62]], np.float32), np.zeros(1, np.int64))

    found = assign_objects(truth, Letterbox.fit((64, 64), (64, 64)), scales, WRITE_UP.assign)

    assert found.ious.shape == (1, 3)
    assert found.chosen == (((1, 2, 1, 0),),)
