"""A report with all parts, whose names are HTML."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookonce.doctor.diagnose import diagnose
from lookonce.doctor.planned_network import PlannedNetwork
from lookonce.evaluate.report import evaluate_detections
from lookonce.images import write_image
from lookonce.report.figures import Subject
from lookonce.report.write import write_report_page
from lookonce.samples import SampleSet
from tests.evaluate.conftest import Case, random_case

ABOUT = {"model": "a.onnx", "data": "images", "split": "val"}
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
EPOCHS = [
    {"epoch": 1.0, "total_loss": 40.0, "giou_loss": 20.0, "conf_loss": 10.0, "prob_loss": 10.0},
    {"epoch": 2.0, "total_loss": 30.0, "giou_loss": 15.0, "conf_loss": 9.0, "prob_loss": 6.0, "ap": 0.25,
     "ap50": 0.5, "minutes": 3.25},
]  # fmt: skip
TRAINING = {
    "network": "yolov3-tiny", "size": "320x416", "width": 0.5, "classes": 3, "epoch": 2,
    "data": {"images": 60, "boxes": 700, "validation": 6}, "settings": {"batch": 8},
    "finished": "2026-11-29 01:53", "epochs": EPOCHS,
}  # fmt: skip


@dataclass
class Written:
    """A written report and its figures."""

    page: Path
    tree: dict[str, Any]


def write(
    folder: Path, case: Case, names: tuple[str, ...], *, doctor: bool = False, **options: Any
) -> Written:
    """Write the report of a case, with its images."""
    rng = np.random.default_rng(0)
    truth = [replace(sample, path=folder / sample.path) for sample in case[0]]
    for sample in truth:
        write_image(sample.path, rng.integers(0, 256, (400, 480, 3), np.uint8))
    if doctor:
        network = PlannedNetwork.published("yolov3-tiny", (416, 416))
        options["diagnosis"] = diagnose({"val": SampleSet(names, truth, [], HOSTILE)}, network)
    evaluation = evaluate_detections(truth, case[1], names)
    explain = options.pop("explain", lambda images, threshold: ([], ""))
    subject = Subject(**{"about": ABOUT, **options})
    write_report_page(folder / "out", truth, case[1], evaluation, subject, explain)
    return Written(folder / "out/report.html", json.loads((folder / "out/report.json").read_text("utf-8")))


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Write a report of forty images and three classes, with hostile names, training and findings."""
    return write(
        tmp_path_factory.mktemp("report"),
        random_case(1, 40, 3, 12),
        (HOSTILE, "dog", "椅子"),
        doctor=True,
        about={**ABOUT, "model": HOSTILE},
        training=TRAINING,
        explain=lambda images, threshold: (["explained/01.html"], f"note {HOSTILE}"),
    )
