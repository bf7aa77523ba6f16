"""Record stage 5 of an explanation: the candidates, and the outcome of NMS.

Legend: **K** candidates of all scales, **N** candidates listed, **D** detections.
"""

import numpy as np
from numpy.typing import NDArray

from lookonce.explain.records import BELOW, KEPT, Candidates, NmsResult, ScaleOutput
from lookonce.geometry.boxes import is_empty, pairwise_iou
from lookonce.geometry.letterbox import Letterbox
from lookonce.geometry.nms import nms

FLOOR = 0.01  # score; thousands of candidates are below it
LIMIT = 3000  # candidates to list, so that the page's sliders stay fast; few images have more above the floor


def list_candidates(
    candidates: NDArray[np.float32], scales: tuple[ScaleOutput, ...], letterbox: Letterbox, conf: float
) -> Candidates:
    """List the candidates above the floor, with boxes in image pixels, as in `runtime.postprocess`.

    Args:
        candidates: (K, 5+C) xyxy in input pixels, objectness, class probabilities.
        scales: raw and decoded maps of the candidates.
        letterbox: letterbox of the image.
        conf: lowest score threshold of the explanation. The floor is not above it, and candidates above it
            are never left out.
    """
    floor = min(FLOOR, conf)
    labels = candidates[:, 5:].argmax(axis=1)
    scores = candidates[:, 4] * candidates[np.arange(len(candidates)), 5 + labels]
    rows = np.flatnonzero(scores > floor)
    boxes = letterbox.boxes_out(candidates[rows, :4])
    visible = ~is_empty(boxes)
    boxes, shown = boxes[visible], rows[visible]
    count = max(LIMIT, int(np.count_nonzero(scores[shown] > conf)))
    kept = np.sort(np.argsort(-scores[shown], kind="stable")[:count])  # the best, in network order
    left_out = np.delete(scores[shown], kept)
    return Candidates(
        positions=positions_of(shown[kept], scales),
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


def positions_of(numbers: NDArray[np.int64], scales: tuple[ScaleOutput, ...]) -> NDArray[np.int64]:
    """Convert indices among the K candidates, (N,), to positions (scale, row, column, anchor), (N, 4)."""
    firsts = np.array([scale.first for scale in scales])
    scale = np.searchsorted(firsts, numbers, side="right") - 1
    sizes = np.array([(each.grid[1], len(each.anchors)) for each in scales])[scale]
    columns, anchors = sizes[:, 0], sizes[:, 1]
    cell, anchor = np.divmod(numbers - firsts[scale], anchors)
    row, column = np.divmod(cell, columns)
    return np.stack([scale, row, column, anchor], axis=1).astype(np.int64)


def suppress(candidates: Candidates, thresholds: tuple[float, ...], iou: float) -> NmsResult:
    """Apply the score filter and NMS, and record the box that suppresses each dropped one.

    Args:
        candidates: listed candidates, complete above the lowest threshold.
        thresholds: score threshold of each class, (C,).
        iou: IoU threshold.

    Raises:
        ValueError: the list is not complete above the lowest threshold.
    """
    if (lowest := min(thresholds)) < candidates.complete_from:
        raise ValueError(
            f"expected a score threshold of {candidates.complete_from:.4g} or more, found {lowest}; "
            "candidates below it are not listed"
        )
    above = np.flatnonzero(candidates.scores > np.array(thresholds, np.float32)[candidates.labels])
    boxes, labels = candidates.boxes[above], candidates.labels[above]
    kept = nms(boxes, candidates.scores[above], labels, iou)
    suppressed_by = np.full(len(candidates), BELOW, np.int64)
    suppressed_by[above] = KEPT
    overlap = np.zeros(len(candidates), np.float32)
    waiting = np.delete(np.arange(len(boxes)), kept)
    for winner in kept:  # by descending score, so the first to overlap by too much is the suppressing box
        overlaps = pairwise_iou(boxes[winner][None], boxes[waiting])[0]
        lost = (labels[waiting] == labels[winner]) & (overlaps > iou)
        suppressed_by[above[waiting[lost]]], overlap[above[waiting[lost]]] = above[winner], overlaps[lost]
        waiting = waiting[~lost]
    return NmsResult(thresholds, iou, above[kept], suppressed_by, overlap)
