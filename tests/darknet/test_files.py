"""The weights of a `.cfg`, the `.cfg` of weights, and the fit of images to the input."""

import logging
from dataclasses import replace
from pathlib import Path
from shutil import copy

import numpy as np
import pytest

from lookonce.darknet.cfg import parse_cfg
from lookonce.darknet.classic import classic_cfg
from lookonce.darknet.described import fit_of
from lookonce.darknet.files import open_darknet
from lookonce.darknet.resolve import resolve
from lookonce.darknet.weights import write_weights
from lookonce.darknet.write import write_darknet
from lookonce.errors import ConfigError, ModelFileError
from lookonce.runtime.detector import Detector
from tests.darknet.oracle import random_weights


@pytest.fixture
def folder(small_model: Path, tmp_path: Path) -> Path:
    """Make a folder with only `small.cfg`."""
    copy(small_model, tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["best", "last", "final", "1000", "20000"])
def test_the_only_weights_named_by_the_trainer_are_used_and_named(
    folder: Path,
    small_model: Path,
    name: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOOKONCE_CACHE", str(folder / "cache"))
    weights = Path(copy(small_model.with_suffix(".weights"), folder / f"small_{name}.weights"))
    copy(weights, folder / "other.weights")

    assert open_darknet(folder / "small.cfg").weights == weights
    with caplog.at_level(logging.WARNING), Detector.open(folder / "small.cfg") as detector:
        detector(np.zeros((64, 96, 3), np.uint8))
    assert f"weights from {weights}" in caplog.text


def test_several_weights_are_listed_and_each_can_be_opened(
    folder: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKONCE_CACHE", str(folder / "cache"))
    for name in ("best", "1000"):
        copy(small_model.with_suffix(".weights"), folder / f"small_{name}.weights")

    with pytest.raises(
        ModelFileError,
        match=r"weights: expected the file for .*found small_1000\.weights, small_best\.weights",
    ):
        open_darknet(folder / "small.cfg")
    for model, weights in [("small_best.weights", None), ("small.cfg", folder / "small_best.weights")]:
        found = open_darknet(folder / model, weights)
        assert (found.weights.name, found.network.cfg.file) == (
            "small_best.weights",
            str(folder / "small.cfg"),
        )


def test_weights_of_the_same_name_come_first(folder: Path, small_model: Path) -> None:
    for name in ("small", "small_best", "small_last"):
        copy(small_model.with_suffix(".weights"), folder / f"{name}.weights")

    assert open_darknet(folder / "small.cfg").weights.name == "small.weights"


def test_a_missing_partner_is_named(folder: Path) -> None:
    (folder / "strange.weights").touch()

    with pytest.raises(
        ModelFileError,
        match=r"weights: expected .*small\.cfg, since it has no small\.weights; found strange\.weights",
    ):
        open_darknet(folder / "small.cfg")
    with pytest.raises(ModelFileError, match=r"expected the \.cfg that .* beside it, found small\.cfg"):
        open_darknet(folder / "strange.weights")


def test_a_git_lfs_pointer_is_named(folder: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 248007048\n"
    (folder / "small.weights").write_text(pointer)
    with pytest.raises(ModelFileError, match="Git LFS pointer"):
        open_darknet(folder / "small.cfg").read_weights()
    (folder / "small.cfg").write_text(pointer)
    with pytest.raises(ModelFileError, match="Git LFS pointer"):
        open_darknet(folder / "small.cfg")


@pytest.mark.parametrize(
    ("text", "fit", "reason"),
    [
        ("", "letterbox", "original Darknet"),
        ("mosaic=1\n", "stretch", "mosaic belongs to AlexeyAB's"),
        ("letter_box=0\n", "stretch", "letter_box=0"),
        ("letter_box=1\nmosaic=1\n", "letterbox", "letter_box=1"),
    ],
)
def test_the_cfg_decides_between_letterbox_and_stretch(text: str, fit: str, reason: str) -> None:
    found = fit_of(resolve(parse_cfg(f"[net]\nwidth=64\nheight=64\n{text}[avgpool]", "x.cfg")))
    assert found[0] == fit
    assert reason in found[1]


@pytest.mark.parametrize("fit", ["letterbox", "stretch"])
def test_the_fit_of_a_model_survives_darknet_files(small_model: Path, tmp_path: Path, fit: str) -> None:
    info = replace(open_darknet(small_model).info, fit=fit)
    write_darknet(tmp_path / "x.cfg", info, random_weights(resolve(parse_cfg(classic_cfg(info), "x"))))

    assert open_darknet(tmp_path / "x.cfg").info.fit == fit


def test_a_size_need_not_be_a_multiple_of_32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path / "cache"))
    text = "[net]\nwidth=56\nheight=40\n[conv]\nfilters=6\nsize=8\nstride=8\n[yolo]\nanchors=9,9\nclasses=1\n"
    (tmp_path / "x.cfg").write_text(text)
    write_weights(tmp_path / "x.weights", random_weights(resolve(parse_cfg(text, "x"))))

    with Detector.open(tmp_path / "x.cfg", conf=0) as detector:
        assert detector.size == (40, 56)
        assert len(detector(np.zeros((40, 56, 3), np.uint8))) > 0
    with pytest.raises(ConfigError, match="expected multiples of 32"):
        Detector.open(tmp_path / "x.cfg", size=48)
    with pytest.raises(ConfigError, match=r"weights: expected a Darknet \.cfg"):
        Detector.open(next((tmp_path / "cache").rglob("*.onnx")), weights=tmp_path / "x.weights")
