"""Record stages 1, 3 and 4 of an explanation: the input, the raw maps, and their decoding.

Legend: **S**, **T** rows and columns of cells, **A** anchors of a scale, **C** classes, **K** candidates of
all scales.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookonce.darknet.network import Network
from lookonce.explain.records import DecodedCell, Input, ScaleOutput, as_tuple
from lookonce.explain.trace import Run
from lookonce.explain.truth_records import Position
from lookonce.geometry.boxes import cxcywh_to_xyxy
from lookonce.geometry.decode import center_of, sides_of, sigmoid, softmax
from lookonce.geometry.letterbox import Fit, Letterbox

SMALLEST_PROBABILITY = 1e-6  # lower bound that keeps the logit finite, as in `model.decode`


def fit_in(image: NDArray[np.uint8], target: tuple[int, int], fit: Fit, file: Path | None) -> Input:
    """Letterbox or stretch an image (H, W, 3), and record the arithmetic."""
    h, w = image.shape[:2]
    letterbox = Letterbox.for_policy(fit, (h, w), target)
    (height, width), (inner_h, inner_w), (down, across) = target, letterbox.resized, letterbox.scale
    left, top = letterbox.left, letterbox.top
    right, bottom = width - left - inner_w, height - top - inner_h
    return Input(
        file="" if file is None else str(file),
        fit=fit,
        source=(h, w),
        target=target,
        resized=letterbox.resized,
        scale=letterbox.scale,
        pads=(left, top, right, bottom),
        arithmetic=(
            f"scale that fits: min({width} / {w}, {height} / {h}) = min({width / w:.4f}, {height / h:.4f})"
            f" = {min(width / w, height / h):.4f}",
            f"resized: {w} x {h} -> {inner_w} x {inner_h} whole pixels",
            f"true scale: {inner_w} / {w} = {across:.4f} across, {inner_h} / {h} = {down:.4f} down",
            f"left = ({width} - {inner_w}) // 2 = {left}, right = {right}; "
            f"top = ({height} - {inner_h}) // 2 = {top}, bottom = {bottom}",
            f"in the input: x * {across:.4f} + {left}, y * {down:.4f} + {top}",
        ),
        image=image,
        pixels=letterbox.image(image),
        letterbox=letterbox,
    )


def read_scales(network: Network, run: Run) -> tuple[ScaleOutput, ...]:
    """Return the raw maps and the decoded candidates of a run, arranged by cell and anchor."""
    scales, first = [], 0
    for scale, raw_map in zip(network.scales, run.raw_maps, strict=True):
        anchors = scale.anchors
        channels, rows, columns = raw_map.shape
        positions = rows, columns, len(anchors)
        count = rows * columns * len(anchors)
        decoded = run.candidates[first : first + count].reshape(*positions, -1)
        raw = raw_map.transpose(1, 2, 0).reshape(*positions, channels // len(anchors))
        if scale.section.form == "gaussian":
            certain = np.clip(decoded[..., 4:5], SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
            raw = np.concatenate([raw[..., 0:8:2], np.log(certain / (1 - certain)), raw[..., 9:]], axis=-1)
        scales.append(
            ScaleOutput(
                stride=scale.stride,
                layer=scale.source,
                grid=(rows, columns),
                anchors=anchors,
                scale_x_y=scale.section.scale_x_y,
                form=scale.section.form,
                raw=np.ascontiguousarray(raw),
                boxes=np.ascontiguousarray(decoded[..., :4]),
                objectness=np.ascontiguousarray(decoded[..., 4]),
                probabilities=np.ascontiguousarray(decoded[..., 5:]),
                first=first,
            )
        )
        first += count
    return tuple(scales)


def cell_grid(rows: int, columns: int) -> NDArray[np.float32]:
    """Return the column and row of every cell as (rows, columns, 2), the write-up's `xy_grid`.

    `cell_grid(13, 13)[..., 0]` has the columns, from left to right, and `[..., 1]` the rows, from top to
    bottom. As (1, S, T, 1, 2), it broadcasts to (B, S, T, A, 2) for a batch of B images.
    """
    y, x = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    return np.stack([x, y], axis=-1).astype(np.float32)


def grid_text(rows: int, columns: int) -> tuple[str, ...]:
    """Write out the rows and the columns of all cells side by side, one line per row of cells."""
    grid, width = cell_grid(rows, columns).astype(int), len(str(max(rows, columns) - 1))

    def line(numbers: NDArray[np.int64]) -> str:
        return " ".join(f"{number:{width}}" for number in numbers.tolist())

    return tuple(f"[{line(row[:, 1])}]   [{line(row[:, 0])}]" for row in grid)


def cell(scales: tuple[ScaleOutput, ...], letterbox: Letterbox, position: Position) -> DecodedCell:
    """Decode one position step by step.

    Args:
        scales: raw and decoded maps, finest scale first.
        letterbox: letterbox of the image.
        position: (scale, row, column, anchor).

    Raises:
        IndexError: there is no such position.
    """
    number, row, column, anchor_number = position
    if min(position) < 0:
        raise IndexError(f"expected a position (scale, row, column, anchor) from 0 on, found {position}")
    scale = scales[number]
    raw, s, stride = scale.raw[row, column, anchor_number], scale.scale_x_y, scale.stride
    anchor, stretch = np.array(scale.anchors[anchor_number], np.float32), np.float32(s)
    offset = sigmoid(raw[:2]) * stretch - (stretch - 1) / 2
    center = center_of(sigmoid(raw[:2]), np.array([column, row], np.float32), stride, s)
    sides = sides_of(raw[2:4], anchor, scale.form)
    box = cxcywh_to_xyxy(np.concatenate([center, sides]))
    objectness = sigmoid(raw[4])
    probabilities = softmax(raw[5:]) if scale.form == "region" else sigmoid(raw[5:])
    label = int(probabilities.argmax())
    score = float(objectness * probabilities[label])
    stretched = "" if s == 1 else f" * {s:g} - {(s - 1) / 2:g}"
    centers = (
        f"{axis} = ({corner} + σ({t:.4f}){stretched}) * {stride}"
        f" = ({corner} + {inside:.4f}) * {stride} = {at:.2f}"
        for axis, corner, t, inside, at in zip("xy", (column, row), raw[:2], offset, center, strict=True)
    )
    factor = "(2 * σ({:.4f}))²" if scale.form == "new_coords" else "exp({:.4f})"
    lengths = (
        f"{axis} = {side:g} * {factor.format(t)} = {length:.2f}"
        for axis, side, t, length in zip("wh", scale.anchors[anchor_number], raw[2:4], sides, strict=True)
    )
    return DecodedCell(
        position=position,
        raw=as_tuple(raw[:5]),
        logits=raw[5:].copy(),
        stride=stride,
        anchor=scale.anchors[anchor_number],
        offset=as_tuple(offset),
        center=as_tuple(center),
        sides=as_tuple(sides),
        box=as_tuple(box),
        image_box=as_tuple(letterbox.boxes_out(box[None])[0]),
        objectness=float(objectness),
        probabilities=probabilities,
        label=label,
        score=score,
        formulas=(
            *centers,
            *lengths,
            f"objectness = σ({raw[4]:.4f}) = {objectness:.4f}",
            f"class {label} = {'softmax' if scale.form == 'region' else 'σ'}({raw[5 + label]:.4f}) = "
            f"{probabilities[label]:.4f}",
            f"score = {objectness:.4f} * {probabilities[label]:.4f} = {score:.4f}",
        ),
    )
