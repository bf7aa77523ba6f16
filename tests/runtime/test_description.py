"""A new description in a model file leaves the weights unchanged, byte for byte."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
import torch

from lookonce.errors import ModelFileError
from lookonce.model.files import load_info, load_weights, save_model
from lookonce.model.network import build
from lookonce.runtime.description import rewrite
from lookonce.runtime.detector import Detector
from tests.data.drawn_samples import INFO
from tests.tiny_onnx import YELLOW, image, write_tiny_model


def test_rewriting_safetensors_keeps_the_weights(tmp_path: Path) -> None:
    path, info = tmp_path / "a.safetensors", replace(INFO, width=0.125)
    torch.manual_seed(0)
    save_model(path, build(info).state_dict(), info)
    before = load_weights(path)[0]
    for thresholds in ((0.123456789,) * len(info.names), ()):
        rewrite(path, path, lambda info: replace(info, thresholds=thresholds))  # noqa: B023
        assert int.from_bytes(path.read_bytes()[:8], "little") % 8 == 0  # tensors stay aligned
        after, found = load_weights(path)
        assert found == replace(info, thresholds=thresholds) == load_info(path)
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_rewriting_exported_models_keeps_the_weights(tmp_path: Path, suffix: str) -> None:
    path = write_tiny_model(tmp_path / "tiny.onnx")
    if suffix == ".xml":
        openvino.save_model(openvino.convert_model(path), tmp_path / "tiny.xml")
        path = tmp_path / "tiny.xml"
    weights = path.with_suffix(".bin")
    pixels, bytes_before = (
        image((96, 96), ((32, 32, 64, 64), YELLOW)),
        weights.exists() and weights.read_bytes(),
    )
    with Detector.open(path) as detector:
        before = detector(pixels)
    rewrite(path, path, lambda info: replace(info, names=("grün", '"<&>'), thresholds=(0.1, 0.2)))
    with Detector.open(path) as detector:
        assert detector.names == ("grün", '"<&>')
        assert detector.info.thresholds == (0.1, 0.2)
        np.testing.assert_array_equal(detector(pixels).boxes, before.boxes)
    assert bytes_before == (weights.exists() and weights.read_bytes())


@pytest.mark.parametrize("suffix", [".safetensors", ".onnx", ".xml", ".param", ".cfg"])
@pytest.mark.parametrize("content", [b"", b"nothing", b"<net/>", b"\xff" * 64, bytes(8) + b"{}"])
def test_other_files_are_refused_and_unchanged(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"a\.\w+: expected "):
        rewrite(path, path, lambda info: info)
    assert path.read_bytes() == content


def test_an_onnx_file_without_a_description_is_refused(tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "tiny.onnx")
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    with pytest.raises(ModelFileError, match="that lookonce wrote"):
        rewrite(path, path, lambda info: info)
