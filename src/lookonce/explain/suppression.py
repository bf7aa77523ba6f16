"""Stage 5 of an explanation: the candidates, and who suppressed whom.

Legend: **K** candidates of all scales, **N** candidates listed, **D** detections.
"""

import numpy as np
from numpy.typing import NDArray

from lookonce.explain.records import BELOW, KEPT, Candidates, Scale, Suppression
from lookonce.geometry.boxes import is_empty, pairwise_iou
from lookonce.geometry.letterbox import Letterbox
from lookonce.geometry.nms import nms

FLOOR = 0.01  # below it nobody looks, and there are thousands
LIMIT = 3000  # candidates listed; a page's sliders stay quick, and images rarely have more above the floor


def list_candidates(
    candidates: NDArray[np.float32], scales: tuple[Scale, ...], letterbox: Letterbox, confidence: float
) -> Candidates:
    """Everything above the floor, in image pixels, as `runtime.postprocess` has it before NMS.

    Args:
        candidates: (K, 5+C) xyxy in input pixels, objectness, class probabilities.
        scales: where the K come from.
        letterbox: the way back to the image.
        confidence: of the explanation; the floor is never above it, and nothing above it is left out.
    """
    floor = min(FLOOR, confidence)
    labels = candidates[:, 5:].argmax(axis=1)
    scores = candidates[:, 4] * candidates[np.arange(len(candidates)), 5 + labels]
    rows = np.flatnonzero(scores > floor)
    boxes = letterbox.boxes_out(candidates[rows, :4])
    visible = ~is_empty(boxes)
    boxes, shown = boxes[visible], rows[visible]
    kept = _best(scores[shown], confidence)
    left_out = np.delete(scores[shown], kept)
    return Candidates(
        places=places_of(shown[kept], scales),
        boxes=boxes[kept],
        objectness=candidates[shown[kept], 4],
        scores=scores[shown[kept]],
        labels=labels[shown[kept]],
        total=len(candidates),
        floor=floor,
        left_out=len(left_out),
        limit=LIMIT,
        complete_from=float(left_out.max()) if len(left_out) else floor,
        invisible=int(np.count_nonzero(~visible)),
    )


def _best(scores: NDArray[np.float32], confidence: float) -> NDArray[np.int64]:
    """Up to `LIMIT` numbers of the best, in their own order; more where more lie above the confidence."""
    count = max(LIMIT, int(np.count_nonzero(scores > confidence)))
    return np.sort(np.argsort(-scores, kind="stable")[:count])


def places_of(numbers: NDArray[np.int64], scales: tuple[Scale, ...]) -> NDArray[np.int64]:
    """Numbers among the K -> (scale, row, column, anchor): (N,) -> (N, 4)."""
    firsts = np.array([scale.first for scale in scales])
    scale = np.searchsorted(firsts, numbers, side="right") - 1
    sizes = np.array([(each.grid[1], len(each.anchors)) for each in scales])[scale]
    columns, anchors = sizes[:, 0], sizes[:, 1]
    cell, anchor = np.divmod(numbers - firsts[scale], anchors)
    row, column = np.divmod(cell, columns)
    return np.stack([scale, row, column, anchor], axis=1).astype(np.int64)


def suppress(candidates: Candidates, confidence: float, iou: float) -> Suppression:
    """Filter and suppress, and remember who suppressed whom.

    Raises:
        ValueError: a confidence for which candidates were left out.
    """
    if confidence < candidates.complete_from:
        raise ValueError(
            f"expected a confidence from {candidates.complete_from:.4g} on, found {confidence}; below it "
            "candidates are not listed"
        )
    above = np.flatnonzero(candidates.scores > confidence)
    boxes, scores, labels = (
        candidates.boxes[above],
        candidates.scores[above],
        candidates.labels[above],
    )
    kept = nms(boxes, scores, labels, iou)
    by, overlaps = _suppressors(boxes, scores, labels, kept, iou)
    suppressed_by = np.full(len(candidates), BELOW, np.int64)
    suppressed_by[above] = np.where(by == KEPT, KEPT, above[by]) if len(above) else KEPT
    overlap = np.zeros(len(candidates), np.float32)
    overlap[above] = overlaps
    return Suppression(confidence, iou, above[kept], suppressed_by, overlap)


def _suppressors(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    labels: NDArray[np.int64],
    kept: NDArray[np.int64],
    threshold: float,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Of each box the best kept box of its class that lies too near, and their IoU; `KEPT` where it stays."""
    by = np.full(len(boxes), KEPT, np.int64)
    overlap = np.zeros(len(boxes), np.float32)
    waiting = np.delete(np.arange(len(boxes)), kept)
    for winner in kept:  # by falling score: the first that lies too near is the one that suppressed
        overlaps = pairwise_iou(boxes[winner][None], boxes[waiting])[0]
        lost = (labels[waiting] == labels[winner]) & (overlaps > threshold)
        by[waiting[lost]], overlap[waiting[lost]] = winner, overlaps[lost]
        waiting = waiting[~lost]
    return by, overlap
