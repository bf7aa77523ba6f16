"""`lookonce recipes`, by name and by file, for people and for programs."""

import json
from pathlib import Path

from lookonce.config import flat
from lookonce.recipe import load_settings
from tests.command_line import lookonce


def test_recipes_are_listed_with_their_differences() -> None:
    said = lookonce("recipes").stdout.splitlines()
    assert [line.split()[0] for line in said[::2]] == ["classic", "default"]
    assert "batch_norm.average_first=false" in said[1]
    assert "loss.objectness=one" in said[1]
    assert "without --recipe" in said[3]


def test_recipes_are_listed_as_json() -> None:
    found = json.loads(lookonce("recipes", "--json", "-").stdout)
    assert found["classic"]["settings"] == flat(load_settings("classic"))
    assert Path(found["default"]["file"]).is_file()
