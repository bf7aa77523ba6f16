"""What became of each object and each detection: exactly one stage is named.

A prediction *belongs to* one object: of the objects of its class that it overlaps by `FOUND_IOU` or more the
one it overlaps most, else of all objects the one it overlaps most. An object that no detection stands for is
judged by the predictions that belong to it, and the stage named is the last one that any of them reached:

    decoded box -> box tight -> objectness -> class -> threshold -> NMS

Matching is that of `evaluate.matching`. Legend: **K** predictions, **D** detections, **N** objects.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookonce.data.assign import POSITIVE_IOU
from lookonce.detections import Detections
from lookonce.evaluate.matching import IOU as FOUND_IOU
from lookonce.evaluate.matching import in_crowd
from lookonce.explain.assignment import four
from lookonce.explain.records import Candidates, Suppression
from lookonce.explain.truth_records import Place, StageName, Verdict
from lookonce.geometry.boxes import pairwise_iou
from lookonce.samples import Sample

NEAR_IOU = 0.1  # below it, a box and an object have nothing to do with each other; TIDE's threshold
SURE_SCORE = 0.5  # a detection this sure, where nothing is annotated, is worth a look at the annotation

# In the order in which they are asked; the first that holds is named.
OBJECT_STAGES: dict[StageName, str] = {
    "not counted": "the object is marked difficult or crowd: evaluation neither rewards nor punishes it",
    "found": f"a detection of its class overlaps it by {FOUND_IOU} or more, and no other object of the class "
    "more",
    "suppressed by NMS": f"a prediction of its class, IoU {FOUND_IOU} or more, scored above the confidence, "
    "but a better box of the class overlaps that one above the IoU threshold",
    "below threshold": f"a prediction of its class, IoU {FOUND_IOU} or more, has objectness above the "
    "confidence, but objectness times class probability is not",
    "wrong class": f"a prediction with IoU {FOUND_IOU} or more and objectness above the confidence has "
    "another class",
    "box too loose": f"the predictions with objectness above the confidence overlap it by {NEAR_IOU} to "
    f"{FOUND_IOU} only",
    "no anchor fits": "nothing near it has objectness above the confidence, and no anchor on its cell has an "
    f"IoU above {POSITIVE_IOU} with it",
    "objectness low": "anchors fit, but nothing near it has objectness above the confidence",
}
DETECTION_STAGES: dict[StageName, str] = {
    "found": "it stands for an object: the best detection of its class there",
    "not counted": "it stands for a difficult object, or lies in a crowd of its class",
    "duplicate": "a better detection stands for the same object; NMS left both, as they overlap too little",
    "wrong class": f"it overlaps an object of another class by {FOUND_IOU} or more",
    "box too loose": f"it overlaps an object by {NEAR_IOU} to {FOUND_IOU} only",
    "truth probably missing": f"no object near, but a score of {SURE_SCORE} or more: perhaps one was not "
    "annotated",
    "background": f"no object overlaps it by {NEAR_IOU} or more",
}


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Every cell and anchor decoded, in image pixels.

    Attributes:
        places: (K, 4) int64 (scale, row, column, anchor).
        boxes: (K, 4) float32.
        objectness: (K,) float32.
        scores: (K,) float32.
        labels: (K,) int64.
    """

    places: NDArray[np.int64]
    boxes: NDArray[np.float32]
    objectness: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]


def judge_detections(truth: Sample, detections: Detections) -> tuple[tuple[Verdict, ...], dict[int, int]]:
    """A verdict on each detection, and which of them stands for which object.

    Args:
        truth: the annotation.
        detections: by falling score.

    Returns:
        D verdicts; object number -> detection number.
    """
    overlap = pairwise_iou(detections.boxes.astype(float), truth.boxes.astype(float))  # (D, N)
    overlap[:, truth.crowd] = 0
    overlap = np.pad(overlap, [(0, 0), (0, 1)])  # so that there always is a most-overlapped object
    same = overlap * (detections.labels[:, None] == np.append(truth.labels, -1))
    crowded = in_crowd(truth, detections, FOUND_IOU)
    verdicts, stands_for = list[Verdict](), dict[int, int]()
    for number in range(len(detections)):
        stage = _detection_stage(
            truth, overlap[number], same[number], float(detections.scores[number]), stands_for
        )
        if crowded[number] and stage != "found":
            stage = "not counted"
        nearest = int((same if stage in ("found", "duplicate") else overlap)[number].argmax())
        if stage == "found":
            stands_for[nearest] = number
        verdicts.append(
            _on_detection(stage, truth, detections[number], nearest, float(overlap[number, nearest]))
        )
    return tuple(verdicts), stands_for


def _detection_stage(
    truth: Sample,
    overlap: NDArray[np.float64],
    same: NDArray[np.float64],
    score: float,
    stands_for: dict[int, int],
) -> StageName:
    """Of one detection, from its IoU with each object, and with those of its class (0 for the others)."""
    nearest = int(same.argmax())
    if same[nearest] >= FOUND_IOU:
        if truth.difficult[nearest]:
            return "not counted"
        return "duplicate" if nearest in stands_for else "found"
    if overlap.max() >= FOUND_IOU:
        return "wrong class"
    if overlap.max() >= NEAR_IOU:
        return "box too loose"
    return "truth probably missing" if score >= SURE_SCORE else "background"


def _on_detection(
    stage: StageName, truth: Sample, found: Detections, nearest: int, overlap: float
) -> Verdict:
    name, score = found.name_of(int(found.labels[0])), float(found.scores[0])
    other = "" if overlap == 0 else f" object {nearest} ({found.name_of(int(truth.labels[nearest]))})"
    sentence = {
        "found": f"stands for{other}, IoU {overlap:.2f}",
        "not counted": "stands for a difficult object, or lies in a crowd",
        "duplicate": f"IoU {overlap:.2f} with{other}, which a better detection stands for",
        "wrong class": f"IoU {overlap:.2f} with{other}, which is another class",
        "box too loose": f"IoU {overlap:.2f} with{other}; {FOUND_IOU} is needed",
    }.get(stage, f"no object overlaps it by {NEAR_IOU} or more")
    return Verdict(
        stage,
        f"{name}, score {score:.2f}: {sentence}",
        box=four(found.boxes[0]),
        iou=overlap,
        score=score,
        label=int(found.labels[0]),
    )


def judge_objects(
    truth: Sample,
    best_anchor: NDArray[np.float64],
    predictions: Predictions,
    candidates: Candidates,
    suppression: Suppression,
    stands_for: dict[int, int],
    names: tuple[str, ...],
) -> tuple[Verdict, ...]:
    """A verdict on each object.

    Args:
        truth: the annotation.
        best_anchor: (N,) IoU of each object with the anchor that fits it best.
        predictions: every cell and anchor.
        candidates: of these, what is listed.
        suppression: what NMS made of them.
        stands_for: object number -> number of the detection that stands for it.
        names: class names.
    """
    missed = [n for n in range(len(truth.labels)) if n not in stands_for and _counts(truth, n)]
    owner, overlap = _owners(truth, predictions) if missed else (None, None)
    verdicts = []
    for number in range(len(truth.labels)):
        if not _counts(truth, number):
            verdicts.append(
                Verdict("not counted", "marked " + ("crowd" if truth.crowd[number] else "difficult"))
            )
        elif number in stands_for:
            verdicts.append(_found(number, stands_for[number], truth, candidates, suppression))
        else:
            assert owner is not None
            assert overlap is not None
            case = Case(
                int(truth.labels[number]),
                float(best_anchor[number]),
                np.flatnonzero(owner == number),
                overlap[:, number],
                suppression.confidence,
            )
            verdicts.append(_missed(case, predictions, candidates, suppression, names))
    return tuple(verdicts)


def _counts(truth: Sample, number: int) -> bool:
    return not (truth.difficult[number] or truth.crowd[number])


def _owners(truth: Sample, predictions: Predictions) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The object each prediction belongs to (K,), and the IoU of each with each object (K, N)."""
    # As exact as in `judge_detections`: of what it calls loose, nothing here may be tight.
    overlap = pairwise_iou(predictions.boxes.astype(float), truth.boxes.astype(float))
    usable = np.where(truth.crowd, 0, overlap)
    same = np.where(predictions.labels[:, None] == truth.labels, usable, 0)
    owner = np.where(same.max(axis=1) >= FOUND_IOU, same.argmax(axis=1), usable.argmax(axis=1))
    return owner, overlap


def _found(
    number: int, detection: int, truth: Sample, candidates: Candidates, suppression: Suppression
) -> Verdict:
    at = int(suppression.kept[detection])
    overlap = float(pairwise_iou(candidates.boxes[at][None], truth.boxes[number][None])[0, 0])
    score = float(candidates.scores[at])
    return Verdict(
        "found",
        f"detection {detection}, score {score:.2f}, IoU {overlap:.2f}",
        place=place_of(candidates.places[at]),
        box=four(candidates.boxes[at]),
        iou=overlap,
        objectness=float(candidates.objectness[at]),
        score=score,
        label=int(candidates.labels[at]),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A missed object.

    Attributes:
        label: its class.
        best_anchor: IoU with the anchor that fits it best.
        own: the predictions that belong to it, numbers among the K.
        overlap: (K,) IoU of every prediction with it.
        confidence: what a score must lie above.
    """

    label: int
    best_anchor: float
    own: NDArray[np.int64]
    overlap: NDArray[np.float64]
    confidence: float


def _missed(
    case: Case,
    predictions: Predictions,
    candidates: Candidates,
    suppression: Suppression,
    names: tuple[str, ...],
) -> Verdict:
    """The last stage that any of the object's own predictions reached."""
    stage, numbers = lost_at(case, predictions)
    if not len(numbers):
        return Verdict(
            stage, f"no prediction comes near it; the best anchor has an IoU of {case.best_anchor:.2f}"
        )
    rank: NDArray[np.floating] = predictions.objectness
    if stage == "suppressed by NMS":
        rank = predictions.scores
    elif stage in ("box too loose", "no anchor fits"):
        rank = case.overlap
    best = int(numbers[rank[numbers].argmax()])
    text = _reason(stage, best, case, predictions, names)
    if stage == "suppressed by NMS":
        text += _suppressor(predictions.places[best], candidates, suppression)
    return Verdict(
        stage,
        text,
        place=place_of(predictions.places[best]),
        box=four(predictions.boxes[best]),
        iou=float(case.overlap[best]),
        objectness=float(predictions.objectness[best]),
        score=float(predictions.scores[best]),
        label=int(predictions.labels[best]),
    )


def lost_at(case: Case, predictions: Predictions) -> tuple[StageName, NDArray[np.int64]]:
    """The stage of a missed object, and the predictions that reached it (numbers among the K)."""
    own, sure = case.own, predictions.objectness[case.own] > case.confidence
    tight = case.overlap[own] >= FOUND_IOU
    right = predictions.labels[own] == case.label
    scored = predictions.scores[own] > case.confidence
    reached: tuple[tuple[StageName, NDArray[np.bool_]], ...] = (
        ("suppressed by NMS", tight & right & scored),
        ("below threshold", tight & right & sure),
        ("wrong class", tight & sure),
        ("box too loose", sure & (case.overlap[own] >= NEAR_IOU)),
    )
    for stage, which in reached:
        if which.any():
            return stage, own[which]
    stage = "no anchor fits" if case.best_anchor <= POSITIVE_IOU else "objectness low"
    return stage, own[tight] if tight.any() else own[case.overlap[own] >= NEAR_IOU]


def _reason(stage: StageName, best: int, case: Case, predictions: Predictions, names: tuple[str, ...]) -> str:
    label = int(predictions.labels[best])
    overlap, objectness, score = (
        float(each[best]) for each in (case.overlap, predictions.objectness, predictions.scores)
    )
    nearest = f"its best prediction has IoU {overlap:.2f} and objectness {objectness:.3f}"
    return {
        "suppressed by NMS": f"IoU {overlap:.2f}, score {score:.2f}",
        "below threshold": f"IoU {overlap:.2f}, objectness {objectness:.2f}, but score {score:.3f}, where "
        f"more than {case.confidence:g} is needed",
        "wrong class": f"IoU {overlap:.2f}, objectness {objectness:.2f}, but taken for "
        f"{names[label]}, score {score:.2f}",
        "box too loose": f"IoU {overlap:.2f} where {FOUND_IOU} is needed; objectness {objectness:.2f}",
        "no anchor fits": f"the best anchor has an IoU of {case.best_anchor:.2f}; {nearest}",
        "objectness low": f"{nearest}, where more than {case.confidence:g} is needed",
    }[stage]


def _suppressor(place: NDArray[np.int64], candidates: Candidates, suppression: Suppression) -> str:
    at = np.flatnonzero((candidates.places == place).all(axis=1))[0]
    winner = suppression.suppressed_by[at]
    return (
        f": suppressed by detection {np.flatnonzero(suppression.kept == winner)[0]}, score "
        f"{candidates.scores[winner]:.2f}, at IoU {suppression.iou[at]:.2f}, above {suppression.threshold:g}"
    )


def place_of(row: NDArray[np.int64]) -> Place:
    """A row (4,) of places as (scale, row, column, anchor)."""
    scale, row_number, column, anchor = row.tolist()
    return scale, row_number, column, anchor
