"""Stages 1, 3 and 4 of an explanation: the input, the raw maps and their decoding.

Legend: **S**, **T** rows and columns of cells, **A** anchors of a scale, **C** classes, **K** candidates of
all scales.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookonce.darknet.network import Network
from lookonce.explain.records import Cell, Input, Scale
from lookonce.explain.trace import Run
from lookonce.geometry.boxes import cxcywh_to_xyxy
from lookonce.geometry.decode import centre_of, sides_of
from lookonce.geometry.letterbox import Fit, Letterbox


def fit_in(image: NDArray[np.uint8], target: tuple[int, int], fit: Fit, file: Path | None) -> Input:
    """Letterbox an image (H, W, 3), or stretch it, and keep the arithmetic."""
    h, w = image.shape[:2]
    letterbox = Letterbox.for_policy(fit, (h, w), target)
    right = target[1] - letterbox.left - letterbox.resized[1]
    bottom = target[0] - letterbox.top - letterbox.resized[0]
    return Input(
        file="" if file is None else str(file),
        fit=fit,
        source=(h, w),
        target=target,
        resized=letterbox.resized,
        scale=letterbox.scale,
        pads=(letterbox.left, letterbox.top, right, bottom),
        arithmetic=_arithmetic(letterbox, right, bottom),
        image=image,
        pixels=letterbox.image(image),
        letterbox=letterbox,
    )


def _arithmetic(box: Letterbox, right: int, bottom: int) -> tuple[str, ...]:
    (h, w), (height, width), (inner_h, inner_w) = box.source, box.target, box.resized
    vertical, horizontal = box.scale
    return (
        f"scale that fits: min({width} / {w}, {height} / {h}) = min({width / w:.4f}, {height / h:.4f})"
        f" = {min(width / w, height / h):.4f}",
        f"resized: {w} x {h} -> {inner_w} x {inner_h} whole pixels",
        f"true scale: {inner_w} / {w} = {horizontal:.4f} across, {inner_h} / {h} = {vertical:.4f} down",
        f"left = ({width} - {inner_w}) // 2 = {box.left}, right = {right}; "
        f"top = ({height} - {inner_h}) // 2 = {box.top}, bottom = {bottom}",
        f"in the input: x * {horizontal:.4f} + {box.left}, y * {vertical:.4f} + {box.top}",
    )


def read_scales(network: Network, run: Run) -> tuple[Scale, ...]:
    """The raw maps and what the graph decoded them to, by cell and anchor."""
    scales, first = [], 0
    for scale, raw_map in zip(network.scales, run.raw_maps, strict=True):
        anchors = scale.section.anchors
        channels, rows, columns = raw_map.shape
        shape = rows, columns, len(anchors), channels // len(anchors)
        count = rows * columns * len(anchors)
        decoded = run.candidates[first : first + count].reshape(shape)
        scales.append(
            Scale(
                stride=scale.stride,
                layer=scale.source,
                grid=(rows, columns),
                anchors=anchors,
                scale_x_y=scale.section.scale_x_y,
                raw=np.ascontiguousarray(raw_map.transpose(1, 2, 0).reshape(shape)),
                boxes=np.ascontiguousarray(decoded[..., :4]),
                objectness=np.ascontiguousarray(decoded[..., 4]),
                probabilities=np.ascontiguousarray(decoded[..., 5:]),
                first=first,
            )
        )
        first += count
    return tuple(scales)


def cell(scales: tuple[Scale, ...], letterbox: Letterbox, place: tuple[int, int, int, int]) -> Cell:
    """Decode one place step by step.

    Args:
        scales: of an explanation.
        letterbox: likewise, `input.letterbox`.
        place: (scale, row, column, anchor).

    Raises:
        IndexError: no such place.
    """
    number, row, column, anchor_number = place
    scale = scales[number]
    if min(place) < 0:
        raise IndexError(f"expected a place (scale, row, column, anchor) from 0 on, found {place}")
    raw = scale.raw[row, column, anchor_number]
    anchor, stretch = np.array(scale.anchors[anchor_number], np.float32), np.float32(scale.scale_x_y)
    offset = sigmoid(raw[:2]) * stretch - (stretch - 1) / 2
    centre = centre_of(sigmoid(raw[:2]), np.array([column, row], np.float32), scale.stride, scale.scale_x_y)
    sides = sides_of(raw[2:4], anchor)
    box = cxcywh_to_xyxy(np.concatenate([centre, sides]))
    objectness, probabilities = sigmoid(raw[4]), sigmoid(raw[5:])
    label = int(probabilities.argmax())
    score = float(objectness * probabilities[label])
    return Cell(
        place=place,
        raw=_five(raw[:5]),
        logits=raw[5:].copy(),
        stride=scale.stride,
        anchor=scale.anchors[anchor_number],
        offset=_pair(offset),
        centre=_pair(centre),
        sides=_pair(sides),
        box=_four(box),
        image_box=_four(letterbox.boxes_out(box[None])[0]),
        objectness=float(objectness),
        probabilities=probabilities,
        label=label,
        score=score,
        formulas=(
            *_formulas(scale, place, raw, _pair(offset), _pair(centre), _pair(sides)),
            f"objectness = σ({raw[4]:.4f}) = {objectness:.4f}",
            f"class {label} = σ({raw[5 + label]:.4f}) = {probabilities[label]:.4f}",
            f"score = {objectness:.4f} * {probabilities[label]:.4f} = {score:.4f}",
        ),
    )


def _formulas(
    scale: Scale,
    place: tuple[int, int, int, int],
    raw: NDArray[np.float32],
    offset: tuple[float, float],
    centre: tuple[float, float],
    sides: tuple[float, float],
) -> tuple[str, ...]:
    """Centre and sides, one line each, with their numbers."""
    _, row, column, anchor_number = place
    s, stride = scale.scale_x_y, scale.stride
    stretched = "" if s == 1 else f" * {s:g} - {(s - 1) / 2:g}"
    lines = [
        f"{axis} = ({corner} + σ({t:.4f}){stretched}) * {stride}"
        f" = ({corner} + {inside:.4f}) * {stride} = {at:.2f}"
        for axis, corner, t, inside, at in zip(
            "xy", (column, row), raw[:2].tolist(), offset, centre, strict=True
        )
    ]
    anchor = scale.anchors[anchor_number]
    lines += [
        f"{axis} = {side:g} * exp({t:.4f}) = {length:.2f}"
        for axis, side, t, length in zip("wh", anchor, raw[2:4].tolist(), sides, strict=True)
    ]
    return tuple(lines)


def sigmoid(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / (1 + exp(-x)), without overflow."""
    small = np.exp(-np.abs(x))
    result: NDArray[np.float32] = np.where(x >= 0, 1 / (1 + small), small / (1 + small)).astype(np.float32)
    return result


def _pair(array: NDArray[np.float32]) -> tuple[float, float]:
    a, b = array.tolist()
    return a, b


def _four(array: NDArray[np.float32]) -> tuple[float, float, float, float]:
    a, b, c, d = array.tolist()
    return a, b, c, d


def _five(array: NDArray[np.float32]) -> tuple[float, float, float, float, float]:
    a, b, c, d, e = array.tolist()
    return a, b, c, d, e
