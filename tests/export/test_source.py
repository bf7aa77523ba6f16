"""All kinds of float models are read as the same network with the same arrays."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from lookonce.darknet.onnx_graph import build_onnx
from lookonce.errors import MissingExtraError, ModelFileError
from lookonce.export.source import read_source
from lookonce.metadata import METADATA_KEY, ModelInfo
from lookonce.model.backend import TorchBackend
from lookonce.model.darknet_io import save_darknet
from lookonce.model.files import save_model
from lookonce.model.network import build
from lookonce.networks import NETWORKS
from tests.model.reference_weights import fill


def described(architecture: str) -> ModelInfo:
    scales = 2 if architecture == "yolov3-tiny" else 3
    return ModelInfo(
        architecture,
        names=("cat", "dog"),
        anchors=tuple(((8.0 * s, 9.5 * s), (12.0 * s, 7.0 * s)) for s in range(1, scales + 1)),
        strides=(8, 16, 32)[-scales:],
        input_size=(64, 96),
        width=0.15,
        bn_epsilon=0.05,  # large enough that a wrong epsilon is noticed
        fit="stretch",
        training={"epoch": 3},
    )


def candidates_of(graph: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})[0]


@pytest.mark.parametrize("architecture", NETWORKS)
def test_a_trained_model_keeps_its_description_and_computes_the_same(
    tmp_path: Path, architecture: str
) -> None:
    info = described(architecture)
    network = build(info).eval()
    fill(network)
    save_model(tmp_path / "model.safetensors", network.state_dict(), info)
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), np.uint8)
    expected = TorchBackend(network, info)(images)

    source = read_source(tmp_path / "model.safetensors")
    graph = build_onnx(source.network, source.weights, source.info)

    assert source.info == info
    np.testing.assert_allclose(candidates_of(graph, images), expected, rtol=1e-4, atol=1e-4)
    onnx.save(graph, tmp_path / "model.onnx")
    again = read_source(tmp_path / "model.onnx")
    assert again.info == info
    assert all(each.batch_norm is None for each in again.weights)
    rebuilt = build_onnx(again.network, again.weights, again.info)
    np.testing.assert_array_equal(candidates_of(rebuilt, images), candidates_of(graph, images))


def test_a_darknet_model_needs_no_torch(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)

    source = read_source(data / "darknet" / "yolo-fastest-1.1-xl.cfg")

    assert source.info.architecture == "darknet"
    assert len(source.weights) == len(source.network.convolutions)
    assert source.weights[0].batch_norm is not None


def test_without_torch_a_trained_model_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "model.safetensors").touch()

    with pytest.raises(MissingExtraError, match=r"torch.*pip install .*\[train\]"):
        read_source(tmp_path / "model.safetensors")


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """Write an ONNX file that can be read as a source."""
    info = described("yolov3-tiny")
    torch.manual_seed(0)
    save_darknet(tmp_path / "model.cfg", build(info), info)
    source = read_source(tmp_path / "model.cfg")
    onnx.save(build_onnx(source.network, source.weights, source.info), tmp_path / "model.onnx")
    read_source(tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_an_onnx_file_of_another_network_is_refused(exported: Path) -> None:
    model = onnx.load(exported)
    other = replace(read_source(exported).info, architecture="darknet")
    onnx.helper.set_model_props(model, {METADATA_KEY: other.to_json()})
    onnx.save(model, exported)

    with pytest.raises(ModelFileError, match=r"model\.onnx: expected .* its \.cfg, found 'darknet'"):
        read_source(exported)


def test_other_convolutions_than_described_are_refused(exported: Path) -> None:
    model = onnx.load(exported)
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    model.graph.initializer.remove(next(t for t in model.graph.initializer if t.name == first.input[1]))
    onnx.save(model, exported)

    with pytest.raises(ModelFileError, match=r"expected the float convolutions of yolov3-tiny, found others"):
        read_source(exported)


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("absent.cfg", None, "no such file"),
        (
            "model.pt",
            b"",
            r"expected a float model \(\.safetensors, \.cfg, \.weights, \.onnx\)",
        ),
        ("model.onnx", b"\x01nothing" * 50, "expected an ONNX model"),
        ("empty.onnx", b"", "expected an ONNX file that lookonce wrote"),
    ],
)
def test_files_that_are_not_float_models_are_refused(
    tmp_path: Path, name: str, content: bytes | None, found: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(ModelFileError, match=rf"{name}: {found}"):
        read_source(tmp_path / name)


def test_a_file_cut_short_is_refused(exported: Path) -> None:
    cut = exported.with_name("cut.onnx")
    shutil.copy(exported, cut)
    cut.write_bytes(cut.read_bytes()[:-200])

    with pytest.raises(ModelFileError, match=r"cut\.onnx"):
        read_source(cut)
