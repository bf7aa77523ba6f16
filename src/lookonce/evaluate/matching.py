"""Which detections are right, at one IoU: the basis of VOC's AP, the curves and the confusion matrix.

The rule is the VOC devkit's (VOCevaldet.m): a detection stands for the object of its class that it overlaps
most. Where that overlap reaches the threshold, the best detection of an object is right and any further one
is a false alarm; detections of difficult objects do not count. To this, COCO's rule for crowds is added: what
lies in a crowd of its class, and is not right, does not count either.

Legend: **D** detections, **G** objects of one image, **C** classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookonce.detections import Detections
from lookonce.evaluate.inputs import check, objects_that_count
from lookonce.geometry.boxes import area, pairwise_iou
from lookonce.samples import Sample

IOU = 0.5  # VOC's threshold


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """The detections that count, of all images together, by falling score.

    Attributes:
        scores: (D,) float32.
        labels: (D,) int64.
        correct: (D,) the best detection of an object.
        objects: (C,) how many objects of each class were there to be found.
    """

    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    correct: NDArray[np.bool_]
    objects: NDArray[np.int64]


def match(
    truth: Sequence[Sample], detections: Sequence[Detections], names: Sequence[str], iou: float = IOU
) -> Matches:
    """Judge every detection of every image.

    Args:
        truth: annotated images.
        detections: of the same images, in the same order.
        names: of the classes that the labels of both count.
        iou: overlap from which on a detection and an object are one.

    Raises:
        ValueError: not one result for each image, or a label outside the names.
    """
    check(truth, detections, names)
    found = [result[np.argsort(-result.scores, kind="stable")] for result in detections]
    judged = [_judge(sample, result, iou) for sample, result in zip(truth, found, strict=True)]
    scores = np.concatenate([np.zeros(0, np.float32), *(result.scores for result in found)])
    labels = np.concatenate([np.zeros(0, np.int64), *(result.labels for result in found)])
    correct, counts = np.concatenate([np.zeros((2, 0), bool), *judged], axis=1)
    order = np.argsort(-scores, kind="stable")
    order = order[counts[order]]
    return Matches(
        scores[order], labels[order], correct[order], objects_that_count(truth, len(names)).sum(axis=0)
    )


def in_crowd(sample: Sample, found: Detections, iou: float) -> NDArray[np.bool_]:
    """Detections of which at least the share `iou` lies in a crowd of their class: (D,)."""
    boxes, crowd = found.boxes.astype(float), sample.boxes[sample.crowd].astype(float)
    covered = iou * area(boxes)[:, None]
    # The IoU of a box with `covered` pixels in the crowd: I / (A + B - I).
    enough = covered / (area(boxes)[:, None] + area(crowd)[None, :] - covered)
    inside = (pairwise_iou(boxes, crowd) >= enough) & (covered > 0)
    inside &= found.labels[:, None] == sample.labels[sample.crowd][None, :]
    in_any: NDArray[np.bool_] = inside.any(axis=1)
    return in_any


def _judge(sample: Sample, found: Detections, iou: float) -> NDArray[np.bool_]:
    """One image's detections, best first: rows "is correct" and "counts" of (2, D)."""
    alone = ~sample.crowd
    overlap = pairwise_iou(found.boxes.astype(float), sample.boxes[alone].astype(float))  # (D, G)
    overlap[found.labels[:, None] != sample.labels[alone][None, :]] = 0
    overlap = np.pad(overlap, [(0, 0), (0, 1)])  # so that there always is a most-overlapped object
    nearest = overlap.argmax(axis=1)
    hit = overlap.max(axis=1) >= iou
    hits_difficult = hit & np.append(sample.difficult[alone], False)[nearest]
    candidates = np.flatnonzero(hit & ~hits_difficult)
    first_of_each = np.unique(nearest[candidates], return_index=True)[1]
    correct = np.zeros(len(found), bool)
    correct[candidates[first_of_each]] = True
    return np.stack([correct, correct | ~(hits_difficult | in_crowd(sample, found, iou))])
