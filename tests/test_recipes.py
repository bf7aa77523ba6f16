"""Every shipped recipe loads, and what it asks for can be built and learns from a batch."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lookonce.config import load_settings
from lookonce.data.dataset import Dataset
from lookonce.data.loader import Loader
from lookonce.model.network import build
from lookonce.train.loop import Epoch, make_scaler, train_one_epoch
from lookonce.train.optimizer import make_optimizer
from lookonce.train.plan import TrainData, describe, make_schedule
from tests.data.drawn_samples import INFO, draw_samples

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))
SMALL = {"size": (64, 96), "batch": 2, "epochs": 1}


def test_there_are_recipes() -> None:
    assert "classic.yaml" in [recipe.name for recipe in RECIPES]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_a_recipe_trains(recipe: Path, tmp_path: Path) -> None:
    settings = load_settings(recipe, ["width=0.125"], **SMALL)
    data = TrainData(INFO.names, draw_samples(tmp_path, 2), [])
    info = describe(data, settings)
    network = build(info)
    assert info.architecture == load_settings(recipe).model

    dataset = Dataset(data.train, info, settings.augment, settings.seed)
    with Loader(dataset, settings.batch, workers=0) as loader:
        schedule = make_schedule(settings, len(loader))
        optimizer = make_optimizer(network, settings.optimizer)
        epoch = Epoch(0)
        scaler = make_scaler(torch.device("cpu"), settings)
        train_one_epoch(network, loader, optimizer, scaler, schedule, info, settings, epoch)

    assert epoch.meter.pictures == 2
    assert all(np.isfinite(value) for value in epoch.meter.means().values())
    assert all(torch.isfinite(parameter).all() for parameter in network.parameters())


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_its_first_lines_say_how_to_run_it(recipe: Path) -> None:
    text = recipe.read_text(encoding="utf-8")
    header = text[: text.index("\nmodel:")]
    assert all(line.startswith("#") for line in header.splitlines())
    assert f"lookonce train DATA --recipe recipes/{recipe.name}" in header


def test_the_classic_recipe_is_the_write_ups() -> None:
    settings = load_settings(next(recipe for recipe in RECIPES if recipe.stem == "classic"))
    assert (settings.model, settings.size, settings.batch, settings.epochs) == ("yolov3", (416, 416), 16, 30)
    assert (settings.width, settings.anchors, settings.precision) == (1.0, "official", "float32")
    optimizer = settings.optimizer
    assert (optimizer.name, optimizer.rate, optimizer.end_rate) == ("adam", 1e-3, 1e-6)
    assert (optimizer.warmup_epochs, optimizer.weight_decay, optimizer.clip) == (2, 0, 0)
