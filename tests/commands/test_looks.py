"""`--rect`, `--tiles`, `--overlap` and `--soft-nms` in `detect` and `evaluate`."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lookonce.cli import app
from lookonce.errors import ConfigError
from lookonce.images import write_image
from tests.tiny_onnx import YELLOW, image, write_tiny_model


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a model, and an image with an object of 32 pixels, in which a cell is 96 pixels wide."""
    write_tiny_model(tmp_path / "model.onnx")
    write_image(tmp_path / "large.png", image((288, 320), ((32, 64, 64, 96), YELLOW)))
    (tmp_path / "lines.txt").write_text("large.png 32,64,64,96,0\n")
    (tmp_path / "names.txt").write_text("green\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def detected(*words: str) -> list[list[float]]:
    said = CliRunner().invoke(
        app, ["detect", "model.onnx", "large.png", "--save", "json", *words], catch_exceptions=False
    )
    assert said.exit_code == 0
    (entry,) = json.loads(Path("detections/detections.json").read_text())["images"]
    return [found["box"] for found in entry["detections"]]


@pytest.mark.usefixtures("desk")
def test_detect_finds_small_objects_in_tiles() -> None:
    tiles = ("--size", "96", "--tiles", "96", "--overlap", "0.666")

    assert detected("--size", "96") == []
    assert detected(*tiles) == [[32, 64, 64, 96]]
    assert detected(*tiles, "--rect", "--soft-nms") == [[32, 64, 64, 96]]


@pytest.mark.usefixtures("desk")
def test_detect_names_the_options_in_use() -> None:
    said = CliRunner().invoke(app, ["detect", "model.onnx", "large.png", "--rect", "--tiles", "2x3"])

    assert "letterbox, rect, 2x3 tiles overlapping by 0.2" in said.stderr


@pytest.mark.usefixtures("desk")
def test_evaluate_takes_the_options_of_detect() -> None:
    words = ["evaluate", "model.onnx", "lines.txt", "--names", "names.txt", "--size", "96"]
    looks = ["--tiles", "96", "--overlap", "0.666", "--rect", "--soft-nms"]
    numbers = []
    for options in ([], looks):
        assert CliRunner().invoke(app, [*words, *options], catch_exceptions=False).exit_code == 0
        numbers.append(json.loads(Path("runs/evaluate/metrics.json").read_text()))

    plain, tiled = numbers
    assert (plain["ap50"], tiled["ap50"]) == (0, 1)
    asked = ("rect", "tiles", "overlap", "soft_nms")
    assert [plain[name] for name in asked] == [False, None, None, False]
    assert [tiled[name] for name in asked] == [True, 96, 0.666, True]


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--tiles", "two"), "tiles: expected rows x columns such as 2x3"),
        (("--tiles", "2"), "tiles: expected a side of 32 pixels or more, found 2"),
        (("--tiles", "2x2", "--overlap", "1"), "overlap: expected a number from 0 to 0.9"),
        (("--rect", "--fit", "stretch"), "rect: leaves out the padding of a letterbox"),
    ],
)
def test_impossible_tiles_are_refused(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CliRunner().invoke(app, ["detect", "model.onnx", "large.png", *words], catch_exceptions=False)
