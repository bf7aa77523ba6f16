"""Counts of objects per image compared with the annotations, and the score thresholds to count at.

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

USUAL_THRESHOLD = 0.25  # where no threshold is best because nothing is right
Source = Literal["model", "these images"]


@dataclass(frozen=True, slots=True)
class CountingError:
    """Difference between counted and annotated objects, of one class or of all together.

    Attributes:
        annotated: number of annotated objects.
        counted: number of detections above the threshold.
        mae: mean over the images of the absolute difference; NaN without images.
        bias: mean over the images of counted minus annotated; positive means too many.
        relative: counted minus annotated, as a share of annotated; NaN without objects.
    """

    annotated: int
    counted: int
    mae: float
    bias: float
    relative: float


@dataclass(frozen=True, slots=True, eq=False)
class Counting:
    """Objects annotated and counted in each image.

    Difficult objects and crowds are not counted, nor are the detections on them.

    Attributes:
        names: class names.
        thresholds: score threshold of each class.
        source: origin of the thresholds. If they were chosen on the measured images, `thresholds` has the
            ones chosen on all of them, while each half was counted at those chosen on the other half.
        images: name of each image.
        annotated: (I, C) int64 annotated objects.
        counted: (I, C) int64 detections above the threshold.
    """

    names: tuple[str, ...]
    thresholds: tuple[float, ...]
    source: Source
    images: tuple[str, ...]
    annotated: NDArray[np.int64]
    counted: NDArray[np.int64]

    def of(self, label: int | None = None) -> CountingError:
        """Return the error of one class; None for the objects of all classes together."""
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
        """Return the counts of each image by class name, without zeros."""
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
    """Count the detections above the threshold of their class, image by image.

    Args:
        matches: detections that count, and the number of objects by image.
        names: class names.
        images: name of each image.
        thresholds: score threshold of each class; None: every second image is counted at the thresholds
            chosen on the others, and these at the thresholds chosen on the first.
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
    """Return the score threshold of each class at which as many objects are counted as are annotated.

    At these, false detections and missed objects balance: precision equals recall. Counts on other images are
    better than at the highest F1, and F1 is hardly lower (benchmarks/counting.md). A class of which too few
    objects are detected has the threshold of its highest F1; one without right detections, that of all
    classes together, else `USUAL_THRESHOLD`.
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
