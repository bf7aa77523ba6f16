"""`--layout nchw`: float planes as input, for OpenCV's DNN module and others, give the same candidates."""

from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest

from lookonce import Detector
from lookonce.bench.contenders import CONTENDERS, BenchCase
from lookonce.bench.files import prepare
from lookonce.darknet.cfg import parse_cfg
from lookonce.darknet.described import describe
from lookonce.darknet.network import Network
from lookonce.darknet.onnx_graph import build_onnx
from lookonce.darknet.resolve import resolve
from lookonce.errors import ConfigError, LookonceError, ModelFileError
from lookonce.export.files import write_onnx
from lookonce.export.graph import GraphForm, export_graph, with_size
from lookonce.export.nms import GraphNms
from lookonce.export.proof_images import proof_images
from lookonce.export.source import FloatModel, read_source
from lookonce.export.verify import Original, prove
from lookonce.runtime.backends import as_planes
from tests.command_line import attempted, invoke
from tests.darknet import test_sections
from tests.darknet.kinds import KINDS
from tests.darknet.oracle import lookonce_outputs, random_weights
from tests.export.models import INFO, write_every_form, write_model

BROKEN_CELLS = test_sections.NET.replace("64", "60").replace("96", "92")
NETWORKS = KINDS | {
    f"{name} with broken cells": BROKEN_CELLS
    + test_sections.EIGHT.replace("stride=8", "stride=8\npad=1")
    + text
    for name, text in test_sections.DETECTORS.items()
}


def noise(network: Network) -> np.ndarray:
    shape = 1, network.cfg.net.height, network.cfg.net.width, 3
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("name", NETWORKS)
def test_opencv_computes_the_same_candidates(name: str) -> None:
    network = resolve(parse_cfg(NETWORKS[name], name))
    weights, images = random_weights(network), noise(network)
    info = describe(network, tuple(map(str, range(network.classes))))
    graph = build_onnx(network, weights, info, planes=True)
    onnx.checker.check_model(graph, full_check=True)
    expected = lookonce_outputs(network, weights, images)[0]

    imported = cv2.dnn.readNetFromONNX(np.frombuffer(graph.SerializeToString(), np.uint8))
    imported.setInput(as_planes(images))
    found = imported.forward()

    assert found.shape == expected.shape == (1, network.candidates, 5 + network.classes)
    np.testing.assert_allclose(found[..., :4], expected[..., :4], atol=1e-3)
    np.testing.assert_allclose(found[..., 4:], expected[..., 4:], atol=1e-5)
    assert expected[..., 4:].std() > 0.01


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> FloatModel:
    return read_source(write_model(tmp_path_factory.mktemp("model") / "model.safetensors"))


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_lookonce_runs_its_own_file(tmp_path: Path, suffix: str) -> None:
    write_every_form(tmp_path / "mine")
    words = ["export", str(tmp_path / "mine.safetensors"), "--layout", "nchw", "--size", "96x64"]
    to = "onnx" if suffix == ".onnx" else "openvino"
    out = tmp_path / f"planes{suffix}"
    ran = invoke(*words, "--to", to, "--out", out)
    said = " ".join(ran.stdout.split())
    assert "input 96x64 (height x width), batch 1 and size fixed" in said
    assert ("run, by OpenCV too, beside" in said) == (suffix == ".onnx")
    image = np.random.default_rng(2).integers(0, 256, (50, 70, 3), np.uint8)

    with (
        Detector.open(out, conf=0.2) as mine,
        Detector.open(tmp_path / "mine.onnx", conf=0.2, size=(96, 64)) as plain,
    ):
        found, expected = mine(image), plain(image)
        many = list(mine.detect_many([image, image[::-1]]))
        with pytest.raises(ConfigError, match="expected 96x64"):
            Detector.open(out, size=64)

    assert len(expected) > 5
    assert len(many) == 2
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.01)
    np.testing.assert_allclose(many[0].scores, expected.scores, atol=1e-4)


def test_nms_in_the_graph_gives_the_same_detections(source: FloatModel) -> None:
    nms, (height, width) = GraphNms.of_model(INFO, 0.3, 0.4), INFO.input_size
    images = np.random.default_rng(5).integers(0, 256, (1, height, width, 3), np.uint8)

    found, expected = (
        ort.InferenceSession(graph.SerializeToString()).run(None, {"images": given})[0]
        for graph, given in (
            (export_graph(source, GraphForm(planes=True, nms=nms)), as_planes(images)),
            (export_graph(source, GraphForm(nms=nms)), images),
        )
    )

    assert found.shape == expected.shape
    assert found.shape[1] > 5
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("planes", [False, True])
def test_the_declared_shape_is_right_for_partial_cells(planes: bool) -> None:
    network = resolve(
        parse_cfg(BROKEN_CELLS + NETWORKS["yolo with broken cells"][len(BROKEN_CELLS) :], "x.cfg")
    )
    model = FloatModel(network, random_weights(network), describe(network, ("a", "b")))

    graph = export_graph(model, GraphForm(static=True, planes=planes))

    given = as_planes(noise(network)) if planes else noise(network)
    declared = tuple(side.dim_value for side in graph.graph.output[0].type.tensor_type.shape.dim)
    found = ort.InferenceSession(graph.SerializeToString()).run(None, {"images": given})[0]
    assert declared == found.shape == (1, 12 * 8 * 2, 7)


def test_a_file_that_opencv_computes_differently_is_refused(
    source: FloatModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_model(tmp_path / "model.safetensors")
    write_onnx(export_graph(source, GraphForm(planes=True)), tmp_path / "planes.onnx")
    images = proof_images(None, INFO)
    assert prove(Original(model, INFO, images), tmp_path / "planes.onnx", GraphForm(planes=True)).boxes < 0.01

    def other_planes(images: np.ndarray) -> np.ndarray:
        return as_planes(images)[:, ::-1].copy()

    monkeypatch.setattr("lookonce.export.verify.as_planes", other_planes)
    with pytest.raises(ModelFileError, match=r"expected the results of .*, found"):
        prove(Original(model, INFO, images), tmp_path / "planes.onnx", GraphForm(planes=True))

    monkeypatch.undo()
    write_onnx(export_graph(source), tmp_path / "open.onnx")
    with pytest.raises(ModelFileError, match=r"open\.onnx: OpenCV \d.* cannot read it"):
        prove(Original(model, INFO, images), tmp_path / "open.onnx", GraphForm(planes=True))


def test_int8_needs_uint8_images(tmp_path: Path) -> None:
    words = ["export", "coco", "--to", "onnx", "--layout", "nchw", "--int8", "--calibrate", str(tmp_path)]
    ran = attempted(*words)
    assert "--int8 and --layout nchw: expected nhwc" in str(ran.exception)


@pytest.mark.parametrize(("planes", "batch"), [(False, 1), (False, 2), (True, 1)])
def test_bench_runs_opencv_on_any_onnx_file(
    source: FloatModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planes: bool, batch: int
) -> None:
    model = tmp_path / "model.onnx"
    write_onnx(export_graph(with_size(source, (64, 64)), GraphForm(planes=planes)), model)
    files, case = prepare(model, tmp_path), BenchCase((64, 64), batch, 1)

    found, expected = (CONTENDERS[name].open(files, case)() for name in ("opencv", "onnxruntime"))

    assert [each.shape for each in found] == [(batch, 16, 4, 4), (batch, 16, 2, 2)]
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)
    check = CONTENDERS["opencv"].check
    assert check is not None
    check(files, case)
    monkeypatch.setattr("lookonce.bench.contenders.AGREEMENT", 0.0)
    with pytest.raises(LookonceError, match="of the largest value from ONNX Runtime's"):
        check(files, case)


def test_bench_gives_opencv_the_chosen_weights(small_model: Path, tmp_path: Path) -> None:
    """These are not the weights beside the `.cfg`."""
    case = BenchCase((64, 96), 1, 1)
    expected = CONTENDERS["opencv"].open(prepare(small_model, tmp_path), case)()
    cfg, weights = tmp_path / "small.cfg", tmp_path / "other.weights"
    cfg.write_bytes(small_model.read_bytes())
    content = small_model.with_suffix(".weights").read_bytes()
    weights.write_bytes(content)
    halved = np.frombuffer(content[20:], np.float32) / 2
    cfg.with_suffix(".weights").write_bytes(content[:20] + halved.tobytes())

    found = CONTENDERS["opencv"].open(prepare(cfg, tmp_path, weights), case)()

    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)
