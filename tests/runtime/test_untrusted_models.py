"""Exported files with ruined weights or an undeclared output give a one-line error in every engine."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from lookonce.errors import ModelFileError
from lookonce.export.files import write_onnx, write_openvino
from lookonce.export.graph import export_graph
from lookonce.export.source import read_source
from lookonce.runtime.backends import open_backend
from lookonce.runtime.detector import Detector
from tests.export.models import write_model
from tests.hostile.inputs import with_nodes
from tests.tiny_onnx import YELLOW, image, write_tiny_model


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    return export_graph(read_source(write_model(tmp_path_factory.mktemp("model") / "m.safetensors")))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize(("suffix", "backend"), [(".onnx", None), (".onnx", "openvino"), (".xml", None)])
def test_weights_that_are_not_finite_are_refused(
    tmp_path: Path, graph: onnx.ModelProto, suffix: str, backend: str | None, number: float
) -> None:
    ruined = onnx.ModelProto()
    ruined.CopyFrom(graph)
    kernel = max(ruined.graph.initializer, key=lambda each: len(each.raw_data))
    array = onnx.numpy_helper.to_array(kernel).copy()
    array.ravel()[7] = number
    kernel.CopyFrom(onnx.numpy_helper.from_array(array, kernel.name))
    path = tmp_path / f"ruined{suffix}"
    (write_onnx if suffix == ".onnx" else write_openvino)(ruined, path)

    with pytest.raises(ModelFileError, match="infinite or not a number"):
        open_backend(path, **({"backend": backend} if backend else {}))


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_an_engine_failure_is_one_line(tmp_path: Path, graph: onnx.ModelProto, backend: str) -> None:
    broken = onnx.ModelProto()
    broken.CopyFrom(graph)
    shape = next(each for each in broken.graph.initializer if each.data_type == 7 and list(each.dims) == [5])
    shape.CopyFrom(onnx.numpy_helper.from_array(np.array([0, 0, 0, 7, 8]), shape.name))  # of a reshape
    path = tmp_path / "broken.onnx"
    write_onnx(broken, path)

    with pytest.raises(ModelFileError) as caught:
        open_backend(path, backend=backend)(np.zeros((1, 64, 96, 3), np.uint8))
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_an_output_other_than_declared_is_refused(
    tmp_path: Path, graph: onnx.ModelProto, backend: str
) -> None:
    other = onnx.ModelProto()
    other.CopyFrom(graph)
    twice = onnx.helper.make_node("Concat", ["candidates_", "candidates_"], ["candidates"], axis=0)
    next(node for node in other.graph.node if "candidates" in node.output).output[0] = "candidates_"
    other.graph.node.append(twice)
    path = tmp_path / "other.onnx"
    write_onnx(other, path)

    with pytest.raises(ModelFileError, match=r"other\.onnx: (expected|the engine)"):
        open_backend(path, backend=backend)(np.zeros((1, 64, 96, 3), np.uint8))


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_scores_that_are_not_numbers_are_an_error(tmp_path: Path, backend: str) -> None:
    """NaN is above no threshold, so the image would seem empty."""
    divide = onnx.helper.make_node("Div", ["candidates", "zero"], ["end"])
    with_nodes(divide, zero=np.float32(0))(path := tmp_path / "divided.onnx")
    with pytest.raises(ModelFileError, match=r"divided\.onnx: expected scores and boxes, found NaN"):
        open_backend(path, backend=backend)(np.zeros((1, 64, 96, 3), np.uint8))


def add_infinite_bfloat16(path: Path) -> None:
    """Add a constant to the graph that is not among its float32 weights."""
    model = onnx.load(path)
    constant = onnx.helper.make_tensor("odd", onnx.TensorProto.BFLOAT16, [1], b"\x80\x7f", raw=True)
    model.graph.initializer.append(constant)
    path.write_bytes(model.SerializeToString())


def test_an_infinite_bfloat16_weight_is_refused(tmp_path: Path) -> None:
    write_tiny_model(path := tmp_path / "rare.onnx")
    add_infinite_bfloat16(path)
    with pytest.raises(ModelFileError, match="odd holds numbers that are infinite or not a number"):
        open_backend(path)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(
    "factors",
    [
        [1, 1, 1, 1, 1e38, 1, 1],  # an infinite objectness
        [1, 1, 1, 1, 1, float("nan"), float("nan")],  # only the classes
        [1, float("nan"), 1, 1, 1, 1, 1],  # one side of the boxes
    ],
)
def test_a_non_finite_output_is_an_error(tmp_path: Path, factors: list[float], backend: str) -> None:
    """Without this check, the image would seem empty, because NaN is above no threshold."""
    given = np.array(factors, np.float32)
    nodes = [
        onnx.helper.make_node("Div", ["odd_factors", "odd_divisors"], ["odd_ratios"]),  # weights are finite
        onnx.helper.make_node("Mul", ["candidates", "odd_ratios"], ["odd_first"]),
        onnx.helper.make_node("Mul", ["odd_first", "odd_ratios"], ["end"]),
    ]
    path = tmp_path / "odd.onnx"
    with_nodes(
        *nodes,
        odd_factors=np.nan_to_num(given, nan=0),
        odd_divisors=np.where(np.isnan(given), 0, 1).astype(np.float32),
    )(path)
    with (
        Detector.open(path, backend=backend) as detector,
        pytest.raises(ModelFileError, match="found NaN or"),
    ):
        detector(image((64, 96), ((32, 0, 64, 32), YELLOW)))


def test_a_file_cut_short_while_it_is_checked_is_refused(tmp_path: Path) -> None:
    """Reading a memory-mapped file that is cut short would kill the process (SIGBUS)."""
    write_tiny_model(path := tmp_path / "model.onnx")
    model = onnx.load(path)
    large = onnx.numpy_helper.from_array(np.zeros(4 << 20, np.float32), "large")
    model.graph.initializer.insert(0, large)
    path.write_bytes(model.SerializeToString())
    code = (
        "import os, sys, numpy as np\n"
        "from lookonce import Detector, LookonceError\n"
        "whole = np.isfinite\n"
        "def cut(numbers):\n"
        "    np.isfinite = whole\n"
        "    os.truncate(sys.argv[1], 1 << 16)\n"
        "    return whole(numbers)\n"
        "np.isfinite = cut\n"
        "try:\n"
        "    Detector.open(sys.argv[1])\n"
        "except LookonceError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "model.onnx: expected an ONNX model" in done.stdout
