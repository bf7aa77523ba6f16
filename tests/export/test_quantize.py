"""Small networks in int8: which nodes are int8 and which stay float; the rest of the file is unchanged."""

import os
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import openvino as ov
import pytest
from onnx import TensorProto, numpy_helper

from lookonce.darknet.cfg import parse_cfg
from lookonce.darknet.described import describe
from lookonce.darknet.files import open_darknet
from lookonce.darknet.resolve import resolve
from lookonce.errors import MissingExtraError
from lookonce.export import quantize_openvino as by_nncf
from lookonce.export.files import write_onnx
from lookonce.export.graph import export_graph
from lookonce.export.quantize import back_to_heads
from lookonce.export.quantize_onnx import float_nodes, quantize_onnx
from lookonce.export.quantize_openvino import quantize_openvino
from lookonce.export.source import FloatModel, read_source
from lookonce.geometry.letterbox import Letterbox
from lookonce.images import list_images, read_image
from lookonce.runtime.backends import open_backend
from tests.darknet.kinds import KINDS, kind, noise
from tests.darknet.oracle import random_weights
from tests.export.models import INFO, write_model

CONVOLUTIONS, HEADS = 13, 2  # of yolov3-tiny


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    return export_graph(read_source(write_model(tmp_path_factory.mktemp("model") / "m.safetensors")))


@pytest.fixture(scope="module")
def inputs() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, *INFO.input_size, 3), np.uint8)


@pytest.fixture(scope="module")
def quantized(graph: onnx.ModelProto, inputs: np.ndarray) -> onnx.ModelProto:
    return quantize_onnx(graph, inputs)


@pytest.fixture(scope="module")
def xml(graph: onnx.ModelProto, inputs: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("openvino") / "model.int8.xml"
    quantize_openvino(graph, inputs, path)
    return path


def test_back_to_heads_stops_at_the_first_convolution() -> None:
    #  1(conv) - 2(conv) - 3 - 5 - 6        6 is the end
    #       \--- 4(conv) ------/
    before = {1: [], 2: [1], 3: [2], 4: [1], 5: [3, 4], 6: [5]}

    assert sorted(back_to_heads([6], before.__getitem__, lambda node: node in (1, 2, 4))) == [2, 3, 4, 5, 6]


def test_in_onnx_all_weights_but_the_heads_are_int8(
    graph: onnx.ModelProto, quantized: onnx.ModelProto
) -> None:
    kernels = [tensor for tensor in quantized.graph.initializer if len(tensor.dims) == 4]
    kinds = [tensor.data_type for tensor in kernels]

    assert kinds.count(TensorProto.INT8) == CONVOLUTIONS - HEADS
    assert kinds.count(TensorProto.FLOAT) == HEADS
    assert len(kinds) == CONVOLUTIONS
    for tensor in kernels:
        if tensor.data_type == TensorProto.INT8:  # 7 bits, because with 8 the sums overflow on old CPUs
            assert np.abs(numpy_helper.to_array(tensor).astype(int)).max() <= 64
    producers = {name: node for node in quantized.graph.node for name in node.output}
    kept = set(float_nodes(graph.graph))
    assert sum(name.endswith("conv") or "/conv_" in name for name in kept) == HEADS
    for node in quantized.graph.node:
        if node.name in kept and "Conv" not in node.op_type:  # decoding uses only floats
            assert not any(
                producers[name].op_type == "DequantizeLinear" for name in node.input if name in producers
            )


def test_in_openvino_all_weights_but_the_first_and_the_heads_are_int8(xml: Path) -> None:
    model = ov.Core().read_model(xml)
    kernels = [  # a constant, or int8 x scale
        node.input(1).get_source_output().get_node().get_type_name()
        for node in model.get_ordered_ops()
        if node.get_type_name() == "Convolution"
    ]
    stored = [
        node for node in model.get_ordered_ops() if node.get_output_element_type(0).get_type_name() == "i8"
    ]

    assert kernels.count("Constant") == HEADS + 1
    assert kernels[0] == "Constant"
    assert kernels.count("Multiply") == len(stored) == CONVOLUTIONS - HEADS - 1


@pytest.mark.parametrize("name", [name for name in KINDS if name != "xnor"])  # rounding changes its signs
def test_every_kind_of_network_scores_nearly_the_same_in_int8(name: str) -> None:
    network, images = kind(name), noise(3)
    source = FloatModel(network, random_weights(network), describe(network, ("cat", "dog")))
    whole = export_graph(source)
    small = quantize_onnx(whole, images)
    stored = [tensor.data_type for tensor in small.graph.initializer if len(tensor.dims) == 4]
    assert stored.count(TensorProto.FLOAT) == len(network.scales)
    assert stored.count(TensorProto.INT8) >= len(network.convolutions) - len(network.scales)
    scores = []
    for model in (whole, small):
        session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        found = [session.run(None, {"images": image[None]})[0] for image in images]
        scores.append(np.concatenate(found)[..., 4:].ravel())
    before, after = scores
    assert not np.array_equal(before, after)
    assert np.corrcoef(before, after)[0, 1] > 0.99


@pytest.mark.parametrize(("first", "largest"), [(False, 64), (True, 127)])
def test_in_openvino_depthwise_convolutions_stay_float(tmp_path: Path, first: bool, largest: int) -> None:
    text = KINDS["mobilenet"].replace("groups=8", "groups=4")  # two channels per group, so not depthwise
    network = resolve(parse_cfg(text, "mobilenet.cfg"))
    model = FloatModel(network, random_weights(network), describe(network, ("cat", "dog")))
    quantize_openvino(export_graph(model), noise(2, (96, 64)), tmp_path / "int8.xml", first=first)
    nodes = ov.Core().read_model(tmp_path / "int8.xml").get_ordered_ops()
    weights: dict[str, list[str]] = {"Convolution": [], "GroupConvolution": []}
    for node in nodes:
        if node.get_type_name() in weights:
            weights[node.get_type_name()].append(node.input(1).get_source_output().get_node().get_type_name())
    int8 = [node.data for node in nodes if node.get_output_element_type(0).get_type_name() == "i8"]
    most = max(np.abs(each.astype(int)).max() for each in int8)

    assert weights["GroupConvolution"] == ["Reshape", "FakeQuantize"]  # float and quantized
    assert weights["Convolution"].count("Constant") == 1 + (not first)  # the head
    assert 0.9 * largest < most <= largest
    with closing(open_backend(tmp_path / "int8.xml")) as backend:
        assert backend.info.training["int8"]["float"].startswith("depthwise convolutions, ")


def test_openvino_computes_in_int8(xml: Path) -> None:
    infos = [node.get_rt_info() for node in _compiled(xml).get_runtime_model().get_ordered_ops()]
    precisions = [
        info["runtimePrecision"].astype(str)
        for info in infos
        if info["layerType"].astype(str) == "Convolution"
    ]

    assert precisions.count("f32") == HEADS + 1
    assert len(precisions) == CONVOLUTIONS


def _compiled(xml: Path) -> Any:
    core = ov.Core()
    model = core.read_model(xml)
    model.reshape([1, *INFO.input_size, 3])
    return core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def test_int8_files_open_like_any_other(quantized: onnx.ModelProto, xml: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    write_onnx(quantized, path)
    for file, tool, kept in (
        (path, "onnxruntime", "heads, decoding"),
        (xml, "nncf", "first convolution, heads, decoding"),
    ):
        backend = open_backend(file)
        note = backend.info.training["int8"]

        assert replace(backend.info, training={}) == replace(INFO, training={})
        assert note["tool"].startswith(f"{tool} ")
        assert (note["images"], note["float"]) == (3, kept)
        assert backend.input_shape == (None, None, None)
        for batch, height, width in ((1, 64, 96), (2, 96, 64)):
            found = backend(np.full((batch, height, width, 3), 90, np.uint8))
            assert found.shape == (batch, (4 + 1) * height // 32 * width // 32 * 2, 5 + len(INFO.names))
        backend.close()


def test_the_same_images_give_the_same_bytes(
    graph: onnx.ModelProto, inputs: np.ndarray, quantized: onnx.ModelProto, xml: Path, tmp_path: Path
) -> None:
    again = tmp_path / xml.name
    quantize_openvino(graph, inputs, again)

    assert quantize_onnx(graph, inputs) == quantized
    for suffix in (".xml", ".bin"):
        assert again.with_suffix(suffix).read_bytes() == xml.with_suffix(suffix).read_bytes()


def test_a_trained_network_agrees_closely_with_float(data: Path, tmp_path: Path) -> None:
    model = open_darknet(data / "darknet" / "yolo-fastest-1.1-xl.cfg")
    source = FloatModel(model.network, model.read_weights(), model.info)
    graph = export_graph(source)
    images = [read_image(path) for path in list_images(data / "photos")]
    inputs = np.array([Letterbox.fit(each.shape[:2], (320, 320)).image(each) for each in images])
    write_onnx(graph, tmp_path / "float.onnx")
    write_onnx(quantize_onnx(graph, inputs), tmp_path / "int8.onnx")
    quantize_openvino(graph, inputs, tmp_path / "int8.xml")

    expected = open_backend(tmp_path / "float.onnx")(inputs)[..., 4]
    assert expected.max() > 0.9
    for file in ("int8.onnx", "int8.xml"):
        found = open_backend(tmp_path / file)(inputs)[..., 4]
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.9, file


def test_nncf_makes_no_connection(tmp_path: Path) -> None:
    """By default, NNCF would contact its makers' host and write an identifier to the user's folder."""
    code = (
        "import socket, sys, time\n"
        "def refuse(*given, **named): print('CALLED', given, flush=True); raise OSError\n"
        "socket.getaddrinfo = socket.socket.connect = refuse\n"
        "from lookonce.export.quantize_openvino import import_nncf\n"
        "nncf = import_nncf(); time.sleep(0.5)\n"
        "print(hasattr(nncf, 'quantize'))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HOME": str(tmp_path)},
    )

    assert found.stdout == "True\n"
    assert not (tmp_path / "intel").exists()


def test_without_nncf_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)

    with pytest.raises(MissingExtraError, match=r"pip install .*\[export\]"):
        by_nncf.import_nncf()
