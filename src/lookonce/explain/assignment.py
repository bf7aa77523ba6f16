"""Stage 6 of an explanation: which anchors each object asked for, and which of them it got.

The functions are those of training (`data.assign`); what they decide in passing is kept.

Legend: **N** annotated objects, **n** of them trained on, **G** anchors of all scales.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookonce.config import AssignSettings, Objective
from lookonce.data.assign import Column, Positives, anchor_ious, assign, cell_of, choose, fitting_anchors
from lookonce.errors import AnnotationError
from lookonce.explain.records import Scale
from lookonce.explain.truth_records import Box, Place, Positive
from lookonce.geometry.anchors import Anchors
from lookonce.geometry.boxes import BOX_MEASURES, clip, giou, iou, is_empty, xyxy_to_cxcywh
from lookonce.geometry.letterbox import Letterbox
from lookonce.samples import Sample


@dataclass(frozen=True, slots=True, eq=False)
class Assignment:
    """The objects of one image, and what each chose.

    Attributes:
        numbers: (n,) int64 of the objects trained on: visible, and no crowd.
        boxes: (n, 4) float32 xyxy, input pixels.
        labels: (n,) int64.
        ious: (n, G) float64 with each anchor on the middle of the object's cell.
        cells: (n, scales, 2) int64 column and row.
        fitting: (n, G) bool: the anchors that the rule takes; an object without any takes the best of all.
        chosen: for each object its places, in the order of the anchors.
        owner: for each chosen place the object (of the n) that it must find: the last that chose it.
        positives: the same, as training has it.
    """

    numbers: NDArray[np.int64]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    ious: NDArray[np.float64]
    cells: NDArray[np.int64]
    fitting: NDArray[np.bool_]
    chosen: tuple[tuple[Place, ...], ...]
    owner: dict[Place, int]
    positives: Positives[Column]


def assign_objects(
    truth: Sample,
    letterbox: Letterbox,
    scales: tuple[Scale, ...],
    settings: AssignSettings,
) -> Assignment:
    """Assign the annotated objects as training by these settings would.

    Raises:
        AnnotationError: a network whose scales have different numbers of
            anchors, which training does not take.
    """
    anchors: Anchors = tuple(scale.anchors for scale in scales)
    if len({len(each) for each in anchors}) > 1:
        raise AnnotationError(
            "expected a network with the same number of anchors on each scale to assign objects to, found "
            + ", ".join(str(len(anchors)) for anchors in anchors)
        )
    strides = tuple(scale.stride for scale in scales)
    # As `data.dataset.trainable` has it, which does not say which boxes are left.
    visible = clip(truth.boxes, *letterbox.source)
    numbers = np.flatnonzero(~is_empty(visible) & ~truth.crowd)
    boxes, labels = letterbox.boxes_in(visible[numbers]), truth.labels[numbers]
    positives = assign(boxes, labels, anchors, strides, letterbox.target, settings)
    cells = cell_of(boxes, strides, letterbox.target)
    ious = anchor_ious(boxes, cells, anchors, strides)
    fitting, overlap = fitting_anchors(boxes, cells, anchors, strides, settings)
    positive = choose(fitting, overlap)
    chosen = [_places(mask, cell, len(anchors[0])) for mask, cell in zip(positive, cells, strict=True)]
    owner = {place: number for number, places in enumerate(chosen) for place in places}
    return Assignment(numbers, boxes, labels, ious, cells, fitting, tuple(chosen), owner, positives)


def _places(chosen: NDArray[np.bool_], cells: NDArray[np.int64], per_scale: int) -> tuple[Place, ...]:
    """The chosen anchors (G,) of one object as places, its cells (scales, 2) being (column, row)."""
    places = []
    for number in np.flatnonzero(chosen).tolist():
        scale, anchor = divmod(number, per_scale)
        column, row = cells[scale].tolist()
        places.append((scale, row, column, anchor))
    return tuple(places)


def describe_positives(
    assignment: Assignment, index: int, scales: tuple[Scale, ...], objective: Objective
) -> tuple[Positive, ...]:
    """What each place chosen by one object (of the n) was asked for, and what it predicts; without losses."""
    return tuple(
        _positive(assignment, index, place, scales[place[0]], objective) for place in assignment.chosen[index]
    )


def _positive(
    assignment: Assignment, index: int, place: Place, scale: Scale, objective: Objective
) -> Positive:
    _, row, column, anchor = place
    box, label = assignment.boxes[index], int(assignment.labels[index])
    number = place[0] * len(scale.anchors) + anchor
    predicted, loss = scale.boxes[row, column, anchor], objective.loss
    share = loss.label_smoothing / scale.probabilities.shape[-1]
    overlap = float(iou(predicted, box))
    offset, raw_target = _targets(box, place, scale)
    owner = assignment.owner[place]
    return Positive(
        place=place,
        anchor_iou=float(assignment.ious[index, number]),
        reason=_reason(objective.assign) if assignment.fitting[index, number] else "best of all",
        replaced_by=None if owner == index else int(assignment.numbers[owner]),
        target_offset=offset,
        target_raw=raw_target,
        target_classes=(1 - loss.label_smoothing + share, share),
        target_objectness=1.0 if loss.objectness == "one" else overlap,
        raw=_five(scale.raw[row, column, anchor, :5]),
        objectness=float(scale.objectness[row, column, anchor]),
        probability=float(scale.probabilities[row, column, anchor, label]),
        box=four(predicted),
        iou=overlap,
        giou=float(giou(predicted, box)),
        measure=float(BOX_MEASURES[loss.box](predicted, box)),
        enclosing=four(np.concatenate([np.minimum(predicted, box)[:2], np.maximum(predicted, box)[2:]])),
        losses=None,
    )


def _reason(settings: AssignSettings) -> str:
    """Why an anchor is positive that the rule takes for itself."""
    if settings.rule == "ratio":
        return f"sides within a factor of {settings.largest_ratio:g}"
    return f"above {settings.positive_iou:g}"


def _targets(
    box: NDArray[np.float32], place: Place, scale: Scale
) -> tuple[tuple[float, float], tuple[float | None, float | None, float, float]]:
    """The decoding turned round: the offset within the cell, and tx, ty, tw, th."""
    _, row, column, anchor = place
    x, y, width, height = xyxy_to_cxcywh(box.astype(np.float64)).tolist()
    inside = x / scale.stride - column, y / scale.stride - row
    stretch = scale.scale_x_y
    tx, ty = (_logit((each + (stretch - 1) / 2) / stretch) for each in inside)
    anchor_width, anchor_height = scale.anchors[anchor]
    tw, th = (
        float(np.log(max(side, 1e-9) / anchor_side))
        for side, anchor_side in ((width, anchor_width), (height, anchor_height))
    )
    return inside, (tx, ty, tw, th)


def _logit(p: float) -> float | None:
    return float(np.log(p / (1 - p))) if 0 < p < 1 else None


def four(array: NDArray[np.floating]) -> Box:
    """An array of four as a box."""
    a, b, c, d = array.tolist()
    return a, b, c, d


def _five(array: NDArray[np.float32]) -> tuple[float, float, float, float, float]:
    a, b, c, d, e = array.tolist()
    return a, b, c, d, e
