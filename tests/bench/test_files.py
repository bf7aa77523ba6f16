from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from lookonce.bench.files import prepare
from lookonce.darknet.onnx_graph import build_onnx
from lookonce.errors import ModelFileError
from lookonce.export.source import read_source
from tests.tiny_onnx import write_tiny_model


def test_the_network_alone_gives_the_raw_maps(small_model: Path, tmp_path: Path) -> None:
    files = prepare(small_model, tmp_path)
    source = read_source(small_model)
    whole = build_onnx(source.network, source.weights, source.info, raw_maps=True)
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), np.uint8)
    planes = images.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)

    _, *expected = ort.InferenceSession(whole.SerializeToString()).run(None, {"images": images})
    session = ort.InferenceSession(files.network)
    found = session.run(None, {session.get_inputs()[0].name: planes})

    assert files.is_float
    assert [each.shape for each in found] == [(2, 14, 4, 6), (2, 14, 2, 3)]
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_an_onnx_file_is_used_as_it_is(small_model: Path, tmp_path: Path) -> None:
    graph = prepare(small_model, tmp_path).graph
    (tmp_path / "again").mkdir()

    files = prepare(graph, tmp_path / "again")

    assert files.graph == graph
    assert files.network == tmp_path / "again" / "network.onnx"


def test_a_graph_without_our_decoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"tiny\.onnx: expected a graph that lookonce wrote"):
        prepare(write_tiny_model(tmp_path / "tiny.onnx"), tmp_path)


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"none\.xml: no such file"):
        prepare(tmp_path / "none.xml", tmp_path)
