"""What an explanation says where the image is annotated: assignment, losses, verdicts.

Legend: **S**, **T** rows and columns of cells of a scale, **A** its anchors, **G** anchors of all scales,
finest first. Boxes are xyxy; a place in the network is (scale, row, column, anchor), counted from 0.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
Place = tuple[int, int, int, int]  # scale, row, column, anchor

# Where an object or a detection was lost; `stages` says when each holds. The last five are of detections.
StageName = Literal[
    "found",
    "not counted",
    "suppressed by NMS",
    "below threshold",
    "wrong class",
    "box too loose",
    "no anchor fits",
    "objectness low",
    "duplicate",
    "truth probably missing",
    "background",
]


@dataclass(frozen=True, slots=True)
class Terms:
    """The three loss terms, weighted as in training."""

    giou: float
    conf: float
    prob: float

    @property
    def total(self) -> float:
        """Their sum."""
        return self.giou + self.conf + self.prob


@dataclass(frozen=True, slots=True)
class Positive:
    """One cell and anchor that must find an object, and how near this image's prediction comes.

    Attributes:
        place: (scale, row, column, anchor).
        anchor_iou: of the object with this anchor.
        reason: what the rule asks for, `above 0.3` in the write-up's, or `best of all`.
        replaced_by: the object that took this place over, and with it the loss; None: it stands.
        target_offset: the centre within the cell, in cells: what σ(tx), σ(ty) should be.
        target_raw: tx, ty, tw, th that would give the object's box; None where a sigmoid cannot reach it.
        target_classes: (on, off): the target of the object's class, and of every other.
        target_objectness: 1, or the IoU of the predicted box where the model learnt that.
        raw: tx, ty, tw, th, objectness logit, as predicted.
        objectness: predicted, 0 to 1.
        probability: predicted for the object's class.
        box: predicted, input pixels.
        iou: of that box with the object.
        giou: likewise.
        measure: what the box loss takes off 1: GIoU, or the measure that the model learnt by.
        enclosing: the smallest box around both, input pixels: GIoU's E.
        losses: of this place; None where it was replaced or losses could not be computed.
    """

    place: Place
    anchor_iou: float
    reason: str
    replaced_by: int | None
    target_offset: tuple[float, float]
    target_raw: tuple[float | None, float | None, float, float]
    target_classes: tuple[float, float]
    target_objectness: float
    raw: tuple[float, float, float, float, float]
    objectness: float
    probability: float
    box: Box
    iou: float
    giou: float
    measure: float
    enclosing: Box
    losses: Terms | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of an object or a detection: exactly one stage.

    Attributes:
        stage: see `stages.MEANINGS`.
        text: a sentence with this case's numbers.
        place: (scale, row, column, anchor) of the prediction it rests on; None: there is none.
        box: that prediction's, image pixels.
        iou: of that prediction with the object.
        objectness: of that prediction.
        score: of that prediction.
        label: of that prediction.
    """

    stage: StageName
    text: str
    place: Place | None = None
    box: Box | None = None
    iou: float | None = None
    objectness: float | None = None
    score: float | None = None
    label: int | None = None


@dataclass(frozen=True, slots=True)
class TrueObject:
    """One annotated object.

    Attributes:
        number: its place in the annotation.
        label: class number.
        name: class name.
        box: image pixels.
        input_box: input pixels, as the assignment sees it.
        difficult: neither rewarded nor punished in evaluation.
        crowd: one box around many objects; not trained on.
        anchor_ious: (G,) IoU with each anchor centred on the object's cell; empty if it is not trained on.
        cells: for each scale, (row, column) of the cell that holds the centre; empty likewise.
        positives: the places that must find it.
        losses: of its positives together; None where they could not be computed.
        verdict: found, or the stage that lost it.
        detection: the number of the detection that found it, by falling score; None: none did.
    """

    number: int
    label: int
    name: str
    box: Box
    input_box: Box
    difficult: bool
    crowd: bool
    anchor_ious: tuple[float, ...]
    cells: tuple[tuple[int, int], ...]
    positives: tuple[Positive, ...]
    losses: Terms | None
    verdict: Verdict
    detection: int | None


@dataclass(frozen=True, slots=True, eq=False)
class ScaleTruth:
    """What training asks of each cell and anchor of one scale.

    Attributes:
        best_iou: (S, T, A) float32, of the decoded box with the object it fits best.
        positive: (S, T, A) bool: must find an object.
        ignored: (S, T, A) bool: background that fits some object so well that it is not punished.
        conf: (S, T, A) float32 confidence loss of each place, weighted; None where losses could not be
            computed.
    """

    best_iou: NDArray[np.float32] = field(repr=False)
    positive: NDArray[np.bool_] = field(repr=False)
    ignored: NDArray[np.bool_] = field(repr=False)
    conf: NDArray[np.float32] | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class ImageLosses:
    """The loss of this image, as `train.loss` computes it.

    Attributes:
        total: of all scales.
        scales: of each, finest first.
        background: the part of the confidence loss that comes from places that are not positive.
    """

    total: Terms
    scales: tuple[Terms, ...]
    background: float


@dataclass(frozen=True, slots=True)
class Truth:
    """Stage 6: the annotation beside what the model did.

    Attributes:
        objects: as annotated.
        lost_positives: how many were replaced by a later object on the same place.
        differs: settings of assignment and losses that are not the write-up's, as `loss.objectness=iou`.
        ignore_iou: from this IoU on, background is not punished.
        label_smoothing: share of the class target spread over all classes.
        box_measure: `giou`, `diou` or `ciou`.
        box_weight: of the box loss.
        scales: finest first.
        losses: None where they could not be computed.
        why_no_losses: the reason; empty where there are losses.
        detections: a verdict on each detection, by falling score: `found`, or why it is wrong.
    """

    objects: tuple[TrueObject, ...]
    lost_positives: int
    differs: tuple[str, ...]
    ignore_iou: float
    label_smoothing: float
    box_measure: str
    box_weight: float
    scales: tuple[ScaleTruth, ...]
    losses: ImageLosses | None
    why_no_losses: str
    detections: tuple[Verdict, ...]

    @property
    def learnt_by(self) -> str:
        """In what the numbers here differ from the formulas, as a sentence."""
        return (
            f"Assignment and losses are computed as this model learnt, by {', '.join(self.differs)}; "
            "for the rest, and in the formulas, as in the write-up."
        )
