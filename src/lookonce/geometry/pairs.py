"""Pairs of overlapping boxes, found without a matrix of all pairs to save memory."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lookonce.geometry.boxes import iou, pairwise_intersects

ROWS, COLUMNS = 256, 1024  # boxes compared at a time; if all of them overlap, their pairs take 40 MB


class Pairs(NamedTuple):
    """P pairs of overlapping boxes of two sets, sorted by `first`, descending `iou`, and `second`.

    Attributes:
        first: (P,) int64 index into the first set.
        second: (P,) int64 index into the second set.
        iou: (P,) float64 IoU.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    iou: NDArray[np.float64]

    def only(self, kept: NDArray[np.bool_ | np.int64]) -> "Pairs":
        """Select pairs by mask or index."""
        return Pairs(self.first[kept], self.second[kept], self.iou[kept])

    def best(self) -> "Pairs":
        """Select the pair with the highest IoU for each `first`."""
        return self.only(np.diff(self.first, prepend=-1) != 0)


def overlapping_pairs(a: NDArray[np.floating], b: NDArray[np.floating], least: float = 0.0) -> Pairs:
    """Find the pairs with an IoU above 0 and at least `least`: (N, 4), (M, 4) xyxy -> P pairs."""
    a, b = (np.asarray(boxes, np.float64) for boxes in (a, b))
    first, second = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for rows, columns in _blocks(a, b):
        i, j = np.nonzero(pairwise_intersects(a[rows], b[columns]))
        overlap = iou(a[rows[i]], b[columns[j]])
        enough = (overlap > 0) & (overlap >= least)
        first.append(rows[i[enough]])
        second.append(columns[j[enough]])
    i, j = np.concatenate(first), np.concatenate(second)
    total: NDArray[np.float64] = iou(a[i], b[j])
    order = np.lexsort((j, -total, i))
    return Pairs(i[order], j[order], total[order])


def count_overlaps(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.int64]:
    """Count, for each box of `a`, the boxes of `b` that share area with it: (N, 4), (M, 4) -> (N,)."""
    counts = np.zeros(len(a), np.int64)
    for rows, columns in _blocks(a, b):
        counts[rows] += pairwise_intersects(a[rows], b[columns]).sum(axis=1)
    return counts


def _blocks(
    a: NDArray[np.floating], b: NDArray[np.floating]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield indices into `a` and `b`, block by block, of boxes that may overlap.

    Boxes are sorted by their left edge, so a block of `a` is compared only with boxes of `b` in the same
    range of columns. If boxes are small, time grows with N + M.
    """
    by_left_a, by_left_b = np.argsort(a[:, 0]), np.argsort(b[:, 0])
    left, reach = b[by_left_b, 0], np.maximum.accumulate(b[by_left_b, 2])
    for start in range(0, len(a), ROWS):
        rows = by_left_a[start : start + ROWS]
        begin = int(np.searchsorted(reach, a[rows[0], 0]))
        end = int(np.searchsorted(left, a[rows, 2].max()))
        for column in range(begin, end, COLUMNS):
            yield rows, by_left_b[column : min(column + COLUMNS, end)]
