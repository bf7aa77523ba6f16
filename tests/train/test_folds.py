"""Test cross-validation: each image is evaluated by the model that was not trained on it."""

import io
import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from lookonce.recipe import load_settings
from lookonce.train.folds import REPORT, train_folds
from lookonce.train.holdout import folds
from lookonce.train.run import Session
from lookonce.train.setup import TrainData
from tests.data.drawn_samples import INFO, draw_samples

QUICK = ("width=0.125", "size=64x96", "batch=3", "workers=1", "epochs=1", "augment=false")


def test_every_image_is_measured_once(tmp_path: Path) -> None:
    samples = draw_samples(tmp_path, 7)
    parts = [
        TrainData(INFO.names, [samples[i] for i in part.train], [samples[i] for i in part.held_out])
        for part in folds(samples, 3, 0, {})
    ]
    console = Console(file=io.StringIO(), width=200, record=True)
    settings = load_settings(None, QUICK)
    torch.set_num_threads(2)
    result = train_folds(parts, settings, tmp_path / "run", Session(console))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert threads == 2  # evaluating a fold, one thread per image, does not change the next fold's threads
    assert [each.images for each in result.folds] == [3, 2, 2]
    assert result.evaluation.metrics.images == 7
    assert sorted(result.evaluation.counting.images) == sorted(str(each.path) for each in samples)
    assert all((tmp_path / "run" / f"fold-{k}" / "best.safetensors").exists() for k in (1, 2, 3))
    said = console.export_text(clear=False)
    assert "fold 2 of 3: 5 images to train on, 2 held out" in said
    numbers = json.loads((tmp_path / "run" / REPORT).read_text())
    assert [row["images"] for row in numbers["folds"]] == [3, 2, 2]
    assert numbers["all"]["images"] == 7
    assert result.describe().startswith("mean of 3 folds: AP 0.")
    resumed = train_folds(parts, settings, tmp_path / "run", Session(console), resume=True)
    assert [each.ap for each in resumed.folds] == pytest.approx([each.ap for each in result.folds])
    assert "the only epoch is done" in console.export_text()
