"""Compute the cost of each type of error: the AP gained by repairing that type alone.

The types are repaired as in Bolya et al., "TIDE" (2020), section 2.3:

- classification, localization: the detection gets the class or the box of its object. An object with a
  correct detection keeps that one; any other object gets the repaired detection with the highest score. All
  other repaired detections are removed.
- both, duplicate, background: the detection is removed.
- missed: the object is removed.

Two more costs combine errors: removing all false detections, and removing all objects without a correct
detection.

Costs do not add up to 1 - AP, because each is measured with all other errors in place, and AP is not a sum
over errors: a false detection matters less if another one ranks above it, and one more found object matters
little if its detection ranks low. With all types repaired, AP is 1.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookonce.evaluate.errors import ERRORS, REPAIRABLE, Outcome, Outcomes

RECALLS = np.linspace(0, 1, 101)  # COCO's recall levels


@dataclass(frozen=True, slots=True, eq=False)
class Costs:
    """AP50 of each class, and costs of the errors; NaN for a class without objects.

    Attributes:
        ap50: (C,) AP50 of each class.
        of: (C,) AP50 gained by repairing a type alone, by type.
        false_positives: (C,) AP50 gained by removing all false detections.
        false_negatives: (C,) AP50 gained by removing all objects without a correct detection.
    """

    ap50: NDArray[np.float64]
    of: dict[Outcome, NDArray[np.float64]]
    false_positives: NDArray[np.float64]
    false_negatives: NDArray[np.float64]


def costs(outcomes: Outcomes) -> Costs:
    """Compute the cost of each type of error and of their combinations."""
    ap = ap_repaired(outcomes, ())
    correct = outcomes.has(Outcome.CORRECT)
    without_false = _average_precisions(outcomes, correct, correct, outcomes.labels, outcomes.objects.counts)
    counted = ~outcomes.has(Outcome.IGNORED)
    found = outcomes.objects.counts & outcomes.found()
    without_unfound = _average_precisions(outcomes, counted, correct, outcomes.labels, found)
    return Costs(
        ap50=ap,
        of={error: ap_repaired(outcomes, (error,)) - ap for error in ERRORS},
        false_positives=without_false - ap,
        false_negatives=without_unfound - ap,
    )


def ap_repaired(outcomes: Outcomes, repaired: Collection[Outcome]) -> NDArray[np.float64]:
    """Compute the AP50 of each class, (C,), with some types of error repaired."""
    objects = outcomes.objects
    mended = outcomes.has(*(error for error in REPAIRABLE if error in repaired))
    stands = outcomes.has(Outcome.CORRECT) | (mended & np.append(objects.counts, False)[outcomes.object])
    # each object keeps its correct detection or, without one, the repaired detection with the highest score
    candidates = np.flatnonzero(stands)
    later = ~outcomes.has(Outcome.CORRECT)[candidates]
    ranked = candidates[np.lexsort((-outcomes.scores[candidates], later))]
    correct = np.zeros(len(stands), bool)
    correct[ranked[np.unique(outcomes.object[ranked], return_index=True)[1]]] = True
    counted = correct | ~(stands | outcomes.has(Outcome.IGNORED, *repaired))
    labels = np.where(correct, np.append(objects.labels, -1)[outcomes.object], outcomes.labels)
    left = objects.counts & ~outcomes.missed() if Outcome.MISSED in repaired else objects.counts
    return _average_precisions(outcomes, counted, correct, labels, left)


def average_precision(correct: NDArray[np.bool_], objects: int) -> float:
    """Compute COCO's AP: the mean, over 101 levels of recall, of the best precision at that recall or more.

    Args:
        correct: (D,) bool, whether each detection of one class is correct, by descending score.
        objects: number of objects. If there are none, as after a repair, AP is 1 without detections, else 0.
    """
    if objects == 0:
        return float(len(correct) == 0)
    hits = np.cumsum(correct)
    precision = hits / np.arange(1, len(correct) + 1)
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0)
    return float(envelope[np.searchsorted(hits / objects, RECALLS)].mean())


def class_average_precisions(
    scores: NDArray[np.float32],
    labels: NDArray[np.int64],
    correct: NDArray[np.bool_],
    objects: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Compute the `average_precision` of each class, (C,).

    Args:
        scores: (D,) scores of the detections that count, in any order.
        labels: (D,) class numbers.
        correct: (D,) bool, whether each detection is correct.
        objects: (C,) number of objects of each class.
    """
    order = np.lexsort((-scores, labels))
    ends = np.cumsum(np.bincount(labels, minlength=len(objects)))
    split = np.split(correct[order], ends[:-1])
    return np.array([average_precision(of_class, int(n)) for of_class, n in zip(split, objects, strict=True)])


def _average_precisions(
    outcomes: Outcomes,
    counted: NDArray[np.bool_],
    correct: NDArray[np.bool_],
    labels: NDArray[np.int64],
    to_find: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Compute the AP of each class, (C,); NaN for a class without annotated objects.

    Args:
        outcomes: scores and objects.
        counted: (D,) mask of the detections to rank.
        correct: (D,) mask of the correct detections.
        labels: (D,) class number of each detection.
        to_find: (G,) mask of the objects to find.
    """
    objects = outcomes.objects
    numbers = np.bincount(objects.labels[to_find], minlength=outcomes.classes)
    ap = class_average_precisions(outcomes.scores[counted], labels[counted], correct[counted], numbers)
    exists = np.bincount(objects.labels[objects.counts], minlength=outcomes.classes) > 0
    return np.where(exists, ap, np.nan)
