"""Input of every measure: annotated images, and one result for each."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lookonce.detections import Detections
from lookonce.errors import AnnotationError, ModelFileError
from lookonce.samples import Sample

MOST_PAIRS = 10**8  # objects x detections of one image; COCO's evaluator keeps 8 bytes for each


def check(truth: Sequence[Sample], detections: Sequence[Detections], names: Sequence[str]) -> None:
    """Refuse input that cannot be compared.

    Raises:
        AnnotationError: an image with too many objects for its detections.
        ModelFileError: a score or a box that is not finite.
        ValueError: not one result for each image, or a label outside the names.
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
                f"found {len(sample.labels)} objects and {len(found)} detections"
            )


def objects_that_count(truth: Sequence[Sample], classes: int) -> NDArray[np.int64]:
    """Count the objects that are neither difficult nor crowd, by image and class: (images, C)."""
    counts = np.zeros((len(truth), classes), np.int64)
    for row, sample in zip(counts, truth, strict=True):
        row[:] = np.bincount(sample.labels[~(sample.difficult | sample.crowd)], minlength=classes)
    return counts
