"""Assign each object to the cells and anchors that must find it (the write-up's `preprocess_true_boxes`).

Legend: **N** boxes of one image, **P** positives, **A** anchors of a scale (their number may differ between
scales), **G** anchors of all scales.

Each anchor is centered on the cell that contains the center of the box. On all scales, every anchor whose IoU
with the box is above 0.3 becomes positive; if there is none, the best of all anchors does:

    boxes (N, 4) -> cell_of -> fitting_anchors (N, G) -> choose (N, G) -> drop_collisions -> Positives (P,)

This is the rule `iou`. Two other rules compare shapes only, wherever in its cell the box lies; see
`AssignSettings`.
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
UNSURE = 0.1  # score of a class that may lack boxes, from which a cell does not count as background

Array = TypeVar("Array")  # a numpy array or, in training, a torch tensor
Column = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Positives(Generic[Array]):
    """Cells and anchors that must find an object. Sparse: everything else is background.

    Attributes:
        image: (P,) int64 position of the image in the batch; 0 for a single image.
        scale: (P,) int64, 0 is the finest.
        row: (P,) int64 row of the cell.
        column: (P,) int64 column of the cell.
        anchor: (P,) int64 index within the scale.
        box: (P, 4) float32 xyxy, pixels of the network input.
        label: (P,) int64 class number.
        lost: number of earlier choices replaced by a later box on the same cell and anchor.
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
        """Apply one change to every column: a selection, or a move to another device."""
        columns = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "lost"}
        return Positives(**{name: change(column) for name, column in columns.items()}, lost=self.lost)


def join(parts: Sequence[Positives[Column]]) -> Positives[Column]:
    """Put the positives of the images of a batch one after another; `image` counts the images."""
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
        anchors: per scale, (width, height) in pixels of the network input.
        strides: per scale, pixels per cell.
        input_size: (height, width) of the network input.
        settings: the rule.
    """
    cells = cell_of(boxes, strides, input_size)  # (N, scales, 2)
    chosen = choose(*fitting_anchors(boxes, cells, anchors, strides, settings))  # (N, G)
    box, number = np.nonzero(chosen)  # by box, so that later boxes come later
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
    """Return the cells that ignored areas of an image touch: (S, T, 1 + C) per scale, see `loader.Batch`."""
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
    """(N, 4) -> (N,): boxes with their center outside every area in which nothing counts."""
    centers = xyxy_to_cxcywh(boxes)[:, :2]
    inside = [area.holds(centers) for area in areas if not area.labels]
    return ~np.any(inside, axis=0) if inside else np.ones(len(boxes), bool)


def cell_of(
    boxes: NDArray[np.float32], strides: tuple[int, ...], input_size: tuple[int, int]
) -> NDArray[np.int64]:
    """(N, 4) -> (N, scales, 2): column and row of the cell that holds the center of each box, per scale.

    A center on the right or bottom border belongs to the last cell (reference fault 3).
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
    """Return the anchors that fit each box by the rule, and the overlap that ranks them: (N, G) both."""
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
    """Compute the IoU of each box with each anchor centered on its cell: -> (N, G), finest scale first."""
    middle = (cells + 0.5) * np.array(strides)[:, None]  # (N, scales, 2) pixels
    sides = flatten(anchors)  # (G, 2)
    centered = np.empty((len(boxes), len(sides), 4))
    centered[..., :2] = middle[:, numbered(anchors)[0]]
    centered[..., 2:] = sides
    overlap: NDArray[np.float64] = iou(boxes.astype(np.float64)[:, None], cxcywh_to_xyxy(centered))
    return overlap


def numbered(anchors: Anchors) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the scale of each of the G anchors, and its index within the scale: (G,) both."""
    counts = [len(scale) for scale in anchors]
    within = [np.arange(count) for count in counts]
    return np.repeat(np.arange(len(counts)), counts), np.concatenate(within)


def choose(fitting: NDArray[np.bool_], overlap: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(N, G) both -> (N, G) positive: anchors that fit; if none does, the best one (the first of ties)."""
    positive = fitting.copy()
    without = np.flatnonzero(~positive.any(axis=1))
    positive[without, overlap[without].argmax(axis=1)] = True
    return positive


def drop_collisions(*key: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the indices of the choices that remain: of equal keys only the last, as in the reference."""
    stacked = np.stack(key, axis=1)[::-1]
    _, first_from_the_end = np.unique(stacked, axis=0, return_index=True)
    return np.sort(len(stacked) - 1 - first_from_the_end)
