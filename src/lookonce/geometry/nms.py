"""Greedy non-maximum suppression."""

import numpy as np
from numpy.typing import NDArray

from lookonce.geometry.boxes import pairwise_iou


def nms(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    labels: NDArray[np.int64] | None,
    iou_threshold: float,
) -> NDArray[np.int64]:
    """Keep the best box of each heap, greedily by falling score.

    A box is dropped when its IoU with a kept box is above the threshold; at exactly the threshold it stays
    (as in the reference). Equal scores keep their input order, so the result is deterministic.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,).
        labels: (N,) to suppress within each class only; None suppresses across classes.
        iou_threshold: between 0 and 1.

    Returns:
        Indices of the kept boxes, (K,) int64, by falling score.
    """
    order = np.argsort(-scores, kind="stable")
    boxes = boxes[order]
    overlapping = pairwise_iou(boxes, boxes) > iou_threshold
    if labels is not None:
        overlapping &= labels[order][:, None] == labels[order][None, :]
    alive = np.ones(len(order), bool)
    for i in range(len(order)):
        if alive[i]:
            alive[i + 1 :] &= ~overlapping[i, i + 1 :]
    return order[alive]
