"""Collect all numbers of the report in one tree of JSON values, from which the page is made.

report.json
    about      model, data, split, detection options, date
    summary    first sentence of the report, and its numbers
    metrics    content of metrics.json
    curves     precision over recall, and F1 over the score threshold
    errors     types of error and their cost, classes, bins, scores, worst images
    training   network, data, settings and epochs; null if the model file has no record of its training
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

LEVELS = np.linspace(0, 1, 101)  # values of recall and of the score threshold at which curves are sampled
PLACES = 3  # places to list for each kind of problem; `lookonce data check` lists all


@dataclass(frozen=True, slots=True)
class Subject:
    """The model and the data of an evaluation.

    Attributes:
        about: model, data and options.
        training: result of `report.training.training_record`; None if there is none.
        diagnosis: findings of `data check`; None if it was not run.
        values: range of pixel values in images of more than 8 bits, as in `read_image`.
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
    """Collect all numbers of the report.

    Args:
        evaluation: metrics on the images.
        errors: errors on the same images.
        images: name of each image.
        subject: model and data of the evaluation.

    Returns:
        Tree of JSON values, with None for numbers that could not be measured.
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
    """Sample each curve at 101 values of recall or of the score threshold.

    `precision` is the best precision at that recall or above, as in AP, and null beyond the highest recall;
    `f1` is that of the detections above the threshold.
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
    """Summarize the findings of `data check` by kind, with their number, remedy and first places."""
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
