"""Test that validation includes detections with low scores, which AP needs."""

import io
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from lookonce.images import write_image
from lookonce.model.network import build
from lookonce.recipe import load_settings
from lookonce.samples import Sample
from lookonce.train.validate import Validator
from tests.data.drawn_samples import INFO

NARROW = replace(INFO, width=0.125)


def sure_of(score: float) -> nn.Module:
    """Make a network that detects class 0 everywhere with this score, and nothing else."""
    network = build(NARROW)
    with torch.no_grad():
        for name in ("fine_head", "coarse_head"):
            head = network.get_submodule(name)
            head.weight.zero_()  # type: ignore[operator]
            bias = head.bias.view(3, 8)  # type: ignore[operator]
            bias[:, 4] = np.log(score / (1 - score))
            bias[:, 5], bias[:, 6:] = 30, -30
    return network


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    """Make an image filled by one object, as the largest anchor of every coarse cell fills it."""
    write_image(tmp_path / "image.png", np.zeros((64, 96, 3), np.uint8))
    return Sample(tmp_path / "image.png", np.array([[0, 0, 96, 64]], np.float32), np.array([0]))


def validator(network: nn.Module, samples: list[Sample], console: Console, *assignments: str) -> Validator:
    return Validator(network, NARROW, samples, load_settings(None, ("batch=2", *assignments)), console)


@pytest.mark.parametrize("score", [0.9, 0.1, 0.01])
def test_a_detection_counts_at_any_usual_score(sample: Sample, score: float) -> None:
    found = validator(sure_of(score), [sample], Console(file=io.StringIO())).evaluate()
    assert found["ap50"] > 0


def test_a_detection_below_a_thousandth_does_not_count(sample: Sample) -> None:
    found = validator(sure_of(0.0009), [sample], Console(file=io.StringIO())).evaluate()
    assert found == {"ap": 0, "ap50": 0}


def test_frozen_layers_stay_frozen(sample: Sample) -> None:
    network = sure_of(0.5)
    frozen, others = network.get_submodule("squeeze"), network.get_submodule("fine_head")
    frozen.eval()
    checked = validator(network, [sample], Console(file=io.StringIO()))
    checked.evaluate()
    checked.expected_seconds(time.monotonic)
    assert not any(part.training for part in frozen.modules())
    assert all(part.training for part in (network, others))


def test_an_evaluation_can_show_its_detections(sample: Sample) -> None:
    shown: list[tuple[int, ...]] = []
    validator(sure_of(0.5), [sample], Console()).evaluate(lambda sheet: shown.append(sheet.shape))
    (shape,) = shown
    assert shape[2] == 3


def test_unreadable_images_are_skipped_and_named(sample: Sample, tmp_path: Path) -> None:
    said = io.StringIO()
    gone = replace(sample, path=tmp_path / "gone.png")
    found = validator(sure_of(0.5), [gone, sample], Console(file=said, width=300))
    assert found.samples == [sample]
    assert said.getvalue().count("skipped: ") == 1


def test_an_image_that_goes_bad_during_training_is_skipped_and_named(sample: Sample, tmp_path: Path) -> None:
    said = io.StringIO()
    copies = [replace(sample, path=tmp_path / f"{n}.png") for n in range(3)]
    for copy in copies:
        shutil.copyfile(sample.path, copy.path)
    judging = validator(sure_of(0.5), copies, Console(file=said, width=300))
    copies[1].path.write_bytes(b"gone bad")
    metrics = judging.evaluate()
    assert metrics.keys() == {"ap", "ap50"}
    assert judging.samples == [copies[0], copies[2]]
    assert said.getvalue().count(f"skipped: {copies[1].path}: ") == 1
