"""Non-maximum suppression (NMS), greedy or soft.

Greedy NMS first finds, by sorting, the pairs of boxes of one class that overlap horizontally. Usually there
are few: IoU is computed for these pairs only, and of two boxes that overlap too much, the better one is kept.
If there are many, boxes are processed in blocks by descending score: each block is resolved by itself, and
its kept boxes then remove overlapping boxes from all later blocks. Time thus grows with the number of kept
boxes rather than with N², and memory with the size of a block times N.

Soft-NMS lowers the score of a box that overlaps a better one, the more they overlap, instead of dropping it.

Legend: **N** boxes, **R** kept boxes.
"""

import numpy as np
from numpy.typing import NDArray

from lookonce.geometry.boxes import iou, pairwise_intersects

SIGMA = 0.5  # Soft-NMS: from Bodla et al. 2017, and best F1 on training images (benchmarks/nms.md)
MOST_PAIRS = 50_000  # pairs above which boxes are processed in blocks; does not affect the result
ROUNDS = 3  # vectorized rounds before the remaining boxes are decided one by one; does not affect the result
BLOCK = 128  # boxes per block: fastest of 32 to 256 for 100 to 10,000 boxes; does not affect the result

Indices = NDArray[np.int64]


def nms(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    labels: NDArray[np.int64] | None,
    iou_threshold: float,
) -> Indices:
    """Keep the best of overlapping boxes, greedily by descending score.

    A box is dropped if its IoU with a kept box of higher score is above the threshold; at the threshold it
    stays, as in the reference. Boxes with equal scores keep their input order.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,) scores.
        labels: (N,) class numbers, to compare boxes within each class only; None compares across classes.
        iou_threshold: IoU threshold, from 0 to 1.

    Returns:
        Indices of the kept boxes, (R,) int64, by descending score.
    """
    waiting = np.argsort(-scores, kind="stable")
    if labels is None:
        labels = np.zeros_like(waiting)
    ranked = boxes[waiting]
    if (pairs := _sharing_columns(ranked, labels[waiting])) is not None:
        i, j = pairs
        # `take` gathers rows in half the time of indexing
        too_close = iou(ranked.take(i, axis=0), ranked.take(j, axis=0)) > iou_threshold
        return _settle(waiting, (i[too_close], j[too_close]))
    kept = [waiting[:0]]
    while len(waiting):
        block, waiting = waiting[:BLOCK], waiting[BLOCK:]
        kept.append(_settle(block, _conflicts(boxes, labels, block, block, iou_threshold)))
        _, losers = _conflicts(boxes, labels, kept[-1], waiting, iou_threshold)
        waiting = np.delete(waiting, losers)
    return np.concatenate(kept)


def soft_nms(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    labels: NDArray[np.int64] | None,
    floor: float,
    sigma: float = SIGMA,
) -> tuple[Indices, NDArray[np.float32]]:
    """Multiply the score of a box by exp(-IoU² / sigma) for every better box that it overlaps.

    This is the Gaussian form of Bodla et al. 2017: the box with the highest remaining score is kept and
    lowers the scores of the others, until none is left. Of equal scores, the first in the input is kept.
    Time grows with N², memory with N.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,) scores.
        labels: (N,) class numbers, to compare boxes within each class only; None compares across classes.
        floor: score at or below which a box is dropped.
        sigma: width of the Gaussian; a larger one lowers scores less.

    Returns:
        Indices of the kept boxes, (R,) int64, and their new scores, (R,) float32, descending.
    """
    waiting = np.flatnonzero(scores > floor)
    left = scores[waiting]
    kept: list[tuple[int, np.float32]] = []
    while len(waiting):
        first = left.argmax()
        best, score = waiting[first], left[first]
        kept.append((best, score))
        waiting, left = np.delete(waiting, first), np.delete(left, first)
        overlap = iou(boxes[best], boxes[waiting])
        if labels is not None:
            overlap[labels[waiting] != labels[best]] = 0
        left = left * np.exp(-(overlap**2) / sigma)
        above = left > floor
        waiting, left = waiting[above], left[above]
    return np.array([best for best, _ in kept], np.int64), np.array([score for _, score in kept], np.float32)


def _sharing_columns(boxes: NDArray[np.float32], labels: NDArray[np.int64]) -> tuple[Indices, Indices] | None:
    """Find the pairs of boxes of one class that overlap horizontally (some may only touch).

    Boxes are sorted by class and left edge, so the partners of a box directly follow it.

    Returns:
        Pairs of indices, the smaller one first, sorted by it; None if there are more than `MOST_PAIRS`.
    """
    left, right = boxes[:, 0].astype(np.float64), boxes[:, 2].astype(np.float64)
    start = left.min(initial=0)
    span = max(left.max(initial=0), right.max(initial=0)) - start + 2  # keeps the classes apart
    begins = labels * span + (left - start)
    order = np.argsort(begins)
    ends = (labels * span + (right - start))[order] + span * 1e-9  # rounding must not lose a pair
    counts = np.searchsorted(begins[order], ends) - np.arange(1, len(order) + 1)
    counts = counts.clip(0)
    total = int(counts.sum())
    if total > MOST_PAIRS:
        return None
    first = np.repeat(np.arange(len(order)), counts)
    second = first + 1 + np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
    i, j = order.take(first), order.take(second)
    low, high = np.minimum(i, j), np.maximum(i, j)
    # numpy uses radix sort for integers of up to 16 bits, which takes a fraction of the time
    by_better = np.argsort(low.astype(np.min_scalar_type(len(order))), kind="stable")
    return low.take(by_better), high.take(by_better)


def _conflicts(
    boxes: NDArray[np.float32],
    labels: NDArray[np.int64],
    first: Indices,
    second: Indices,
    iou_threshold: float,
) -> tuple[Indices, Indices]:
    """Return the pairs whose IoU is above the threshold, as indices into `first` and `second`."""
    a, b = boxes[first], boxes[second]
    candidates = pairwise_intersects(a, b) & (labels[first][:, None] == labels[second])
    # flatnonzero is ten times as fast as nonzero on two axes
    i, j = np.divmod(np.flatnonzero(candidates), len(second))
    too_close = iou(a.take(i, axis=0), b.take(j, axis=0)) > iou_threshold
    return i[too_close], j[too_close]


def _settle(block: Indices, conflicts: tuple[Indices, Indices]) -> Indices:
    """Return the boxes of a block that greedy NMS keeps, given the pairs that conflict.

    In each round, every box that conflicts with no better undecided box is kept, and the worse boxes that it
    conflicts with are dropped. A few vectorized rounds decide nearly all boxes; the rest, such as long
    chains, are decided one by one.
    """
    better, worse = conflicts
    ordered = better < worse
    better, worse = better[ordered], worse[ordered]
    dropped = np.zeros(len(block), bool)
    for _ in range(ROUNDS):
        beaten = np.zeros(len(block), bool)
        beaten[worse] = True
        dropped[worse[~beaten.take(better)]] = True
        open_ = ~(dropped.take(better) | dropped.take(worse))
        better, worse = better[open_], worse[open_]
    for first, second in np.transpose([better, worse]).tolist():
        if not dropped[first]:
            dropped[second] = True
    return block[~dropped]
