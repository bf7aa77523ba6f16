"""Test the numbers of the error report."""

from pathlib import Path

import numpy as np
import pytest

from lookonce.evaluate.error_report import ErrorReport, error_report
from lookonce.evaluate.errors import ERRORS, Outcome
from lookonce.evaluate.report import evaluate_detections

from .conftest import Case, found, sample

DOCS = Path(__file__).parents[2] / "docs" / "evaluate.md"
BOX, FAR, AWAY = [0, 0, 40, 40], [100, 100, 140, 140], [200, 200, 240, 240]


def report_of(case: Case) -> ErrorReport:
    return error_report(case[0], case[1], evaluate_detections(*case))


def test_json_has_every_number(voc_sample: Case) -> None:
    tree = report_of(voc_sample).to_dict([str(each.path) for each in voc_sample[0]])

    assert (tree["images"], tree["objects"], tree["detections"]) == (100, 273, 452)
    assert tree["ap50"] == pytest.approx(0.6100, abs=5e-5)
    assert tree["types"]["background"]["cost"] == pytest.approx(0.1091, abs=5e-5)
    assert tree["types"]["missed"]["count"] == 35
    assert sum(each["objects"] for each in tree["by_coco_size"]) == 273
    assert len(tree["by_size"]) == 5
    assert sum(each["detections"] for each in tree["calibration"]["bins"]) == 452
    assert len(tree["worst"]) == 12
    assert sum(tree["worst"][0]["errors"].values()) >= sum(tree["worst"][1]["errors"].values())


def test_each_class_has_its_own_numbers(voc_sample: Case) -> None:
    report = report_of(voc_sample)

    person = report.classes[0]
    assert (person.name, person.objects) == ("person", 91)
    assert person.best.f1 == pytest.approx(0.5417, abs=5e-5)
    for error in ERRORS:
        assert sum(each.types[error].in_use for each in report.classes) == report.types[error].in_use
        assert np.mean([each.types[error].cost for each in report.classes]) == pytest.approx(
            report.types[error].cost
        )
    assert report.false_positives.count == 226
    assert report.false_negatives.count >= report.types[Outcome.MISSED].count


def test_in_use_counts_detections_above_the_threshold_of_their_class() -> None:
    doubtful = found([BOX, AWAY, FAR], [0.9, 0.1, 0.05], [0, 0, 1])

    report = report_of(([sample([BOX, FAR])] * 4, [doubtful] * 4, ("cat", "dog")))

    assert report.thresholds == pytest.approx((0.5, 0.5))
    assert (report.detections, report.types[Outcome.BACKGROUND].count) == (12, 4)
    assert {error: each.in_use for error, each in report.types.items() if each.in_use} == {Outcome.MISSED: 4}
    assert report.types[Outcome.MISSED].count == 0  # the low-scoring dog refers to it
    assert report.types[Outcome.MISSED].cost_in_use == pytest.approx(1 - report.ap50_in_use)
    assert report.types[Outcome.CLASSIFICATION].cost > report.types[Outcome.CLASSIFICATION].cost_in_use == 0


def test_every_number_in_the_json_is_explained() -> None:
    text = DOCS.read_text()
    tree = report_of(([], [], ("cat",))).to_dict([])

    for name in {*tree, *tree["types"]["missed"], *tree["by_size"][0], *tree["calibration"]}:
        assert f"`{name}`" in text, name
