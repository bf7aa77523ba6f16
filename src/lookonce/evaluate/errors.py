"""Classify errors into TIDE's six types: five of false detections, and missed objects.

Definitions and thresholds are from Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection
Errors" (2020), section 2.2. The type of a false detection depends on its IoU with the objects of its image:

```
                      objects of its own class
 objects of           below 0.1        0.1 to 0.5       0.5 and above
 other   below 0.1    background       localization     duplicate
 classes 0.1 to 0.5   both             localization     duplicate
         from 0.5     classification   localization     classification
```

The paper's definitions overlap. If two apply, the one that its authors' program tests first is used, so that
numbers are comparable. An object is **missed** if it has no correct detection and no classification or
localization error refers to it.

Correct detections follow COCO's rule: by descending score, each detection takes, of the free objects of its
class, the one that it overlaps most. AP here is thus COCO's AP50, but of all detections, not of the best 100
per class and image. A detection on a difficult object or in a crowd is ignored, as in `matching`.

Legend: **D** detections, **G** objects, **C** classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from lookonce.detections import Detections
from lookonce.evaluate.inputs import comparable
from lookonce.evaluate.matching import IOU, in_crowd, overlapping_objects, take_most_overlapping
from lookonce.samples import Sample

FOREGROUND = IOU  # the paper's t_f: IoU from which a box is correct
BACKGROUND = 0.1  # the paper's t_b: IoU below which a box and an object are unrelated


class Outcome(IntEnum):
    """Outcome of a detection or, in the case of `MISSED`, of an object."""

    CORRECT = 0
    CLASSIFICATION = 1
    LOCALIZATION = 2
    BOTH = 3
    DUPLICATE = 4
    BACKGROUND = 5
    MISSED = 6
    IGNORED = 7

    @property
    def text(self) -> str:
        """Return the name used in messages and JSON."""
        return self.name.lower()


FALSE = tuple(Outcome(i) for i in range(1, 6))  # types of false detections
ERRORS = (*FALSE, Outcome.MISSED)
REPAIRABLE = (
    Outcome.CLASSIFICATION,
    Outcome.LOCALIZATION,
)  # detections that refer to an object and would be correct with its class or box


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """Annotated objects of all images.

    Attributes:
        image: (G,) int64 index of the image.
        boxes: (G, 4) float32 xyxy, pixels of the image.
        labels: (G,) int64 class numbers.
        counts: (G,) bool, whether the object counts, which difficult objects and crowds do not.
    """

    image: NDArray[np.int64]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    counts: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """Detections of all images, in the order of the images, with their outcomes.

    Attributes:
        objects: annotated objects.
        classes: number of classes.
        image: (D,) int64 index of the image.
        boxes: (D, 4) float32 xyxy, pixels of the image.
        scores: (D,) float32 scores.
        labels: (D,) int64 class numbers.
        outcome: (D,) int8 values of `Outcome`.
        object: (D,) int64 index of the object that a detection matches or refers to; -1 for none.
    """

    objects: Objects
    classes: int
    image: NDArray[np.int64]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    outcome: NDArray[np.int8]
    object: NDArray[np.int64]

    def are_above(self, threshold: float | Sequence[float]) -> NDArray[np.bool_]:
        """Return a mask, (D,), of the detections above a score threshold, or above that of their class."""
        of_class = np.broadcast_to(np.asarray(threshold, np.float32), self.classes)  # the dtype of scores
        above: NDArray[np.bool_] = self.scores > of_class[self.labels]
        return above

    def above(self, threshold: float | Sequence[float]) -> "Outcomes":
        """Keep the detections above a threshold; removing the others does not change their outcomes."""
        keep = self.are_above(threshold)
        arrays = ("image", "boxes", "scores", "labels", "outcome", "object")
        return replace(self, **{name: getattr(self, name)[keep] for name in arrays})

    def has(self, *outcomes: Outcome) -> NDArray[np.bool_]:
        """Return a mask, (D,), of the detections with one of these outcomes."""
        return np.isin(self.outcome, outcomes)

    def per_image(self, outcome: Outcome, images: int) -> NDArray[np.int64]:
        """Count the detections with an outcome, or the missed objects, per image: (images,)."""
        is_missed = outcome == Outcome.MISSED
        shown_in = self.objects.image[self.missed()] if is_missed else self.image[self.has(outcome)]
        return np.bincount(shown_in, minlength=images)

    def found(self) -> NDArray[np.bool_]:
        """Return a mask, (G,), of the objects with a correct detection."""
        return self._with_detection(Outcome.CORRECT)

    def missed(self) -> NDArray[np.bool_]:
        """Return a mask, (G,), of the objects that count, without a correct or repairable detection."""
        return self.objects.counts & ~self._with_detection(Outcome.CORRECT, *REPAIRABLE)

    def count(self, outcome: Outcome) -> int:
        """Count the detections with an outcome, or the missed objects."""
        return int((self.missed() if outcome == Outcome.MISSED else self.has(outcome)).sum())

    def _with_detection(self, *outcomes: Outcome) -> NDArray[np.bool_]:
        held = np.zeros(len(self.objects), bool)
        held[self.object[self.has(*outcomes)]] = True
        return held


def find_outcomes(
    truth: Sequence[Sample], detections: Sequence[Detections], names: Sequence[str]
) -> Outcomes:
    """Find the outcome of every detection.

    Args:
        truth: annotated images.
        detections: results for the same images, in the same order.
        names: class names that the labels of both index.

    Raises:
        ValueError: the results are not one per image, or a label is outside the names.
    """
    detections = comparable(truth, detections, names)
    first = np.cumsum([0, *(len(sample.labels) for sample in truth)])[:-1]
    outcomes = [outcomes_in_image(*pair) for pair in zip(truth, detections, strict=True)]
    numbers = np.arange(len(truth))
    return Outcomes(
        objects=Objects(
            image=np.repeat(numbers, [len(sample.labels) for sample in truth]),
            boxes=np.concatenate([np.zeros((0, 4), np.float32), *(sample.boxes for sample in truth)]),
            labels=np.concatenate([np.zeros(0, np.int64), *(sample.labels for sample in truth)]),
            counts=np.concatenate(
                [np.zeros(0, bool), *(~(sample.difficult | sample.crowd) for sample in truth)]
            ),
        ),
        classes=len(names),
        image=np.repeat(numbers, [len(found) for found in detections]),
        boxes=np.concatenate([np.zeros((0, 4), np.float32), *(found.boxes for found in detections)]),
        scores=np.concatenate([np.zeros(0, np.float32), *(found.scores for found in detections)]),
        labels=np.concatenate([np.zeros(0, np.int64), *(found.labels for found in detections)]),
        outcome=np.concatenate([np.zeros(0, np.int8), *(outcome for outcome, _ in outcomes)]),
        object=np.concatenate(
            [
                np.zeros(0, np.int64),
                *(
                    np.where(own < 0, -1, own + start)
                    for (_, own), start in zip(outcomes, first, strict=True)
                ),
            ]
        ),
    )


def outcomes_in_image(sample: Sample, detections: Detections) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Return the outcome of each detection in one image, and the index of its object, both (D,)."""
    pairs = overlapping_objects(sample, detections, BACKGROUND)
    same = detections.labels[pairs.first] == sample.labels[pairs.second]
    own, other = pairs.only(same).best(), pairs.only(~same).best()
    own_iou, other_iou = np.zeros(len(detections)), np.zeros(len(detections))
    own_iou[own.first], other_iou[other.first] = own.iou, other.iou
    partner = take_most_overlapping(sample, pairs.only(same & (pairs.iou >= FOREGROUND)), detections.scores)
    outcome = np.select(
        [
            (partner >= 0) & np.append(sample.difficult, False)[partner],
            partner >= 0,
            in_crowd(sample, detections, FOREGROUND),
            (own_iou >= BACKGROUND) & (own_iou < FOREGROUND),
            other_iou >= FOREGROUND,
            own_iou >= FOREGROUND,
            other_iou >= BACKGROUND,
        ],
        [
            Outcome.IGNORED,
            Outcome.CORRECT,
            Outcome.IGNORED,
            Outcome.LOCALIZATION,
            Outcome.CLASSIFICATION,
            Outcome.DUPLICATE,
            Outcome.BOTH,
        ],
        Outcome.BACKGROUND,
    ).astype(np.int8)
    for nearest, kinds in (
        (own, (Outcome.LOCALIZATION, Outcome.DUPLICATE)),
        (other, (Outcome.CLASSIFICATION,)),
    ):
        of_kind = np.isin(outcome[nearest.first], kinds)
        partner[nearest.first[of_kind]] = nearest.second[of_kind]
    return outcome, partner
