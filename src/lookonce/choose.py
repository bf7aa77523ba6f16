"""Choose the images most worth labeling next, and the false alarms most worth learning from.

An image is worth labeling if the model is uncertain about it, and if it differs from images that are already
labeled. The uncertainty, called doubt, is computed from scores s and score thresholds t:

```
doubt of a detection   = s/t below the threshold, (1-s)/(1-t) above it, 1 at the threshold
weight of a class      = 1 / sqrt(number of its detections in all images), so that rare classes count more
doubt of an image      = sum of doubt x weight over its detections
```

The distance between two images is 1 minus the cosine between their features, centered and scaled over all
images. Features are the means of the feature maps that enter the network's heads. Images are chosen one by
one: the next is always the one with the largest doubt x distance to the nearest image that is labeled or
chosen (greedy k-center, weighted by doubt).

Near-duplicates are left out. Appearance alone does not identify them, because all frames of a fixed camera
are similar. So two images only count as near-duplicates if the same objects are detected in the same places,
and two false alarms only if the detected parts of the images are similar.

Legend: **N** images, **F** features, **D** detections.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookonce.detections import Detections
from lookonce.doctor.duplicates import SAME_BOX, SIMILAR, alike, correlations
from lookonce.doctor.images import thumbnail
from lookonce.geometry.pairs import overlapping_pairs
from lookonce.runtime.detector import Detector
from lookonce.runtime.pipeline import Parallel, each_image
from lookonce.samples import Problem
from lookonce.values import measure_values

LOW = 0.05  # highest score threshold to detect with, because unlikely detections add to the doubt
FLOOR = 0.1  # share of the mean doubt added to each image, as one without detections may have unknown objects
CLEAR = 0.5  # share of the score threshold from which a detection must be in both of two near-duplicates
SAME_CROP = 0.7  # correlation of crops of one object; at least 0.79 between a photo and a brighter copy


@dataclass(frozen=True, slots=True)
class Looked:
    """An image with the model's detections and features.

    Attributes:
        path: image file.
        detections: detections above the score threshold.
        features: (F,) float32 features of the image; empty if crops are kept instead.
        thumbnail: (32, 32) uint8 gray thumbnail, to recognize near-duplicates.
        crops: (D, 32, 32) uint8 gray thumbnail of each detection; empty if features are kept instead.
    """

    path: Path
    detections: Detections
    features: NDArray[np.float32]
    thumbnail: NDArray[np.uint8]
    crops: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Chosen:
    """An image worth labeling.

    Attributes:
        path: image file.
        doubt: doubt of the image, relative to the mean over all images.
        distance: distance to the nearest image labeled or chosen before, 0 to 2; 1 if there is none.
    """

    path: Path
    doubt: float
    distance: float


def look_at(
    detector: Detector,
    paths: Sequence[Path],
    skipped: list[Problem],
    *,
    conf: float | None = None,
    features: bool = True,
    parallel: Parallel | None = None,
    done: Callable[[], None] = lambda: None,
) -> list[Looked]:
    """Detect on images and keep the data for the choice, 1 KB per image plus 4 bytes per feature.

    Args:
        detector: open detector.
        paths: image files.
        skipped: list to which a problem is added for each image that cannot be read.
        conf: score threshold; None for the detector's own.
        features: whether to keep features; else crops are kept.
        parallel: number of workers; None for one.
        done: function called after each image.

    Returns:
        Images that could be read, in the order of `paths`.
    """

    def work(
        image: NDArray[np.uint8],
    ) -> tuple[Detections, NDArray[np.float32], NDArray[np.uint8], NDArray[np.uint8]]:
        if features:
            found, kept = detector.with_features(image, conf=conf)
            return found, kept, thumbnail(image), np.zeros((0, 32, 32), np.uint8)
        found = detector(image, conf=conf)
        return found, np.zeros(0, np.float32), thumbnail(image), _crops(image, found.boxes)

    values, _ = measure_values(paths, detector.info.values)
    with closing(each_image(paths, work, skipped, parallel or Parallel(1, 1), values=values)) as results:
        looked = []
        for number, result in results:
            looked.append(Looked(paths[number], *result))
            done()
    return looked


def doubts(found: Sequence[Detections], thresholds: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the doubt of each image, (N,), divided by the mean over all images.

    Args:
        found: detections of each image, down to scores far below the thresholds.
        thresholds: (C,) score threshold of each class, or (1,) of all classes.
    """
    labels = np.concatenate([np.zeros(0, np.int64), *(each.labels for each in found)])
    scores = np.concatenate([np.zeros(0), *(each.scores for each in found)])
    image = np.repeat(np.arange(len(found)), [len(each) for each in found])
    edge = np.clip(thresholds.take(labels, mode="clip"), 1e-3, 1 - 1e-3)  # clip: there may be only one
    unsure = np.where(scores < edge, scores / edge, (1 - scores) / (1 - edge))
    weight = 1 / np.sqrt(np.maximum(np.bincount(labels, minlength=1), 1))
    total = np.bincount(image, unsure * weight[labels], minlength=len(found)).astype(np.float64)
    return total / max(float(total.mean()), 1e-12) if len(found) else total


def choose(
    looked: Sequence[Looked], count: int, thresholds: NDArray[np.floating], labeled: Sequence[bool] = ()
) -> list[Chosen]:
    """Choose the images most worth labeling, best first, and only one of several near-duplicates.

    Args:
        looked: N images with features, and with detections down to scores far below the thresholds.
        count: number of images to choose; fewer are chosen if the others are near-duplicates.
        thresholds: (C,) score threshold of each class, or (1,) of all classes.
        labeled: (N,) bool, whether each image is already labeled; such images and their near-duplicates are
            not chosen. Empty if none is labeled.
    """
    done = np.array(labeled, bool) if len(labeled) else np.zeros(len(looked), bool)
    if not len(looked):
        return []
    worth = doubts([each.detections for each in looked], thresholds)
    points = np.stack([each.features for each in looked]).astype(np.float32)
    points -= points.mean(axis=0)
    points /= np.maximum(points.std(axis=0), 1e-6)
    points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-6)
    duplicates = _Duplicates(looked, thresholds)
    free = ~done
    distance = np.ones(len(looked))  # equal for all as long as no image is labeled or chosen

    def settle(number: int, *, first: bool) -> None:
        nonlocal distance
        to_it = np.clip(1 - points @ points[number], 0, 2)
        distance = to_it if first else np.minimum(distance, to_it)
        free[[number, *duplicates.of(number)]] = False

    for place, number in enumerate(np.flatnonzero(done).tolist()):
        settle(number, first=place == 0)
    chosen: list[Chosen] = []
    while len(chosen) < count and free.any():
        number = int(np.where(free, (worth + FLOOR) * distance, -1).argmax())
        chosen.append(Chosen(looked[number].path, float(worth[number]), float(distance[number])))
        settle(number, first=not done.any() and len(chosen) == 1)
    return chosen


def false_alarms(looked: Sequence[Looked], count: int) -> list[Looked]:
    """Return the images with the highest scores of false alarms, highest first, without near-duplicates.

    Args:
        looked: images without objects, with detections and crops.
        count: largest number of images to return.
    """
    chosen: list[Looked] = []
    alarmed = [image for image in looked if len(image.detections)]
    for image in sorted(alarmed, key=lambda image: -float(image.detections.scores.max())):
        if len(chosen) == count:
            break
        known = np.zeros(len(image.detections), bool)
        for earlier in chosen:
            likeness = correlations(image.crops, earlier.crops)
            known |= (likeness >= SIMILAR).any(axis=1)
            same_view = correlations(image.thumbnail[None], earlier.thumbnail[None]) >= SIMILAR
            if same_view:  # the boxes may have moved
                pairs = overlapping_pairs(image.detections.boxes, earlier.detections.boxes, SAME_BOX)
                known[pairs.first[likeness[pairs.first, pairs.second] >= SAME_CROP]] = True
        if not known.all():
            chosen.append(image)
    return chosen


class _Duplicates:
    """Finds images of the same view with the same objects in the same places."""

    def __init__(self, looked: Sequence[Looked], thresholds: NDArray[np.floating]) -> None:
        found = [each.detections for each in looked]
        _, self._similar = alike(np.stack([each.thumbnail for each in looked]))
        self._image = np.repeat(np.arange(len(found)), [len(each) for each in found])
        self._boxes = np.concatenate([each.boxes for each in found])
        self._labels = np.concatenate([each.labels for each in found])
        scores = np.concatenate([each.scores for each in found])
        self._clear = scores >= CLEAR * thresholds.take(self._labels, mode="clip")

    def of(self, number: int) -> NDArray[np.int64]:
        """Return the indices of an image's near-duplicates, with which it shares all clear detections."""
        near = self._similar.root == self._similar.root[number]
        own = np.flatnonzero(self._image == number)
        others = np.flatnonzero(near[self._image])
        pairs = overlapping_pairs(self._boxes[own], self._boxes[others], SAME_BOX)
        own, others = own[pairs.first], others[pairs.second]
        same = self._labels[own] == self._labels[others]
        own, others = own[same], others[same]
        lacking = self._clear & near[self._image]
        lacking[others] = False
        missing = np.bincount(self._image[lacking], minlength=len(near))
        own, held_by = np.unique(np.stack([own, self._image[others]]), axis=1)
        held = np.bincount(held_by[self._clear[own]], minlength=len(near))
        wanted = int(self._clear[self._image == number].sum())
        return np.flatnonzero(near & (missing == 0) & (held == wanted))


def _crops(image: NDArray[np.uint8], boxes: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return a thumbnail of each box, (D, 32, 32) uint8 gray; an empty box is extended to one pixel."""
    height, width = image.shape[:2]
    crops = np.zeros((len(boxes), 32, 32), np.uint8)
    for crop, (left, top, right, bottom) in zip(crops, boxes.round().astype(int).tolist(), strict=True):
        x, y = min(max(left, 0), width - 1), min(max(top, 0), height - 1)
        crop[:] = thumbnail(image[y : max(bottom, y + 1), x : max(right, x + 1)])
    return crops
