"""The tables of settings match the settings, and every setting is explained."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from lookonce.config import TrainSettings, flat
from lookonce.recipe import load_settings

SCRIPT = Path(__file__).parents[2] / "scripts" / "settings_tables.py"


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("settings_tables", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_on_the_pages_are_up_to_date(tables: ModuleType) -> None:
    for page, written in tables.pages().items():
        assert page.read_text(encoding="utf-8") == written, f"{page}: run scripts/settings_tables.py"


def test_every_setting_is_explained(tables: ModuleType) -> None:
    for name in flat(TrainSettings()):
        assert len(tables.meaning(name)) > 10, name


def test_effects_are_given_only_if_the_recipes_differ(tables: ModuleType) -> None:
    classic, default = flat(load_settings("classic")), flat(TrainSettings())
    assert {name for name in tables.EFFECTS if classic[name] == default[name]} == set()
