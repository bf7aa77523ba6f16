"""Break AP and recall down by size, shape and crowding of the objects.

Objects are divided into bins by one property. A correct detection belongs to the bin of its object, a false
one to the bin of its own box, as in COCO's AP by area. The AP50 of a bin is the mean over the classes with
objects in it.

Except for COCO's sizes, bins hold about equal numbers of objects, so they are meaningful for any data: if all
objects are small by COCO's definition, fifths still separate smaller from larger ones.

Legend: **D** detections, **G** objects, **C** classes, **K** bins.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lookonce.detections import Detections
from lookonce.evaluate.errors import Outcome, Outcomes
from lookonce.evaluate.oracles import class_average_precisions
from lookonce.geometry.boxes import area
from lookonce.geometry.pairs import count_overlaps
from lookonce.samples import Sample

COCO_SIZES = (32.0, 96.0)  # square roots of the areas that separate small, medium and large, in pixels
BINS = 5
FEWEST = 25  # objects per bin; with fewer, one object would change recall by more than 4%


@dataclass(frozen=True, slots=True)
class Bin:
    """Objects between two values of a property.

    Attributes:
        low: smallest value of the property in the bin; NaN without objects.
        high: largest value of the property in the bin; NaN without objects.
        objects: number of objects.
        ap50: mean AP50 over the classes with objects in the bin; NaN without objects.
        recall: share of the objects with a correct detection above the threshold; NaN without objects.
    """

    low: float
    high: float
    objects: int
    ap50: float
    recall: float

    @classmethod
    def of(cls, values: NDArray[np.float64], ap: NDArray[np.float64], found: NDArray[np.bool_]) -> Self:
        """Summarize a bin.

        Args:
            values: property of each object.
            ap: AP50 of each class with objects.
            found: whether each object is found.
        """
        if len(values) == 0:
            return cls(math.nan, math.nan, 0, math.nan, math.nan)
        return cls(
            float(values.min()), float(values.max()), len(values), float(ap.mean()), float(found.mean())
        )


@dataclass(frozen=True, slots=True)
class Breakdown:
    """AP50 and recall by four properties of the objects.

    Attributes:
        coco_size: COCO's three bins small, medium and large, by the square root of the area in pixels.
        size: bins by the square root of the area, in pixels of the image.
        shape: bins by width divided by height.
        crowding: bins by the number of neighbors: other objects, of any class, that overlap the box when it
            is enlarged to twice its width and height.
    """

    coco_size: tuple[Bin, ...]
    size: tuple[Bin, ...]
    shape: tuple[Bin, ...]
    crowding: tuple[Bin, ...]


def breakdown(
    outcomes: Outcomes,
    truth: Sequence[Sample],
    detections: Sequence[Detections],
    threshold: float | Sequence[float],
) -> Breakdown:
    """Divide the objects into bins by each property, and measure every bin.

    Args:
        outcomes: outcomes of the detections.
        truth: annotated images.
        detections: results for the same images, in the same order.
        threshold: score threshold, or one per class; an object counts as found by a correct detection above
            it.
    """
    objects = outcomes.objects
    found = outcomes.above(threshold).found()
    boxes, detected = objects.boxes.astype(np.float64), outcomes.boxes.astype(np.float64)
    sizes = np.sqrt(area(boxes)), np.sqrt(area(detected))  # sides of squares of the same area
    sides = [(each[:, 2:] - each[:, :2]).clip(1e-6) for each in (boxes, detected)]
    shapes = sides[0][:, 0] / sides[0][:, 1], sides[1][:, 0] / sides[1][:, 1]  # width over height
    crowds = _crowding(outcomes, truth, detections)
    return Breakdown(
        coco_size=_bins(outcomes, *sizes, np.array(COCO_SIZES), found),
        size=_bins(outcomes, *sizes, even_edges(sizes[0][objects.counts]), found),
        shape=_bins(outcomes, *shapes, even_edges(shapes[0][objects.counts]), found),
        crowding=_bins(outcomes, *crowds, even_edges(crowds[0][objects.counts]), found),
    )


def even_edges(values: NDArray[np.float64], bins: int = BINS, fewest: int = FEWEST) -> NDArray[np.float64]:
    """Return the least value of every bin but the first, (K-1,), for bins with about equally many values.

    Equal values stay together. There are at most `bins` bins, and fewer if one would hold less than `fewest`
    values.
    """
    distinct, first = np.unique(np.sort(values), return_index=True)
    wanted = len(values) * np.arange(1, bins) / bins  # number of values below each edge
    nearest = np.abs(first[:, None] - wanted).argmin(axis=0) if len(values) else np.zeros(0, np.int64)
    edges, below = [], 0
    for i in np.unique(nearest):
        if min(first[i] - below, len(values) - first[i]) >= fewest:
            edges.append(distinct[i])
            below = first[i]
    return np.array(edges)


def _bins(
    outcomes: Outcomes,
    of_objects: NDArray[np.float64],
    of_detections: NDArray[np.float64],
    edges: NDArray[np.float64],
    found: NDArray[np.bool_],
) -> tuple[Bin, ...]:
    """Compute AP50 and recall of each bin.

    Args:
        outcomes: outcomes of the detections.
        of_objects: (G,) property of each object.
        of_detections: (D,) property of each detection's box.
        edges: (K-1,) smallest value of every bin but the first.
        found: (G,) objects with a correct detection above the threshold.
    """
    objects = outcomes.objects
    correct = outcomes.has(Outcome.CORRECT)
    bin_of = np.digitize(of_objects, edges)
    own_bin = np.digitize(of_detections, edges)
    own_bin[correct] = bin_of[outcomes.object[correct]]
    own_bin[outcomes.has(Outcome.IGNORED)] = -1
    bins = []
    for k in range(len(edges) + 1):
        annotated, detected = objects.counts & (bin_of == k), own_bin == k
        counts = np.bincount(objects.labels[annotated], minlength=outcomes.classes)
        ap = class_average_precisions(
            outcomes.scores[detected], outcomes.labels[detected], correct[detected], counts
        )
        bins.append(Bin.of(of_objects[annotated], ap[counts > 0], found[annotated]))
    return tuple(bins)


def _crowding(
    outcomes: Outcomes, truth: Sequence[Sample], detections: Sequence[Detections]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Count the neighbors of each object, (G,), and of each detection, (D,).

    An object is not a neighbor of itself, nor of the detection on it.
    """
    of_objects, of_detections = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for sample, found in zip(truth, detections, strict=True):
        boxes = sample.boxes[~sample.crowd]
        of_objects.append(count_overlaps(_grown(sample.boxes), boxes) - ~sample.crowd)
        of_detections.append(count_overlaps(_grown(found.boxes), boxes))
    on_object = ~outcomes.has(Outcome.BACKGROUND, Outcome.IGNORED)
    near_detections = np.concatenate(of_detections, dtype=np.float64)
    near_detections -= on_object
    return np.concatenate(of_objects, dtype=np.float64), near_detections


def _grown(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Enlarge (N, 4) boxes to twice their width and height, around the same centers."""
    half = (boxes[:, 2:] - boxes[:, :2]) / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, 2:] + half], axis=1)
