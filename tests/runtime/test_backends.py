"""Choice of the engine for a file, by suffix or by name, also if its package or weights are missing."""

import sys
from pathlib import Path

import pytest

from lookonce.errors import ConfigError, MissingExtraError, ModelFileError
from lookonce.runtime.backends import open_backend
from tests.tiny_onnx import write_tiny_model


@pytest.mark.parametrize(
    ("package", "suffix", "extra"),
    [("torch", ".safetensors", "train"), ("openvino", ".xml", "openvino")],
)
def test_a_missing_package_is_named_and_other_files_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, suffix: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / f"model{suffix}").touch()

    with pytest.raises(MissingExtraError, match=rf"'{package}': pip install .*\[{extra}\]"):
        open_backend(tmp_path / f"model{suffix}")

    open_backend(write_tiny_model(tmp_path / "model.onnx")).close()


def test_a_chosen_engine_that_is_not_installed_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)

    with pytest.raises(MissingExtraError, match="openvino"):
        open_backend(write_tiny_model(tmp_path / "model.onnx"), backend="openvino")


def test_an_unknown_suffix_lists_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "model.pt").touch()

    with pytest.raises(
        ModelFileError, match=r"model\.pt: .*\.onnx, \.xml, \.safetensors, \.param, \.cfg.*'\.pt'"
    ):
        open_backend(tmp_path / "model.pt")


def test_an_unknown_engine_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"expected one of onnxruntime, openvino, torch, tensorrt, ncnn, found 'tf'"
    ):
        open_backend(write_tiny_model(tmp_path / "model.onnx"), backend="tf")


def test_an_engine_that_does_not_read_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.onnx: expected a file that torch runs \(\.safetensors\)"):
        open_backend(write_tiny_model(tmp_path / "model.onnx"), backend="torch")


@pytest.mark.parametrize("name", ["model.onnx", "model.xml", "model.safetensors"])
def test_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(ModelFileError, match=f"{name}: expected a file, found a folder"):
        open_backend(tmp_path / name)
