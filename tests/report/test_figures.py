"""Figures of the report: counts per image, and points on the curves."""

import json

import numpy as np
import pytest

from lookonce.evaluate.curves import curves
from lookonce.evaluate.errors import find_outcomes
from lookonce.evaluate.matching import match
from lookonce.report.figures import LEVELS, count_objects, curve_points
from tests.evaluate.conftest import found, random_case, sample

from .conftest import Written

BOX, FAR, AWAY = [0, 0, 40, 40], [100, 100, 140, 140], [200, 200, 240, 240]


def test_counts_leave_out_difficult_objects_and_what_lies_on_them() -> None:
    truth = [sample([BOX, FAR], [0, 1], difficult=[False, True]), sample([])]
    boxes = [found([BOX, FAR, AWAY], [0.9, 0.8, 0.7], [0, 1, 0]), found([BOX], [0.9])]

    counts = count_objects(find_outcomes(truth, boxes, ("cat", "dog")), ["a", "b"], ("cat", "dog"))

    assert counts["images"] == [
        {"image": "a", "annotated": 1, "counted": 2},
        {"image": "b", "annotated": 0, "counted": 1},
    ]
    assert (counts["annotated"], counts["counted"], counts["mae"], counts["bias"]) == (1, 3, 1, 1)
    assert counts["relative"] == 2
    cat, dog = counts["classes"]
    assert (cat["name"], cat["annotated"], cat["counted"]) == ("cat", 1, 3)
    assert (dog["annotated"], dog["counted"]) == (0, 0)


def test_errors_in_both_directions_cancel_in_the_bias_alone() -> None:
    truth, boxes = [sample([BOX, FAR]), sample([BOX])], [found([BOX], [0.9]), found([BOX, AWAY], [0.9, 0.8])]
    counts = count_objects(find_outcomes(truth, boxes, ("cat",)), ["a", "b"], ("cat",))
    assert (counts["mae"], counts["bias"], counts["relative"]) == (1, 0, 0)


def test_points_lie_on_the_curves() -> None:
    truth, boxes, names = random_case(3, 30, 2, 8)
    drawn = curves(match(truth, boxes, names))

    points = curve_points(drawn, names)["all"]

    for level, precision, f1 in zip(LEVELS, [*points["precision"]], points["f1"], strict=True):
        reached = drawn.overall.precision[drawn.overall.recall >= level - 1e-9]
        if len(reached):
            assert precision == pytest.approx(reached.max(), abs=1e-4)
        else:
            assert np.isnan(precision)
        kept = int((drawn.overall.scores > level).sum())
        assert f1 == pytest.approx(drawn.overall.f1[kept - 1] if kept else 0, abs=1e-4)


def test_the_json_is_json_and_says_what_was_measured(written: Written) -> None:
    text = (written.page.parent / "report.json").read_text("utf-8")
    tree = json.loads(text, parse_constant=pytest.fail)
    assert tree["about"]["split"] == "val"
    assert list(tree) == ["about", "summary", "metrics", "counts", "curves", "errors", "training", "data"]
    assert (
        sum(kind["count"] for kind in tree["data"]["kinds"]) == sum(tree["data"]["severities"].values()) > 0
    )
    assert all(len(kind["places"]) <= 3 for kind in tree["data"]["kinds"])
