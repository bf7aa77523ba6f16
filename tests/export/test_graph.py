"""The exported graph: open and fixed shapes, NMS in the graph, and validity under the ONNX specification."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx.reference import ReferenceEvaluator

from lookonce.darknet.onnx_graph import build_onnx
from lookonce.errors import ConfigError
from lookonce.export.graph import GraphForm, export_graph, with_size
from lookonce.export.nms import METADATA_KEY, GraphNms
from lookonce.export.source import FloatModel, read_source
from lookonce.geometry.letterbox import Letterbox
from lookonce.runtime.options import DetectOptions
from lookonce.runtime.postprocess import postprocess
from tests.export.models import INFO, write_model


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> FloatModel:
    return read_source(write_model(tmp_path_factory.mktemp("model") / "model.safetensors"))


def images(batch: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (batch, height, width, 3), np.uint8)


def run(graph: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})[0]


def sides(value: onnx.ValueInfoProto) -> list[int | str]:
    return [side.dim_value or side.dim_param for side in value.type.tensor_type.shape.dim]


def test_shapes_are_open_by_default(source: FloatModel) -> None:
    graph = export_graph(source)

    assert sides(graph.graph.input[0]) == ["batch", "height", "width", 3]
    assert sides(graph.graph.output[0]) == ["batch", "count", 8]
    assert graph.opset_import[0].version == 17
    assert run(graph, images(3, 96, 160)).shape == (3, 2 * (6 * 10 + 3 * 5), 8)


def test_fixed_shapes_give_the_same_numbers(source: FloatModel) -> None:
    wide = with_size(source, (96, 160))

    graph = export_graph(wide, GraphForm(static=True))

    assert sides(graph.graph.input[0]) == [1, 96, 160, 3]
    assert sides(graph.graph.output[0]) == [1, 150, 8]
    given = images(1, 96, 160)
    np.testing.assert_allclose(run(graph, given), run(export_graph(source), given), rtol=1e-5, atol=1e-4)
    with pytest.raises(Exception, match="Got invalid dimensions"):
        run(graph, images(2, 96, 160))


def test_a_size_that_the_network_cannot_take_is_refused(source: FloatModel) -> None:
    with pytest.raises(ConfigError, match="expected multiples of 32, found 64x48"):
        with_size(source, (64, 48))


@pytest.mark.parametrize(("static", "batch"), [(False, 1), (False, 3), (True, 1)])
def test_nms_in_the_graph_equals_postprocess(source: FloatModel, static: bool, batch: int) -> None:
    thresholds, given = GraphNms.of_model(INFO, 0.3, 0.4), images(batch, 64, 96)
    candidates = run(export_graph(source), given)

    rows = run(export_graph(source, GraphForm(static=static, nms=thresholds)), given)

    size = 64, 96
    counts = []
    for each, filled in zip(candidates, rows, strict=True):
        found = postprocess(each, Letterbox.stretch(size, size), DetectOptions(conf=0.3, iou=0.4))
        wanted = np.column_stack([found.boxes, found.scores, found.labels])
        assert 5 < len(wanted) < (each[:, 4] * each[:, 5:].max(1) > 0.3).sum()
        assert len(set(wanted[:, 5])) == 3
        np.testing.assert_allclose(filled[: len(wanted)], wanted, rtol=1e-4, atol=1e-4)
        assert not filled[len(wanted) :].any()
        counts.append(len(wanted))
    assert rows.shape == (batch, max(counts), 6)
    assert batch == 1 or len(set(counts)) > 1


@pytest.mark.parametrize("given", [None, 0.35, {"dog": 0.6}])
def test_each_class_has_its_own_threshold_in_the_graph(
    source: FloatModel, given: float | dict[str, float] | None
) -> None:
    """Without `--conf`, the thresholds of the model are used."""
    info, pixels, size = replace(INFO, thresholds=(0.3, 0.5, 0.35)), images(1, 64, 96), (64, 96)
    nms = GraphNms.of_model(info, given, 0.4)
    expected = {0.35: (0.35, 0.35, 0.35), None: (0.3, 0.5, 0.35)}
    assert nms.conf == ((0.3, 0.6, 0.35) if isinstance(given, dict) else expected[given])

    graph = export_graph(source, GraphForm(nms=nms))
    (rows,), (candidates,) = run(graph, pixels), run(export_graph(source), pixels)

    options = DetectOptions(conf=dict(zip(info.names, nms.conf, strict=True)), iou=0.4)
    found = postprocess(candidates, Letterbox.stretch(size, size), options, info.names)
    assert len(found) > 5
    np.testing.assert_allclose(rows[:, 4], found.scores, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(rows[:, 5], found.labels)
    if given is None:
        described = {entry.key: entry.value for entry in graph.metadata_props}
        assert described[METADATA_KEY] == '{"conf": [0.3, 0.5, 0.35], "iou": 0.4}'


def test_no_detections_give_no_rows(source: FloatModel) -> None:
    rows = run(export_graph(source, GraphForm(nms=GraphNms.of_model(INFO, 1.0))), images(2, 64, 96))

    assert rows.shape == (2, 0, 6)


def test_the_thresholds_are_in_the_metadata(source: FloatModel) -> None:
    graph = export_graph(source, GraphForm(nms=GraphNms.of_model(INFO, 0.3, 0.4)))

    described = {entry.key: entry.value for entry in graph.metadata_props}
    assert described[METADATA_KEY] == '{"conf": 0.3, "iou": 0.4}'


@pytest.mark.parametrize("name", ["conf", "iou"])
def test_a_threshold_out_of_range_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name}: expected a number from 0 to 1, found 1\.5"):
        GraphNms.of_model(INFO, **{name: 1.5})


def test_the_reference_evaluator_of_onnx_agrees(tmp_path: Path) -> None:
    """The reference evaluator of ONNX shares no code with the engines (its pooling is wrong at borders)."""
    three = replace(
        INFO, architecture="yolov3", anchors=(INFO.anchors[0], *INFO.anchors), strides=(8, 16, 32)
    )
    graph = export_graph(read_source(write_model(tmp_path / "model.safetensors", three)))
    given = images(2, 32, 64)

    expected = ReferenceEvaluator(graph).run(None, {"images": given})[0]

    np.testing.assert_allclose(run(graph, given), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("nms", [None, GraphNms.of_model(INFO)])
def test_an_invalid_graph_is_not_returned(
    source: FloatModel, monkeypatch: pytest.MonkeyPatch, static: bool, nms: GraphNms | None
) -> None:
    def build(*arguments: object, planes: bool) -> onnx.ModelProto:
        graph = build_onnx(*arguments, planes=planes)  # type: ignore[arg-type]
        next(node for node in graph.graph.node if node.op_type == "Conv").input[0] = "nowhere"
        return graph

    export_graph(source, GraphForm(static=static, nms=nms))
    monkeypatch.setattr("lookonce.export.graph.build_onnx", build)

    with pytest.raises((onnx.checker.ValidationError, onnx.shape_inference.InferenceError)):
        export_graph(source, GraphForm(static=static, nms=nms))


def test_nms_can_be_added_to_any_network(data: Path) -> None:
    source = read_source(data / "darknet" / "yolo-fastest-1.1-xl.cfg")

    output = export_graph(source, GraphForm(nms=GraphNms.of_model(INFO))).graph.output[0]
    assert sides(output) == ["batch", "found", 6]
