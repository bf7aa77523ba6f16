"""What an explanation says: typed records with the numbers of one image's way through one model.

Legend: **H**, **W** height and width, **S**, **T** rows and columns of cells of a scale, **A** its anchors,
**C** classes, **K** candidates of all scales (10,647 at 416), **N** candidates listed, **P** positives.

Boxes are xyxy. *Input pixels* are those of the network's input, *image pixels* those of the image. Scales
are finest first, and a place in the network is (scale, row, column, anchor), counted from 0.
`plain(explanation)` of `packing` says what becomes of a record in JSON.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookonce.detections import Detections
from lookonce.explain.packing import NOT_IN_JSON, plain
from lookonce.explain.truth_records import Truth
from lookonce.geometry.letterbox import Letterbox
from lookonce.metadata import ModelInfo

FORMAT_VERSION = 1

Box = tuple[float, float, float, float]
KEPT, BELOW = -1, -2  # in `Suppression.suppressed_by`


@dataclass(frozen=True, slots=True, eq=False)
class Input:
    """From the image to the network's input.

    Attributes:
        file: the image's file; empty for one handed over as pixels.
        fit: `letterbox` or `stretch`.
        source: (H, W) of the image.
        target: (H, W) of the network's input.
        resized: (H, W) of the image inside the input.
        scale: (vertical, horizontal) factor from image to input.
        pads: (left, top, right, bottom) padding in input pixels.
        arithmetic: the steps to these numbers, each a line with its numbers filled in.
        image: (H, W, 3) uint8 RGB. Not in the JSON.
        pixels: the network's input, (height, width, 3) uint8 RGB. Not in the JSON.
        letterbox: the way in and back. Not in the JSON.
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
class Layer:
    """One layer, by Darknet's count.

    Attributes:
        index: Darknet's layer number.
        kind: the section: convolutional, shortcut, route, upsample, maxpool, yolo, ...
        part: `backbone`, `neck` or `head`. In a network other than lookonce's three: the layers that all
            scales read are its backbone, a [yolo] and the convolution before it a head, the rest is neck.
        name: in the readable network, e.g. `backbone.stages.2.3.expand`; empty where that has no module.
        title: what the write-up calls this output: `route_1`, `route_2`, `conv`; else empty.
        detail: what it does, e.g. `3x3 / 2, 64 filters, leaky`.
        inputs: the layers it reads; -1 is the image.
        shape: (C, H, W) of its output.
        parameters: numbers in the weight file, batch statistics included.
        trainable: of these, what is learnt.
        multiply_adds: of its convolution, batch normalisation folded in; 0 for a layer without one.
        seconds: measured, see `Timing`; 0 for a layer that costs nothing of its own.
        share: of the measured time of the whole network, 0 to 1.
    """

    index: int
    kind: str
    part: str
    name: str
    title: str
    detail: str
    inputs: tuple[int, ...]
    shape: tuple[int, int, int]
    parameters: int
    trainable: int
    multiply_adds: int
    seconds: float
    share: float


@dataclass(frozen=True, slots=True)
class Timing:
    """How the layers' times were measured.

    Attributes:
        method: in words.
        runs: how many; each figure is the median over them.
        seconds: of all operators together.
        other_seconds: of these, what belongs to no layer: the image's conversion, changes of memory
            layout, the decoding.
    """

    method: str
    runs: int
    seconds: float
    other_seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Some channels of one layer's output as grey tiles.

    Attributes:
        layer: its number.
        channels: (n,) those shown: the ones that vary most over this image, in their own order.
        low: (n,) float32 value shown black, the least of its channel.
        high: (n,) float32 value shown white, the greatest.
        tiles: (n, h, w) uint8; larger maps are shrunk by averaging.
    """

    layer: int
    channels: tuple[int, ...]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    tiles: NDArray[np.uint8] = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """One head: the raw map and what it decodes to, for every cell and anchor.

    Attributes:
        stride: input pixels a cell.
        layer: whose output the raw map is.
        grid: (S, T) rows and columns of cells.
        anchors: (A) (width, height) in input pixels.
        scale_x_y: Darknet's stretch of the centre's offset; 1 in YOLOv3.
        raw: (S, T, A, 5+C) float32: tx, ty, tw, th, objectness logit, class logits.
        boxes: (S, T, A, 4) float32, decoded, input pixels.
        objectness: (S, T, A) float32, 0 to 1.
        probabilities: (S, T, A, C) float32. Not in the JSON: the sigmoid of the class logits.
        first: the place of this scale's first candidate among the K.
    """

    stride: int
    layer: int
    grid: tuple[int, int]
    anchors: tuple[tuple[float, float], ...]
    scale_x_y: float
    raw: NDArray[np.float32] = field(repr=False)
    boxes: NDArray[np.float32] = field(repr=False)
    objectness: NDArray[np.float32] = field(repr=False)
    probabilities: NDArray[np.float32] = field(metadata=NOT_IN_JSON, repr=False)
    first: int


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """The decoding of one place, step by step: what a click on a cell shows.

    Attributes:
        place: (scale, row, column, anchor).
        raw: tx, ty, tw, th, objectness logit.
        logits: (C,) float32 class logits.
        stride: input pixels a cell.
        anchor: (width, height) in input pixels.
        offset: (σ(tx), σ(ty)), stretched by `scale_x_y`: the centre within the cell, in cells.
        centre: (x, y) in input pixels.
        sides: (width, height) in input pixels.
        box: input pixels.
        image_box: image pixels, cut at the border.
        objectness: σ of its logit.
        probabilities: (C,) float32.
        label: the most probable class, the first on ties.
        score: objectness times its probability.
        formulas: one line a step, with the numbers filled in.
    """

    place: tuple[int, int, int, int]
    raw: tuple[float, float, float, float, float]
    logits: NDArray[np.float32]
    stride: int
    anchor: tuple[float, float]
    offset: tuple[float, float]
    centre: tuple[float, float]
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
    """What could become a detection, in the order of the network: scales, rows, columns, anchors.

    Complete for every confidence from `complete_from` on: the filter `score > confidence` and NMS on these N
    give exactly what `runtime.postprocess` gives on all K. Its arithmetic is float32; so are its thresholds.

    Attributes:
        places: (N, 4) int64 (scale, row, column, anchor).
        boxes: (N, 4) float32 image pixels, cut at the border; none is empty.
        objectness: (N,) float32.
        scores: (N,) float32: objectness times the probability of the class.
        labels: (N,) int64, the most probable class, the first on ties.
        total: K.
        floor: scores at or below it are not listed.
        left_out: candidates above the floor that were left out, the lowest scores first, since there are
            more than `limit`; those above the confidence of the explanation are never left out.
        limit: the most that are listed.
        complete_from: the least confidence for which nothing is missing.
        invisible: candidates above the floor that lie outside the image or have no area.
    """

    places: NDArray[np.int64]
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
class Suppression:
    """What the filter and NMS make of the candidates at one pair of thresholds.

    Attributes:
        confidence: a score must lie above it.
        threshold: a box goes when its IoU with a better kept one of its class lies above it.
        kept: (D,) int64 numbers of the candidates that stay, by falling score: the detections.
        suppressed_by: (N,) int64 for each candidate: the number of the candidate that suppressed it, the best
            of those that would; `KEPT` (-1) for one that stays, `BELOW` (-2) for one below the confidence.
        iou: (N,) float32 with the one that suppressed it; 0 elsewhere.
    """

    confidence: float
    threshold: float
    kept: NDArray[np.int64]
    suppressed_by: NDArray[np.int64] = field(repr=False)
    iou: NDArray[np.float32] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Words:
    """One stage in two or three sentences.

    Attributes:
        stage: `input`, `network`, `heads`, `decode`, `nms`, `assignment`, `losses`, `verdicts`.
        title: for a heading.
        text: plain text.
        formula: one or more lines.
        function: the dotted name of the function that does it.
        path: its file in the repository.
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
        model: its file; empty where it was none.
        info: what the model says of itself; `info.input_size` is its own, `input.target` that of this run.
        input: stage 1.
        layers: stage 2, by Darknet's count.
        timing: how the layers' times were measured.
        features: of the layers that compute something; empty unless asked for.
        scales: stages 3 and 4, finest first.
        candidates: stage 5.
        suppression: stage 5, at the thresholds of this run.
        truth: stage 6; None without annotation.
        words: the stages in words, in their order.
    """

    model: str
    info: ModelInfo
    input: Input
    layers: tuple[Layer, ...]
    timing: Timing
    features: tuple[Features, ...]
    scales: tuple[Scale, ...]
    candidates: Candidates
    suppression: Suppression
    truth: Truth | None
    words: tuple[Words, ...]

    @property
    def detections(self) -> Detections:
        """What the Detector finds in this image at these thresholds."""
        kept, found = self.suppression.kept, self.candidates
        return Detections(found.boxes[kept], found.scores[kept], found.labels[kept], self.info.names)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pixels, as what `json.dumps` takes; see `packing`."""
        return {"format_version": FORMAT_VERSION, **plain(self)}
