"""The verdict of the overfit check, and networks of five kinds that pass it."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lookonce.cli import app
from lookonce.train.self_test import MOST_STEPS, SelfTest


@pytest.mark.parametrize(
    ("ap50", "steps", "losses", "failed"),
    [
        (1.0, 200, (40.0, 1.0), False),
        (0.5, MOST_STEPS, (40.0, 1.0), True),  # all steps, and not memorized
        (0.0, 60, (40.0, 12.0), False),  # out of time while improving
        (0.0, 60, (40.0, 30.0), True),  # out of time without improving
        (0.0, 60, (40.0, float("nan")), True),
        (0.0, 19, (40.0, 39.0), False),  # a slow machine: no verdict
    ],
)
def test_the_trend_decides_if_time_ran_out(
    ap50: float, steps: int, losses: tuple[float, float], failed: bool
) -> None:
    outcome = SelfTest(ap50, steps, 180.0, losses, 0)
    assert outcome.failed is failed
    assert outcome.passed is (ap50 == 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "cfg",
    [
        "yolo-fastest-1.1-xl",
        "MobileNetV2-YOLOv3-Nano-coco",
        "zoo/yolov4-tiny",
        "zoo/yolov3-tiny-prn",
        "zoo/yolov4-csp-s-mish",
    ],
)
def test_darknet_networks_of_every_kind_overfit_eight_images(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cfg: str
) -> None:
    monkeypatch.setattr("lookonce.train.self_test.SECONDS", 3600.0)  # a slow machine is no failure here
    model = data / "darknet" / f"{cfg}.cfg"
    arguments = ["--self-test", "--model", model, "--size", 160, "--out", tmp_path / "run"]
    ran = CliRunner().invoke(app, ["train", str(data / "cells"), *map(str, arguments)])
    found = re.search(r"AP50 ([\d.]+) on the same images after (\d+) steps", ran.output)
    assert found, ran.output
    print(cfg, *found.groups())
    assert float(found[1]) >= 0.95
