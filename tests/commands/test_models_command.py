"""`lookonce models`, for people and for programs."""

import json

from typer.testing import CliRunner

from lookonce.cli import app
from lookonce.darknet.fetch import REGISTRY


def test_every_model_is_listed_with_its_figures() -> None:
    said = CliRunner().invoke(app, ["models"], catch_exceptions=False).stdout.splitlines()
    rows = [line.split(maxsplit=6) for line in said[1:-1]]
    assert [row[0] for row in rows] == ["coco", *REGISTRY]
    assert [cell.strip() for cell in rows[0][1:]] == ["320x320", "80", "3.7", "0.343", "10.8", "built in"]
    assert rows[-1][:5] == ["darknet53", "-", "-", "162.5", "-"]


def test_models_are_listed_as_json() -> None:
    found = json.loads(CliRunner().invoke(app, ["models", "--json", "-"], catch_exceptions=False).stdout)
    coco, *others = found
    assert coco["built_in"]
    assert (coco["input_size"], coco["classes"]) == ([320, 320], 80)
    assert not any(each["built_in"] for each in others)
    assert [each["bytes"] for each in others] == [each.weights.size for each in REGISTRY.values()]
    assert others[-1]["coco_ap50"] is None
