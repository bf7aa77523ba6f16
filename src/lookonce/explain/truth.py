"""Stage 6 of an explanation put together; and the annotation of one image out of a whole set.

Legend: **N** objects, **n** of them trained on.
"""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookonce.annotations import load_samples
from lookonce.config import LossSettings, Objective
from lookonce.detections import Detections
from lookonce.errors import AnnotationError, MissingExtraError
from lookonce.evaluate.classes import SharedClasses
from lookonce.explain.assignment import Assignment, assign_objects, describe_positives, four
from lookonce.explain.losses import LossParts, best_ious, compute
from lookonce.explain.records import Candidates, Input, Scale, Suppression
from lookonce.explain.stages import Predictions, judge_detections, judge_objects, place_of
from lookonce.explain.suppression import places_of
from lookonce.explain.truth_records import Positive, ScaleTruth, Terms, TrueObject, Truth, Verdict
from lookonce.geometry.letterbox import Letterbox
from lookonce.samples import Sample, SampleSet

SHOWN = 5  # names listed in a message


def find_truth(
    data: Path,
    image: Path,
    names: tuple[str, ...],
    *,
    split: str | None = None,
    data_names: Path | None = None,
) -> tuple[Sample, tuple[str, ...]]:
    """The annotation of one image, its class numbers made those of the model.

    The image is looked up by its path, then by its file name.

    Args:
        data: annotations, in any form.
        image: the image.
        names: the model's class names.
        split: the part of the data to look in; None looks everywhere.
        data_names: file of class names, where the annotations have numbers alone.

    Returns:
        The annotation, and a sentence for everything in it that is left out or was odd.

    Raises:
        AnnotationError: the data cannot be read, or does not have this image, or several of its name.
        ConfigError: model and data share no class.
    """
    annotated = load_samples(data, split, data_names)
    sample = _lookup(annotated, data, image)
    shared = SharedClasses.match(names, annotated.names, data)
    known = shared.sample(sample, to=names)
    unknown = sorted(set(shared.unknown) & {annotated.names[label] for label in sample.labels.tolist()})
    mine = re.compile(rf"(?<![\w-]){re.escape(sample.path.stem)}(?![\w-])")
    remarks = [str(problem) for problem in annotated.problems if mine.search(problem.place)]
    if unknown:
        remarks.append(
            f"{len(sample.labels) - len(known.labels)} of {len(sample.labels)} objects left out: the model "
            "does not know "
            f"{_some(unknown)}"
        )
    return known, tuple(remarks)


def _lookup(annotated: SampleSet, data: Path, image: Path) -> Sample:
    wanted = image.resolve()
    by_path = [sample for sample in annotated.samples if sample.path.resolve() == wanted]
    found = by_path or [sample for sample in annotated.samples if sample.path.name == image.name]
    if len(found) == 1:
        return found[0]
    if found:
        raise AnnotationError(
            f"{data}: expected one image named {image.name}, found {len(found)}: "
            f"{_some([str(sample.path) for sample in found])}; give the image by the path it has there"
        )
    raise AnnotationError(
        f"{data}: expected an image {image} or one named {image.name}, found none among "
        f"{len(annotated.samples)}: {_some([sample.path.name for sample in annotated.samples])}"
    )


def _some(items: tuple[str, ...] | list[str]) -> str:
    more = len(items) - SHOWN
    return ", ".join(items[:SHOWN]) + (f" and {more} more" if more > 0 else "") if items else "none"


def check_truth(truth: Sample, names: tuple[str, ...]) -> None:
    """Refuse class numbers that the model does not have.

    Raises:
        AnnotationError: the first of them is named.
    """
    bad = truth.labels[(truth.labels < 0) | (truth.labels >= len(names))]
    if len(bad):
        raise AnnotationError(
            f"{truth.path}: expected class numbers from 0 to {len(names) - 1}, found {bad[0]}"
        )


def explain_truth(
    truth: Sample,
    entry: Input,
    scales: tuple[Scale, ...],
    candidates: Candidates,
    suppression: Suppression,
    names: tuple[str, ...],
    objective: Objective,
) -> Truth:
    """Assignment, losses and verdicts of one annotated image.

    Raises:
        AnnotationError: as `assignment.assign_objects`.
    """
    letterbox, settings = entry.letterbox, objective.loss
    assignment = assign_objects(truth, letterbox, scales, objective.assign)
    best = tuple(best_ious(scale, assignment.boxes) for scale in scales)
    positive = tuple(_mask(assignment, number, scale) for number, scale in enumerate(scales))
    ignored = tuple(
        (each >= settings.ignore_iou) & ~taken for each, taken in zip(best, positive, strict=True)
    )
    parts, why_not = _losses(scales, assignment, ignored, settings)
    kept = suppression.kept
    detections = Detections(candidates.boxes[kept], candidates.scores[kept], candidates.labels[kept], names)
    on_detections, stands_for = judge_detections(truth, detections)
    best_anchor = np.zeros(len(truth.labels))
    best_anchor[assignment.numbers] = assignment.ious.max(axis=1, initial=0)
    on_objects = judge_objects(
        truth, best_anchor, _predictions(scales, letterbox), candidates, suppression, stands_for, names
    )
    return Truth(
        objects=_objects(
            truth, letterbox, assignment, scales, objective, parts, on_objects, stands_for, names
        ),
        lost_positives=assignment.positives.lost,
        differs=objective.differences(),
        ignore_iou=settings.ignore_iou,
        label_smoothing=settings.label_smoothing,
        box_measure=settings.box,
        box_weight=settings.giou,
        scales=tuple(
            ScaleTruth(best[s], positive[s], ignored[s], None if parts is None else parts.conf[s])
            for s in range(len(scales))
        ),
        losses=None if parts is None else parts.image,
        why_no_losses=why_not,
        detections=tuple(
            replace(
                verdict,
                place=place_of(candidates.places[at]),
                objectness=float(candidates.objectness[at]),
            )
            for verdict, at in zip(on_detections, kept, strict=True)
        ),
    )


def _mask(assignment: Assignment, number: int, scale: Scale) -> NDArray[np.bool_]:
    """(S, T, A): the positives of one scale."""
    mask = np.zeros(scale.objectness.shape, bool)
    found = assignment.positives
    here = found.scale == number
    mask[found.row[here], found.column[here], found.anchor[here]] = True
    return mask


def _losses(
    scales: tuple[Scale, ...],
    assignment: Assignment,
    ignored: tuple[NDArray[np.bool_], ...],
    settings: LossSettings,
) -> tuple[LossParts | None, str]:
    """The losses, or why there are none."""
    if any(scale.scale_x_y != 1 for scale in scales):
        return None, "this network stretches its cells (scale_x_y), which lookonce does not train"
    try:
        return compute(scales, assignment, ignored, settings), ""
    except MissingExtraError as error:
        return None, str(error)


def _predictions(scales: tuple[Scale, ...], letterbox: Letterbox) -> Predictions:
    """Every cell and anchor of all scales."""
    objectness = np.concatenate([scale.objectness.ravel() for scale in scales])
    labels = np.concatenate([scale.probabilities.argmax(axis=-1).ravel() for scale in scales])
    best = np.concatenate([scale.probabilities.max(axis=-1).ravel() for scale in scales])
    boxes = np.concatenate([scale.boxes.reshape(-1, 4) for scale in scales])
    return Predictions(
        places_of(np.arange(len(boxes)), scales),
        letterbox.boxes_out(boxes),
        objectness,
        objectness * best,
        labels,
    )


def _objects(
    truth: Sample,
    letterbox: Letterbox,
    assignment: Assignment,
    scales: tuple[Scale, ...],
    objective: Objective,
    parts: LossParts | None,
    verdicts: tuple[Verdict, ...],
    stands_for: dict[int, int],
    names: tuple[str, ...],
) -> tuple[TrueObject, ...]:
    trained = {number: index for index, number in enumerate(assignment.numbers.tolist())}
    objects = []
    for number, label in enumerate(truth.labels.tolist()):
        index = trained.get(number)
        positives: tuple[Positive, ...] = ()
        if index is not None:
            positives = describe_positives(assignment, index, scales, objective)
        if parts is not None:
            positives = tuple(_with_losses(each, parts) for each in positives)
        objects.append(
            TrueObject(
                number=number,
                label=label,
                name=names[label],
                box=four(truth.boxes[number]),
                input_box=four(letterbox.boxes_in(truth.boxes[number][None])[0]),
                difficult=bool(truth.difficult[number]),
                crowd=bool(truth.crowd[number]),
                anchor_ious=() if index is None else tuple(assignment.ious[index].tolist()),
                cells=() if index is None else _cells(assignment.cells[index]),
                positives=positives,
                losses=None if parts is None else _sum(positives),
                verdict=verdicts[number],
                detection=stands_for.get(number),
            )
        )
    return tuple(objects)


def _with_losses(positive: Positive, parts: LossParts) -> Positive:
    stands = positive.replaced_by is None
    return replace(positive, losses=parts.places[positive.place]) if stands else positive


def _cells(cells: NDArray[np.int64]) -> tuple[tuple[int, int], ...]:
    """(scales, 2) column and row -> (row, column) of each."""
    return tuple((row, column) for column, row in cells.tolist())


def _sum(positives: tuple[Positive, ...]) -> Terms:
    terms = [positive.losses for positive in positives if positive.losses is not None]
    return Terms(*(sum(getattr(each, name) for each in terms) for name in ("giou", "conf", "prob")))
