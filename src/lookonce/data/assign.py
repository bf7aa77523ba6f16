"""Which cell and anchor is responsible for which object (the write-up's `preprocess_true_boxes`).

Legend: **N** boxes of one image, **P** positives, **A** = 3 anchors a scale, **G** anchors of all scales.

An anchor is placed on the centre of the cell that holds the box's centre. Every anchor whose IoU with the box
is above 0.3 becomes positive, on every scale; if none is, the best of all does:

    boxes (N, 4) -> cell_of -> fitting_anchors (N, G) -> choose (N, G) -> drop_collisions -> Positives (P,)

That is the rule `iou`. Two others look at shapes alone, wherever in its cell the box stands; see
`AssignSettings`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookonce.config import AssignSettings
from lookonce.errors import AnnotationError
from lookonce.geometry.anchors import Anchors, flatten, shape_iou
from lookonce.geometry.boxes import cxcywh_to_xyxy, iou, xyxy_to_cxcywh

WRITE_UP = AssignSettings()
POSITIVE_IOU = WRITE_UP.positive_iou


@dataclass(frozen=True, slots=True, eq=False)
class Positives:
    """The cells and anchors that must find an object. Sparse: everything else is background.

    Attributes:
        scale: (P,) int64, 0 is the finest.
        row: (P,) int64 cell row.
        column: (P,) int64 cell column.
        anchor: (P,) int64 index within the scale.
        box: (P, 4) float32 xyxy, pixels of the network input.
        label: (P,) int64 class number.
        lost: how many earlier choices were replaced by a later box on the same cell and anchor.
    """

    scale: NDArray[np.int64]
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    anchor: NDArray[np.int64]
    box: NDArray[np.float32]
    label: NDArray[np.int64]
    lost: int = 0


def assign(
    boxes: NDArray[np.float32],
    labels: NDArray[np.int64],
    anchors: Anchors,
    strides: tuple[int, ...],
    input_size: tuple[int, int],
    num_classes: int,
    settings: AssignSettings = WRITE_UP,
) -> Positives:
    """Assign the boxes of one image.

    Args:
        boxes: (N, 4) xyxy, pixels of the network input, centres inside it.
        labels: (N,) class numbers.
        anchors: per scale, (width, height) in pixels of the network input.
        strides: per scale, pixels a cell.
        input_size: (height, width) of the network input.
        num_classes: C; every label is below it.
        settings: the rule.

    Raises:
        AnnotationError: a class number is out of range.
    """
    _check_labels(labels, num_classes)
    cells = cell_of(boxes, strides, input_size)  # (N, scales, 2)
    chosen = choose(*fitting_anchors(boxes, cells, anchors, strides, settings))  # (N, G)
    box_index, anchor_index = np.nonzero(chosen)  # by box, so that later boxes come later
    per_scale = len(anchors[0])
    kept = drop_collisions(*_places(box_index, anchor_index, cells, per_scale))
    lost = len(box_index) - len(kept)
    box_index, anchor_index = box_index[kept], anchor_index[kept]
    scale, row, column, anchor = _places(box_index, anchor_index, cells, per_scale)
    return Positives(
        scale=scale,
        row=row,
        column=column,
        anchor=anchor,
        box=boxes[box_index].astype(np.float32),
        label=labels[box_index].astype(np.int64),
        lost=lost,
    )


def fitting_anchors(
    boxes: NDArray[np.float32],
    cells: NDArray[np.int64],
    anchors: Anchors,
    strides: tuple[int, ...],
    settings: AssignSettings,
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which anchors the rule takes for each box, and the overlap by which it ranks them: (N, G) both."""
    if settings.rule == "iou":
        ious = anchor_ious(boxes, cells, anchors, strides)
        return ious > settings.positive_iou, ious
    sides, flat = np.asarray(boxes[:, 2:] - boxes[:, :2], np.float64), flatten(anchors)
    overlap = shape_iou(sides, flat)
    if settings.rule == "best":
        return np.zeros(overlap.shape, bool), overlap
    ratio = sides[:, None] / flat  # (N, G, 2)
    larger = np.maximum(ratio, 1 / np.maximum(ratio, 1e-9)).max(axis=2)
    return larger < settings.largest_ratio, overlap


def _places(
    box: NDArray[np.int64], anchor: NDArray[np.int64], cells: NDArray[np.int64], per_scale: int
) -> tuple[NDArray[np.int64], ...]:
    """Box and anchor numbers (P,) -> scale, row, column and anchor within the scale, (P,) each."""
    scale, within = np.divmod(anchor, per_scale)
    column, row = cells[box, scale].T
    return scale, row, column, within


def cell_of(
    boxes: NDArray[np.float32], strides: tuple[int, ...], input_size: tuple[int, int]
) -> NDArray[np.int64]:
    """(N, 4) -> (N, scales, 2): column and row of the cell that holds each box's centre, on each scale.

    A centre on the right or bottom border belongs to the last cell (reference fault 3).
    """
    centre = xyxy_to_cxcywh(boxes.astype(np.float64))[:, None, :2]  # (N, 1, 2)
    stride = np.array(strides)[:, None]  # (scales, 1)
    cells_a_side = np.array(input_size[::-1]) // stride  # (scales, 2): columns, rows
    cells: NDArray[np.int64] = np.clip(np.floor(centre / stride), 0, cells_a_side - 1).astype(np.int64)
    return cells


def anchor_ious(
    boxes: NDArray[np.float32], cells: NDArray[np.int64], anchors: Anchors, strides: tuple[int, ...]
) -> NDArray[np.float64]:
    """IoU of each box with each anchor standing on the middle of the box's cell: -> (N, G), finest first."""
    stride = np.array(strides, np.float64)[:, None]
    middle = (cells + 0.5) * stride  # (N, scales, 2) pixels
    sides = np.array(anchors, np.float64)  # (scales, A, 2)
    n, scales, per_scale = len(boxes), *sides.shape[:2]
    placed = np.empty((n, scales, per_scale, 4))
    placed[..., :2] = middle[:, :, None]
    placed[..., 2:] = sides
    overlap = iou(boxes.astype(np.float64)[:, None, None], cxcywh_to_xyxy(placed))
    return overlap.reshape(n, scales * per_scale)


def choose(fitting: NDArray[np.bool_], overlap: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(N, G) both -> (N, G) positive: the anchors that fit; where none does, the best (the first on ties)."""
    positive = fitting.copy()
    hopeless = np.flatnonzero(~positive.any(axis=1))
    positive[hopeless, overlap[hopeless].argmax(axis=1)] = True
    return positive


def drop_collisions(*key: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indices of the choices that stand: of equal keys only the last does, as in the reference."""
    stacked = np.stack(key, axis=1)[::-1]
    _, first_from_the_end = np.unique(stacked, axis=0, return_index=True)
    return np.sort(len(stacked) - 1 - first_from_the_end)


def _check_labels(labels: NDArray[np.int64], num_classes: int) -> None:
    bad = labels[(labels < 0) | (labels >= num_classes)]
    if len(bad):
        raise AnnotationError(f"expected class numbers from 0 to {num_classes - 1}, found {bad[0]}")
