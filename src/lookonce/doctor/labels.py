"""Labels that a model doubts: what it is sure of and nobody drew, and what was drawn and it does not see."""

from collections.abc import Iterator

import numpy as np

from lookonce.detections import Detections
from lookonce.doctor.findings import Finding, box_place, corners
from lookonce.geometry.boxes import area, pairwise_iou
from lookonce.samples import Sample, SampleSet

SURE = 0.6  # score from which a detection is taken for a fact
ANYTHING = 0.05  # score from which it is a hint
NEAR = 0.3  # IoU from which it is about this box
ON = 0.5  # IoU from which it is on this box


def doubts(found: SampleSet, sample: Sample, detections: Detections) -> Iterator[Finding]:
    """Compare the boxes of one image with what a model finds in it.

    Args:
        found: the set of the sample.
        sample: its boxes.
        detections: scores from `ANYTHING` on, labels into the names of the set.
    """
    overlap = pairwise_iou(detections.boxes.astype(np.float64), sample.boxes.astype(np.float64))  # (D, N)
    yield from _without_box(found, sample, detections, overlap)
    for i in range(len(sample.labels)):
        if sample.crowd[i]:
            continue
        place, box = box_place(found, sample, i), corners(sample, [i])
        name = found.names[int(sample.labels[i])]
        if not (overlap[:, i] >= NEAR).any():
            yield Finding("unfound-box", place, f"{name}: no detection comes near", sample.path, box)
            continue
        on = overlap[:, i] >= ON
        own = on & (detections.labels == sample.labels[i])
        other = np.flatnonzero(on & (detections.labels != sample.labels[i]) & (detections.scores >= SURE))
        if len(other) and not own.any():
            best = other[detections.scores[other].argmax()]
            seen, score = found.names[int(detections.labels[best])], float(detections.scores[best])
            what = f"labelled {name!r}, the model says {seen!r} with {score:.2f}"
            yield Finding("doubtful-class", place, what, sample.path, box, weight=score)


def _without_box(
    found: SampleSet,
    sample: Sample,
    detections: Detections,
    overlap: np.ndarray[tuple[int, int], np.dtype[np.float64]],
) -> Iterator[Finding]:
    lonely = (overlap < NEAR).all(axis=1) & (detections.scores >= SURE) & ~_in_crowd(sample, detections)
    for i in np.flatnonzero(lonely).tolist():
        score, box = float(detections.scores[i]), tuple(detections.boxes[i].tolist())
        sides = ", ".join(f"{side:.0f}" for side in box)
        what = f"{found.names[int(detections.labels[i])]} {score:.2f} at [{sides}], and no box there"
        yield Finding("missing-box", str(sample.path), what, sample.path, (box,), weight=score)


def _in_crowd(sample: Sample, detections: Detections) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """(D,): detections that lie for the most part in a crowd of their class, however small beside it."""
    boxes, crowd = detections.boxes[:, None], sample.boxes[sample.crowd]
    shared = np.minimum(boxes[..., 2:], crowd[:, 2:]) - np.maximum(boxes[..., :2], crowd[:, :2])
    same = detections.labels[:, None] == sample.labels[sample.crowd]
    inside: np.ndarray[tuple[int], np.dtype[np.bool_]] = (
        same & (shared.clip(0).prod(axis=-1) >= ON * area(boxes))
    ).any(axis=1)
    return inside
