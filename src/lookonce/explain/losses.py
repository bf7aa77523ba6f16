"""Compute the loss of one image, position by position, with the functions of training (`train.loss`).

Only `compute` needs torch, and imports it when it is called.

Legend: **S**, **T** rows and columns of cells, **A** anchors, **C** classes, **P** positives of one scale.
"""

from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np

from lookonce._optional import require
from lookonce.config import LossSettings
from lookonce.data.assign import UNSURE
from lookonce.errors import MissingExtraError
from lookonce.explain.assignment import Assignment
from lookonce.explain.records import ScaleOutput
from lookonce.explain.truth_records import ImageLosses, Position, PositionTerms, ScaleTruth, Terms
from lookonce.geometry.boxes import iou
from lookonce.geometry.decode import Decoding


@dataclass(frozen=True, slots=True, eq=False)
class LossParts:
    """The loss of an image, and its terms.

    Attributes:
        image: sums over the image.
        scales: targets and objectness loss of each scale, finest first.
        positives: loss terms of each positive, by position.
    """

    image: ImageLosses
    scales: tuple[ScaleTruth, ...]
    positives: dict[Position, PositionTerms]


def targets(number: int, scale: ScaleOutput, assignment: Assignment, settings: LossSettings) -> ScaleTruth:
    """Return the targets of every position of one scale, without losses.

    Args:
        number: index of the scale, finest first.
        scale: raw and decoded maps of the scale.
        assignment: assignment of the image's objects.
        settings: ignore threshold and objectness target.
    """
    best = np.zeros(scale.objectness.shape, np.float32)
    best_object = np.full(best.shape, -1, np.int64)
    for object_number, box in zip(assignment.visible.tolist(), assignment.visible_boxes, strict=True):
        overlap = iou(scale.boxes, box)  # (S, T, A, 4), (4,) -> (S, T, A)
        better = overlap > best
        best[better], best_object[better] = overlap[better], object_number
    placed = assignment.positives.on_scale(number)
    positions = placed.row, placed.column, placed.anchor
    positive, target = np.zeros(best.shape, bool), np.zeros(best.shape, np.float32)
    positive[positions] = True
    target[positions] = 1 if settings.objectness == "one" else iou(scale.boxes[positions], placed.box)
    nothing, missing = assignment.ignored[number][..., :1], assignment.ignored[number][..., None, 1:]
    scores = scale.objectness[..., None] * scale.probabilities
    in_area = nothing | (missing & (scores >= UNSURE)).any(axis=-1)
    ignored = ((best >= settings.ignore_iou) | in_area) & ~positive
    return ScaleTruth(best, best_object, positive, ignored, in_area, target)


def losses_or_reason(
    scales: tuple[ScaleOutput, ...],
    assignment: Assignment,
    truths: tuple[ScaleTruth, ...],
    settings: LossSettings,
) -> tuple[LossParts | None, str]:
    """Return the loss of one image and "", or None and the reason why torch cannot be used."""
    try:
        return compute(scales, assignment, truths, settings), ""
    except MissingExtraError as error:
        return None, str(error)


def compute(
    scales: tuple[ScaleOutput, ...],
    assignment: Assignment,
    truths: tuple[ScaleTruth, ...],
    settings: LossSettings,
) -> LossParts:
    """Compute the loss of one image.

    Args:
        scales: raw and decoded maps, finest scale first.
        assignment: assignment of the image's objects.
        truths: targets of each scale, from `targets`.
        settings: weights of the terms, ignore threshold and label smoothing.

    Raises:
        MissingExtraError: torch is not installed.
    """
    torch = require("torch", "train")
    from torch.nn.functional import binary_cross_entropy_with_logits as bce

    from lookonce.train.loss import compute_losses, scale_terms

    positives, truth_boxes = (
        assignment.positives.each(torch.from_numpy),
        torch.from_numpy(assignment.visible_boxes[None]),
    )
    some = any(cells.any() for cells in assignment.ignored)
    areas = [torch.from_numpy(cells[None]) for cells in assignment.ignored] if some else []
    raw_maps = [torch.from_numpy(scale.raw).flatten(2).permute(2, 0, 1)[None] for scale in scales]
    anchors, strides = [scale.anchors for scale in scales], [scale.stride for scale in scales]
    filled, sums, positions = list[ScaleTruth](), list[Terms](), dict[Position, PositionTerms]()
    absent = 0.0  # class loss of background in areas where some classes may lack boxes, over all scales
    with torch.no_grad():
        # `heads.read_scales` put the uncertainty of a [Gaussian_yolo] into its objectness
        decodings = [
            Decoding("yolo" if each.form == "gaussian" else each.form, each.scale_x_y) for each in scales
        ]
        whole = compute_losses(raw_maps, positives, truth_boxes, anchors, strides, settings, areas, decodings)
        for number, (raw, cells) in enumerate(zip_longest(raw_maps, areas)):
            placed = positives.on_scale(number)
            terms = scale_terms(
                raw, placed, truth_boxes, anchors[number], strides[number], settings, cells, decodings[number]
            )
            maps, where = torch.from_numpy(scales[number].raw), (placed.row, placed.column, placed.anchor)
            conf, target = settings.conf * terms.conf[0], terms.target[0]
            columns = settings.giou * terms.giou, conf[where], settings.prob * terms.prob
            for row, column, anchor, *three, classes in zip(
                *(each.tolist() for each in (*where, *columns)),
                terms.classes.numpy(),
                strict=True,
            ):
                positions[number, row, column, anchor] = PositionTerms(Terms(*three), classes)
            giou, of_conf, prob = (float(each.double().sum()) for each in (columns[0], conf, columns[2]))
            if terms.absent is not None:
                of_absent = settings.prob * float(terms.absent.double().sum())
                prob, absent = prob + of_absent, absent + of_absent
            sums.append(Terms(giou, of_conf, prob))
            filled.append(
                replace(
                    truths[number],
                    best_iou=terms.best_iou[0].numpy(),
                    ignored=terms.ignored[0].numpy(),
                    target=target.numpy(),
                    focal=((target - torch.sigmoid(maps[..., 4])) ** 2).numpy(),
                    cross_entropy=bce(maps[..., 4], target, reduction="none").numpy(),
                    conf=conf.numpy(),
                )
            )
    unassigned = sum(each.conf for each in sums) - sum(each.terms.conf for each in positions.values())
    total = Terms(float(whole.giou[0]), float(whole.conf[0]), float(whole.prob[0]))
    background = Terms(0, unassigned, absent)
    return LossParts(ImageLosses(total, tuple(sums), background), tuple(filled), positions)
