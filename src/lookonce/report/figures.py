"""Collect all numbers of the report in one tree of JSON values; the page shows no others.

report.json
    about      model, data, split, options of detection, date
    summary    the numbers of the first sentence, and the sentence
    metrics    as in metrics.json
    curves     precision over recall, and F1 over the score threshold
    errors     types of error and their cost, classes, bins, scores, worst images
    training   network, data, settings and epochs; null without a description in the model
    data       findings of `data check`; null if it was not run
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from lookonce.doctor.diagnose import Diagnosis
from lookonce.doctor.kinds import KINDS
from lookonce.doctor.page import severity_counts
from lookonce.eight_bits import Values
from lookonce.evaluate.coco import without_nan
from lookonce.evaluate.curves import Curve, Curves
from lookonce.evaluate.error_report import ErrorReport
from lookonce.evaluate.report import Evaluation
from lookonce.report.summary import summary

LEVELS = np.linspace(0, 1, 101)  # levels of recall, and of the score threshold
PLACES = 3  # number of places listed per kind of defect; `lookonce data check` lists all


@dataclass(frozen=True, slots=True)
class Subject:
    """The model and the data that an evaluation is about.

    Attributes:
        about: model, data and options.
        training: result of `report.training.training_record`.
        diagnosis: findings of `data check`.
        values: range of images of more than 8 bits, as in `read_image`.
    """

    about: dict[str, Any]
    training: dict[str, Any] | None = None
    diagnosis: Diagnosis | None = None
    values: Values | None = None


def figures(
    evaluation: Evaluation,
    errors: ErrorReport,
    images: Sequence[str],
    subject: Subject,
) -> dict[str, Any]:
    """Collect all numbers.

    Args:
        evaluation: all metrics on these images.
        errors: error report on the same images.
        images: name of each image.
        subject: the model and the data.

    Returns:
        A tree of JSON values, with None for numbers that could not be measured.
    """
    tree: dict[str, Any] = without_nan(
        {
            "about": {**subject.about, "date": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")},
            "metrics": evaluation.to_dict(),
            "curves": curve_points(evaluation.curves, evaluation.names),
            "errors": errors.to_dict(images),
            "training": subject.training,
            "data": None if subject.diagnosis is None else data_problems(subject.diagnosis),
        }
    )
    return {"about": tree["about"], "summary": summary(tree), **tree}


def curve_points(curves: Curves, names: Sequence[str]) -> dict[str, Any]:
    """Sample each curve at 101 levels of recall and of the score threshold.

    `precision` is the best precision at that recall or more, as AP measures it, and null beyond the highest
    recall; `f1` is that of the detections above the threshold.
    """
    return {
        "levels": LEVELS.round(2).tolist(),
        "all": _sampled(curves.overall),
        "classes": [
            {"name": name, **_sampled(curve)} for name, curve in zip(names, curves.classes, strict=True)
        ],
    }


def _sampled(curve: Curve) -> dict[str, list[float]]:
    if not curve.objects or not len(curve.scores):
        return {"precision": [], "f1": []}
    falling = np.append(np.maximum.accumulate(curve.precision[::-1])[::-1], np.nan)
    kept = np.searchsorted(-curve.scores, -LEVELS)  # detections above each threshold
    return {
        "precision": falling[np.searchsorted(curve.recall, LEVELS - 1e-9)].round(4).tolist(),
        "f1": np.insert(curve.f1, 0, 0)[kept].round(4).tolist(),
    }


def data_problems(diagnosis: Diagnosis) -> dict[str, Any]:
    """Summarize the findings of `data check`: kinds with their number, remedy and first places."""
    return {
        "checked": {split: found.describe() for split, found in diagnosis.sets.items()},
        "severities": severity_counts(diagnosis.findings),
        "kinds": [
            {
                "kind": kind,
                "severity": KINDS[kind].severity,
                "title": KINDS[kind].title,
                "count": len(found),
                "remedy": KINDS[kind].remedy,
                "places": [f"{finding.place}: {finding.what}" for finding in found[:PLACES]],
            }
            for kind, found in diagnosis.by_kind().items()
        ],
    }
