"""Define the records of an explanation: every number from an image to its detections.

Legend: **H**, **W** height and width, **S**, **T** rows and columns of cells of a scale, **A** anchors of a
scale, **C** classes, **K** candidates of all scales (10,647 at 416), **N** listed candidates, **D**
detections.

Boxes are xyxy. *Input pixels* are those of the network's input, *image pixels* those of the image. Scales
are finest first, and a position in the network is (scale, row, column, anchor), counted from 0.
`packing.plain` converts a record to JSON.
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
    """Return a small array as a tuple of Python numbers, typed as Any because its length varies."""
    return tuple(array.tolist())


KEPT, BELOW = -1, -2  # values in `NmsResult.suppressed_by`


@dataclass(frozen=True, slots=True, eq=False)
class Input:
    """The image, and the network's input made from it.

    Attributes:
        file: path of the image; empty if it was given as pixels.
        fit: `letterbox` or `stretch`.
        source: (H, W) of the image.
        target: (H, W) of the network's input.
        resized: (H, W) of the image inside the input.
        scale: (vertical, horizontal) factor from image to input.
        pads: (left, top, right, bottom) padding in input pixels.
        arithmetic: calculation of these numbers, one line per step.
        image: (H, W, 3) uint8 RGB image. Not in the JSON.
        pixels: (H, W, 3) uint8 RGB input of the network. Not in the JSON.
        letterbox: letterbox that maps boxes into the input and back. Not in the JSON.
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
        size: weights per side.
        stride: cells from one position of the kernel to the next.
        padding: cells added on each of the four sides.
        dilation: cells from one weight of the kernel to the next.
        groups: number of groups of channels that are convolved separately.
        batch_norm: whether batch normalization follows in place of a bias.
        owner: number of the layer whose weights are used; None for weights of its own.
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
    """A layer of the network.

    Attributes:
        index: Darknet's layer number.
        kind: kind of section in the `.cfg`: convolutional, shortcut, route, upsample, maxpool, yolo, ...
        part: `backbone`, `neck` or `head`. In a network without a name in lookonce, the backbone is every
            layer on which all scales depend, a head is a [yolo] and the convolution before it, and the rest
            is the neck.
        name: name of the module in `model.yolov3` or `model.tiny`, such as `backbone.stages.2.3.expand`;
            empty if there is none.
        title: name of the output in the write-up, such as `route_1`; empty if there is none.
        detail: operation, such as `3x3 / 2, 64 filters, leaky`.
        inputs: numbers of the layers that are its inputs; -1 for the image.
        shape: (C, H, W) of the output.
        kernel: kernel of a convolution; None for other layers.
        parameters: number of parameters, including the statistics of batch normalization.
        trainable: number of parameters without these statistics.
        multiply_adds: multiply-adds of a convolution, with batch normalization folded; 0 for other layers.
        seconds: measured time (see `Timing`); 0 for a layer fused into another.
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
    """The measurement of the layers' times.

    Attributes:
        method: description of the method, in full sentences.
        runs: number of runs; each time is their median.
        seconds: time of all operators together.
        other_seconds: time of the operators that belong to no layer, such as the conversion of the image and
            changes of memory layout.
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
        channels: (n,) numbers of the channels that vary most over this image, in ascending order.
        low: (n,) float32 minimum of each channel, which is shown black.
        high: (n,) float32 maximum of each channel, which is shown white.
        tiles: (n, h, w) uint8; larger maps are reduced by averaging.
    """

    layer: int
    channels: tuple[int, ...]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    tiles: NDArray[np.uint8] = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class ScaleOutput:
    """The output of one head: its raw map, and the decoded box of every cell and anchor.

    Attributes:
        stride: input pixels per cell.
        layer: number of the layer whose output is the raw map.
        grid: (S, T), rows and columns of cells.
        anchors: (width, height) of the A anchors in input pixels.
        scale_x_y: factor by which Darknet stretches the range of the center's offset; 1 in YOLOv3.
        form: conversion of raw numbers to boxes and scores; see `geometry.decode`.
        raw: (S, T, A, 5+C) float32: tx, ty, tw, th, objectness logit, class logits. In a [Gaussian_yolo], the
            objectness is multiplied by one minus the mean uncertainty, and this is the logit of the product.
        boxes: (S, T, A, 4) float32 decoded boxes in input pixels.
        objectness: (S, T, A) float32, 0 to 1.
        probabilities: (S, T, A, C) float32. Not in the JSON: the sigmoid or softmax of the class logits.
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
        raw: tx, ty, tw, th and the objectness logit.
        logits: (C,) float32 class logits.
        stride: input pixels per cell.
        anchor: (width, height) of the anchor in input pixels.
        offset: offset of the center in the cell, in cells: (σ(tx), σ(ty)), stretched by `scale_x_y`.
        center: (x, y) of the center in input pixels.
        sides: (width, height) of the box in input pixels.
        box: box in input pixels.
        image_box: box in image pixels, clipped to the image.
        objectness: σ of the objectness logit.
        probabilities: (C,) float32 class probabilities.
        label: most probable class, the first on ties.
        score: objectness times the probability of that class.
        formulas: calculation of these numbers, one line per step.
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
    """The candidates above a low floor, in the order of the network: by scale, row, column and anchor.

    For score thresholds of `complete_from` and above, the score filter and NMS on these N candidates give the
    same result as `runtime.postprocess` on all K, in which scores and thresholds are float32.

    Attributes:
        positions: (N, 4) int64 (scale, row, column, anchor).
        boxes: (N, 4) float32 boxes in image pixels, clipped to the image; none is empty.
        objectness: (N,) float32.
        scores: (N,) float32 objectness times the probability of the class.
        labels: (N,) int64 most probable class, the first on ties.
        total: K, the number of all predictions.
        floor: score at or below which nothing is listed.
        left_out: number of candidates above the floor that are not listed, because there are more than
            `limit`: those with the lowest scores, and none above the lowest score threshold.
        limit: number of candidates to list, unless more are above the lowest score threshold.
        complete_from: lowest score threshold for which the list is complete.
        invisible: number of candidates above the floor with a box outside the image or without area.
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
        score_thresholds: score threshold of each class, (C,); a kept score is above it.
        iou_threshold: IoU with a better kept box of the same class above which a box is dropped.
        kept: (D,) int64 indices of the kept candidates by descending score, which are the detections.
        suppressed_by: (N,) int64 index of the best candidate that suppresses each one; `KEPT` (-1) for a kept
            candidate, `BELOW` (-2) for one that is not above the score threshold of its class.
        iou: (N,) float32 IoU with the suppressing box; 0 if there is none.
    """

    score_thresholds: tuple[float, ...]
    iou_threshold: float
    kept: NDArray[np.int64]
    suppressed_by: NDArray[np.int64] = field(repr=False)
    iou: NDArray[np.float32] = field(repr=False)

    @property
    def lowest(self) -> float:
        """Return the lowest score threshold of any class; nothing at or below it is detected."""
        return min(self.score_thresholds)


@dataclass(frozen=True, slots=True)
class Words:
    """The description of one stage.

    Attributes:
        stage: `input`, `network`, `heads`, `decode`, `nms`, `assignment`, `losses` or `verdicts`.
        title: heading.
        text: two or more sentences of plain text.
        formula: formulas, one per line.
        function: dotted name of the function that computes the stage.
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
    """Everything that happens to one image in one model.

    Attributes:
        model: path of the model; empty if it was not read from a file.
        info: description of the model; the input size used is `input.target`, not `info.input_size`.
        input: stage 1, the image and the network's input.
        layers: stage 2, the layers, numbered as in Darknet.
        timing: measurement of the layers' times.
        features: feature maps of the layers that compute something; empty unless requested.
        scales: stages 3 and 4, raw and decoded maps, finest scale first.
        candidates: stage 5, the candidates.
        nms: stage 5, the outcome of NMS at the thresholds of this explanation.
        truth: stages 6 to 8, assignment, losses and verdicts; None without an annotation.
        words: descriptions of the stages, in order.
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
        """Return the detections at these thresholds, which equal those of `Detector`."""
        kept, found = self.nms.kept, self.candidates
        return Detections(found.boxes[kept], found.scores[kept], found.labels[kept], self.info.names)

    @property
    def thresholds(self) -> str:
        """Describe the score thresholds: `a score threshold of 0.25`, or a list by class."""
        values = self.nms.score_thresholds
        if len(set(values)) == 1:
            return f"a score threshold of {values[0]:g}"
        each = [f"{name} {value:.2f}" for name, value in zip(self.info.names, values, strict=True)]
        return f"score thresholds by class ({listed(each)})"

    def to_dict(self) -> dict[str, Any]:
        """Return everything except the pixels as plain data for `json.dumps`; see `packing`."""
        return {"format_version": FORMAT_VERSION, **plain(self)}
