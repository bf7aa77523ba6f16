"""`lookonce rename` on every kind of model file: other names, but the same weights and detections."""

import json
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from lookonce.darknet.described import settings_of
from lookonce.runtime.detector import Detector
from tests.command_line import attempted, output_of
from tests.export.models import write_model

NAMES = ("kitten", "dog", "eel")


def rename(*arguments: object) -> tuple[int, str]:
    ran = attempted("rename", *arguments)
    return ran.exit_code, f"{ran.output}{ran.exception or ''}"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the files of a model in every format, by suffix."""
    folder = tmp_path_factory.mktemp("models")
    start = write_model(folder / "model.safetensors")
    for form in ("onnx", "openvino", "darknet"):
        suffix = {"onnx": ".onnx", "openvino": ".xml", "darknet": ".cfg"}[form]
        out = folder / f"model{suffix}"
        output_of("export", start, "--to", form, "--out", out)
    return {path.suffix: path for path in folder.iterdir() if path.stem == "model"}


def weights(path: Path) -> list[bytes]:
    """Return the bytes of all weights of a model file."""
    if path.suffix == ".safetensors":
        content = path.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        header.pop("__metadata__")
        return [json.dumps(header, sort_keys=True).encode(), content[8 + length :]]
    if path.suffix == ".onnx":
        return [each.SerializeToString() for each in onnx.load(path).graph.initializer]
    return [path.with_suffix({".xml": ".bin", ".cfg": ".weights"}[path.suffix]).read_bytes()]


@pytest.mark.parametrize("suffix", [".safetensors", ".onnx", ".xml", ".cfg"])
def test_only_the_names_change(models: dict[str, Path], tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"renamed{suffix}"
    assert rename(models[suffix], "cat=kitten", "--out", out) == (0, f"{out}: kitten, dog, eel\n")
    assert weights(out) == weights(models[suffix])
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    before, after = (Detector.open(path, conf=0.01) for path in (models[suffix], out))
    assert before.names == ("cat", "dog", "eel")
    assert after.names == NAMES
    assert after.info == replace(before.info, names=NAMES)
    found, again = before(image), after(image)
    assert len(found)
    np.testing.assert_array_equal(again.boxes, found.boxes)
    np.testing.assert_array_equal(again.scores, found.scores)
    np.testing.assert_array_equal(again.labels, found.labels)


@pytest.mark.parametrize("suffix", [".safetensors", ".onnx"])
def test_a_suffix_in_capitals_is_that_of_the_same_kind(
    models: dict[str, Path], tmp_path: Path, suffix: str
) -> None:
    loud = shutil.copyfile(models[suffix], tmp_path / f"MODEL{suffix.upper()}")
    out = tmp_path / f"renamed{suffix}"
    assert rename(loud, "cat=kitten", "--out", out) == (0, f"{out}: kitten, dog, eel\n")
    assert weights(out) == weights(models[suffix])


@pytest.mark.parametrize("given", ["net.cfg", "net_best.weights"])
def test_weights_named_by_the_trainer_are_renamed(
    models: dict[str, Path], tmp_path: Path, given: str
) -> None:
    for name, suffix in (("net.cfg", ".cfg"), ("net.names", ".names"), ("net_best.weights", ".weights")):
        shutil.copy(models[suffix], tmp_path / name)
    assert rename(tmp_path / given, "cat=kitten", "--out", tmp_path / "new.cfg")[0] == 0
    assert (tmp_path / "new.weights").read_bytes() == (tmp_path / "net_best.weights").read_bytes()
    assert Detector.open(tmp_path / "new.cfg").names == NAMES
    assert settings_of(tmp_path / "net_best.weights") == settings_of(models[".weights"])


def test_two_names_can_be_swapped(models: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "new.onnx"
    assert rename(models[".onnx"], "cat=dog", "dog=cat", "--out", out)[0] == 0
    assert Detector.open(out).names == ("dog", "cat", "eel")


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("cow=dog", "--out", "x.onnx"), "cow: expected a class of"),
        (("cat=dog", "--out", "x.onnx"), "dog: expected a name that no other class has"),
        (("cat", "--out", "x.onnx"), "cat: expected OLD=NEW"),
        (("cat=", "--out", "x.onnx"), "cat=: expected OLD=NEW"),
        (("cat=kitten", "--out", "x.xml"), "--out x.xml: expected a file like x.onnx"),
        (("cat=" + "k" * 600, "--out", "x.onnx"), "at most 500 characters"),
    ],
)
def test_wrong_input_is_refused(
    models: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    what: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = rename(models[".onnx"], *arguments)
    assert code
    assert what in said
    assert not [path for path in tmp_path.iterdir() if path.name != ".lookonce"]


@pytest.mark.parametrize("suffix", [".safetensors", ".onnx", ".xml", ".cfg", ".txt"])
def test_files_that_are_not_models_are_refused(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"broken{suffix}"
    file.write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{}")
    code, said = rename(file, "a=b", "--out", tmp_path / f"new{suffix}")
    assert code
    assert "broken" in said
    assert "expected" in said
    assert not (tmp_path / f"new{suffix}").exists()


def test_a_foreign_onnx_is_refused(tmp_path: Path) -> None:
    graph = onnx.helper.make_graph([], "empty", [], [])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "foreign.onnx")
    assert (
        "expected a model that lookonce wrote"
        in rename(tmp_path / "foreign.onnx", "a=b", "--out", "b.onnx")[1]
    )


def test_the_input_is_never_replaced(models: dict[str, Path]) -> None:
    before = models[".onnx"].read_bytes()
    code, said = rename(models[".onnx"], "cat=kitten", "--out", models[".onnx"], "--force")
    assert code
    assert "an input of this run" in said
    assert models[".onnx"].read_bytes() == before
