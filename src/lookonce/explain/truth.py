"""Explain the annotation of an image: assignment, losses and verdicts.

Legend: **B** images of a batch, **n** objects trained on, **S**, **T** rows and columns of cells of a scale,
**A** anchors of a scale, **C** classes, **G** anchors of all scales, **P** positives.
"""

from dataclasses import replace

import numpy as np

from lookonce.config import Objective, TrainSettings
from lookonce.detections import Detections
from lookonce.explain.assignment import Assignment, assign_objects, describe_positives
from lookonce.explain.losses import losses_or_reason, targets
from lookonce.explain.records import Candidates, Input, NmsResult, ScaleOutput, as_tuple
from lookonce.explain.stages import detection_verdicts, object_verdicts, predictions_of
from lookonce.explain.truth_records import (
    ObjectiveSetting,
    ObjectiveSource,
    Positive,
    TensorShape,
    Terms,
    TrueObject,
    Truth,
    Verdict,
)
from lookonce.samples import Sample


def explain_truth(
    truth: Sample,
    entry: Input,
    scales: tuple[ScaleOutput, ...],
    candidates: Candidates,
    nms: NmsResult,
    names: tuple[str, ...],
    objective: Objective,
    source: ObjectiveSource,
) -> Truth:
    """Explain how training uses an annotated image, and where each object was found or lost.

    Args:
        truth: annotation of the image.
        entry: image and input of the network.
        scales: raw and decoded maps, finest scale first.
        candidates: listed candidates.
        nms: outcome of NMS on the candidates.
        names: class names.
        objective: settings of assignment and loss.
        source: origin of these settings.

    Raises:
        AnnotationError: the annotation cannot be assigned.
    """
    settings = objective.loss
    assignment = assign_objects(truth, entry.letterbox, scales, objective.assign, objective.difficult)
    per_scale = tuple(targets(i, scale, assignment, settings) for i, scale in enumerate(scales))
    parts, why_not = losses_or_reason(scales, assignment, per_scale, settings)
    kept = nms.kept
    detections = Detections(candidates.boxes[kept], candidates.scores[kept], candidates.labels[kept], names)
    on_detections, found_by = detection_verdicts(truth, detections)
    best_anchor = np.zeros(len(truth.labels))
    best_anchor[assignment.numbers] = assignment.ious.max(axis=1, initial=0)
    fits = np.zeros(len(truth.labels), bool)
    fits[assignment.numbers] = assignment.fitting.any(axis=1)
    predictions = predictions_of(scales, entry.letterbox)
    on_objects = object_verdicts(truth, best_anchor, fits, predictions, candidates, nms, found_by, names)
    positions = {} if parts is None else parts.positives
    positives = {
        number: describe_positives(assignment, index, scales, objective, positions)
        for index, number in enumerate(assignment.numbers.tolist())
    }
    objects = _objects(truth, entry, assignment, positives, on_objects, found_by, names)
    return Truth(
        objects=objects if parts else tuple(replace(each, losses=None) for each in objects),
        lost_positives=assignment.positives.lost,
        objective_source=source,
        settings=_settings(objective),
        ignore_iou=settings.ignore_iou,
        label_smoothing=settings.label_smoothing,
        box_measure=settings.box,
        objectness_target=settings.objectness,
        weights=Terms(settings.giou, settings.conf, settings.prob),
        scales=parts.scales if parts else per_scale,
        shapes=_shapes(assignment, scales),
        losses=parts.image if parts else None,
        why_no_losses=why_not,
        detections=tuple(
            replace(
                each, position=as_tuple(candidates.positions[at]), objectness=float(candidates.objectness[at])
            )
            for each, at in zip(on_detections, kept, strict=True)
        ),
    )


def _objects(
    truth: Sample,
    entry: Input,
    assignment: Assignment,
    positives: dict[int, tuple[Positive, ...]],
    verdicts: tuple[Verdict, ...],
    found_by: dict[int, int],
    names: tuple[str, ...],
) -> tuple[TrueObject, ...]:
    """Describe all annotated objects; those not trained on have no anchors, cells or positives."""
    index_of = {number: index for index, number in enumerate(assignment.numbers.tolist())}
    input_boxes = entry.letterbox.boxes_in(truth.boxes)
    objects = []
    for number, label in enumerate(truth.labels.tolist()):
        index = index_of.get(number)
        own = positives.get(number, ())
        terms = [positive.losses for positive in own if positive.losses is not None]
        objects.append(
            TrueObject(
                number=number,
                label=label,
                name=names[label],
                box=as_tuple(truth.boxes[number]),
                input_box=as_tuple(input_boxes[number]),
                difficult=bool(truth.difficult[number]),
                crowd=bool(truth.crowd[number]),
                anchor_ious=() if index is None else as_tuple(assignment.ious[index]),
                cells=()
                if index is None
                else tuple((row, column) for column, row in assignment.cells[index].tolist()),
                positives=own,
                losses=Terms(
                    *(sum(getattr(each, name) for each in terms) for name in ("giou", "conf", "prob"))
                ),
                verdict=verdicts[number],
                detection=found_by.get(number),
            )
        )
    return tuple(objects)


def _settings(objective: Objective) -> tuple[ObjectiveSetting, ...]:
    """List all settings of assignment and loss, with their values here and in the two recipes."""
    default = TrainSettings()
    versions = [
        each.model_dump(mode="json")
        for each in (objective, Objective(), Objective(assign=default.assign, loss=default.loss))
    ]
    return tuple(
        ObjectiveSetting(f"{section}.{name}", *(str(each[section][name]) for each in versions))
        for section in ("assign", "loss")
        for name in versions[0][section]
        if name != "non_finite"  # it concerns batches, not the loss of an image
    )


def _shapes(assignment: Assignment, scales: tuple[ScaleOutput, ...]) -> tuple[TensorShape, ...]:
    """List the tensors from annotation to loss, with their shapes for this image as a batch of one."""
    n, p = len(assignment.numbers), len(assignment.positives.label)
    anchors = sum(len(scale.anchors) for scale in scales)
    found = [
        ("boxes", "(n, 4)", (n, 4), "objects trained on, in input pixels"),
        (
            "anchor IoU",
            "(n, G)",
            (n, anchors),
            "each object with each anchor on its cell: (n, 1, 1, 4) against (n, scales, A, 4) broadcasts to "
            "(n, scales, A), flattened",
        ),
        ("positives, sparse", "(P,)", (p,), "image, scale, row, column, anchor and label: six columns"),
        ("positives, box", "(P, 4)", (p, 4), "the object of each positive"),
    ]
    for scale in scales:
        rows, columns = scale.grid
        a, width = len(scale.anchors), scale.raw.shape[-1]
        of, cells = f", stride {scale.stride}", (1, rows, columns, a)
        count = len(assignment.positives.on_scale(scales.index(scale)).label)
        found += [
            (f"raw map{of}", "(B, A*(5+C), S, T)", (1, a * width, rows, columns), "output of the head"),
            (
                f"by anchor{of}",
                "(B, S, T, A, 5+C)",
                (*cells, width),
                "the same numbers: tx, ty, tw, th, to and C class logits per position",
            ),
            (
                f"label, dense{of}",
                "(B, S, T, A, 5+C)",
                (*cells, width),
                "the sparse positives scattered: box, 1, smoothed classes; never built in training",
            ),
            (
                f"IoU with every object{of}",
                "(B, S, T, A, n)",
                (*cells, n),
                "decoded boxes (B, S, T, A, 1, 4) against objects (B, 1, 1, 1, n, 4) broadcast to "
                "(B, S, T, A, n, 4); IoU removes the last axis",
            ),
            (
                f"best IoU, ignored, target, conf{of}",
                "(B, S, T, A)",
                cells,
                "the maximum over n; one number per position",
            ),
            (f"class terms{of}", "(P, C)", (count, width - 5), "summed over C to (P,)"),
            (f"giou, prob{of}", "(P,)", (count,), "one number per positive of this scale"),
        ]
    found.append(("giou, conf, prob", "(B,)", (1,), "summed over positions and scales; then the mean over B"))
    return tuple(TensorShape(*each) for each in found)
