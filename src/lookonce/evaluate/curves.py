"""Compute precision, recall and F1 at every score threshold, and find the best threshold."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lookonce.evaluate.matching import Matches


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Precision and recall at one score threshold.

    Attributes:
        threshold: score above which detections are kept, halfway between the last kept and the first
            dropped score.
        precision: share of the kept detections that are correct.
        recall: share of the objects that are found.
        f1: harmonic mean of precision and recall.
    """

    threshold: float
    precision: float
    recall: float
    f1: float


NOWHERE = OperatingPoint(math.nan, math.nan, math.nan, math.nan)


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Precision and recall of one class, or of all classes, at D distinct scores in descending order.

    Attributes:
        objects: number of objects.
        scores: (D,) lowest score kept.
        precision: (D,) share of the kept detections that are correct.
        recall: (D,) share of the objects that are found; NaN without objects.
    """

    objects: int
    scores: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]

    @classmethod
    def of(cls, scores: NDArray[np.float32], correct: NDArray[np.bool_], objects: int) -> Self:
        """Compute a curve.

        Args:
            scores: descending scores of the detections.
            correct: whether each detection is correct.
            objects: number of objects.
        """
        hits = np.cumsum(correct)
        last = np.append(scores[1:] != scores[:-1], True)[: len(scores)]  # keep or drop equal scores together
        kept = np.arange(1, len(scores) + 1)[last]
        return cls(
            objects=objects,
            scores=scores[last].astype(np.float64),
            precision=hits[last] / kept,
            recall=hits[last] / (objects or math.nan),
        )

    @property
    def f1(self) -> NDArray[np.float64]:
        """Return the harmonic mean of precision and recall, (D,); 0 if both are 0."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / np.where(total == 0, 1, total)

    def best(self) -> OperatingPoint:
        """Return the point with the highest F1; `NOWHERE` without objects or detections."""
        if self.objects == 0 or len(self.scores) == 0:
            return NOWHERE
        return self.point(int(self.f1.argmax()))

    def at_precision(self, precision: float) -> OperatingPoint:
        """Return the point with the highest recall at `precision` or more; `NOWHERE` if there is none."""
        reached = np.flatnonzero(self.precision >= precision)
        if self.objects == 0 or len(reached) == 0:
            return NOWHERE
        return self.point(int(reached[-1]))  # recall never falls along the curve

    def point(self, i: int) -> OperatingPoint:
        """Return the point that keeps the scores up to index `i`."""
        dropped = self.scores[i + 1] if i + 1 < len(self.scores) else 0.0
        return OperatingPoint(
            threshold=float((self.scores[i] + dropped) / 2),
            precision=float(self.precision[i]),
            recall=float(self.recall[i]),
            f1=float(self.f1[i]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Curves of one evaluation.

    Attributes:
        overall: curve of all classes together, with equal weight for all detections and objects.
        classes: curve of each class.
    """

    overall: Curve
    classes: tuple[Curve, ...]


def curves(matches: Matches) -> Curves:
    """Compute the curves of matched detections."""
    return Curves(
        overall=Curve.of(matches.scores, matches.correct, int(matches.objects.sum())),
        classes=tuple(
            Curve.of(matches.scores[of_class], matches.correct[of_class], int(objects))
            for c, objects in enumerate(matches.objects)
            for of_class in [matches.labels == c]
        ),
    )
