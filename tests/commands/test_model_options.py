"""Options that several commands share: `--weights`, `--fit`, `--multi-label`."""

import json
from pathlib import Path
from shutil import copy

import numpy as np
import pytest

from lookonce.annotations import write_samples
from lookonce.images import write_image
from lookonce.runtime.detector import Detector
from lookonce.samples import Sample, SampleSet
from tests.command_line import lookonce, output_of
from tests.explain.models import write_model
from tests.tiny_onnx import image, write_tiny_model

CELL, WHITE = (32, 0, 64, 32), (255, 255, 255)  # as much `green` as `blue`


def refused(*words: object) -> str:
    ran = lookonce(*words)
    assert ran.returncode == 2
    return " ".join(ran.stderr.split())


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Write an image of the network's size with a cell of both classes."""
    write_image(tmp_path / "photos" / "p.png", image((64, 96), (CELL, WHITE)))
    return tmp_path / "photos" / "p.png"


@pytest.fixture
def cfg(small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a `.cfg` with two different files of weights beside it, neither with the name of the `.cfg`."""
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path / "cache"))
    made = tmp_path / "models" / "small.cfg"
    made.parent.mkdir()
    copy(small_model, made)
    copy(small_model.with_suffix(".names"), made.parent)
    content = small_model.with_suffix(".weights").read_bytes()
    (made.parent / "small_1000.weights").write_bytes(content)
    biases = np.frombuffer(content[20:24], np.float32) + 5
    (made.parent / "small_best.weights").write_bytes(content[:20] + biases.tobytes() + content[24:])
    return made


def boxes_of(out: Path) -> list[tuple[str, list[float]]]:
    (entry,) = json.loads((out / "detections.json").read_text())["images"]
    return [(each["class"], each["box"]) for each in entry["detections"]]


def test_detect_counts_every_class_of_a_box(photo: Path, tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "tiny.onnx")
    words = ["detect", model, photo, "--save", "json", "--out"]
    output_of(*words, tmp_path / "one")
    output_of(*words, tmp_path / "all", "--multi-label")

    assert boxes_of(tmp_path / "one") == [("green", list(CELL))]
    assert boxes_of(tmp_path / "all") == [("green", list(CELL)), ("blue", list(CELL))]


def test_evaluate_counts_every_class_of_a_box(photo: Path, tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "tiny.onnx")
    truth = Sample(photo, np.array([CELL], np.float32), np.array([1]))
    data, _ = write_samples(
        {"val": SampleSet(("green", "blue"), [truth], [], "drawn")}, "coco", tmp_path / "d"
    )
    words = ["evaluate", model, data, "--explain", "0", "--out"]
    output_of(*words, tmp_path / "one")
    output_of(*words, tmp_path / "all", "--multi-label")

    one, every = (json.loads((tmp_path / each / "metrics.json").read_text()) for each in ("one", "all"))
    assert (one["ap"], one["detections"], one["multi_label"]) == (0, 1, False)
    assert (every["ap"], every["detections"], every["multi_label"]) == (1, 2, True)


def test_evaluate_uses_the_given_fit(tmp_path: Path) -> None:
    """The input is 64x96; if a 64x48 image is stretched, its object is as wide as a cell."""
    model = write_tiny_model(tmp_path / "tiny.onnx")
    box = (16, 0, 32, 32)
    write_image(tmp_path / "p.png", image((64, 48), (box, WHITE)))
    truth = Sample(tmp_path / "p.png", np.array([box], np.float32), np.array([0]))
    data, _ = write_samples(
        {"val": SampleSet(("green", "blue"), [truth], [], "drawn")}, "coco", tmp_path / "d"
    )
    ap = {}
    for fit in ("letterbox", "stretch"):
        output_of("evaluate", model, data, "--explain", "0", "--out", tmp_path / fit, "--fit", fit)
        numbers = json.loads((tmp_path / fit / "metrics.json").read_text())
        ap[numbers["fit"]] = numbers["ap"]

    assert ap == {"letterbox": 0, "stretch": 1}


@pytest.mark.parametrize("to", ["onnx", "openvino", "darknet"])
@pytest.mark.parametrize("fit", ["letterbox", "stretch"])
def test_an_exported_file_keeps_the_fit(
    tmp_path: Path, to: str, fit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path / "cache"))
    made_for = {"letterbox": "stretch", "stretch": "letterbox"}[fit]
    model = write_model(tmp_path, fit=made_for)
    suffix = {"onnx": ".onnx", "openvino": ".xml", "darknet": ".cfg"}[to]
    output_of("export", model, "--to", to, "--out", tmp_path / f"told{suffix}", "--fit", fit)
    output_of("export", model, "--to", to, "--out", tmp_path / f"same{suffix}")

    for name, expected in (("told", fit), ("same", made_for)):
        with Detector.open(tmp_path / f"{name}{suffix}") as detector:
            assert detector.fit == expected


COMMANDS = {
    "detect": ["{model}", "{photo}", "--save", "json", "--out", "{out}"],
    "export": ["{model}", "--to", "onnx", "--out", "{out}"],
    "explain": ["{model}", "{photo}", "--out", "{out}/page.html"],
    "bench": ["{model}", "--against", "onnxruntime", "--rounds", "1", "--out", "{out}"],
    "evaluate": ["{model}", "{data}", "--explain", "0", "--out", "{out}"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_weights(
    cfg: Path,
    photo: Path,
    tmp_path: Path,
    command: str,
) -> None:
    truth = Sample(photo, np.array([CELL], np.float32), np.array([0]))
    data, _ = write_samples({"val": SampleSet(("cat", "dog"), [truth], [], "drawn")}, "coco", tmp_path / "d")

    def words(model: Path) -> list[str]:
        fill = {"model": model, "photo": photo, "data": data, "out": tmp_path / "out"}
        return [command, *(word.format(**fill) for word in COMMANDS[command])]

    best = cfg.with_name("small_best.weights")
    several = refused(*words(cfg))
    assert "--weights: expected the file for " in several
    assert "since it has no small.weights; found small_1000.weights, small_best.weights" in several
    output_of(*words(cfg), "--weights", best)

    missing = refused(*words(cfg), "--force", "--weights", tmp_path / "none.weights")
    assert "none.weights" in missing
    for other in (best, write_tiny_model(tmp_path / "tiny.onnx")):
        told = refused(*words(other), "--force", "--weights", best)
        assert f"--weights: expected a Darknet .cfg as the model, found {other.name}" in told


def test_the_chosen_weights_are_used(cfg: Path, photo: Path, tmp_path: Path) -> None:
    found = {}
    for name in ("small_1000", "small_best"):
        weights = cfg.with_name(f"{name}.weights")
        output_of("export", cfg, "--to", "onnx", "--out", tmp_path / f"{name}.onnx", "--weights", weights)
        output_of(
            "detect",
            cfg,
            photo,
            "--conf",
            "0",
            "--save",
            "json",
            "--out",
            tmp_path / name,
            "--weights",
            weights,
        )
        found[name] = boxes_of(tmp_path / name)
        with Detector.open(tmp_path / f"{name}.onnx", conf=0) as detector:
            exported = [(each, np.round(box, 1).tolist()) for each, _, box in detector(photo)]
        assert [each for each, _ in exported] == [each for each, _ in found[name]]

    assert found["small_1000"] != found["small_best"]
