"""The three loss terms of one image, cell by cell, out of the functions that train.

Needs torch, which is imported when it is called.

Legend: **S**, **T** rows and columns of cells, **A** anchors, **C** classes, **P** positives that stand.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lookonce._optional import require
from lookonce.config import LossSettings
from lookonce.explain.assignment import Assignment
from lookonce.explain.records import Scale
from lookonce.explain.truth_records import ImageLosses, Place, Terms
from lookonce.geometry.boxes import iou

if TYPE_CHECKING:
    from torch import Tensor

    from lookonce.data.assign import Positives


@dataclass(frozen=True, slots=True, eq=False)
class LossParts:
    """An image's losses and where they come from.

    Attributes:
        image: the sums.
        conf: per scale (S, T, A) float32, weighted.
        places: of each positive that stands.
    """

    image: ImageLosses
    conf: tuple[NDArray[np.float32], ...]
    places: dict[Place, Terms]


def best_ious(scale: Scale, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """IoU of each decoded box (S, T, A) with the truth (n, 4) it fits best, as the ignore test sees it."""
    best = np.zeros(scale.objectness.shape, np.float32)
    for box in boxes:
        np.maximum(best, iou(scale.boxes, box), out=best)
    return best


def compute(
    scales: tuple[Scale, ...],
    assignment: Assignment,
    ignored: tuple[NDArray[np.bool_], ...],
    settings: LossSettings,
) -> LossParts:
    """Losses of one image.

    Args:
        scales: the raw maps; `scale_x_y` is 1 on all.
        assignment: of the image's objects.
        ignored: per scale (S, T, A), background that is not punished.
        settings: weights, ignore threshold, label smoothing.

    Raises:
        MissingExtraError: torch is not installed.
    """
    torch = require("torch", "train")
    from lookonce.train.loss import compute_losses

    positives = assignment.positives.each(torch.from_numpy)
    with torch.no_grad():
        losses = compute_losses(
            [torch.from_numpy(_raw_map(scale)) for scale in scales],
            positives,
            torch.from_numpy(assignment.boxes[None]),
            [scale.anchors for scale in scales],
            [scale.stride for scale in scales],
            settings,
        )
        parts = [_scale_parts(*each, settings) for each in _by_scale(scales, positives, ignored)]
    conf = tuple(each[1] for each in parts)
    terms = {place: each for part in parts for place, each in part[0].items()}
    total = Terms(float(losses.giou[0]), float(losses.conf[0]), float(losses.prob[0]))
    positive_conf = sum(each.conf for each in terms.values())
    sums = tuple(_sum(each[0], float(each[1].sum())) for each in parts)
    background = sum(float(each.sum(dtype=np.float64)) for each in conf) - positive_conf
    return LossParts(ImageLosses(total, sums, background), conf, terms)


def _by_scale(
    scales: tuple[Scale, ...], positives: "Positives[Tensor]", ignored: tuple[NDArray[np.bool_], ...]
) -> list[tuple[int, Scale, "Positives[Tensor]", NDArray[np.bool_]]]:
    return [
        (number, scale, positives.on_scale(number), ignored[number]) for number, scale in enumerate(scales)
    ]


def _scale_parts(
    number: int,
    scale: Scale,
    positives: "Positives[Tensor]",
    ignored: NDArray[np.bool_],
    settings: LossSettings,
) -> tuple[dict[Place, Terms], NDArray[np.float32]]:
    """The terms of each positive of one scale, and the confidence loss of every place."""
    import torch

    from lookonce.model.decode import decode_boxes
    from lookonce.train.loss import box_terms, conf_terms, prob_terms

    maps = torch.from_numpy(scale.raw)  # (S, T, A, 5+C)
    where = positives.row, positives.column, positives.anchor
    picked = maps[where]  # (P, 5+C)
    sides = torch.tensor(scale.anchors)[positives.anchor]
    boxes = decode_boxes(picked, positives.column, positives.row, sides, scale.stride)
    input_area = scale.grid[0] * scale.grid[1] * scale.stride**2
    target = torch.zeros(maps.shape[:3])
    target[where] = 1.0 if settings.objectness == "one" else iou(boxes, positives.box)
    conf = settings.conf * conf_terms(maps[..., 4], target, torch.from_numpy(ignored))
    columns = (
        (settings.giou * box_terms(boxes, positives.box, input_area, settings.box)).tolist(),
        conf[where].tolist(),
        (settings.prob * prob_terms(picked[:, 5:], positives.label, settings.label_smoothing)).tolist(),
    )
    places = zip(*(each.tolist() for each in where), strict=True)
    terms = (Terms(*each) for each in zip(*columns, strict=True))
    return {(number, *place): each for place, each in zip(places, terms, strict=True)}, conf.numpy()


def _raw_map(scale: Scale) -> NDArray[np.float32]:
    """(S, T, A, 5+C) -> (1, A*(5+C), S, T)."""
    rows, columns = scale.grid
    return np.ascontiguousarray(scale.raw.reshape(rows, columns, -1).transpose(2, 0, 1)[None])


def _sum(places: dict[Place, Terms], conf: float) -> Terms:
    return Terms(
        sum(terms.giou for terms in places.values()), conf, sum(terms.prob for terms in places.values())
    )
