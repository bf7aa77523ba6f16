"""Define the records of an annotated image: assignment, losses and verdicts.

Legend: **S**, **T** rows and columns of cells of a scale, **A** anchors of a scale, **C** classes, **G**
anchors of all scales. Boxes are xyxy, and scales are finest first. A position in the network is (scale, row,
column, anchor), counted from 0.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
Position = tuple[int, int, int, int]  # scale, row, column, anchor

# Stages that an object or a detection can reach; see `stages`. The last three are for detections only.
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
    "probably not annotated",
    "background",
]


@dataclass(frozen=True, slots=True)
class Terms:
    """The loss terms of box, objectness and classes, weighted as in training."""

    giou: float
    conf: float
    prob: float

    @property
    def total(self) -> float:
        """Return the sum of the three terms."""
        return self.giou + self.conf + self.prob


@dataclass(frozen=True, slots=True, eq=False)
class PositionTerms:
    """The loss of one positive: its terms, and the unweighted cross-entropies (C,) of the class term."""

    terms: Terms
    classes: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Positive:
    """A cell and anchor assigned to an object, with targets and predictions.

    Attributes:
        position: (scale, row, column, anchor).
        anchor_iou: IoU of the object with this anchor.
        reason: reason why the anchor is positive: the rule used in training, such as `above 0.3`, or `best of
            all`.
        replaced_by: number of the later object that is trained on at this position instead; None if there is
            none.
        target_offset: offset of the center in the cell, in cells, which is the target of σ(tx), σ(ty).
        target_raw: tx, ty, tw, th that decode to the object's box; None in place of an infinite number.
        target_classes: (on, off), the smoothed targets of the object's class and of every other class.
        target_objectness: 1 or the IoU of the predicted box, depending on the settings.
        raw: predicted tx, ty, tw, th and objectness logit.
        objectness: predicted objectness, 0 to 1.
        probability: predicted probability of the object's class.
        box: predicted box in input pixels.
        iou: IoU of the predicted box with the object.
        giou: GIoU of the predicted box with the object.
        measure: GIoU, DIoU or CIoU of these boxes, which the box loss subtracts from 1.
        enclosing: smallest box around both, in input pixels, which is E in GIoU.
        box_scale: factor of the box loss, 2 - w*h / input area.
        class_terms: (C,) float32 cross-entropy of each class, unweighted; None if `losses` is None.
        losses: loss terms of this position; None if it was replaced or losses could not be computed.
    """

    position: Position
    anchor_iou: float
    reason: str
    replaced_by: int | None
    target_offset: tuple[float, float]
    target_raw: tuple[float | None, float | None, float | None, float | None]
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
    box_scale: float
    class_terms: NDArray[np.float32] | None
    losses: Terms | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The stage that an object or a detection reached, and the prediction that determined it.

    Attributes:
        stage: name of the stage, as defined in `stages`.
        text: explanation with the numbers of this case.
        position: (scale, row, column, anchor) of the prediction; None, as below, if there is none.
        box: box of the prediction in image pixels.
        iou: IoU of the prediction with the object.
        objectness: objectness of the prediction.
        score: score of the prediction.
        label: class number of the prediction.
    """

    stage: StageName
    text: str
    position: Position | None = None
    box: Box | None = None
    iou: float | None = None
    objectness: float | None = None
    score: float | None = None
    label: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TrueObject:
    """One annotated object.

    Attributes:
        number: index in the annotation, from 0.
        label: class number.
        name: class name.
        box: box in image pixels.
        input_box: box in input pixels, as the assignment uses it.
        difficult: whether evaluation ignores it.
        crowd: whether it is one box around many objects, which is not trained on.
        anchor_ious: (G,) IoU with each anchor, centered on the object's cell; empty if not trained on.
        cells: (row, column) of the cell with the object's center, on each scale; empty if not trained on.
        positives: positions assigned to the object.
        losses: sum of the loss terms over the positives; None if losses could not be computed.
        verdict: stage that found or lost the object.
        detection: number of the detection that found it, by descending score; None if it was not found.
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
    """The target and objectness loss of each cell and anchor of one scale.

    The last three attributes are None if losses could not be computed.

    Attributes:
        best_iou: (S, T, A) float32 IoU of the decoded box with the object that it overlaps most.
        best_object: (S, T, A) int64 number of that object; -1 if the box overlaps no object.
        positive: (S, T, A) bool, whether the position is assigned to an object.
        ignored: (S, T, A) bool, whether the position is background without an objectness loss, because its
            best IoU reaches the ignore threshold or it is in an ignored area.
        in_area: (S, T, A) bool, whether the cell touches an ignored area, or an area with possibly missing
            boxes of a class that has a score of 0.1 or more here.
        target: (S, T, A) float32 objectness target, o.
        focal: (S, T, A) float32 focal factor, (o - p)^2.
        cross_entropy: (S, T, A) float32 binary cross-entropy of o and p.
        conf: (S, T, A) float32 objectness loss, the weighted product of both; 0 if ignored.
    """

    best_iou: NDArray[np.float32] = field(repr=False)
    best_object: NDArray[np.int64] = field(repr=False)
    positive: NDArray[np.bool_] = field(repr=False)
    ignored: NDArray[np.bool_] = field(repr=False)
    in_area: NDArray[np.bool_] = field(repr=False)
    target: NDArray[np.float32] = field(repr=False)
    focal: NDArray[np.float32] | None = field(default=None, repr=False)
    cross_entropy: NDArray[np.float32] | None = field(default=None, repr=False)
    conf: NDArray[np.float32] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ImageLosses:
    """The loss of this image, as `train.loss` computes it.

    Attributes:
        total: sum of the terms over the scales.
        scales: terms of each scale, finest first.
        background: sum of the terms over positions that are not positive; its `prob` is 0 unless there is an
            area with possibly missing boxes of some classes.
    """

    total: Terms
    scales: tuple[Terms, ...]
    background: Terms


@dataclass(frozen=True, slots=True)
class ObjectiveSetting:
    """A setting of assignment or loss, with its values in the two recipes.

    Attributes:
        name: name as in a recipe, such as `loss.objectness`.
        value: value used here.
        classic: value in the classic recipe, which is the write-up's.
        default: value in the default recipe.
    """

    name: str
    value: str
    classic: str
    default: str


@dataclass(frozen=True, slots=True)
class TensorShape:
    """The shape of a tensor between annotation and loss, for this image as a batch of one.

    Attributes:
        tensor: name of the tensor.
        axes: letters of its axes, such as `(B, S, T, A, n)`.
        shape: sizes of its axes for this image.
        text: content and origin of the tensor.
    """

    tensor: str
    axes: str
    shape: tuple[int, ...]
    text: str


ObjectiveSource = Literal["model", "classic", "given"]


@dataclass(frozen=True, slots=True)
class Truth:
    """The annotation of an image, compared with the model's output.

    Attributes:
        objects: annotated objects.
        lost_positives: number of assigned positions that a later object replaced.
        objective_source: `model` for settings from the model file, `classic` for those of the classic recipe
            because the file has none, `given` for those passed by the caller.
        settings: all settings of assignment and loss.
        ignore_iou: IoU with an object from which background has no objectness loss.
        label_smoothing: share of the class target that is spread over all classes.
        box_measure: `giou`, `diou` or `ciou`.
        objectness_target: objectness target of a positive: `one`, or `iou` for the IoU of its box.
        weights: weights of the three loss terms.
        scales: targets and losses of each scale, finest first.
        shapes: shapes of all tensors from annotation to loss.
        losses: losses of the image; None if they could not be computed.
        why_no_losses: reason why there are no losses; empty if there are losses.
        detections: verdicts on the detections, by descending score.
    """

    objects: tuple[TrueObject, ...]
    lost_positives: int
    objective_source: ObjectiveSource
    settings: tuple[ObjectiveSetting, ...]
    ignore_iou: float
    label_smoothing: float
    box_measure: str
    objectness_target: str
    weights: Terms
    scales: tuple[ScaleTruth, ...]
    shapes: tuple[TensorShape, ...]
    losses: ImageLosses | None
    why_no_losses: str
    detections: tuple[Verdict, ...]

    @property
    def objective(self) -> str:
        """Describe the settings used for assignment and losses, in full sentences."""
        source = {
            "model": "The model file records the settings it was trained with; they are used here.",
            "classic": "The model file records no training settings, so those of the classic recipe (the "
            "write-up's) are used here.",
            "given": "The settings given with this explanation are used here.",
        }[self.objective_source]
        target = {
            "one": "The objectness target of a positive is 1, as in the classic recipe; the default recipe "
            "uses the IoU of its predicted box.",
            "iou": "The objectness target of a positive is the IoU of its predicted box with the object, as "
            "in the default recipe; the classic recipe uses 1.",
        }[self.objectness_target]
        others = [
            f"{each.name}={each.value}"
            for each in self.settings
            if each.value != each.classic and each.name != "loss.objectness"
        ]
        return f"{source} {target}" + (
            f" Other differences from the classic recipe: {', '.join(others)}." if others else ""
        )
