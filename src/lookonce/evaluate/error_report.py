"""Report the errors on a set of images: types and costs by class, breakdown by object, and calibration."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lookonce.detections import Detections
from lookonce.evaluate.breakdown import Breakdown, breakdown
from lookonce.evaluate.calibration import Calibration, calibration
from lookonce.evaluate.coco import without_nan
from lookonce.evaluate.curves import OperatingPoint
from lookonce.evaluate.errors import BACKGROUND, ERRORS, FALSE, FOREGROUND, Outcome, Outcomes, find_outcomes
from lookonce.evaluate.inputs import comparable
from lookonce.evaluate.oracles import Costs, costs
from lookonce.evaluate.report import Evaluation
from lookonce.evaluate.worst import ImageErrors, worst_images
from lookonce.samples import Sample

GALLERY = 12  # number of worst images


@dataclass(frozen=True, slots=True)
class TypeOfError:
    """One type of error, in all classes or in one class.

    Attributes:
        cost: AP50 gained by repairing this type alone; NaN without objects.
        count: number of errors of this type.
        cost_in_use: cost among the detections above the report's thresholds.
        in_use: number of errors among these detections.
    """

    cost: float
    count: int
    cost_in_use: float
    in_use: int

    @classmethod
    def of(
        cls,
        cost: NDArray[np.float64],
        count: NDArray[np.int64],
        cost_in_use: NDArray[np.float64],
        in_use: NDArray[np.int64],
    ) -> Self:
        """Combine the numbers of some classes, (C,) each: average the costs and add the counts."""
        return cls(_mean(cost), int(count.sum()), _mean(cost_in_use), int(in_use.sum()))


@dataclass(frozen=True, slots=True)
class ClassErrors:
    """Errors of one class: false detections of this class, and missed objects of this class.

    Attributes:
        name: class name.
        objects: number of objects that count.
        ap50: AP50 of all detections; NaN without objects.
        best: operating point with the best F1.
        types: errors by type.
    """

    name: str
    objects: int
    ap50: float
    best: OperatingPoint
    types: dict[Outcome, TypeOfError]


@dataclass(frozen=True, slots=True, eq=False)
class ErrorReport:
    """Errors on one set of images.

    Attributes:
        images: number of images.
        objects: number of objects that count: neither difficult nor crowd.
        detections: number of detections.
        ap50: AP50 of all detections, not only the best 100 per class and image; mean over the classes with
            objects.
        thresholds: score threshold of each class, as for the counts; detections above it are "in use".
        best: operating point with the best F1, with one threshold for all classes.
        ap50_in_use: AP50 of the detections in use.
        types: errors of all classes by type; costs are means over the classes with objects.
        false_positives: number and cost of all false detections.
        false_negatives: number and cost of all objects without a correct detection.
        classes: errors of each class, in the order of the names.
        breakdown: AP and recall by size, shape and crowding.
        calibration: agreement of the scores with the share of correct detections.
        worst: images with the most errors in use, worst first.
        in_use: outcomes of the detections in use.
    """

    images: int
    objects: int
    detections: int
    ap50: float
    thresholds: tuple[float, ...]
    best: OperatingPoint
    ap50_in_use: float
    types: dict[Outcome, TypeOfError]
    false_positives: TypeOfError
    false_negatives: TypeOfError
    classes: tuple[ClassErrors, ...]
    breakdown: Breakdown
    calibration: Calibration
    worst: tuple[ImageErrors, ...]
    in_use: Outcomes

    def to_dict(self, images: Sequence[str]) -> dict[str, Any]:
        """Return the numbers for JSON, with None in place of NaN.

        Args:
            images: name of each image.
        """
        numbers = {
            "images": self.images,
            "objects": self.objects,
            "detections": self.detections,
            "ap50": self.ap50,
            "best_f1": asdict(self.best),
            "thresholds_in_use": list(self.thresholds),
            "ap50_in_use": self.ap50_in_use,
            "overlap": {"correct": FOREGROUND, "background": BACKGROUND},
            "types": {error.text: asdict(each) for error, each in self.types.items()},
            "false_positives": asdict(self.false_positives),
            "false_negatives": asdict(self.false_negatives),
            "classes": [
                {
                    "name": each.name,
                    "objects": each.objects,
                    "ap50": each.ap50,
                    "best_f1": asdict(each.best),
                    "types": {error.text: asdict(found) for error, found in each.types.items()},
                }
                for each in self.classes
            ],
            **{f"by_{name}": bins for name, bins in asdict(self.breakdown).items()},
            "calibration": asdict(self.calibration),
            "worst": [
                {
                    "image": images[each.image],
                    "errors": {error.text: count for error, count in each.errors.items()},
                }
                for each in self.worst
            ],
        }
        result: dict[str, Any] = without_nan(numbers)
        return result


def error_report(
    truth: Sequence[Sample], detections: Sequence[Detections], evaluation: Evaluation
) -> ErrorReport:
    """Analyze the errors of detections.

    Args:
        truth: annotated images.
        detections: results for the same images, in the same order.
        evaluation: metrics of these detections, which give names, thresholds and curves.

    Raises:
        ValueError: the results are not one per image, or a label is outside the names.
    """
    detections = comparable(truth, detections, evaluation.names)
    outcomes = find_outcomes(truth, detections, evaluation.names)
    thresholds = evaluation.counting.thresholds
    in_use = outcomes.above(thresholds)
    every, used = _Errors.of(outcomes), _Errors.of(in_use)
    return ErrorReport(
        images=len(truth),
        objects=int(outcomes.objects.counts.sum()),
        detections=len(outcomes.scores),
        ap50=_mean(every.costs.ap50),
        thresholds=thresholds,
        best=evaluation.curves.overall.best(),
        ap50_in_use=_mean(used.costs.ap50),
        types={
            error: TypeOfError.of(
                every.costs.of[error], every.counts[error], used.costs.of[error], used.counts[error]
            )
            for error in ERRORS
        },
        false_positives=TypeOfError.of(
            every.costs.false_positives, every.false, used.costs.false_positives, used.false
        ),
        false_negatives=TypeOfError.of(
            every.costs.false_negatives, every.unfound, used.costs.false_negatives, used.unfound
        ),
        classes=_classes(evaluation, every, used),
        breakdown=breakdown(outcomes, truth, detections, thresholds),
        calibration=calibration(outcomes, thresholds),
        worst=worst_images(in_use, len(truth), GALLERY),
        in_use=in_use,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Errors:
    """Errors of some detections.

    Attributes:
        costs: cost of each type.
        counts: (C,) number of errors, by type.
        false: (C,) number of false detections.
        unfound: (C,) number of objects without a correct detection.
    """

    costs: Costs
    counts: dict[Outcome, NDArray[np.int64]]
    false: NDArray[np.int64]
    unfound: NDArray[np.int64]

    @classmethod
    def of(cls, outcomes: Outcomes) -> "_Errors":
        def objects(which: NDArray[np.bool_]) -> NDArray[np.int64]:
            return np.bincount(outcomes.objects.labels[which], minlength=outcomes.classes)

        counts = {
            error: np.bincount(outcomes.labels[outcomes.has(error)], minlength=outcomes.classes)
            for error in FALSE
        }
        return cls(
            costs=costs(outcomes),
            counts=counts | {Outcome.MISSED: objects(outcomes.missed())},
            false=np.sum(list(counts.values()), axis=0),
            unfound=objects(outcomes.objects.counts & ~outcomes.found()),
        )


def _classes(evaluation: Evaluation, every: _Errors, used: _Errors) -> tuple[ClassErrors, ...]:
    return tuple(
        ClassErrors(
            name=name,
            objects=curve.objects,
            ap50=float(every.costs.ap50[c]),
            best=curve.best(),
            types={
                error: TypeOfError.of(
                    every.costs.of[error][[c]],
                    every.counts[error][[c]],
                    used.costs.of[error][[c]],
                    used.counts[error][[c]],
                )
                for error in ERRORS
            },
        )
        for c, (name, curve) in enumerate(zip(evaluation.names, evaluation.curves.classes, strict=True))
    )


def _mean(values: NDArray[np.float64]) -> float:
    """Average over the classes with objects, which are not NaN; NaN if there are none."""
    measured = values[~np.isnan(values)]
    return float(measured.mean()) if len(measured) else math.nan
