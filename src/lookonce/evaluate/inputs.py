"""What every measure takes: annotated images, and one result for each."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lookonce.detections import Detections
from lookonce.samples import Sample


def check(truth: Sequence[Sample], detections: Sequence[Detections], names: Sequence[str]) -> None:
    """Refuse what cannot be compared.

    Raises:
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


def objects_that_count(truth: Sequence[Sample], classes: int) -> NDArray[np.int64]:
    """Objects that are neither difficult nor crowd, by image and class: (images, C)."""
    counts = np.zeros((len(truth), classes), np.int64)
    for row, sample in zip(counts, truth, strict=True):
        row[:] = np.bincount(sample.labels[~(sample.difficult | sample.crowd)], minlength=classes)
    return counts
