"""Check the input of all metrics: annotated images and one result per image."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lookonce._counted import counted
from lookonce.detections import Detections
from lookonce.errors import AnnotationError, ModelFileError
from lookonce.geometry.pairs import overlapping_pairs
from lookonce.samples import Sample

MOST_PAIRS = 10**8  # objects times detections of one image; COCO's evaluator needs 8 bytes per pair
IN_AREA = 0.5  # share of a box in ignored areas from which it is ignored, as in KITTI's DontCare areas
ON_OBJECT = 0.5  # IoU with an object of its class from which a detection in an ignored area still counts


def comparable(
    truth: Sequence[Sample], detections: Sequence[Detections], names: Sequence[str]
) -> list[Detections]:
    """Check that results and ground truth can be compared; return the detections outside ignored areas.

    Raises:
        AnnotationError: an image has too many pairs of objects and detections for memory.
        ModelFileError: a score or a box is not finite.
        ValueError: the results are not one per image, or a label is outside the names.
    """
    if len(truth) != len(detections):
        raise ValueError(f"expected one result for each of {len(truth)} images, found {len(detections)}")
    for sample, found in zip(truth, detections, strict=True):
        for labels in (sample.labels, found.labels):
            if len(labels) and not 0 <= labels.min() <= labels.max() < len(names):
                raise ValueError(
                    f"{sample.path}: expected labels 0 to {len(names) - 1}, "
                    f"found {labels.min()} to {labels.max()}"
                )
        if not (np.isfinite(found.scores).all() and np.isfinite(found.boxes).all()):
            raise ModelFileError(f"{sample.path}: expected finite scores and boxes, found NaN or infinity")
        if len(sample.labels) * len(found) > MOST_PAIRS:
            raise AnnotationError(
                f"{sample.path}: expected at most {MOST_PAIRS} pairs of objects and detections in one image, "
                f"found {counted(len(sample.labels), 'object')} and {counted(len(found), 'detection')}"
            )
    pairs = zip(truth, detections, strict=True)
    return [found[~in_ignored_areas(sample, found)] if sample.ignored else found for sample, found in pairs]


def in_ignored_areas(sample: Sample, detections: Detections) -> NDArray[np.bool_]:
    """Return a mask, (D,), of the detections with half or more of their area in ignored areas of their class.

    The share is estimated from 64 points in the box. A detection on an object of its class is never ignored.
    """
    share = (np.arange(8) + 0.5) / 8
    grid = np.stack([each.ravel() for each in np.meshgrid(share, share)], axis=1)  # (64, 2)
    points = detections.boxes[:, None, :2] + grid * (
        detections.boxes[:, None, 2:] - detections.boxes[:, None, :2]
    )
    inside = np.zeros((len(detections), len(grid)), bool)
    for area in sample.ignored:
        concerned = np.isin(detections.labels, area.labels) if area.labels else np.ones(len(detections), bool)
        inside[concerned] |= area.holds(points[concerned].reshape(-1, 2)).reshape(-1, len(grid))
    pairs = overlapping_pairs(detections.boxes, sample.boxes, ON_OBJECT)
    on_object = np.zeros(len(detections), bool)
    same = detections.labels[pairs.first] == sample.labels[pairs.second]
    on_object[pairs.first[same & ~sample.crowd[pairs.second]]] = True
    ignored: NDArray[np.bool_] = (inside.mean(axis=1) >= IN_AREA) & ~on_object
    return ignored


def objects_that_count(truth: Sequence[Sample], classes: int) -> NDArray[np.int64]:
    """Count the objects that are neither difficult nor crowds, by image and class: (images, C)."""
    counts = np.zeros((len(truth), classes), np.int64)
    for row, sample in zip(counts, truth, strict=True):
        row[:] = np.bincount(sample.labels[~(sample.difficult | sample.crowd)], minlength=classes)
    return counts
