"""Compare counts of objects per image with the annotations, and choose the score thresholds to count at.

Legend: **D** detections, **I** images, **C** classes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lookonce.evaluate.curves import curves
from lookonce.evaluate.matching import Matches

USUAL_THRESHOLD = 0.25  # score threshold if no detection is correct
Source = Literal["model", "these images"]


@dataclass(frozen=True, slots=True)
class CountingError:
    """Difference between counted and annotated objects of one class, or of all classes together.

    Attributes:
        annotated: number of annotated objects.
        counted: number of detections above the threshold.
        mae: absolute difference, averaged over the images; NaN without images.
        bias: counted minus annotated objects, averaged over the images; positive means too many.
        relative: counted minus annotated objects, as a share of the annotated ones; NaN without objects.
    """

    annotated: int
    counted: int
    mae: float
    bias: float
    relative: float


@dataclass(frozen=True, slots=True, eq=False)
class Counting:
    """Annotated and counted objects of each image.

    Difficult objects and crowds do not count, and neither do detections on them.

    Attributes:
        names: class names.
        thresholds: score threshold of each class.
        source: origin of the thresholds. For `these images`, `thresholds` were chosen on all images, but
            each half of the images was counted with thresholds chosen on the other half.
        images: name of each image.
        annotated: (I, C) int64 number of annotated objects.
        counted: (I, C) int64 number of detections above the threshold.
    """

    names: tuple[str, ...]
    thresholds: tuple[float, ...]
    source: Source
    images: tuple[str, ...]
    annotated: NDArray[np.int64]
    counted: NDArray[np.int64]

    def of(self, label: int | None = None) -> CountingError:
        """Return the counting error of one class, or of all classes together for None."""
        which = slice(None) if label is None else slice(label, label + 1)
        annotated, counted = self.annotated[:, which].sum(axis=1), self.counted[:, which].sum(axis=1)
        total, difference = int(annotated.sum()), counted - annotated
        return CountingError(
            annotated=total,
            counted=int(counted.sum()),
            mae=float(np.abs(difference).mean()) if len(difference) else math.nan,
            bias=float(difference.mean()) if len(difference) else math.nan,
            relative=float(difference.sum() / total) if total else math.nan,
        )

    def per_image(self) -> list[dict[str, Any]]:
        """Return the counts of each image by class name, for JSON; counts of 0 are left out."""
        return [
            {
                "image": image,
                "annotated": {self.names[c]: int(annotated[c]) for c in np.flatnonzero(annotated)},
                "counted": {self.names[c]: int(counted[c]) for c in np.flatnonzero(counted)},
            }
            for image, annotated, counted in zip(self.images, self.annotated, self.counted, strict=True)
        ]


def count(
    matches: Matches,
    names: Sequence[str],
    images: Sequence[str],
    thresholds: Sequence[float] | None = None,
) -> Counting:
    """Count the detections above the score threshold of their class in each image.

    Args:
        matches: detections that count, and the number of objects in each image.
        names: class names.
        images: name of each image.
        thresholds: score threshold of each class; None to count each half of the images with thresholds
            chosen on the other half.
    """
    half_of = np.arange(len(images)) % 2
    if thresholds is None:
        parts = [np.array(choose_thresholds(matches.only(half_of != half))) for half in (0, 1)]
    else:
        parts = [np.array(thresholds)] * 2
    used = matches.scores > np.stack(parts)[half_of[matches.image], matches.labels]
    counted = np.zeros_like(matches.annotated)
    np.add.at(counted, (matches.image[used], matches.labels[used]), 1)
    return Counting(
        names=tuple(names),
        thresholds=choose_thresholds(matches) if thresholds is None else tuple(thresholds),
        source="these images" if thresholds is None else "model",
        images=tuple(images),
        annotated=matches.annotated,
        counted=counted,
    )


def choose_thresholds(matches: Matches) -> tuple[float, ...]:
    """Choose the score threshold of each class at which as many objects are counted as are annotated.

    At these thresholds, false detections and missed objects balance: precision equals recall. Counts on other
    images are better than at the highest F1, and F1 is hardly lower (benchmarks/counting.md). A class with
    too few detections gets the threshold of its highest F1. A class without correct detections gets that of
    the highest F1 over all classes, or `USUAL_THRESHOLD` if no detection is correct.
    """
    drawn = curves(matches)
    overall = drawn.overall.best()
    usual = overall.threshold if overall.f1 > 0 else USUAL_THRESHOLD
    chosen = []
    for label, curve in enumerate(drawn.classes):
        best, scores = curve.best(), matches.scores[matches.labels == label]
        if not best.f1 > 0:
            chosen.append(usual)
        elif len(scores) > curve.objects:
            kept = np.searchsorted(-scores, -curve.scores, side="right")  # detections at each threshold
            chosen.append(curve.point(int(np.abs(kept - curve.objects).argmin())).threshold)
        else:
            chosen.append(best.threshold)
    return tuple(chosen)
