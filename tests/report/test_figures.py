"""Figures of the report: points on the curves, and the contents of the JSON."""

import json

import numpy as np
import pytest

from lookonce.evaluate.curves import curves
from lookonce.evaluate.matching import match
from lookonce.report.figures import LEVELS, curve_points
from tests.evaluate.conftest import random_case

from .conftest import Written


def test_points_are_on_the_curves() -> None:
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


def test_the_json_is_valid_and_complete(written: Written) -> None:
    text = (written.page.parent / "report.json").read_text("utf-8")
    tree = json.loads(text, parse_constant=pytest.fail)
    assert tree["about"]["split"] == "val"
    assert list(tree) == ["about", "summary", "metrics", "curves", "errors", "training", "data"]
    assert (
        sum(kind["count"] for kind in tree["data"]["kinds"]) == sum(tree["data"]["severities"].values()) > 0
    )
    assert all(len(kind["places"]) <= 3 for kind in tree["data"]["kinds"])
