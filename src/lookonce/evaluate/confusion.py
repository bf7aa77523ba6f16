"""Compute the confusion matrix: confused classes, missed objects, and false detections."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookonce.detections import Detections
from lookonce.evaluate.inputs import comparable
from lookonce.evaluate.matching import IOU, in_crowd, overlapping_objects, take_turns
from lookonce.samples import Sample


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """Counts of objects and detections by class, background last.

    Attributes:
        counts: (C+1, C+1) int64 by true class (row) and detected class (column). The last column holds missed
            objects, the last row false detections.
        thresholds: score threshold of each class; detections above it were counted.
        iou: lowest IoU at which a detection matches an object.
    """

    counts: NDArray[np.int64]
    thresholds: tuple[float, ...]
    iou: float


def confusion(
    truth: Sequence[Sample],
    detections: Sequence[Detections],
    names: Sequence[str],
    threshold: float | Sequence[float],
    iou: float = IOU,
) -> Confusion:
    """Pair objects with detections, one to one, and count the pairs by class.

    In each image, detections and objects are first paired within each class; those left over are then paired
    across classes. Difficult objects take part, but a pair with one is not counted, and neither is a
    detection left over in a crowd of its class.

    Args:
        truth: annotated images.
        detections: results for the same images, in the same order.
        names: class names that the labels of both index.
        threshold: score threshold, or one per class.
        iou: lowest IoU at which a detection matches an object.

    Raises:
        ValueError: the results are not one per image, or a label is outside the names.
    """
    detections = comparable(truth, detections, names)
    background = len(names)
    counts = np.zeros((background + 1, background + 1), np.int64)
    thresholds = np.broadcast_to(np.asarray(threshold, np.float64), background)
    for sample, result in zip(truth, detections, strict=True):
        found = result[result.scores > thresholds[result.labels].astype(np.float32)]
        pairs = overlapping_objects(sample, found, iou)
        same = found.labels[pairs.first] == sample.labels[pairs.second]
        partner = take_turns(pairs.only(same), found.scores)
        partner = take_turns(pairs.only(~same), found.scores, partner)
        paired = partner >= 0
        missed = ~(sample.difficult | sample.crowd)
        missed[partner[paired]] = False
        false_alarm = ~(paired | in_crowd(sample, found, iou))
        paired[paired] = ~sample.difficult[partner[paired]]
        np.add.at(counts, (sample.labels[partner[paired]], found.labels[paired]), 1)
        np.add.at(counts[:, background], sample.labels[missed], 1)
        np.add.at(counts[background], found.labels[false_alarm], 1)
    return Confusion(counts, tuple(thresholds.tolist()), iou)
