"""Match detections with objects at an IoU threshold, for all metrics but COCO's own.

There are two rules, both of which process the detections by descending score:

- COCO's, `take_most_overlapping`: each detection takes, of the free objects, the one that it overlaps most.
- The VOC devkit's (VOCevaldet.m), `match_image`: each detection may only take the object of its class that
  it overlaps most. If a better detection has taken that object, the detection is false; if the object is
  difficult, the detection does not count. COCO's rule for crowds is added: an incorrect detection in a crowd
  of its class does not count either.

Legend: **D** detections, **G** objects of one image, **I** images, **C** classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lookonce.detections import Detections
from lookonce.evaluate.inputs import comparable, objects_that_count
from lookonce.geometry.boxes import area
from lookonce.geometry.pairs import Pairs, overlapping_pairs
from lookonce.samples import Sample

IOU = 0.5  # VOC's IoU threshold


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Detections of all images that count, by descending score.

    Attributes:
        image: (D,) int64 index of the image.
        scores: (D,) float32 scores.
        labels: (D,) int64 class numbers.
        correct: (D,) bool, whether the detection matches an object.
        annotated: (I, C) int64 number of objects to find, by image and class.
    """

    image: NDArray[np.int64]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    correct: NDArray[np.bool_]
    annotated: NDArray[np.int64]

    def only(self, kept: NDArray[np.bool_]) -> "Matches":
        """Keep the objects and detections of the images in a mask, (I,); image indices stay the same."""
        rows = kept[self.image]
        annotated = np.where(kept[:, None], self.annotated, 0)
        return Matches(self.image[rows], self.scores[rows], self.labels[rows], self.correct[rows], annotated)

    @property
    def objects(self) -> NDArray[np.int64]:
        """Return the number of objects of each class: (C,)."""
        objects: NDArray[np.int64] = self.annotated.sum(axis=0)
        return objects


class ImageMatch(NamedTuple):
    """Matches of the detections of one image.

    Attributes:
        partner: (D,) int64 index of the object that a detection matches; -1 for none.
        counts: (D,) bool, whether the detection counts; an ignored one is neither correct nor false.
    """

    partner: NDArray[np.int64]
    counts: NDArray[np.bool_]


def match(
    truth: Sequence[Sample], detections: Sequence[Detections], names: Sequence[str], iou: float = IOU
) -> Matches:
    """Match the detections of every image by the VOC devkit's rule.

    Args:
        truth: annotated images.
        detections: results for the same images, in the same order.
        names: class names that the labels of both index.
        iou: lowest IoU at which a detection matches an object.

    Raises:
        ValueError: the results are not one per image, or a label is outside the names.
    """
    detections = comparable(truth, detections, names)
    matched = [match_image(sample, found, iou) for sample, found in zip(truth, detections, strict=True)]
    scores = np.concatenate([np.zeros(0, np.float32), *(found.scores for found in detections)])
    labels = np.concatenate([np.zeros(0, np.int64), *(found.labels for found in detections)])
    correct = np.concatenate([np.zeros(0, bool), *(each.partner >= 0 for each in matched)])
    counts = np.concatenate([np.zeros(0, bool), *(each.counts for each in matched)])
    image = np.repeat(np.arange(len(detections)), [len(found) for found in detections])
    order = np.argsort(-scores, kind="stable")
    order = order[counts[order]]
    annotated = objects_that_count(truth, len(names))
    return Matches(image[order], scores[order], labels[order], correct[order], annotated)


def match_image(sample: Sample, detections: Detections, iou: float = IOU) -> ImageMatch:
    """Match the detections of one image by the VOC devkit's rule."""
    pairs = overlapping_objects(sample, detections, iou)
    nearest = pairs.only(detections.labels[pairs.first] == sample.labels[pairs.second]).best()
    difficult = sample.difficult[nearest.second]
    partner = take_turns(nearest.only(~difficult), detections.scores)
    unjudged = in_crowd(sample, detections, iou)
    unjudged[nearest.first[difficult]] = True
    return ImageMatch(partner, ~unjudged | (partner >= 0))


def take_turns(
    pairs: Pairs, scores: NDArray[np.float32], partner: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Assign to each detection, by descending score, the first of its objects that is still free.

    Args:
        pairs: detections and the objects that they may take, preferred objects first.
        scores: (D,) scores of the detections.
        partner: (D,) objects that detections have already taken, -1 for none; None if all are free.

    Returns:
        (D,) object of each detection; -1 for none.
    """
    partner = np.full(len(scores), -1) if partner is None else partner.copy()
    taken = set(partner[partner >= 0].tolist())
    # lexsort is stable, so the pairs of a detection keep their order
    turns = np.lexsort((pairs.first, -scores[pairs.first]))
    for detection, target in np.transpose(pairs[:2])[turns].tolist():
        if partner[detection] < 0 and target not in taken:
            partner[detection] = target
            taken.add(target)
    return partner


def take_most_overlapping(sample: Sample, pairs: Pairs, scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Assign to each detection, by descending score, the free object that it overlaps most: COCO's rule.

    A detection takes a difficult object only if no other object is free.

    Args:
        sample: annotated image.
        pairs: detections and the objects of their class that they overlap enough.
        scores: (D,) scores of the detections.

    Returns:
        (D,) object of each detection; -1 for none.
    """
    order = np.lexsort((pairs.second, -pairs.iou, sample.difficult[pairs.second], pairs.first))
    return take_turns(pairs.only(order), scores)


def overlapping_objects(sample: Sample, detections: Detections, least: float) -> Pairs:
    """Pair detections with the objects of any class, except crowds, that they overlap by `least` or more."""
    pairs = overlapping_pairs(detections.boxes, sample.boxes, least)
    return pairs.only(~sample.crowd[pairs.second])


def in_crowd(sample: Sample, detections: Detections, iou: float) -> NDArray[np.bool_]:
    """Return a mask, (D,), of the detections with a share of at least `iou` in a crowd of their class."""
    crowd = np.flatnonzero(sample.crowd)
    pairs = overlapping_pairs(detections.boxes, sample.boxes[crowd])
    own = area(detections.boxes.astype(float))[pairs.first]
    covered = iou * own
    # IoU of a detection whose intersection with the crowd is exactly `covered`: I / (A + B - I)
    enough = covered / (own + area(sample.boxes[crowd].astype(float))[pairs.second] - covered)
    same = detections.labels[pairs.first] == sample.labels[crowd][pairs.second]
    inside = np.zeros(len(detections), bool)
    inside[pairs.first[same & (pairs.iou >= enough)]] = True
    return inside
