"""From decoded candidates to detections in pixels of the original image.

Legend: **K** candidates of all scales (10,647 at 416), **C** classes, **N** detections.
"""

from collections.abc import Collection
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lookonce.detections import Detections
from lookonce.geometry.boxes import is_empty
from lookonce.geometry.letterbox import Letterbox
from lookonce.geometry.nms import nms, soft_nms

CONFIDENCE = 0.25  # darknet's detector: -thresh 0.25
IOU = 0.45  # darknet's detector and the reference's evaluation script


def postprocess(
    candidates: NDArray[np.float32],
    letterbox: Letterbox,
    *,
    confidence: float = CONFIDENCE,
    iou: float = IOU,
    classes: Collection[int] | None = None,
    class_agnostic: bool = False,
    soft: bool = False,
    names: tuple[str, ...] = (),
) -> Detections:
    """Filter by score, bring the boxes back to the image, suppress duplicates.

    A candidate has one class, the most probable (the first on ties). Boxes are cut at the image's border
    before suppression, as in the reference: two boxes that differ only outside the image are one object.

    Args:
        candidates: (K, 5+C) xyxy in input pixels, objectness, class probabilities.
        letterbox: how the image was fitted into the input.
        confidence: a score must lie above it.
        iou: a box is dropped when its IoU with a better one lies above it.
        classes: the class numbers wanted; None for all.
        class_agnostic: suppress across classes, so that one place holds one object.
        soft: lower the scores of overlapping boxes, in place of dropping them by `iou`.
        names: class names, handed on to the result.

    Returns:
        By falling score; equal scores in the order of the candidates.
    """
    found = locate(candidates, letterbox, confidence=confidence, classes=classes, names=names)
    floor = confidence if soft else None
    return suppress(found, iou, class_agnostic=class_agnostic, soft_floor=floor)


def locate(
    candidates: NDArray[np.float32],
    letterbox: Letterbox,
    *,
    confidence: float,
    classes: Collection[int] | None,
    names: tuple[str, ...],
) -> Detections:
    """The first half of `postprocess`: all that scores, in the order of the candidates."""
    boxes, scores, labels = _filter(candidates, confidence, classes)
    boxes = letterbox.boxes_out(boxes)
    visible = np.flatnonzero(~is_empty(boxes))
    return Detections(boxes[visible], scores[visible], labels[visible], names)


def suppress(
    found: Detections, iou: float, *, class_agnostic: bool, soft_floor: float | None = None
) -> Detections:
    """The second half: of boxes on one object the best, by falling score.

    Where a soft floor is given, overlapping boxes lose score instead, and stay as long as they are above it.
    """
    labels = None if class_agnostic else found.labels
    if soft_floor is None:
        return found[nms(found.boxes, found.scores, labels, iou)]
    kept, scores = soft_nms(found.boxes, found.scores, labels, soft_floor)
    return replace(found[kept], scores=scores)


def _filter(
    candidates: NDArray[np.float32], confidence: float, classes: Collection[int] | None
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Boxes in input pixels, scores and labels of what lies above the confidence."""
    # A score is at most the objectness; this leaves few rows whose C columns must be read.
    rows = candidates[np.flatnonzero(candidates[:, 4] > confidence)]
    labels = rows[:, 5:].argmax(axis=1)
    scores = rows[:, 4] * rows[np.arange(len(rows)), 5 + labels]
    wanted = scores > confidence
    if classes is not None:
        wanted &= np.isin(labels, list(classes))
    return rows[wanted, :4], scores[wanted], labels[wanted]
