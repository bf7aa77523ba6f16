"""Rank the detections of each class, and match them by COCO's rule at ten IoU thresholds.

Once they are matched, the AP of any resample of the images only needs sums; see `average_precisions`.

Legend: **T** IoU thresholds 0.50 to 0.95, **C** classes, **D** detections of one class, **I** images,
**B** resamples, **R** correct detections.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookonce.detections import Detections
from lookonce.evaluate.inputs import comparable, objects_that_count
from lookonce.evaluate.matching import in_crowd, overlapping_objects, take_most_overlapping
from lookonce.samples import Sample

IOUS = np.linspace(0.5, 0.95, 10)
MOST = 100  # COCO's limit on the number of detections per class and image, best first
LEVELS = 100  # recall levels of COCO's AP, besides 0


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Detections of one class in all images, by descending score.

    Attributes:
        image: (D,) int64 index of the image.
        correct: (T, D) bool, whether the detection is correct at each IoU threshold.
        ignored: (T, D) bool, whether the detection is ignored, on a difficult object or in a crowd.
        objects: (I,) int64 number of objects of the class in each image.
    """

    image: NDArray[np.int64]
    correct: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    objects: NDArray[np.int64]

    def average_precisions(self, weights: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the AP of resampled images at each IoU threshold.

        Args:
            weights: (B, I) number of times that each resample contains each image.

        Returns:
            (B, T) COCO's AP: the mean, over 101 levels of recall, of the best precision at that recall or
            more. NaN for a resample without objects.
        """
        objects = weights @ self.objects  # (B,)
        repeats = weights[:, self.image]  # (B, D)
        every = np.cumsum(repeats, axis=1)
        ap = np.full((len(weights), len(IOUS)), np.nan)
        there = objects > 0
        for t, (correct, ignored) in enumerate(zip(self.correct, self.ignored, strict=True)):
            at = np.flatnonzero(correct)
            ap[there, t] = 0
            if not len(at):
                continue
            counted = every[:, at]
            if ignored.any():
                counted = counted - np.cumsum(repeats * ignored, axis=1)[:, at]
            found = np.cumsum(repeats[:, at], axis=1)  # (B, R)
            envelope = np.maximum.accumulate((found / np.maximum(counted, 1))[:, ::-1], axis=1)[:, ::-1]
            reached = LEVELS * found[there] // objects[there, None]  # recall levels reached at each detection
            first = envelope[there, 0]
            rest = (envelope[there] * np.diff(reached, axis=1, prepend=0)).sum(axis=1)
            ap[there, t] = (first + rest) / (LEVELS + 1)
        return ap


def rank(
    truth: Sequence[Sample], detections: Sequence[Detections], names: Sequence[str]
) -> tuple[Ranking, ...]:
    """Rank and match the detections of each class by COCO's rule, at most 100 per class and image.

    Args:
        truth: annotated images.
        detections: results for the same images, in the same order.
        names: class names that the labels of both index.

    Raises:
        ValueError: the results are not one per image, or a label is outside the names.
    """
    detections = comparable(truth, detections, names)
    correct, ignored = ([np.zeros((len(IOUS), 0), bool)] for _ in range(2))
    kept = [best_of_each_class(found) for found in detections]
    for sample, found in zip(truth, kept, strict=True):
        pairs = overlapping_objects(sample, found, float(IOUS[0]))
        pairs = pairs.only(found.labels[pairs.first] == sample.labels[pairs.second])
        partners = np.stack(
            [take_most_overlapping(sample, pairs.only(pairs.iou >= iou), found.scores) for iou in IOUS]
        )
        difficult = np.append(sample.difficult, False)[partners]
        crowded = np.stack([in_crowd(sample, found, float(iou)) for iou in IOUS])
        correct.append((partners >= 0) & ~difficult)
        ignored.append(difficult | (crowded & (partners < 0)))
    image = np.repeat(np.arange(len(kept)), [len(found) for found in kept])
    scores = np.concatenate([np.zeros(0, np.float32), *(found.scores for found in kept)])
    labels = np.concatenate([np.zeros(0, np.int64), *(found.labels for found in kept)])
    order = np.lexsort((-scores, labels))
    verdicts = np.concatenate(correct, axis=1)[:, order], np.concatenate(ignored, axis=1)[:, order]
    objects = objects_that_count(truth, len(names))
    edges = np.searchsorted(labels[order], np.arange(len(names) + 1))
    return tuple(
        Ranking(image[order[of_class]], verdicts[0][:, of_class], verdicts[1][:, of_class], objects[:, c])
        for c in range(len(names))
        for of_class in [slice(edges[c], edges[c + 1])]
    )


def best_of_each_class(detections: Detections) -> Detections:
    """Keep the 100 detections of each class with the highest scores, by descending score."""
    order = np.lexsort((-detections.scores, detections.labels))
    labels = detections.labels[order]
    rank = np.arange(len(labels)) - np.searchsorted(labels, labels)
    return detections[order[rank < MOST]]
