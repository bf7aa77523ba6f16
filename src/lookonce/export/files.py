"""Write exported graphs as ONNX, or as OpenVINO's `.xml` and `.bin`; equal graphs give equal bytes."""

import re
from pathlib import Path
from typing import Any

import onnx

from lookonce._optional import require

NUMBERED = re.compile(r"(.+)_\d+")  # names that OpenVINO gives unnamed nodes: type and counter


def write_onnx(graph: onnx.ModelProto, path: Path) -> None:
    """Write an `.onnx` file."""
    path.write_bytes(graph.SerializeToString(deterministic=True))


def write_openvino(graph: onnx.ModelProto, path: Path) -> None:
    """Write an `.xml` file and the `.bin` beside it, with weights in float32.

    Raises:
        MissingExtraError: OpenVINO is not installed.
    """
    save_openvino(read_openvino(graph), path)


def read_openvino(graph: onnx.ModelProto) -> Any:
    """Convert a graph to an `openvino.Model`.

    Raises:
        MissingExtraError: OpenVINO is not installed.
    """
    ov = require("openvino", "openvino")
    model = ov.Core().read_model(graph.SerializeToString())
    model.set_friendly_name(graph.producer_name)
    return model


def save_openvino(model: Any, path: Path) -> None:
    """Write an `openvino.Model` as an `.xml` file and the `.bin` beside it.

    Raises:
        MissingExtraError: OpenVINO is not installed.
        OSError: a file cannot be written.
    """
    ov = require("openvino", "openvino")
    for number, node in enumerate(model.get_ordered_ops()):
        # the counters depend on what the process did before, so they are replaced by positions
        if (name := NUMBERED.fullmatch(node.get_friendly_name())) and name[1] == node.get_type_name():
            node.set_friendly_name(f"{name[1]}.{number}")
    try:
        ov.save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:
        raise OSError(f"OpenVINO cannot write it; is the disk full? ({str(error).strip()[-100:]})") from error
