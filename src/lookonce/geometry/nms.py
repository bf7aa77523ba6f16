"""Non-maximum suppression: greedy, or soft.

Greedy: sorting finds the pairs of one class that share columns of pixels; usually they are few, and the
    better box of each that is too close drops the other. If they are many, boxes are processed by descending
    score in blocks: each block is resolved first, and the boxes it keeps suppress everything after it. So the
    cost follows the number of boxes kept, not N², and memory is one block times N.

Soft: a box that overlaps a better one is not dropped; its score is lowered, more so the more they overlap.

Legend: **N** boxes, **K** kept.
"""

import numpy as np
from numpy.typing import NDArray

from lookonce.geometry.boxes import iou, pairwise_intersects

SIGMA = 0.5  # for Soft-NMS: Bodla et al. 2017, and the best F1 on training images (benchmarks/nms.md)
MOST_PAIRS = 50_000  # pairs that share columns; beyond, boxes go by blocks. Any number gives the same result
ROUNDS = 3  # rounds of decisions on all boxes at once
BLOCK = 128  # the fastest of 32 to 256 for 100 to 10,000 boxes; any number gives the same result

Indices = NDArray[np.int64]


def nms(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    labels: NDArray[np.int64] | None,
    iou_threshold: float,
) -> Indices:
    """Keep the best of overlapping boxes, greedily by descending score.

    A box is dropped when its IoU with a kept box is above the threshold; at exactly the threshold it stays
    (as in the reference). Equal scores keep their input order, so the result is deterministic.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,).
        labels: (N,) to suppress within each class only; None suppresses across classes.
        iou_threshold: between 0 and 1.

    Returns:
        Indices of the kept boxes, (K,) int64, by descending score.
    """
    waiting = np.argsort(-scores, kind="stable")
    if labels is None:
        labels = np.zeros_like(waiting)
    ranked = boxes[waiting]
    if (pairs := _sharing_columns(ranked, labels[waiting])) is not None:
        i, j = pairs
        # `take` gathers rows in half of the time that indexing needs
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
    """Lower the score of each box for every better one that it overlaps: times exp(-IoU²/sigma).

    The Gaussian form of Bodla et al. 2017: the box with the highest remaining score is kept and lowers the
    others, and so on. Of equal scores, the first in the input is kept. Takes N² time and N memory.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,).
        labels: (N,) to lower scores within each class only; None does so across classes.
        floor: a box is dropped when its score is no longer above it.
        sigma: width of the Gaussian; a larger one lowers scores less.

    Returns:
        Indices of the kept boxes, (K,) int64, and their new scores, (K,) float32, descending.
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
    """Find the pairs of one class that overlap horizontally, and a few that only touch.

    Boxes are sorted by class and left side, so the partners of a box follow it directly.

    Returns:
        Pairs of indices, the smaller first, ordered by it; None if there are more than `MOST_PAIRS`.
    """
    left, right = boxes[:, 0].astype(np.float64), boxes[:, 2].astype(np.float64)
    start = left.min(initial=0)
    span = max(left.max(initial=0), right.max(initial=0)) - start + 2  # wider than any box, and a margin
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
    # NumPy sorts numbers of up to 16 bits by their digits, which takes a fraction of the time
    by_better = np.argsort(low.astype(np.min_scalar_type(len(order))), kind="stable")
    return low.take(by_better), high.take(by_better)


def _conflicts(
    boxes: NDArray[np.float32],
    labels: NDArray[np.int64],
    first: Indices,
    second: Indices,
    iou_threshold: float,
) -> tuple[Indices, Indices]:
    """Return the pairs that cannot both stay, as indices into `first` and `second`, ordered by the former."""
    a, b = boxes[first], boxes[second]
    candidates = pairwise_intersects(a, b) & (labels[first][:, None] == labels[second])
    # flatnonzero is ten times as fast as nonzero on two axes
    i, j = np.divmod(np.flatnonzero(candidates), len(second))
    too_close = iou(a.take(i, axis=0), b.take(j, axis=0)) > iou_threshold
    return i[too_close], j[too_close]


def _settle(block: Indices, conflicts: tuple[Indices, Indices]) -> Indices:
    """Keep, from the best to the worst, every box that no kept box of the block suppresses.

    A box that conflicts with no better one is kept, and drops the worse boxes that it conflicts with. A few
    such rounds, on all boxes at once, decide nearly all; the rest, such as long chains, are decided one by
    one.
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
