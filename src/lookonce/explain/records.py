"""Records of an explanation: the numbers of one image on its way through one model.

Legend: **H**, **W** height and width, **S**, **T** rows and columns of cells of a scale, **A** its anchors,
**C** classes, **K** candidates of all scales (10,647 at 416), **N** candidates listed, **P** positives.

Boxes are xyxy. *Input pixels* are those of the network's input, *image pixels* those of the image. Scales
are finest first, and a position in the network is (scale, row, column, anchor), counted from 0.
`packing.plain` turns a record into JSON.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookonce.detections import Detections
from lookonce.evaluate.classes import listed
from lookonce.explain.packing import NOT_IN_JSON, plain
from lookonce.explain.truth_records import Truth
from lookonce.geometry.decode import Form
from lookonce.geometry.letterbox import Letterbox
from lookonce.metadata import ModelInfo

FORMAT_VERSION = 1

Box = tuple[float, float, float, float]


def as_tuple(array: NDArray[Any]) -> Any:
    """Return a small array as a tuple of Python numbers; Any, since its length is known only at run time."""
    return tuple(array.tolist())


KEPT, BELOW = -1, -2  # in `NmsResult.suppressed_by`


@dataclass(frozen=True, slots=True, eq=False)
class Input:
    """From the image to the network's input.

    Attributes:
        file: path of the image; empty if it was given as pixels.
        fit: `letterbox` or `stretch`.
        source: (H, W) of the image.
        target: (H, W) of the network's input.
        resized: (H, W) of the image inside the input.
        scale: (vertical, horizontal) factor from image to input.
        pads: (left, top, right, bottom) padding in input pixels.
        arithmetic: the steps to these numbers, one line each with its numbers filled in.
        image: (H, W, 3) uint8 RGB. Not in the JSON.
        pixels: the network's input, (height, width, 3) uint8 RGB. Not in the JSON.
        letterbox: maps boxes in and out. Not in the JSON.
    """

    file: str
    fit: str
    source: tuple[int, int]
    target: tuple[int, int]
    resized: tuple[int, int]
    scale: tuple[float, float]
    pads: tuple[int, int, int, int]
    arithmetic: tuple[str, ...]
    image: NDArray[np.uint8] = field(metadata=NOT_IN_JSON, repr=False)
    pixels: NDArray[np.uint8] = field(metadata=NOT_IN_JSON, repr=False)
    letterbox: Letterbox = field(metadata=NOT_IN_JSON, repr=False)


@dataclass(frozen=True, slots=True)
class Kernel:
    """The kernel of a convolution.

    Attributes:
        size: side, in numbers.
        stride: cells from one position to the next.
        padding: cells added on each of the four sides.
        dilation: cells from one number of the kernel to the next.
        groups: groups of channels, each convolved alone.
        batch_norm: whether batch normalization follows, instead of a bias.
        owner: layer whose weights it uses; None: it has its own.
    """

    size: int
    stride: int
    padding: int
    dilation: int
    groups: int
    batch_norm: bool
    owner: int | None


@dataclass(frozen=True, slots=True)
class NetworkLayer:
    """One layer, numbered as in Darknet.

    Attributes:
        index: Darknet's layer number.
        kind: the section: convolutional, shortcut, route, upsample, maxpool, yolo, ...
        part: `backbone`, `neck` or `head`. In a network that has no name in lookonce, the backbone is what
            all scales read, a head is a [yolo] with the convolution before it, and the rest is neck.
        name: module in the readable network, e.g. `backbone.stages.2.3.expand`; empty if it has none.
        title: the write-up's name of this output, e.g. `route_1`; empty if it has none.
        detail: operation, e.g. `3x3 / 2, 64 filters, leaky`.
        inputs: numbers of the layers it reads; -1 is the image.
        shape: (C, H, W) of its output.
        kernel: of a convolution; None for another layer.
        parameters: its own numbers in the weight file, batch statistics included.
        trainable: parameters without the batch statistics.
        multiply_adds: multiply-adds of its convolution with batch normalization folded in; 0 without one.
        seconds: measured, see `Timing`; 0 for a layer fused into another.
        share: share of the measured time of the network, 0 to 1.
    """

    index: int
    kind: str
    part: str
    name: str
    title: str
    detail: str
    inputs: tuple[int, ...]
    shape: tuple[int, int, int]
    kernel: Kernel | None
    parameters: int
    trainable: int
    multiply_adds: int
    seconds: float
    share: float


@dataclass(frozen=True, slots=True)
class Timing:
    """How the layers' times were measured.

    Attributes:
        method: description in words.
        runs: number of runs; each figure is their median.
        seconds: total over all operators.
        other_seconds: the part that belongs to no layer: conversion of the image, changes of memory layout,
            decoding.
    """

    method: str
    runs: int
    seconds: float
    other_seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Some channels of one layer's output as gray tiles.

    Attributes:
        layer: layer number.
        channels: (n,) channel numbers: the n that vary most over this image, in ascending order.
        low: (n,) float32 minimum of each channel, shown black.
        high: (n,) float32 maximum of each channel, shown white.
        tiles: (n, h, w) uint8; larger maps are reduced by averaging.
    """

    layer: int
    channels: tuple[int, ...]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    tiles: NDArray[np.uint8] = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class ScaleOutput:
    """One head: its raw map, and the decoded box of every cell and anchor.

    Attributes:
        stride: input pixels per cell.
        layer: number of the layer that puts out the raw map.
        grid: (S, T) rows and columns of cells.
        anchors: (A) (width, height) in input pixels.
        scale_x_y: Darknet's stretch of the center's offset; 1 in YOLOv3.
        form: conversion of the raw numbers, see `geometry.decode`.
        raw: (S, T, A, 5+C) float32: tx, ty, tw, th, objectness logit, class logits. In a [Gaussian_yolo], the
            objectness logit is of its product with 1 - the mean uncertainty.
        boxes: (S, T, A, 4) float32, decoded, input pixels.
        objectness: (S, T, A) float32, 0 to 1.
        probabilities: (S, T, A, C) float32. Not in the JSON: sigmoid or softmax of the class logits.
        first: index of this scale's first candidate among the K.
    """

    stride: int
    layer: int
    grid: tuple[int, int]
    anchors: tuple[tuple[float, float], ...]
    scale_x_y: float
    form: Form
    raw: NDArray[np.float32] = field(repr=False)
    boxes: NDArray[np.float32] = field(repr=False)
    objectness: NDArray[np.float32] = field(repr=False)
    probabilities: NDArray[np.float32] = field(metadata=NOT_IN_JSON, repr=False)
    first: int


@dataclass(frozen=True, slots=True, eq=False)
class DecodedCell:
    """The decoding of one position, step by step.

    Attributes:
        position: (scale, row, column, anchor).
        raw: tx, ty, tw, th, objectness logit.
        logits: (C,) float32 class logits.
        stride: input pixels per cell.
        anchor: (width, height) in input pixels.
        offset: (σ(tx), σ(ty)), stretched by `scale_x_y`: center within the cell, in cells.
        center: (x, y) in input pixels.
        sides: (width, height) in input pixels.
        box: input pixels.
        image_box: image pixels, cut at the border.
        objectness: σ of the objectness logit.
        probabilities: (C,) float32.
        label: most probable class, the first on ties.
        score: objectness times the probability of that class.
        formulas: one line per step, with its numbers filled in.
    """

    position: tuple[int, int, int, int]
    raw: tuple[float, float, float, float, float]
    logits: NDArray[np.float32]
    stride: int
    anchor: tuple[float, float]
    offset: tuple[float, float]
    center: tuple[float, float]
    sides: tuple[float, float]
    box: Box
    image_box: Box
    objectness: float
    probabilities: NDArray[np.float32]
    label: int
    score: float
    formulas: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Predictions above a low floor, in the order of the network: scales, rows, columns, anchors.

    For every score threshold from `complete_from` on, filter and NMS on these N give exactly the result of
    `runtime.postprocess` on all K. Its arithmetic and its thresholds are float32.

    Attributes:
        positions: (N, 4) int64 (scale, row, column, anchor).
        boxes: (N, 4) float32 image pixels, cut at the border; none is empty.
        objectness: (N,) float32.
        scores: (N,) float32: objectness times the probability of the class.
        labels: (N,) int64 most probable class, the first on ties.
        total: K.
        floor: scores at or below it are not listed.
        left_out: number of candidates above the floor that were left out, lowest scores first, because there
            are more than `limit`; none of them is above the lowest score threshold of the explanation.
        limit: the most that are listed.
        complete_from: lowest score threshold for which the list is complete.
        invisible: number of candidates above the floor that lie outside the image or have no area.
    """

    positions: NDArray[np.int64]
    boxes: NDArray[np.float32] = field(repr=False)
    objectness: NDArray[np.float32] = field(repr=False)
    scores: NDArray[np.float32] = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)
    total: int
    floor: float
    left_out: int
    limit: int
    complete_from: float
    invisible: int

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, slots=True, eq=False)
class NmsResult:
    """The outcome of score filter and NMS at given thresholds.

    Attributes:
        score_thresholds: threshold of each class, (C,); kept scores are above it.
        iou_threshold: a box is suppressed if its IoU with a better kept box of its class is above it.
        kept: (D,) int64 numbers of the kept candidates, by descending score: the detections.
        suppressed_by: (N,) int64 number of the best candidate that suppresses each; `KEPT` (-1) for a kept
            one, `BELOW` (-2) for one that does not pass the score threshold of its class.
        iou: (N,) float32 IoU with the suppressing box; 0 elsewhere.
    """

    score_thresholds: tuple[float, ...]
    iou_threshold: float
    kept: NDArray[np.int64]
    suppressed_by: NDArray[np.int64] = field(repr=False)
    iou: NDArray[np.float32] = field(repr=False)

    @property
    def lowest(self) -> float:
        """Lowest score threshold of a class: nothing at or below it is detected."""
        return min(self.score_thresholds)


@dataclass(frozen=True, slots=True)
class Words:
    """One stage described in two or three sentences.

    Attributes:
        stage: `input`, `network`, `heads`, `decode`, `nms`, `assignment`, `losses`, `verdicts`.
        title: heading.
        text: plain text.
        formula: one or more lines.
        function: dotted name of the function that computes it.
        path: file of that function in the repository.
    """

    stage: str
    title: str
    text: str
    formula: tuple[str, ...]
    function: str
    path: str


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """One image's way through one model.

    Attributes:
        model: path of the model; empty if it was not read from a file.
        info: description of the model; `info.input_size` is its own size, `input.target` that of this run.
        input: stage 1.
        layers: stage 2, numbered as in Darknet.
        timing: how the layers' times were measured.
        features: feature maps of the layers that compute something; empty unless requested.
        scales: stages 3 and 4, finest first.
        candidates: stage 5.
        nms: stage 5, at the thresholds of this run.
        truth: stages 6 to 8; None without annotation.
        words: description of each stage, in order.
    """

    model: str
    info: ModelInfo
    input: Input
    layers: tuple[NetworkLayer, ...]
    timing: Timing
    features: tuple[Features, ...]
    scales: tuple[ScaleOutput, ...]
    candidates: Candidates
    nms: NmsResult
    truth: Truth | None
    words: tuple[Words, ...]

    @property
    def detections(self) -> Detections:
        """Detections, equal to the Detector's at these thresholds."""
        kept, found = self.nms.kept, self.candidates
        return Detections(found.boxes[kept], found.scores[kept], found.labels[kept], self.info.names)

    @property
    def thresholds(self) -> str:
        """Return the score thresholds in words: `a score threshold of 0.25`, or one for each class."""
        values = self.nms.score_thresholds
        if len(set(values)) == 1:
            return f"a score threshold of {values[0]:g}"
        each = [f"{name} {value:.2f}" for name, value in zip(self.info.names, values, strict=True)]
        return f"score thresholds by class ({listed(each)})"

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the pixels as plain data for `json.dumps`; see `packing`."""
        return {"format_version": FORMAT_VERSION, **plain(self)}
