"""Assign objects to cells and anchors with the functions of training (`data.assign`), and keep every step.

Legend: **N** annotated objects, **n** objects trained on, **m** objects visible, **G** anchors of all scales,
**S**, **T** rows and columns of cells, **C** classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lookonce.config import AssignSettings, Difficult, Objective
from lookonce.data.assign import (
    Column,
    Positives,
    anchor_ious,
    assign,
    cell_of,
    choose,
    fitting_anchors,
    ignored_cells,
    numbered,
    outside_ignored,
)
from lookonce.data.compose import letterboxed
from lookonce.data.dataset import trainable
from lookonce.explain.records import ScaleOutput, as_tuple
from lookonce.explain.truth_records import Position, PositionTerms, Positive
from lookonce.geometry.anchors import Anchors
from lookonce.geometry.boxes import BOX_MEASURES, area, giou, iou, xyxy_to_cxcywh
from lookonce.geometry.letterbox import Letterbox
from lookonce.samples import Sample


@dataclass(frozen=True, slots=True, eq=False)
class Assignment:
    """The objects of one image, and the positions assigned to each of them.

    Attributes:
        numbers: (n,) int64 numbers of the objects trained on, which are visible, not a crowd, and not in an
            ignored area.
        boxes: (n, 4) float32 xyxy in input pixels.
        labels: (n,) int64 class numbers.
        ious: (n, G) float64 IoU of each object with each anchor, centered on the object's cell.
        cells: (n, scales, 2) int64 column and row of the object's cell on each scale.
        fitting: (n, G) bool, whether an anchor satisfies the rule. An object without such an anchor gets the
            one with the highest IoU.
        chosen: positions assigned to each object, in the order of the anchors.
        owner: assigned position -> index among the n of the object that keeps it, the last one assigned to
            it.
        positives: positions and their objects in the form that training uses.
        visible: (m,) int64 numbers of the objects trained on and of those in ignored areas; a prediction near
            one of these does not count as background.
        visible_boxes: (m, 4) float32 xyxy of the visible objects, in input pixels.
        ignored: for each scale (S, T, 1 + C) bool, cells in ignored areas; see `data.loader.Batch`.
    """

    numbers: NDArray[np.int64]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    ious: NDArray[np.float64]
    cells: NDArray[np.int64]
    fitting: NDArray[np.bool_]
    chosen: tuple[tuple[Position, ...], ...]
    owner: dict[Position, int]
    positives: Positives[Column]
    visible: NDArray[np.int64]
    visible_boxes: NDArray[np.float32]
    ignored: tuple[NDArray[np.bool_], ...]


def assign_objects(
    truth: Sample,
    letterbox: Letterbox,
    scales: tuple[ScaleOutput, ...],
    settings: AssignSettings,
    difficult: Difficult = "train",
) -> Assignment:
    """Assign the annotated objects to cells and anchors, as training with these settings does."""
    anchors: Anchors = tuple(scale.anchors for scale in scales)
    strides, (scale_of, anchor_of) = tuple(scale.stride for scale in scales), numbered(anchors)
    # prepared as in training, but with object numbers in place of class numbers, and blank pixels
    counted = replace(truth, labels=np.arange(len(truth.labels)))
    blank = [np.zeros((*size, 3), np.uint8) for size in (letterbox.source, letterbox.target)]
    image = letterboxed(trainable(counted, blank[0], difficult)[0], letterbox, blank[1])
    kept = outside_ignored(image.boxes, image.ignored)
    numbers, boxes = image.labels[kept], image.boxes[kept]
    labels, classes = truth.labels[numbers], scales[0].probabilities.shape[-1]
    positives = assign(boxes, labels, anchors, strides, letterbox.target, settings)
    cells = cell_of(boxes, strides, letterbox.target)
    ious = anchor_ious(boxes, cells, anchors, strides)
    fitting, overlap = fitting_anchors(boxes, cells, anchors, strides, settings)
    chosen: list[list[Position]] = [[] for _ in numbers]
    for index, anchor in np.argwhere(choose(fitting, overlap)).tolist():
        scale = int(scale_of[anchor])
        column, row = cells[index, scale].tolist()
        chosen[index].append((scale, row, column, int(anchor_of[anchor])))
    owner = {position: index for index, positions in enumerate(chosen) for position in positions}
    return Assignment(
        numbers=numbers,
        boxes=boxes,
        labels=labels,
        ious=ious,
        cells=cells,
        fitting=fitting,
        chosen=tuple(map(tuple, chosen)),
        owner=owner,
        positives=positives,
        visible=image.labels,
        visible_boxes=image.boxes,
        ignored=ignored_cells(image.ignored, strides, letterbox.target, classes),
    )


def describe_positives(
    assignment: Assignment,
    index: int,
    scales: tuple[ScaleOutput, ...],
    objective: Objective,
    losses: Mapping[Position, PositionTerms],
) -> tuple[Positive, ...]:
    """Describe each position assigned to one object: its targets, predictions and loss.

    Args:
        assignment: assignment of all objects.
        index: index of the object among the n.
        scales: raw and decoded maps, finest scale first.
        objective: settings of assignment and loss.
        losses: loss terms by position; empty if they could not be computed.
    """
    box, label, found = assignment.boxes[index], int(assignment.labels[index]), []
    loss = objective.loss
    rule = (
        f"sides within a factor of {objective.assign.largest_ratio:g}"
        if objective.assign.rule == "ratio"
        else f"above {objective.assign.positive_iou:g}"
    )
    first = np.cumsum([0, *(len(scale.anchors) for scale in scales)])
    for position in assignment.chosen[index]:
        number, row, column, anchor = position
        scale = scales[number]
        at_anchor = index, first[number] + anchor
        share = loss.label_smoothing / scale.probabilities.shape[-1]
        predicted, owner = scale.boxes[row, column, anchor], assignment.owner[position]
        offset, raw_target = encode(box, position, scale)
        own = losses.get(position) if owner == index else None
        height, width = (side * scale.stride for side in scale.grid)
        found.append(
            Positive(
                position=position,
                anchor_iou=float(assignment.ious[at_anchor]),
                reason=rule if assignment.fitting[at_anchor] else "best of all",
                replaced_by=None if owner == index else int(assignment.numbers[owner]),
                target_offset=offset,
                target_raw=raw_target,
                target_classes=(1 - loss.label_smoothing + share, share),
                target_objectness=1.0 if loss.objectness == "one" else float(iou(predicted, box)),
                raw=as_tuple(scale.raw[row, column, anchor, :5]),
                objectness=float(scale.objectness[row, column, anchor]),
                probability=float(scale.probabilities[row, column, anchor, label]),
                box=as_tuple(predicted),
                iou=float(iou(predicted, box)),
                giou=float(giou(predicted, box)),
                measure=float(BOX_MEASURES[loss.box](predicted, box)),
                enclosing=as_tuple(
                    np.concatenate([np.minimum(predicted, box)[:2], np.maximum(predicted, box)[2:]])
                ),
                box_scale=2 - float(area(box)) / (height * width),
                class_terms=None if own is None else own.classes,
                losses=None if own is None else own.terms,
            )
        )
    return tuple(found)


def encode(
    box: NDArray[np.float32], position: Position, scale: ScaleOutput
) -> tuple[tuple[float, float], tuple[float | None, float | None, float | None, float | None]]:
    """Invert the decoding of a box.

    Args:
        box: (4,) xyxy in input pixels.
        position: cell and anchor that predict the box.
        scale: raw and decoded maps of the scale.

    Returns:
        Offset of the center in the cell, in cells, and tx, ty, tw, th. A number is None if it would be
        infinite: tx or ty if the center is on the border of the cell and, with `new_coords`, tw or th if the
        side is at least four times the anchor's.
    """
    _, row, column, anchor = position
    x, y, width, height = xyxy_to_cxcywh(box.astype(np.float64)).tolist()
    offset = x / scale.stride - column, y / scale.stride - row
    stretch = scale.scale_x_y
    inside = [(each + (stretch - 1) / 2) / stretch for each in offset]
    tx, ty = (float(np.log(p / (1 - p))) if 0 < p < 1 else None for p in inside)
    anchor_width, anchor_height = scale.anchors[anchor]
    ratios = max(width, 1e-9) / anchor_width, max(height, 1e-9) / anchor_height
    if scale.form == "new_coords":  # the factor (2 σ(t))² stays below 4
        halves = [np.sqrt(ratio) / 2 for ratio in ratios]
        tw, th = (float(np.log(p / (1 - p))) if p < 1 else None for p in halves)
    else:
        tw, th = (float(np.log(ratio)) for ratio in ratios)
    return offset, (tx, ty, tw, th)
