"""The OpenVINO backend: runs what `lookonce export --to openvino` writes, and lookonce's `.onnx` files.

OpenVINO is faster with a fixed shape: a yolov3-tiny at 416 takes 1.3 to 1.5 times as long with an open height
and width, and 1.05 times as long with an open batch. So a network is compiled for each of the first
`MOST_SHAPES` sizes; later sizes share one that accepts any size. A neural processor (NPU) only supports fixed
shapes, so there the oldest network is replaced. On a CPU, compiled networks are cached for later processes
(`runtime.compiled`).
"""

import os
import re
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookonce._files import open_input
from lookonce._optional import require
from lookonce.errors import ConfigError, ModelFileError
from lookonce.metadata import METADATA_KEY, ModelInfo
from lookonce.runtime.backends import (
    Arithmetic,
    InputShape,
    as_planes,
    check_output,
    check_ports,
    check_shape,
    describe_content,
    engine_failed,
    engine_text,
)
from lookonce.runtime.compiled import compiled_file, model_content, read_compiled, write_compiled
from lookonce.runtime.devices import AUTO, choose_device, kind_of
from lookonce.runtime.features import head_convolutions

ov = require("openvino", "openvino")
# OpenVINO's Python binding builds a table of numpy types on first use, and two threads that trigger this at
# the same time deadlock. So it is triggered here, during import, which only one thread executes.
ov.Type.u8.to_dtype()

DESCRIPTION = ["framework", METADATA_KEY]  # where OpenVINO's ONNX reader stores an entry of ONNX metadata
MOST_SHAPES = 4  # networks compiled for one size each; every network has a copy of the weights
ANY_SHAPE = None, None, None
MOST_STREAMS = 8  # concurrent calls, each on its own threads


@cache
def openvino_core() -> Any:
    """Return the OpenVINO core of this process, which is never closed.

    A core that uses the CPU replaces the stack on which its thread handles signals, and restores it when
    closed. If two cores are closed in the order in which they were opened, the stack is freed memory, and the
    next Ctrl-C ends in a segmentation fault (OpenVINO 2026.4).
    """
    return ov.Core()


@dataclass(frozen=True, slots=True, eq=False)
class _Compiled:
    """A network compiled for one shape, and its idle inference requests."""

    network: Any
    idle: deque[Any] = field(default_factory=deque)


class OpenVinoBackend:
    """Network and decoding as one OpenVINO graph; see `runtime.backends.Backend`. Any thread may call it."""

    def __init__(
        self,
        path: Path,
        *,
        threads: int | None = None,
        arithmetic: Arithmetic = "float32",
        device: str = AUTO,
    ) -> None:
        """Open the file.

        Args:
            path: `.xml` file with its `.bin` beside it, or `.onnx` file.
            threads: threads per image or batch; calls from several threads then run concurrently if there are
                enough cores. None for all cores for each call, and one call at a time.
            arithmetic: precision of the layers that are not int8; decoding is always float32. An NPU computes
                in float16.
            device: `auto` or `cpu` for the CPU; `gpu`, `gpu:1` or `npu`.

        Raises:
            ModelFileError: the file is of another kind, is damaged, was not written by lookonce, or has
                weights that are not finite.
            ConfigError: this machine has no such device, or bfloat16 was requested on a device other than the
                CPU.
        """
        self._path = path
        core = openvino_core()
        found = [name.lower().replace(".", ":") for name in core.available_devices]  # OpenVINO has `GPU.1`
        known = [name for name in found if kind_of(name) in ("cpu", "gpu", "npu")]
        self._device = choose_device(device, sorted(known, key=lambda name: name != "cpu"), "OpenVINO")
        if arithmetic == "bfloat16" and self._device != "cpu":
            raise ConfigError(f"precision: expected float32 on {self._device}, found 'bfloat16'")
        self._content = model_content(path) if self._device == "cpu" else None
        self._model: Any = _read(core, path)
        if not self._model.has_rt_info(DESCRIPTION):
            raise ModelFileError(
                f"{path}: expected the description that lookonce writes into its files "
                f"({'/'.join(DESCRIPTION)}), found none"
            )
        self.info = ModelInfo.from_json(self._model.get_rt_info(DESCRIPTION).astype(str), str(path))
        ports = [
            (
                port.get_element_type().get_type_name(),
                tuple(side.get_length() if side.is_static else None for side in port.get_partial_shape()),
            )
            for port in (*self._model.inputs, *self._model.outputs)
        ]
        self.input_shape, self._planes = check_ports(path, len(self.info.names), ports)
        self._fixed_shapes = kind_of(self._device) == "npu"
        precision = "float16" if self._fixed_shapes else arithmetic
        self.engine = engine_text("openvino", self.info, precision, self._device)
        for node in self._model.get_ops():
            real = node.get_type_name() == "Constant" and node.get_element_type().is_real()
            if real and not np.isfinite(node.data).all():
                name = node.get_friendly_name()
                raise ModelFileError(f"{path}: {name} holds numbers that are infinite or not a number")
        self._settings = _settings(threads, arithmetic, kind_of(self._device))
        self._compiled: dict[InputShape, _Compiled] = {}
        self._compiling, self._has_features = Lock(), False

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(B, H, W, 3) uint8 RGB -> (B, K, 5+C) float32; see `runtime.backends.Backend` for the errors."""
        return self._infer(images)[0]

    def with_features(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(B, H, W, 3) uint8 RGB -> candidates, and features (B, F); see `runtime.backends.Backend`."""
        with self._compiling:
            if not self._has_features and self._model is not None:
                model = self._model.clone()
                model.add_outputs(_head_inputs(model, self._path))
                self._model, self._has_features = model, True
                self._compiled.clear()
        candidates, *maps = self._infer(images)
        return candidates, np.concatenate([each.mean(axis=(2, 3)) for each in maps], axis=1)

    def _infer(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        check_shape(self._path, self.input_shape, images.shape)
        batch, height, width = images.shape[:3]
        try:
            open_batch = batch > 1 and not self._fixed_shapes
            compiled = self._compiled_for((None if open_batch else batch, height, width))
            try:
                request = compiled.idle.pop()
            except IndexError:
                request = compiled.network.create_infer_request()
            results = request.infer([as_planes(images) if self._planes else images], share_inputs=True)
        except RuntimeError as error:
            raise engine_failed(self._path, error) from error
        compiled.idle.append(request)
        outputs = [results[i] for i in range(len(results))]  # copies, which the next call does not overwrite
        check_output(self._path, outputs[0], len(images), len(self.info.names))
        return outputs

    def close(self) -> None:
        """Free the networks; calling afterwards is an error."""
        with self._compiling:
            self._model = None
            self._compiled.clear()

    def _compiled_for(self, shape: InputShape) -> _Compiled:
        """Return the network for (B, H, W), with None for an open dimension, and compile it if necessary."""
        with self._compiling:
            if self._model is None:
                raise ValueError(f"{self._path}: this backend was closed")
            if shape not in self._compiled and len(self._compiled) >= MOST_SHAPES:
                if self._fixed_shapes:
                    self._compiled.pop(next(iter(self._compiled)))
                else:
                    shape = ANY_SHAPE
            if shape not in self._compiled:
                self._compiled[shape] = _Compiled(self._compile(shape))
            return self._compiled[shape]

    def _compile(self, shape: InputShape) -> Any:
        """Return the network for (B, H, W), from the cache or newly compiled."""
        core, name = openvino_core(), self._device.upper().replace(":", ".")
        kept = None
        if self._content is not None and self._content == model_content(self._path):  # unchanged since read
            settings = sorted(self._settings.items())
            kept = compiled_file(self._content, ov.get_version(), settings, shape, self._has_features)
        if kept is not None and (blob := read_compiled(kept)) is not None:
            with suppress(RuntimeError):  # a network that OpenVINO rejects is compiled again
                return core.import_model(blob, name, self._settings)
        model = self._model.clone()
        batch, *sides = (-1 if side is None else side for side in shape)
        model.reshape([batch, 3, *sides] if self._planes else [batch, *sides, 3])
        network = core.compile_model(model, name, self._settings)
        if kept is not None:
            with suppress(RuntimeError):  # a network that cannot be exported is compiled again next time
                write_compiled(kept, network.export_model().getvalue())
        return network


def _head_inputs(model: Any, path: Path) -> list[Any]:
    """Return the inputs of a model's heads as node outputs, without repetition."""
    nodes = {node.get_friendly_name(): node for node in model.get_ops()}
    heads = head_convolutions(
        model.outputs[0].get_node().get_friendly_name(),
        lambda name: [each.get_node().get_friendly_name() for each in nodes[name].input_values()],
        lambda name: nodes[name].get_type_name() in ("Convolution", "GroupConvolution"),
        path,
    )
    read = (nodes[head].input_value(0) for head in heads)
    return list({(each.get_node().get_friendly_name(), each.get_index()): each for each in read}.values())


def _settings(threads: int | None, arithmetic: Arithmetic, device: str) -> dict[str, Any]:
    """Return OpenVINO's settings for a network on a kind of device."""
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if device != "npu":  # an NPU only has float16
        # by default, OpenVINO uses float16 on a GPU, and bfloat16 on a CPU that supports it
        settings["INFERENCE_PRECISION_HINT"] = "f32" if arithmetic == "float32" else "bf16"
    if threads is not None and device == "cpu":
        streams = max(1, min((os.cpu_count() or 1) // threads, MOST_STREAMS))
        settings |= {"NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": streams * threads}
    return settings


def _read(core: Any, path: Path) -> Any:
    try:
        if path.suffix.lower() == ".xml":
            # other files are rejected here, because OpenVINO would try all its readers, which print messages
            with open_input(path, ModelFileError) as stream:
                if not re.match(rb"\s*(<\?xml[^>]*>\s*)?<net\b", stream.read(512)):
                    raise ValueError("it does not begin as OpenVINO's files do")
        return core.read_model(path)
    except (RuntimeError, ValueError) as error:
        what = f"found {describe_content(path, error)}"
        if path.suffix.lower() == ".xml" and not path.with_suffix(".bin").is_file():
            what = f"found no {path.with_suffix('.bin').name} beside it"
        raise ModelFileError(f"{path}: expected an OpenVINO or ONNX model, {what}") from error
