"""Find the verdicts: the stage that found or lost each object, and the one that explains each detection.

A prediction *belongs to* one object: the one that it overlaps most among those of its class with an IoU of
`FOUND_IOU` or more, or if there is none, among all objects. For an object without a detection, the verdict is
the last stage that any prediction belonging to it reached:

    decoded box -> box tight -> objectness -> class -> threshold -> NMS

Detections are matched as in `evaluate.matching`. Legend: **K** predictions, **D** detections, **N** objects.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookonce.detections import Detections
from lookonce.evaluate.matching import IOU as FOUND_IOU
from lookonce.evaluate.matching import match_image
from lookonce.explain.nms import positions_of
from lookonce.explain.records import Candidates, NmsResult, ScaleOutput, as_tuple
from lookonce.explain.truth_records import StageName, Verdict
from lookonce.geometry.boxes import pairwise_iou
from lookonce.geometry.letterbox import Letterbox
from lookonce.samples import Sample

NEAR_IOU = 0.1  # IoU below which a box and an object are unrelated, as in TIDE
SURE_SCORE = 0.5  # score from which a detection without an object near it suggests a missing annotation

# The stages are tested in this order, and the first that applies is the verdict. The page shows these texts.
OBJECT_STAGES: dict[StageName, str] = {
    "not counted": "the object is marked difficult or crowd, so evaluation ignores it",
    "found": f"a detection of its class has an IoU of {FOUND_IOU} or more with it, and overlaps no other "
    "object of the class more",
    "suppressed by NMS": f"a prediction of its class, IoU {FOUND_IOU} or more, has a score above the "
    "threshold, but a better box of the class overlaps that prediction by more than the IoU threshold",
    "below threshold": f"a prediction of its class, IoU {FOUND_IOU} or more, has objectness above the score "
    "threshold, but its score (objectness times class probability) is not above it",
    "wrong class": f"a prediction with IoU {FOUND_IOU} or more and objectness above the score threshold has "
    "another class",
    "box too loose": f"the predictions with objectness above the score threshold have an IoU of {NEAR_IOU} "
    f"to {FOUND_IOU} only",
    "no anchor fits": "no prediction near it has objectness above the score threshold, and no anchor on its "
    "cell fits it by the rule used in training",
    "objectness low": "anchors fit, but no prediction near it has objectness above the score threshold",
}
DETECTION_STAGES: dict[StageName, str] = {
    "found": "the best detection of its class for an object",
    "not counted": "it matches a difficult object, or lies in a crowd of its class",
    "duplicate": "a better detection matches the same object; NMS kept both, since their IoU is low",
    "wrong class": f"its IoU with an object of another class is {FOUND_IOU} or more",
    "box too loose": f"its highest IoU with an object is {NEAR_IOU} to {FOUND_IOU} only",
    "probably not annotated": f"no object near, but a score of {SURE_SCORE} or more: check whether one was "
    "not annotated",
    "background": f"no object has an IoU of {NEAR_IOU} or more with it",
}


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """The decoded predictions of all cells and anchors.

    Attributes:
        positions: (K, 4) int64 (scale, row, column, anchor).
        boxes: (K, 4) float32 boxes in image pixels.
        objectness: (K,) float32.
        scores: (K,) float32 objectness times the probability of the class.
        labels: (K,) int64 most probable class.
    """

    positions: NDArray[np.int64]
    boxes: NDArray[np.float32]
    objectness: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]


def predictions_of(scales: tuple[ScaleOutput, ...], letterbox: Letterbox) -> Predictions:
    """Collect the predictions of all cells and anchors of all scales."""
    objectness = np.concatenate([scale.objectness.ravel() for scale in scales])
    labels = np.concatenate([scale.probabilities.argmax(axis=-1).ravel() for scale in scales])
    best = np.concatenate([scale.probabilities.max(axis=-1).ravel() for scale in scales])
    boxes = np.concatenate([scale.boxes.reshape(-1, 4) for scale in scales])
    return Predictions(
        positions_of(np.arange(len(boxes)), scales),
        letterbox.boxes_out(boxes),
        objectness,
        objectness * best,
        labels,
    )


def detection_verdicts(truth: Sample, detections: Detections) -> tuple[tuple[Verdict, ...], dict[int, int]]:
    """Find the stage that explains each detection, and the detection that finds each object.

    Args:
        truth: annotation of the image.
        detections: detections by descending score.

    Returns:
        Verdicts on the D detections, and object number -> number of the detection that finds it.
    """
    partner, counts = match_image(truth, detections, FOUND_IOU)
    overlap = pairwise_iou(detections.boxes.astype(float), truth.boxes.astype(float))  # (D, N)
    overlap[:, truth.crowd] = 0
    overlap = np.pad(overlap, [(0, 0), (0, 1)])  # one more object, overlapped by nothing, because N may be 0
    same = overlap * (detections.labels[:, None] == np.append(truth.labels, -1))
    verdicts = []
    for number in range(len(detections)):
        nearest, score = int(overlap[number].argmax()), float(detections.scores[number])
        stage: StageName
        if partner[number] >= 0:
            stage, nearest = "found", int(partner[number])
        elif not counts[number]:
            stage = "not counted"
        elif same[number].max() >= FOUND_IOU:
            stage, nearest = "duplicate", int(same[number].argmax())
        elif overlap[number, nearest] >= NEAR_IOU:
            stage = "wrong class" if overlap[number, nearest] >= FOUND_IOU else "box too loose"
        else:
            stage = "probably not annotated" if score >= SURE_SCORE else "background"
        iou = float(overlap[number, nearest])
        name = detections.name_of(int(detections.labels[number]))
        other = "" if iou == 0 else f"object {nearest} ({detections.name_of(int(truth.labels[nearest]))})"
        sentence = {
            "found": f"matches {other}, IoU {iou:.2f}",
            "not counted": "matches a difficult object, or lies in a crowd",
            "duplicate": f"IoU {iou:.2f} with {other}, which a better detection matches",
            "wrong class": f"IoU {iou:.2f} with {other}, which has another class",
            "box too loose": f"IoU {iou:.2f} with {other}; {FOUND_IOU} is needed",
        }.get(stage, f"no object has an IoU of {NEAR_IOU} or more with it")
        verdicts.append(
            Verdict(
                stage,
                f"{name}, score {score:.2f}: {sentence}",
                box=as_tuple(detections.boxes[number]),
                iou=iou,
                score=score,
                label=int(detections.labels[number]),
            )
        )
    return tuple(verdicts), {int(owner): number for number, owner in enumerate(partner) if owner >= 0}


def object_verdicts(
    truth: Sample,
    best_anchor: NDArray[np.float64],
    fits: NDArray[np.bool_],
    predictions: Predictions,
    candidates: Candidates,
    nms: NmsResult,
    found_by: dict[int, int],
    names: tuple[str, ...],
) -> tuple[Verdict, ...]:
    """Find the stage that found or lost each object.

    Args:
        truth: annotation of the image.
        best_anchor: (N,) float64 IoU of each object with the anchor that fits it best.
        fits: (N,) bool, whether any anchor satisfies the rule of the assignment.
        predictions: decoded predictions of all cells and anchors.
        candidates: listed candidates.
        nms: outcome of NMS on the candidates.
        found_by: object number -> number of the detection that finds it.
        names: class names.
    """
    # float64, as in `detection_verdicts`, so that both agree on whether a box is tight
    overlap = pairwise_iou(predictions.boxes.astype(float), truth.boxes.astype(float))  # (K, N)
    owner = np.full(len(overlap), -1)  # (K,) object that each prediction belongs to
    if len(truth.labels):
        usable = np.where(truth.crowd, 0, overlap)
        same = np.where(predictions.labels[:, None] == truth.labels, usable, 0)
        owner = np.where(same.max(axis=1) >= FOUND_IOU, same.argmax(axis=1), usable.argmax(axis=1))
    verdicts = []
    for number in range(len(truth.labels)):
        if truth.difficult[number] or truth.crowd[number]:
            marked = "crowd" if truth.crowd[number] else "difficult"
            verdicts.append(Verdict("not counted", f"marked {marked}"))
        elif number in found_by:
            at = int(nms.kept[found_by[number]])
            iou = float(pairwise_iou(candidates.boxes[at][None], truth.boxes[number][None])[0, 0])
            score = float(candidates.scores[at])
            verdicts.append(
                Verdict(
                    "found",
                    f"detection {found_by[number]}, score {score:.2f}, IoU {iou:.2f}",
                    position=as_tuple(candidates.positions[at]),
                    box=as_tuple(candidates.boxes[at]),
                    iou=iou,
                    objectness=float(candidates.objectness[at]),
                    score=score,
                    label=int(candidates.labels[at]),
                )
            )
        else:
            missed = MissedObject(
                int(truth.labels[number]),
                float(best_anchor[number]),
                bool(fits[number]),
                np.flatnonzero(owner == number),
                overlap[:, number],
                nms.score_thresholds[int(truth.labels[number])],
            )
            verdicts.append(_about_missed(missed, predictions, candidates, nms, names))
    return tuple(verdicts)


@dataclass(frozen=True, slots=True, eq=False)
class MissedObject:
    """An object without a detection.

    Attributes:
        label: class number.
        best_anchor: IoU with the anchor that fits it best.
        fits: whether any anchor satisfies the rule of the assignment.
        own: indices among the K predictions of those that belong to the object.
        overlap: (K,) float64 IoU of every prediction with the object.
        threshold: score threshold of the object's class.
    """

    label: int
    best_anchor: float
    fits: bool
    own: NDArray[np.int64]
    overlap: NDArray[np.float64]
    threshold: float


def lost_at(missed: MissedObject, predictions: Predictions) -> tuple[StageName, NDArray[np.int64]]:
    """Return the stage that lost an object, and the indices of the predictions that reached this stage."""
    own = missed.own
    sure = predictions.objectness[own] > missed.threshold
    tight = missed.overlap[own] >= FOUND_IOU
    right = predictions.labels[own] == missed.label
    scored = predictions.scores[own] > missed.threshold
    reached: tuple[tuple[StageName, NDArray[np.bool_]], ...] = (
        ("suppressed by NMS", tight & right & scored),
        ("below threshold", tight & right & sure),
        ("wrong class", tight & sure),
        ("box too loose", sure & (missed.overlap[own] >= NEAR_IOU)),
    )
    for stage, which in reached:
        if which.any():
            return stage, own[which]
    stage = "objectness low" if missed.fits else "no anchor fits"
    return stage, own[tight] if tight.any() else own[missed.overlap[own] >= NEAR_IOU]


def _about_missed(
    missed: MissedObject,
    predictions: Predictions,
    candidates: Candidates,
    nms: NmsResult,
    names: tuple[str, ...],
) -> Verdict:
    stage, numbers = lost_at(missed, predictions)
    if not len(numbers):
        return Verdict(
            stage, f"no prediction is near it; the best anchor has an IoU of {missed.best_anchor:.2f}"
        )
    rank: NDArray[np.floating] = predictions.objectness
    if stage == "suppressed by NMS":
        rank = predictions.scores
    elif stage in ("box too loose", "no anchor fits"):
        rank = missed.overlap
    best = int(numbers[rank[numbers].argmax()])
    iou, objectness, score = (
        float(each[best]) for each in (missed.overlap, predictions.objectness, predictions.scores)
    )
    label, needed = int(predictions.labels[best]), f"more than {missed.threshold:g} is needed"
    nearest = f"its best prediction has IoU {iou:.2f} and objectness {objectness:.3f}"
    text = {
        "suppressed by NMS": f"IoU {iou:.2f}, score {score:.2f}",
        "below threshold": f"IoU {iou:.2f}, objectness {objectness:.2f}, but score {score:.3f}; {needed}",
        "wrong class": f"IoU {iou:.2f}, objectness {objectness:.2f}, but its class is {names[label]}, "
        f"score {score:.2f}",
        "box too loose": f"IoU {iou:.2f}; {FOUND_IOU} is needed; objectness {objectness:.2f}",
        "no anchor fits": f"the best anchor has an IoU of {missed.best_anchor:.2f}; {nearest}",
        "objectness low": f"{nearest}; {needed}",
    }[stage]
    if stage == "suppressed by NMS":
        at = np.flatnonzero((candidates.positions == predictions.positions[best]).all(axis=1))[0]
        winner = nms.suppressed_by[at]
        text += (
            f": suppressed by detection {np.flatnonzero(nms.kept == winner)[0]}, score "
            f"{candidates.scores[winner]:.2f}, at IoU {nms.iou[at]:.2f}, above "
            f"{nms.iou_threshold:g}"
        )
    return Verdict(
        stage,
        text,
        position=as_tuple(predictions.positions[best]),
        box=as_tuple(predictions.boxes[best]),
        iou=iou,
        objectness=objectness,
        score=score,
        label=label,
    )
