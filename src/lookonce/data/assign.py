"""Assign each object to the cells and anchors that must predict it (the write-up's `preprocess_true_boxes`).

Legend: **N** boxes of one image, **P** positives, **G** anchors of all scales.

By default, anchors are centered on the cell that contains the center of the box. Every anchor of any scale
whose IoU with the box exceeds 0.3 becomes positive; if none does, the anchor with the highest IoU is used:

    boxes (N, 4) -> cell_of -> fitting_anchors (N, G) -> choose (N, G) -> drop_collisions -> Positives (P,)

This is the rule `iou`. The other two rules, `best` and `ratio`, compare only the shapes of box and anchor;
see `AssignSettings`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from lookonce.config import AssignSettings
from lookonce.geometry.anchors import Anchors, flatten, shape_iou
from lookonce.geometry.boxes import cxcywh_to_xyxy, iou, xyxy_to_cxcywh
from lookonce.geometry.polygons import touched_cells
from lookonce.samples import Area

WRITE_UP = AssignSettings()
POSITIVE_IOU = WRITE_UP.positive_iou
UNSURE = 0.1  # minimum predicted score of a class that may lack boxes for a cell not to count as background

Array = TypeVar("Array")  # a numpy array or, in training, a torch tensor
Column = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Positives(Generic[Array]):
    """Cells and anchors that must predict an object; all others are background or ignored.

    Attributes:
        image: (P,) int64 index of the image in the batch; 0 for a single image.
        scale: (P,) int64 index of the scale, finest first.
        row: (P,) int64 row of the cell.
        column: (P,) int64 column of the cell.
        anchor: (P,) int64 index of the anchor within its scale.
        box: (P, 4) float32 xyxy, pixels of the network input.
        label: (P,) int64 class number.
        lost: number of positives replaced by a later box on the same cell and anchor.
    """

    image: Array
    scale: Array
    row: Array
    column: Array
    anchor: Array
    box: Array
    label: Array
    lost: int = 0

    def on_scale(self, scale: int) -> "Positives[Array]":
        """Select the positives of one scale."""
        columns: Any = self.scale
        here = columns == scale
        return self.each(lambda column: column[here])

    def each(self, change: Callable[[Any], Any]) -> "Positives[Any]":
        """Apply a function to every column, such as a selection or a transfer to another device."""
        columns = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "lost"}
        return Positives(**{name: change(column) for name, column in columns.items()}, lost=self.lost)


def join(parts: Sequence[Positives[Column]]) -> Positives[Column]:
    """Concatenate the positives of the images in a batch; `image` becomes the index of the part."""
    if not parts:
        none = np.zeros(0, np.int64)
        return Positives(none, none, none, none, none, np.zeros((0, 4), np.float32), none)
    image = np.repeat(np.arange(len(parts)), [len(part.label) for part in parts])
    names = ("scale", "row", "column", "anchor", "box", "label")
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return Positives(image, **columns, lost=sum(part.lost for part in parts))


def assign(
    boxes: NDArray[np.float32],
    labels: NDArray[np.int64],
    anchors: Anchors,
    strides: tuple[int, ...],
    input_size: tuple[int, int],
    settings: AssignSettings = WRITE_UP,
) -> Positives[Column]:
    """Assign the boxes of one image.

    Args:
        boxes: (N, 4) xyxy, pixels of the network input, centers inside it.
        labels: (N,) class numbers.
        anchors: (width, height) of each anchor per scale, in pixels of the network input.
        strides: pixels per cell, per scale.
        input_size: (height, width) of the network input.
        settings: assignment rule and its thresholds.
    """
    cells = cell_of(boxes, strides, input_size)  # (N, scales, 2)
    chosen = choose(*fitting_anchors(boxes, cells, anchors, strides, settings))  # (N, G)
    box, number = np.nonzero(chosen)  # in the order of the boxes, as drop_collisions keeps the last one
    scale_of, anchor_of = numbered(anchors)
    scale, anchor = scale_of[number], anchor_of[number]
    column, row = cells[box, scale].T
    kept = drop_collisions(scale, row, column, anchor)
    return Positives(
        image=np.zeros(len(kept), np.int64),
        scale=scale[kept],
        row=row[kept],
        column=column[kept],
        anchor=anchor[kept],
        box=boxes[box[kept]].astype(np.float32),
        label=labels[box[kept]].astype(np.int64),
        lost=len(box) - len(kept),
    )


def ignored_cells(
    areas: Sequence[Area], strides: tuple[int, ...], input_size: tuple[int, int], classes: int
) -> tuple[NDArray[np.bool_], ...]:
    """Return the cells touched by an image's ignored areas: (S, T, 1 + C) per scale, see `loader.Batch`."""
    maps = []
    for stride in strides:
        cells = input_size[0] // stride, input_size[1] // stride
        touched = np.zeros((*cells, 1 + classes), bool)
        for area in areas:
            channels = [1 + label for label in area.labels] or [0]
            touched[..., channels] |= touched_cells(area.corners, cells, stride, area.window)[..., None]
        maps.append(touched)
    return tuple(maps)


def outside_ignored(boxes: NDArray[np.float32], areas: Sequence[Area]) -> NDArray[np.bool_]:
    """Return which boxes have their center outside every area that is ignored for all classes: (N,)."""
    centers = xyxy_to_cxcywh(boxes)[:, :2]
    inside = [area.holds(centers) for area in areas if not area.labels]
    return ~np.any(inside, axis=0) if inside else np.ones(len(boxes), bool)


def cell_of(
    boxes: NDArray[np.float32], strides: tuple[int, ...], input_size: tuple[int, int]
) -> NDArray[np.int64]:
    """Return the cell that contains the center of each box, per scale: (column, row), (N, scales, 2).

    A center on the right or bottom border of the input belongs to the last cell (reference fault 3).
    """
    center = xyxy_to_cxcywh(boxes.astype(np.float64))[:, None, :2]  # (N, 1, 2)
    stride = np.array(strides)[:, None]  # (scales, 1)
    cells_per_side = np.array(input_size[::-1]) // stride  # (scales, 2): columns, rows
    cells: NDArray[np.int64] = np.clip(np.floor(center / stride), 0, cells_per_side - 1).astype(np.int64)
    return cells


def fitting_anchors(
    boxes: NDArray[np.float32],
    cells: NDArray[np.int64],
    anchors: Anchors,
    strides: tuple[int, ...],
    settings: AssignSettings,
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return which anchors fit each box under the rule, and the IoU that ranks them, both (N, G)."""
    if settings.rule == "iou":
        ious = anchor_ious(boxes, cells, anchors, strides)
        return ious > settings.positive_iou, ious
    sides, flat = (boxes[:, 2:] - boxes[:, :2]).astype(np.float64), flatten(anchors)
    overlap = shape_iou(sides, flat)
    if settings.rule == "best":
        return np.zeros(overlap.shape, bool), overlap
    ratio = sides[:, None] / flat  # (N, G, 2)
    larger = np.maximum(ratio, 1 / np.maximum(ratio, 1e-9)).max(axis=2)
    return larger < settings.largest_ratio, overlap


def anchor_ious(
    boxes: NDArray[np.float32], cells: NDArray[np.int64], anchors: Anchors, strides: tuple[int, ...]
) -> NDArray[np.float64]:
    """Compute the IoU of each box with each anchor centered on the box's cell: (N, G), finest scale first."""
    middle = (cells + 0.5) * np.array(strides)[:, None]  # (N, scales, 2) pixels
    sides = flatten(anchors)  # (G, 2)
    centered = np.empty((len(boxes), len(sides), 4))
    centered[..., :2] = middle[:, numbered(anchors)[0]]
    centered[..., 2:] = sides
    overlap: NDArray[np.float64] = iou(boxes.astype(np.float64)[:, None], cxcywh_to_xyxy(centered))
    return overlap


def numbered(anchors: Anchors) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the scale of each anchor and its index within that scale, both (G,)."""
    counts = [len(scale) for scale in anchors]
    within = [np.arange(count) for count in counts]
    return np.repeat(np.arange(len(counts)), counts), np.concatenate(within)


def choose(fitting: NDArray[np.bool_], overlap: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the positive anchors of each box, (N, G): those that fit, or else the first of the best ones."""
    positive = fitting.copy()
    without = np.flatnonzero(~positive.any(axis=1))
    positive[without, overlap[without].argmax(axis=1)] = True
    return positive


def drop_collisions(*key: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sorted indices that remain if the last of equal keys is kept, as in the reference."""
    stacked = np.stack(key, axis=1)[::-1]
    _, first_from_the_end = np.unique(stacked, axis=0, return_index=True)
    return np.sort(len(stacked) - 1 - first_from_the_end)
