"""The OpenVINO backend: runs what `lookonce export --to openvino` writes, and lookonce's `.onnx` files.

OpenVINO is faster when it knows the shape beforehand: on a yolov3-tiny at 416, open height and width cost 1.3
to 1.5 times the time, an open batch 1.05 times. So the network is compiled for each of the first few sizes
that come; all further ones share a network that takes any.
"""

import os
import re
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookonce._optional import require
from lookonce.errors import ModelFileError
from lookonce.metadata import METADATA_KEY, ModelInfo
from lookonce.runtime.backends import InputShape, check_output, check_shape, describe_content, engine_failed

ov = require("openvino", "openvino")
# Its binding makes a table of numpy's types when first asked for one, and two threads that ask at the same
# time wait for each other for ever. So it is asked here, where the import lets one thread in alone.
ov.Type.u8.to_dtype()

DESCRIPTION = ["framework", METADATA_KEY]  # where its ONNX reader puts an entry of ONNX metadata
MOST_SHAPES = 4  # with a network of their own, which holds the weights once more in the form that suits it
ANY_SHAPE = None, None, None
MOST_STREAMS = 8  # calls that run side by side, each on threads of its own


@dataclass(frozen=True, slots=True, eq=False)
class _Compiled:
    """The network for one shape, and the requests that no call is using."""

    network: Any
    idle: deque[Any] = field(default_factory=deque)


class OpenVinoBackend:
    """Network and decoding as one graph; see `runtime.backends.Backend`. Any thread may call it."""

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        """Open the file.

        Args:
            path: an `.xml` file with its `.bin` beside it, or an `.onnx` file.
            threads: for one image or batch. Calls from several threads then run side by side, as far as
                there are cores. None: all cores for one call, and one call after the other.

        Raises:
            ModelFileError: not such a file, damaged, or not one that lookonce wrote.
        """
        self._path = path
        self._core = ov.Core()
        self._model: Any = _read(self._core, path)
        self.info = _read_info(self._model, path)
        self.input_shape = _checked_input(self._model, self.info, path)
        for node in self._model.get_ops():
            real = node.get_type_name() == "Constant" and node.get_element_type().is_real()
            if real and not np.isfinite(node.data).all():
                name = node.get_friendly_name()
                raise ModelFileError(f"{path}: {name} holds numbers that are infinite or not a number")
        self._settings = _settings(threads)
        self._compiled: dict[InputShape, _Compiled] = {}
        self._compiling = Lock()

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(B, H, W, 3) uint8 RGB -> (B, K, 5+C) float32; see `runtime.backends.Backend`.

        Raises:
            ConfigError: the file was exported for one fixed size, and this is another.
            ValueError: the backend was closed.
        """
        check_shape(self._path, self.input_shape, images.shape)
        batch, height, width = images.shape[:3]
        try:
            compiled = self._compiled_for((1 if batch == 1 else None, height, width))
            try:
                request = compiled.idle.pop()
            except IndexError:
                request = compiled.network.create_infer_request()
            results = request.infer([images], share_inputs=True)
        except RuntimeError as error:
            raise engine_failed(self._path, error) from error
        compiled.idle.append(request)
        candidates: NDArray[np.float32] = results[0]  # a copy, which the next call does not touch
        check_output(self._path, candidates, len(images), len(self.info.names))
        return candidates

    def close(self) -> None:
        """Free the networks; calling afterwards is an error."""
        with self._compiling:
            self._model = None
            self._compiled.clear()

    def _compiled_for(self, shape: InputShape) -> _Compiled:
        """The network for (B, H, W), compiled now if it is not yet; None is an open side."""
        with self._compiling:
            if self._model is None:
                raise ValueError(f"{self._path}: this backend was closed")
            if shape not in self._compiled and len(self._compiled) >= MOST_SHAPES:
                shape = ANY_SHAPE
            if shape not in self._compiled:
                model = self._model.clone()
                model.reshape([-1 if side is None else side for side in (*shape, 3)])
                self._compiled[shape] = _Compiled(self._core.compile_model(model, "CPU", self._settings))
            return self._compiled[shape]


def _settings(threads: int | None) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        # Left to itself, OpenVINO computes in bfloat16 where the processor can: boxes are then 3 pixels off.
        "INFERENCE_PRECISION_HINT": "f32",
    }
    if threads is not None:
        streams = max(1, min((os.cpu_count() or 1) // threads, MOST_STREAMS))
        settings |= {"NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": streams * threads}
    return settings


def _read(core: Any, path: Path) -> Any:
    try:
        if path.suffix.lower() == ".xml":
            _check_start(path)
        return core.read_model(path)
    except (RuntimeError, ValueError) as error:
        what = f"found {describe_content(path, error)}"
        if path.suffix.lower() == ".xml" and not path.with_suffix(".bin").is_file():
            what = f"found no {path.with_suffix('.bin').name} beside it"
        raise ModelFileError(f"{path}: expected an OpenVINO or ONNX model, {what}") from error


def _check_start(path: Path) -> None:
    """OpenVINO tries all its readers on what is no XML, and they print to the error stream."""
    with path.open("rb") as stream:
        if not re.match(rb"\s*(<\?xml[^>]*>\s*)?<net\b", stream.read(512)):
            raise ValueError("it does not begin as OpenVINO's files do")


def _read_info(model: Any, path: Path) -> ModelInfo:
    if not model.has_rt_info(DESCRIPTION):
        raise ModelFileError(
            f"{path}: expected the description that lookonce writes into its files "
            f"({'/'.join(DESCRIPTION)}), found none"
        )
    return ModelInfo.from_json(model.get_rt_info(DESCRIPTION).astype(str), str(path))


def _checked_input(model: Any, info: ModelInfo, path: Path) -> InputShape:
    """(B, H, W) that the file is fixed to, after a look at whether the graph is what its description says."""
    columns = 5 + len(info.names)
    found = [
        (port.get_element_type().get_type_name(), _sides(port)) for port in (*model.inputs, *model.outputs)
    ]
    match found:
        case [("u8", (batch, height, width, 3)), ("f32", (_, _, last))] if last == columns:
            return batch, height, width
    raise ModelFileError(
        f"{path}: expected one uint8 input (B, H, W, 3) and one float output (B, K, {columns}), found "
        f"{found}; a file exported with --nms is for other programs"
    )


def _sides(port: Any) -> tuple[int | None, ...]:
    """The shape of an input or output; None for an open side."""
    return tuple(side.get_length() if side.is_static else None for side in port.get_partial_shape())
