"""The same model gives the same files, byte for byte, whatever the process did before."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from lookonce.export.files import write_onnx, write_openvino
from lookonce.export.graph import GraphForm, export_graph
from lookonce.export.nms import GraphNms
from lookonce.export.source import read_source
from lookonce.runtime.backends import open_backend
from tests.export.models import INFO, write_model

PROGRAM = """
import sys
from pathlib import Path
from lookonce.export.files import write_onnx, write_openvino
from lookonce.export.graph import GraphForm, export_graph
from lookonce.export.nms import GraphNms
from lookonce.export.source import read_source
source = read_source(Path(sys.argv[1]))
graph = export_graph(source, GraphForm(nms=GraphNms.of_model(source.info)))
write_onnx(graph, Path(sys.argv[2]).with_suffix(".onnx"))
write_openvino(graph, Path(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "model.safetensors")


def test_two_processes_write_the_same_bytes(model: Path, tmp_path: Path) -> None:
    graph = export_graph(read_source(model), GraphForm(nms=GraphNms.of_model(INFO)))
    for again in ("once", "here"):  # OpenVINO's counters are higher the second time
        write_openvino(graph, tmp_path / f"{again}.xml")
    write_onnx(graph, tmp_path / "here.onnx")
    (tmp_path / "else where").mkdir()
    command = [sys.executable, "-c", PROGRAM, str(model), str(tmp_path / "else where" / "there.xml")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr

    for suffix in (".onnx", ".xml", ".bin"):
        there = (tmp_path / "else where" / f"there{suffix}").read_bytes()
        assert (tmp_path / f"here{suffix}").read_bytes() == there, suffix


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_the_file_holds_description_and_full_weights(model: Path, tmp_path: Path, suffix: str) -> None:
    graph = export_graph(read_source(model))
    path = tmp_path / f"model{suffix}"

    (write_onnx if suffix == ".onnx" else write_openvino)(graph, path)

    backend = open_backend(path)
    assert backend.info == INFO
    backend.close()
    weights = sum(np.prod(each.dims) for each in graph.graph.initializer if each.data_type == 1)
    written = path if suffix == ".onnx" else path.with_suffix(".bin")
    assert written.stat().st_size > 4 * weights


def test_names_in_the_graph_are_kept(model: Path, tmp_path: Path) -> None:
    write_openvino(export_graph(read_source(model)), tmp_path / "model.xml")

    text = (tmp_path / "model.xml").read_text()
    assert 'name="decode_16_' in text
    assert 'name="candidates"' in text or 'names="candidates"' in text
    assert 'name="Constant_' not in text


def test_onnx_reads_the_written_file(model: Path, tmp_path: Path) -> None:
    graph = export_graph(read_source(model))

    write_onnx(graph, tmp_path / "model.onnx")

    assert onnx.load(tmp_path / "model.onnx") == graph
