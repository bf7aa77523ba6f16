"""The verification at the end of an export passes and fails where it should."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lookonce.errors import ModelFileError, SourceError
from lookonce.export.files import write_onnx, write_openvino
from lookonce.export.graph import GraphForm, export_graph
from lookonce.export.nms import GraphNms
from lookonce.export.proof_images import proof_images
from lookonce.export.source import read_source
from lookonce.export.verify import BOX_TOLERANCE, SCORE_TOLERANCE, Original, Proof, prove
from tests.export.models import INFO, write_model

WRITERS: dict[str, Callable[[onnx.ModelProto, Path], None]] = {".onnx": write_onnx, ".xml": write_openvino}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "model.safetensors")


def write(
    model: Path,
    path: Path,
    damage: Callable[[onnx.GraphProto], None] = lambda graph: None,
    **form: object,
) -> Path:
    graph = export_graph(read_source(model), GraphForm(**form))  # type: ignore[arg-type]
    damage(graph.graph)
    WRITERS[path.suffix](graph, path)
    return path


def proved(model: Path, path: Path, **form: object) -> Proof:
    images = proof_images(None, INFO)
    return prove(Original(model, INFO, images), path, GraphForm(**form))  # type: ignore[arg-type]


def patch(pick: Callable[[onnx.TensorProto], bool], change: Callable[[np.ndarray], None]) -> Callable:
    """Change the last initializer that matches."""

    def damage(graph: onnx.GraphProto) -> None:
        tensor = [each for each in graph.initializer if pick(each)][-1]
        array = numpy_helper.to_array(tensor).copy()
        change(array)
        tensor.raw_data = array.tobytes()

    return damage


def add_a_little(array: np.ndarray) -> None:
    array.reshape(-1)[0] += 0.1


def favor_a_class(array: np.ndarray) -> None:
    array[5] += 0.01


def move_a_anchor(array: np.ndarray) -> None:
    array[0, 0] += 1


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("nms", [None, GraphNms.of_model(INFO, 0.3, 0.4)])
def test_a_whole_export_agrees(
    model: Path, tmp_path: Path, suffix: str, static: bool, nms: GraphNms | None
) -> None:
    path = write(model, tmp_path / f"model{suffix}", static=static, nms=nms)

    proof = proved(model, path, static=static, nms=nms)

    assert 0 < proof.boxes < BOX_TOLERANCE / 5
    assert 0 < proof.scores < SCORE_TOLERANCE / 5
    assert proof.images == 3
    assert proof.detections is None if nms is None else proof.detections > 10


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize(
    "damage",
    [
        patch(lambda tensor: list(tensor.dims) == [16], favor_a_class),
        patch(lambda tensor: len(tensor.dims) == 4, add_a_little),
        patch(lambda tensor: tensor.name.startswith("2_") and len(tensor.dims) == 1, add_a_little),
        patch(lambda tensor: tensor.name.startswith("decode_32") and len(tensor.dims) == 2, move_a_anchor),
    ],
    ids=[
        "the bias of a class",
        "one weight of the last convolution",
        "one bias of an early one",
        "an anchor",
    ],
)
def test_a_damaged_export_is_refused(
    model: Path, tmp_path: Path, suffix: str, damage: Callable[[onnx.GraphProto], None]
) -> None:
    path = write(model, tmp_path / f"model{suffix}", damage)

    with pytest.raises(
        ModelFileError, match=rf"model\{suffix}: expected the results of .*model\.safetensors"
    ):
        proved(model, path)


@pytest.mark.parametrize("suffix", WRITERS)
def test_another_threshold_in_the_file_is_refused(model: Path, tmp_path: Path, suffix: str) -> None:
    path = write(model, tmp_path / f"model{suffix}", nms=GraphNms.of_model(INFO, 0.3, 0.4))

    with pytest.raises(ModelFileError, match=r"detections of lookonce's own NMS .*found"):
        proved(model, path, nms=GraphNms.of_model(INFO, 0.3, 0.5))


def test_rows_in_another_order_are_refused(model: Path, tmp_path: Path) -> None:
    def damage(graph: onnx.GraphProto) -> None:
        (node,) = (node for node in graph.node if node.op_type == "TopK")
        node.attribute.append(onnx.helper.make_attribute("largest", 0))

    path = write(model, tmp_path / "model.onnx", damage, nms=GraphNms.of_model(INFO, 0.3, 0.4))

    with pytest.raises(ModelFileError, match="by descending score, found"):
        proved(model, path, nms=GraphNms.of_model(INFO, 0.3, 0.4))


def test_another_model_is_refused(model: Path, data: Path, tmp_path: Path) -> None:
    path = write(data / "darknet" / "yolo-fastest-1.1-xl.cfg", tmp_path / "model.onnx")

    with pytest.raises(ModelFileError, match="found boxes inf pixels"):
        proved(model, path)


def test_the_images_of_the_user_are_used(data: Path, tmp_path: Path) -> None:
    photos = len(list((data / "photos").glob("*.jpg")))
    assert len(proof_images(data / "photos", INFO)) == min(photos, 8) + 1  # and noise
    assert [each.shape for each in proof_images(data / "photos" / "dog.jpg", INFO)] == [
        (576, 768, 3),
        (64, 96, 3),
    ]
    with pytest.raises(SourceError):
        proof_images(tmp_path, INFO)
