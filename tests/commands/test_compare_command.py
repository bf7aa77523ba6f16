"""`lookonce compare`: one sentence about two models on the same images."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from lookonce.cli import app
from lookonce.detections import Detections
from lookonce.errors import ConfigError
from lookonce.seen import Seen, fingerprints
from tests.data.drawn_samples import INFO

BOX, COUNT = [10, 10, 50, 40], 12


class Stub:
    """Stands in for `Detector`: `good` finds the dog in every image, `bad` in every third image."""

    def __init__(self, path: Path, training: dict) -> None:
        self.names = ("cat", "dog") if path.stem == "good" else ("dog", "cow")
        self.info = replace(INFO, names=self.names, training=training)
        self._every = 1 if path.stem == "good" else 3

    def __enter__(self) -> "Stub":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, image: np.ndarray) -> Detections:
        if int(image[0, 0, 0]) % self._every:
            return Detections.none(self.names)
        label = self.names.index("dog")
        return Detections(np.array([BOX], np.float32), np.array([0.8]), np.array([label]), self.names)


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict]:
    """Set the training record of each model, by its file name."""
    records: dict[str, dict] = {}

    class Opener:
        @classmethod
        def open(cls, path: Path, *_: object, **__: object) -> Stub:
            return Stub(path, records.get(path.stem, {}))

        with_options = open

    monkeypatch.setattr("lookonce.runtime.detector.Detector", Opener)
    return records


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Write twelve images with a dog, as one-line text; the first pixel is the number of the image."""
    for i in range(COUNT):
        Image.fromarray(np.full((60, 80, 3), i, np.uint8)).save(tmp_path / f"{i:02}.png")
    box = ",".join(map(str, BOX))
    (tmp_path / "lines.txt").write_text("".join(f"{i:02}.png {box},0\n" for i in range(COUNT)))
    (tmp_path / "names.txt").write_text("dog\n")
    return tmp_path


def compare(images: Path, *words: object) -> Result:
    data = images / "lines.txt", "--names", images / "names.txt"
    known = map(str, ["compare", "good.onnx", "bad.onnx", *data, *words])
    return CliRunner().invoke(app, list(known), catch_exceptions=False)


@pytest.mark.usefixtures("training")
def test_the_better_model_is_named(images: Path) -> None:
    result = compare(images, "--json", images / "result.json")
    assert result.exit_code == 0
    assert "all: " in result.stdout
    assert "A good.onnx: AP 1.000" in result.stdout
    assert "AP: A is better by 0.6" in result.stdout
    assert ": decided" in result.stdout
    numbers = json.loads((images / "result.json").read_text())
    assert (numbers["over"], numbers["number"], numbers["classes"]) == ("images", COUNT, ["dog"])
    assert numbers["ap50"]["decided"] is True
    assert numbers["ap"]["a"] == 1
    assert -1 <= numbers["ap"]["difference_interval"][0] < numbers["ap"]["difference"] < 0


def test_each_model_is_warned_about(images: Path, training: dict[str, dict]) -> None:
    prints = list(fingerprints(sorted(images.glob("*.png"))).values())
    training["bad"] = {"seen": Seen(frozenset(prints[:5])).record()}
    result = compare(images)
    assert "warning: B has learned from 5 of the 12 images, so its AP is optimistic" in result.stdout
    assert "warning: A" not in result.stdout


def test_images_that_neither_model_has_seen_are_the_default(images: Path, training: dict[str, dict]) -> None:
    prints = [each for _, each in sorted(fingerprints(sorted(images.glob("*.png"))).items())]
    training["good"] = {"seen": Seen(frozenset(prints[4:]), frozenset(prints[:4])).record()}
    training["bad"] = {"seen": Seen(frozenset(prints[:1])).record()}
    result = compare(images)
    assert "held-out: " in result.stdout
    assert "3 images" in result.stdout
    assert "warning" not in result.stdout


def test_models_without_a_common_class_are_refused(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Opener:
        @classmethod
        def open(cls, path: Path, *_: object, **__: object) -> Stub:
            stub = Stub(path, {})
            stub.names = ("cat",) if path.stem == "good" else ("dog",)
            return stub

        with_options = open

    monkeypatch.setattr("lookonce.runtime.detector.Detector", Opener)
    (images / "names.txt").write_text("dog\ncat\n")
    with pytest.raises(ConfigError, match="expected a class that both models know"):
        compare(images)
