"""Every recipe in the package loads, and its network can be built and trained on a batch."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from lookonce.config import TrainSettings, flat
from lookonce.data.loader import Loader
from lookonce.errors import ConfigError
from lookonce.model.network import build
from lookonce.recipe import load_settings, recipes
from lookonce.train.clock import Course
from lookonce.train.learner import Learner
from lookonce.train.loop import Epoch, train_one_epoch
from lookonce.train.setup import TrainData, describe, make_dataset, make_schedule
from tests.data.drawn_samples import INFO, draw_samples

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))
SMALL = {"size": (64, 96), "batch": 2, "epochs": 1}


def test_the_classic_recipe_exists() -> None:
    assert "classic.yaml" in [recipe.name for recipe in RECIPES]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_a_recipe_trains(recipe: Path, tmp_path: Path) -> None:
    settings = load_settings(recipe, ["width=0.125"], **SMALL)
    data = TrainData(INFO.names, draw_samples(tmp_path, 2), [])
    info = describe(data, settings)
    network = build(info)
    assert info.architecture == load_settings(recipe).model

    with Loader(make_dataset(data, info, settings), settings.batch, workers=0) as loader:
        schedule = make_schedule(settings, loader.steps_per_epoch)
        epoch = Epoch(0)
        train_one_epoch(Learner(network, info, settings), loader, Course(schedule), epoch)

    assert epoch.meter.images == 2
    assert all(np.isfinite(value) for value in epoch.meter.means().values())
    assert all(torch.isfinite(parameter).all() for parameter in network.parameters())


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_the_header_says_how_to_run_the_recipe(recipe: Path) -> None:
    text = recipe.read_text(encoding="utf-8")
    header = text[: text.index("\nmodel:")]
    assert all(line.startswith("#") for line in header.splitlines())
    assert f"lookonce train DATA --recipe {recipe.stem}" in header


# The source of each value is a line of the write-up, or the code it explains (tests/reference/README.md).
CLASSIC = {
    "model": "yolov3",  # L249
    "width": 1,
    "size": [416, 416],  # L37
    "anchors": "official",  # the code's basline_anchors.txt
    "epochs": 30,  # L557
    "minutes": 0,
    "patience": 0,
    "batch": 16,  # L439
    "precision": "float32",
    "freeze": "nothing",
    "objectness_prior": 0.5,  # biases are 0
    "ema": 0,
    "repeat_rare": 0,
    "difficult": "train",
    "holdout": 0,
    "log_every": 1,  # L549
    "keep_epochs": True,  # L561
    "sync_bn": False,
    "optimizer.name": "adam",  # L536
    "optimizer.rate": 1e-3,  # L541
    "optimizer.end_rate": 1e-6,  # L541
    "optimizer.warmup_epochs": 2,  # L541
    "optimizer.momentum": 0.9,
    "optimizer.weight_decay": 0,  # fault 8
    "optimizer.clip": 0,
    "optimizer.accumulate": 1,
    "batch_norm.momentum": 0.01,
    "batch_norm.average_first": False,
    "batch_norm.epsilon": 1e-3,
    "assign.rule": "iou",  # L160
    "assign.positive_iou": 0.3,  # L160
    "loss.ignore_iou": 0.5,  # L455
    "loss.label_smoothing": 0.01,  # L129
    "loss.box": "giou",  # L432
    "loss.objectness": "one",  # L164
    "loss.giou": 1,  # L487
    "loss.conf": 1,
    "loss.prob": 1,
    "augment.flip": 0.5,  # L32
    "augment.orientation": "upright",
    "augment.crop": 0.5,  # L33
    "augment.translate": 0.5,  # L34
    "augment.hue": 0,
    "augment.saturation": 1,
    "augment.exposure": 1,
    "augment.zoom": [1, 1],
    "augment.mosaic": 0,
    "augment.mixup": 0,
    "augment.multi_scale": 0,
    "augment.rectangles": False,
}
FREE = {  # settings that change no weight, or do not exist in the write-up
    "seed",
    "group",  # its data has a validation split
    "values",
    "workers",
    "evaluate_every",
    "checkpoint_minutes",
    "assign.largest_ratio",
    "loss.non_finite",
}


def test_every_setting_of_the_classic_recipe_matches_the_write_up() -> None:
    found = flat(load_settings("classic"))
    assert found.keys() == CLASSIC.keys() | FREE
    assert {name: found[name] for name in CLASSIC} == CLASSIC


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_a_shipped_recipe_names_every_setting(recipe: Path) -> None:
    tree = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    assert _names(tree) == _names(TrainSettings().model_dump(mode="json"))


def test_a_recipe_is_found_by_name_or_by_file(tmp_path: Path) -> None:
    assert set(recipes()) == {recipe.stem for recipe in RECIPES}
    assert load_settings("default") == TrainSettings()
    assert load_settings("classic") == load_settings(recipes()["classic"])
    mine = tmp_path / "classic.yaml"
    mine.write_text("epochs: 3")
    assert load_settings(mine).epochs == 3
    with pytest.raises(
        ConfigError, match=r"clasic: expected a YAML file, or one of the recipes classic, default"
    ):
        load_settings("clasic")


def _names(tree: dict[str, Any]) -> set[str]:
    return {
        f"{name}.{leaf}"
        for name, value in tree.items()
        for leaf in (value if isinstance(value, dict) else [""])
    }
