"""Cost of each type of error: the AP gained by repairing that type alone.

After Bolya et al., "TIDE" (2020), section 2.3. The oracle for each type:

- classification: the detection gets the class of its object. localization: it gets the box of its object.
  An object that had a right detection keeps that one, any other gets the one with the best score; the
  others go.
- both, duplicate, background: the detection goes.
- missed: the object need not be found.

And two that take errors together: every false detection goes; every object not found goes.

Costs do not add up to 1 - AP. Each is measured with all other errors left in place, and AP is not a sum over
errors: a false detection matters less if another one ranks above it, and another object found counts little
if its detection ranks low. All repaired together give an AP of 1.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookonce.evaluate.errors import ERRORS, REPAIRABLE, Outcome, Outcomes

RECALLS = np.linspace(0, 1, 101)  # COCO's levels


@dataclass(frozen=True, slots=True, eq=False)
class Costs:
    """AP50 of each class, and the cost of the errors; NaN for a class without objects.

    Attributes:
        ap50: (C,) AP50 of each class.
        of: type -> (C,) AP50 gained by repairing that type alone.
        false_positives: (C,) AP50 gained if no detection were false.
        false_negatives: (C,) AP50 gained if no object were left unfound.
    """

    ap50: NDArray[np.float64]
    of: dict[Outcome, NDArray[np.float64]]
    false_positives: NDArray[np.float64]
    false_negatives: NDArray[np.float64]


def costs(outcomes: Outcomes) -> Costs:
    """Repair each type of error alone."""
    ap = ap_repaired(outcomes, ())
    right = outcomes.has(Outcome.RIGHT)
    without_false = _average_precisions(outcomes, right, right, outcomes.labels, outcomes.objects.counts)
    counted = ~outcomes.has(Outcome.IGNORED)
    found = outcomes.objects.counts & outcomes.found()
    without_unfound = _average_precisions(outcomes, counted, right, outcomes.labels, found)
    return Costs(
        ap50=ap,
        of={error: ap_repaired(outcomes, (error,)) - ap for error in ERRORS},
        false_positives=without_false - ap,
        false_negatives=without_unfound - ap,
    )


def ap_repaired(outcomes: Outcomes, repaired: Collection[Outcome]) -> NDArray[np.float64]:
    """Compute the AP50 of each class, (C,), with all of these types of error repaired."""
    objects = outcomes.objects
    mended = outcomes.has(*(error for error in REPAIRABLE if error in repaired))
    stands = outcomes.has(Outcome.RIGHT) | (mended & np.append(objects.counts, False)[outcomes.object])
    # of each object: the right detection, else the one with the best score
    candidates = np.flatnonzero(stands)
    later = ~outcomes.has(Outcome.RIGHT)[candidates]
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
        correct: (D,) detections of one class by descending score.
        objects: how many there were to be found. With none, nothing can be found; AP is 1 where nothing is
            detected, else 0. This happens only where an oracle has taken all objects away.
    """
    if objects == 0:
        return float(len(correct) == 0)
    right = np.cumsum(correct)
    precision = right / np.arange(1, len(correct) + 1)
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0)
    return float(envelope[np.searchsorted(right / objects, RECALLS)].mean())


def class_average_precisions(
    scores: NDArray[np.float32],
    labels: NDArray[np.int64],
    correct: NDArray[np.bool_],
    objects: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Compute the `average_precision` of each class.

    Args:
        scores: (D,) of the detections that count.
        labels: (D,)
        correct: (D,)
        objects: (C,) how many of each class there were to be found.
    """
    order = np.lexsort((-scores, labels))
    ends = np.cumsum(np.bincount(labels, minlength=len(objects)))
    split = np.split(correct[order], ends[:-1])
    return np.array([average_precision(mine, int(n)) for mine, n in zip(split, objects, strict=True)])


def _average_precisions(
    outcomes: Outcomes,
    counted: NDArray[np.bool_],
    correct: NDArray[np.bool_],
    labels: NDArray[np.int64],
    to_find: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Compute the AP of each class that has annotated objects, else NaN: (C,).

    Args:
        outcomes: for the scores, and the objects of each class.
        counted: (D,) detections to rank.
        correct: (D,) of them, the right ones.
        labels: (D,) their classes.
        to_find: (G,) objects to find.
    """
    objects = outcomes.objects
    numbers = np.bincount(objects.labels[to_find], minlength=outcomes.classes)
    ap = class_average_precisions(outcomes.scores[counted], labels[counted], correct[counted], numbers)
    exists = np.bincount(objects.labels[objects.counts], minlength=outcomes.classes) > 0
    return np.where(exists, ap, np.nan)
