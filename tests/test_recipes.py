"""Every shipped recipe loads, and what it asks for can be built and learns from a batch."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from lookonce.config import (
    AssignSettings,
    AugmentSettings,
    LossSettings,
    OptimizerSettings,
    TrainSettings,
    load_settings,
)
from lookonce.data.loader import Loader
from lookonce.model.network import build
from lookonce.train.learner import Learner
from lookonce.train.loop import Epoch, train_one_epoch
from lookonce.train.plan import TrainData, describe, make_dataset, make_schedule
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

    with Loader(make_dataset(data, info, settings), settings.batch, workers=0) as loader:
        schedule = make_schedule(settings, len(loader))
        epoch = Epoch(0)
        train_one_epoch(Learner(network, settings), loader, schedule, info, settings, epoch)

    assert epoch.meter.images == 2
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


def test_the_default_recipe_is_written_out_in_full() -> None:
    recipe = next(recipe for recipe in RECIPES if recipe.stem == "default")
    tree = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    defaults = TrainSettings()
    assert TrainSettings(**tree) == defaults
    assert _names(tree) == _names(defaults.model_dump(mode="json"))


def test_the_classic_recipe_names_every_section_as_the_write_up_has_it() -> None:
    settings = load_settings(next(recipe for recipe in RECIPES if recipe.stem == "classic"))
    assert settings.assign == AssignSettings()
    assert settings.loss == LossSettings()
    assert settings.augment == AugmentSettings()
    assert settings.optimizer == OptimizerSettings()
    assert (settings.init, settings.objectness_prior, settings.ema) == ("reference", 0.5, 0)
    assert settings.repeat_rare == 0


def _names(tree: dict[str, Any]) -> set[str]:
    return {
        f"{name}.{leaf}"
        for name, value in tree.items()
        for leaf in (value if isinstance(value, dict) else [""])
    }
