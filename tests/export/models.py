"""Small models for export, with weights that give detections."""

from pathlib import Path

import onnx

from lookonce.darknet.ncnn_graph import write_ncnn
from lookonce.export.files import write_onnx, write_openvino
from lookonce.export.graph import export_graph
from lookonce.export.source import read_source
from lookonce.metadata import ModelInfo
from lookonce.model.files import save_model
from lookonce.model.network import build
from tests.model.reference_weights import fill

INFO = ModelInfo(
    "yolov3-tiny",
    names=("cat", "dog", "eel"),
    anchors=(((10.0, 13.0), (16.0, 30.0)), ((62.0, 45.0), (59.0, 119.0))),
    strides=(16, 32),
    input_size=(64, 96),
    width=0.15,
    bn_epsilon=1e-3,
)

THREE_SCALES = ModelInfo(
    "yolov3",
    names=("cat", "dog", "eel"),
    anchors=(((10.0, 13.0), (16.0, 30.0)), ((62.0, 45.0), (59.0, 119.0)), ((116.0, 90.0), (156.0, 198.0))),
    strides=(8, 16, 32),
    input_size=(128, 160),
    width=0.125,
)


def write_model(path: Path, info: ModelInfo = INFO) -> Path:
    """Write a `.safetensors` model with seeded weights."""
    network = build(info).eval()
    fill(network)
    save_model(path, network.state_dict(), info)
    return path


def write_every_form(stem: Path, info: ModelInfo = INFO) -> onnx.ModelProto:
    """Write a model as `.safetensors`, `.onnx`, `.xml` and `.param`; return its graph."""
    source = read_source(write_model(stem.with_suffix(".safetensors"), info))
    graph = export_graph(source)
    write_onnx(graph, stem.with_suffix(".onnx"))
    write_openvino(graph, stem.with_suffix(".xml"))
    write_ncnn(source.network, source.weights, source.info, stem.with_suffix(".param"))
    return graph
