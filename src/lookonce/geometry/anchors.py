"""Anchors: the published ones, and k-means anchors for new data.

Legend: **N** boxes, **K** anchors. A shape is (width, height) in pixels of the network input; two shapes are
compared as boxes with a common upper left corner.
"""

import numpy as np
from numpy.typing import NDArray

from lookonce.geometry.boxes import pairwise_iou

Anchors = tuple[
    tuple[tuple[float, float], ...], ...
]  # per scale, finest first: (width, height) of each anchor
Shapes = NDArray[np.float64]  # (N, 2)

GOOD_IOU = 0.5  # an anchor with this IoU needs little adjustment; it is also the IoU threshold of AP50
RESTARTS = 5
MOST_ROUNDS = 100
MOST_SHAPES = 20_000  # k-means samples larger sets: this saves time and hardly changes the medians

# yolov3.cfg and yolov3-spp.cfg; mask 0,1,2 belongs to stride 8, 3,4,5 to 16 and 6,7,8 to 32.
YOLOV3: Anchors = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)
# yolov3-tiny.cfg: mask 0,1,2 for stride 16 and 3,4,5 for 32. Some files have 1,2,3 for stride 16, never use
# (10, 14) and use (81, 82) twice; lookonce reads such a `.cfg` as written.
YOLOV3_TINY: Anchors = (
    ((10, 14), (23, 27), (37, 58)),
    ((81, 82), (135, 169), (344, 319)),
)
# yolov3-tiny_3l.cfg, made for an input of 608
YOLOV3_TINY_3L: Anchors = (
    ((4, 7), (7, 15), (13, 25)),
    ((25, 42), (41, 67), (75, 94)),
    ((91, 162), (158, 205), (250, 332)),
)


def flatten(anchors: Anchors) -> Shapes:
    """Concatenate the anchors of all scales: (K, 2), finest scale first."""
    return np.array([anchor for scale in anchors for anchor in scale], np.float64).reshape(-1, 2)


def shape_iou(shapes: Shapes, anchors: Shapes) -> Shapes:
    """Compute the IoU of boxes that share a corner: (N, 2), (K, 2) -> (N, K)."""
    at_origin = [np.concatenate([np.zeros_like(each), each], axis=1) for each in (shapes, anchors)]
    return pairwise_iou(*at_origin)


def best_possible_recall(shapes: Shapes, anchors: Shapes, iou: float = GOOD_IOU) -> float:
    """Return the share of boxes whose shape IoU with some anchor is at least `iou`; NaN without boxes."""
    best = shape_iou(shapes, anchors).max(axis=1)
    return float(np.mean(best >= iou)) if len(best) else np.nan


def mean_best_iou(shapes: Shapes, anchors: Shapes) -> float:
    """Return the mean shape IoU of the boxes with their best anchor; NaN without boxes."""
    best = shape_iou(shapes, anchors).max(axis=1)
    return float(np.mean(best)) if len(best) else np.nan


def fit_anchors(shapes: Shapes, published: Anchors, seed: int = 0) -> Anchors:
    """Compute the anchors of each scale from the boxes that its published anchors fit best.

    k-means over all boxes at once would assign anchors to the coarsest scale even if all boxes are small, and
    a head of 21 pixels is hard to detect from cells of 32 pixels; benchmarks/recipes.md gives the loss in AP.

    Args:
        shapes: (N, 2), all sides above 0; N may be 0.
        published: anchors of the network, finest scale first.
        seed: seed of k-means.

    Returns:
        As many anchors per scale as published, sorted by area. A scale with fewer different boxes than
        anchors keeps its published ones.
    """
    scale_of_anchor = np.repeat(np.arange(len(published)), [len(scale) for scale in published])
    scale_of_box = scale_of_anchor[shape_iou(shapes, flatten(published)).argmax(axis=1)]
    fitted = []
    for scale, anchors in enumerate(published):
        own_shapes = shapes[scale_of_box == scale]
        if _different(own_shapes) >= len(anchors):
            anchors = tuple((w, h) for w, h in kmeans_anchors(own_shapes, len(anchors), seed).tolist())
        fitted.append(anchors)
    return tuple(fitted)


def kmeans_anchors(shapes: Shapes, k: int, seed: int = 0) -> Shapes:
    """Compute k anchors by k-means with 1 - shape IoU as the distance.

    Each center moves to the median of its boxes, on which a few huge boxes have little effect. With six
    anchors the mean best IoU is 0.786 on 10,516 heads and 0.865 on 2,804 blood cells; with means in place of
    medians it is 0.783 and 0.861. A round can lower the mean best IoU, so the best round of all starts is
    returned.

    Args:
        shapes: (N, 2), all sides above 0.
        k: number of anchors.
        seed: seed of the starts, and of the sample if there are many boxes.

    Returns:
        (k, 2), sorted by area.

    Raises:
        ValueError: there are fewer than k different shapes.
    """
    if (different := _different(shapes)) < k:
        raise ValueError(f"expected at least {k} different box shapes, found {different}")
    rng = np.random.default_rng(seed)
    if len(shapes) > MOST_SHAPES:
        sample = rng.choice(shapes, MOST_SHAPES, replace=False)
        shapes = sample if _different(sample) >= k else shapes
    tries = [_refine(shapes, _spread_out(shapes, k, rng)) for _ in range(RESTARTS)]
    best = max(tries, key=lambda centers: mean_best_iou(shapes, centers))
    return best[np.argsort(best.prod(axis=1), kind="stable")]


def _spread_out(shapes: Shapes, k: int, rng: "np.random.Generator") -> Shapes:
    """Draw the initial centers, boxes far from earlier centers being likelier (k-means++, Arthur 2007)."""
    chosen = [int(rng.integers(len(shapes)))]
    nearest = np.ones(len(shapes))
    for _ in range(k - 1):
        nearest = np.minimum(nearest, 1 - shape_iou(shapes, shapes[chosen[-1:]])[:, 0])
        weight = nearest**2
        chosen.append(int(rng.choice(len(shapes), p=weight / weight.sum())))
    return shapes[chosen]


def _refine(shapes: Shapes, centers: Shapes) -> Shapes:
    """Move centers to the medians of their boxes until no box changes center; return the best round."""
    best, best_score, owner = centers, -np.inf, np.full(len(shapes), -1)
    for _ in range(MOST_ROUNDS):
        overlap = shape_iou(shapes, centers)  # (N, K)
        if (score := overlap.max(axis=1).mean()) > best_score:
            best, best_score = centers, score
        before, owner = owner, overlap.argmax(axis=1)
        if (owner == before).all():
            break
        centers = np.stack(
            [
                np.median(shapes[owner == i], axis=0) if (owner == i).any() else c
                for i, c in enumerate(centers)
            ]
        )
    return best


def _different(shapes: Shapes) -> int:
    """Count the different shapes after rounding to a thousandth of a pixel."""
    return len(np.unique(shapes.round(3), axis=0))
