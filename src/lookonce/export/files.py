"""Write exported graphs: ONNX, or OpenVINO's `.xml` with its `.bin`. The same graph gives the same bytes."""

import re
from pathlib import Path
from typing import Any

import onnx

from lookonce._optional import require

NUMBERED = re.compile(r"(.+)_\d+")  # OpenVINO's names for unnamed nodes: kind and counter


def write_onnx(graph: onnx.ModelProto, path: Path) -> None:
    """Write one `.onnx` file."""
    path.write_bytes(graph.SerializeToString(deterministic=True))


def write_openvino(graph: onnx.ModelProto, path: Path) -> None:
    """Write `path`, an `.xml` file, and the `.bin` beside it; weights stay float32.

    Raises:
        MissingExtraError: OpenVINO is not installed.
    """
    save_openvino(read_openvino(graph), path)


def read_openvino(graph: onnx.ModelProto) -> Any:
    """Convert the graph to an `openvino.Model`.

    Raises:
        MissingExtraError: OpenVINO is not installed.
    """
    ov = require("openvino", "openvino")
    model = ov.Core().read_model(graph.SerializeToString())
    model.set_friendly_name(graph.producer_name)
    return model


def save_openvino(model: Any, path: Path) -> None:
    """Write an `openvino.Model` as `path` and the `.bin` beside it."""
    ov = require("openvino", "openvino")
    for number, node in enumerate(model.get_ordered_ops()):
        # the counters depend on what the process did before
        if (name := NUMBERED.fullmatch(node.get_friendly_name())) and name[1] == node.get_type_name():
            node.set_friendly_name(f"{name[1]}.{number}")
    try:
        ov.save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:
        raise OSError(f"OpenVINO cannot write it; is the disk full? ({str(error).strip()[-100:]})") from error
