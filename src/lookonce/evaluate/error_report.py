"""One set of images, its errors: types and what they cost, where they happen, how sure the model was."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookonce._files import encodable, write_text
from lookonce.detections import Detections
from lookonce.evaluate.breakdown import Breakdown, breakdown
from lookonce.evaluate.calibration import Calibration, calibration
from lookonce.evaluate.coco import without_nan
from lookonce.evaluate.curves import OperatingPoint
from lookonce.evaluate.errors import BACKGROUND, ERRORS, FALSE, FOREGROUND, Outcome, Outcomes, find_outcomes
from lookonce.evaluate.oracles import Costs, costs
from lookonce.evaluate.report import Evaluation
from lookonce.evaluate.worst import ImageErrors, worst_images
from lookonce.samples import Sample

GALLERY = 24  # images


@dataclass(frozen=True, slots=True)
class TypeOfError:
    """One type, over all classes or in one of them.

    Attributes:
        cost: AP50 gained by repairing it alone; NaN without objects.
        count: how many errors.
        cost_in_use: AP50 gained where only the detections above the report's threshold are used.
        in_use: how many errors then.
    """

    cost: float
    count: int
    cost_in_use: float
    in_use: int


@dataclass(frozen=True, slots=True)
class ClassErrors:
    """One class. A false detection counts for the class it claims, a missed object for its own.

    Attributes:
        name: of the class.
        objects: that count.
        ap50: with every detection counted; NaN without objects.
        best: the threshold with the best F1, and what it gives.
        types: the errors.
    """

    name: str
    objects: int
    ap50: float
    best: OperatingPoint
    types: dict[Outcome, TypeOfError]


@dataclass(frozen=True, slots=True, eq=False)
class ErrorReport:
    """Everything known about the errors on one set of images.

    Attributes:
        images: how many.
        objects: that count: neither difficult nor crowd.
        detections: how many.
        ap50: mean over the classes with objects; all detections count, not the best 100 in an image.
        threshold: detections above it are "in use": the one with the best F1 over all classes.
        best: what that threshold gives.
        ap50_in_use: AP50 with the detections in use alone.
        types: the errors of all classes; a cost is the mean over the classes with objects.
        false_positives: all false detections together.
        false_negatives: all objects without a right detection.
        classes: one for each name, in the order of the names.
        breakdown: AP and recall by size, shape and crowding.
        calibration: scores against the share right.
        worst: images with the most errors in use, the worst first.
        in_use: what became of the detections above the threshold: to draw them.
    """

    images: int
    objects: int
    detections: int
    ap50: float
    threshold: float
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
        """For JSON: None where there was nothing to measure.

        Args:
            images: how to name each image.
        """
        numbers = {
            "images": self.images,
            "objects": self.objects,
            "detections": self.detections,
            "ap50": self.ap50,
            "best_f1": asdict(self.best),
            "threshold_in_use": self.threshold,
            "ap50_in_use": self.ap50_in_use,
            "overlap": {"right": FOREGROUND, "background": BACKGROUND},
            "types": _types(self.types),
            "false_positives": asdict(self.false_positives),
            "false_negatives": asdict(self.false_negatives),
            "classes": [
                {
                    "name": each.name,
                    "objects": each.objects,
                    "ap50": each.ap50,
                    "best_f1": asdict(each.best),
                    "types": _types(each.types),
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
    """Look into the errors.

    Args:
        truth: annotated images.
        detections: of the same images, in the same order.
        evaluation: of both.
    """
    outcomes = find_outcomes(truth, detections, evaluation.names)
    threshold = evaluation.confusion.threshold
    in_use = outcomes.above(threshold)
    every, used = _Errors.of(outcomes), _Errors.of(in_use)
    return ErrorReport(
        images=len(truth),
        objects=int(outcomes.objects.counts.sum()),
        detections=len(outcomes.scores),
        ap50=_mean(every.costs.ap50),
        threshold=threshold,
        best=evaluation.curves.overall.best(),
        ap50_in_use=_mean(used.costs.ap50),
        types={
            error: _type(every.costs.of[error], every.counts[error], used.costs.of[error], used.counts[error])
            for error in ERRORS
        },
        false_positives=_type(
            every.costs.false_positives, every.false, used.costs.false_positives, used.false
        ),
        false_negatives=_type(
            every.costs.false_negatives, every.unfound, used.costs.false_negatives, used.unfound
        ),
        classes=_classes(evaluation, every, used),
        breakdown=breakdown(outcomes, truth, detections, threshold),
        calibration=calibration(outcomes, threshold),
        worst=worst_images(in_use, len(truth), GALLERY),
        in_use=in_use,
    )


def write_errors_json(path: Path, report: ErrorReport, images: Sequence[str], about: dict[str, Any]) -> None:
    """Write the numbers, whole or not at all.

    Args:
        path: of the file.
        report: what was found.
        images: how to name each image.
        about: what it was measured on; goes first.
    """
    numbers = {**about, **report.to_dict(images)}
    write_text(path, encodable(json.dumps(numbers, indent=2, ensure_ascii=False)) + "\n")


@dataclass(frozen=True, slots=True, eq=False)
class _Errors:
    """The errors of some detections.

    Attributes:
        costs: what they cost.
        counts: type -> (C,) how many.
        false: (C,) false detections.
        unfound: (C,) objects without a right detection.
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
                error: _type(
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


def _type(
    cost: NDArray[np.float64],
    count: NDArray[np.int64],
    cost_in_use: NDArray[np.float64],
    in_use: NDArray[np.int64],
) -> TypeOfError:
    """Over some classes, (C,) each."""
    return TypeOfError(_mean(cost), int(count.sum()), _mean(cost_in_use), int(in_use.sum()))


def _mean(values: NDArray[np.float64]) -> float:
    """Over the classes with objects; NaN where none has any."""
    measured = values[~np.isnan(values)]
    return float(measured.mean()) if len(measured) else math.nan


def _types(types: dict[Outcome, TypeOfError]) -> dict[str, dict[str, float]]:
    return {error.text: asdict(each) for error, each in types.items()}
