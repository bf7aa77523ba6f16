"""The ONNX Runtime backend: runs what `lookonce export --to onnx` writes."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookonce._cache import cache_folder
from lookonce._onnxruntime import ort
from lookonce.errors import ConfigError, ModelFileError
from lookonce.metadata import METADATA_KEY, ModelInfo
from lookonce.runtime.backends import (
    Arithmetic,
    as_planes,
    check_output,
    check_ports,
    check_shape,
    describe_content,
    engine_failed,
    engine_text,
)
from lookonce.runtime.devices import AUTO, kind_of
from lookonce.runtime.features import onnx_with_features
from lookonce.runtime.onnx_weights import check_weights

TENSORRT, CUDA = "TensorrtExecutionProvider", "CUDAExecutionProvider"
ORT_FATAL = 4  # log level: errors are raised, so nothing is printed


class OnnxBackend:
    """Network and decoding as one ONNX graph; see `runtime.backends.Backend`. Any thread may call it."""

    def __init__(
        self,
        path: Path,
        *,
        threads: int | None = None,
        arithmetic: Arithmetic = "float32",
        device: str = AUTO,
        tensorrt: bool = False,
    ) -> None:
        """Open the file.

        Args:
            path: `.onnx` file.
            threads: threads per image or batch; None lets ONNX Runtime decide (one per core).
            arithmetic: precision of the layers that are not int8; bfloat16 only with TensorRT.
            device: `auto`, `cpu`, `cuda` or `cuda:1`.
            tensorrt: whether to use TensorRT for the layers that it can run.

        Raises:
            ModelFileError: the file is not ONNX, is damaged, was not written by lookonce, or has weights that
                are not finite.
            ConfigError: TensorRT or the device is not available.
        """
        self._path = path
        chosen = providers(ort.get_available_providers(), arithmetic, device, tensorrt=tensorrt)
        check_weights(path)
        self._settings = threads, chosen
        session = _open_session(path, path, *self._settings)
        self._session: ort.InferenceSession | None = session
        self._preparing, self._has_features = Lock(), False
        try:
            entries = session.get_modelmeta().custom_metadata_map
            if METADATA_KEY not in entries:
                raise ModelFileError(
                    f"{path}: expected the description that lookonce writes into its ONNX files "
                    f"(metadata entry {METADATA_KEY!r}), found {sorted(entries) or 'no metadata'}"
                )
            self.info = ModelInfo.from_json(entries[METADATA_KEY], str(path))
            ports = [  # an open dimension has a name instead of a number
                (port.type, tuple(side if isinstance(side, int) else None for side in port.shape))
                for port in (*session.get_inputs(), *session.get_outputs())
            ]
            self.input_shape, self._planes = check_ports(path, len(self.info.names), ports)
            self._input_name = session.get_inputs()[0].name
            used = check_used(session.get_providers(), device, tensorrt=tensorrt)
            self.engine = engine_text("tensorrt" if tensorrt else "onnxruntime", self.info, arithmetic, used)
        except UnicodeDecodeError as error:  # ONNX Runtime decodes names and metadata when they are read
            raise ModelFileError(
                f"{path}: expected an ONNX model, found text that is not UTF-8: {error}"
            ) from error

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(B, H, W, 3) uint8 RGB -> (B, K, 5+C) float32; see `runtime.backends.Backend` for the errors."""
        return self._run(images)[0]

    def with_features(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(B, H, W, 3) uint8 RGB -> candidates, and features (B, F); see `runtime.backends.Backend`."""
        with self._preparing:
            if not self._has_features and self._session is not None:
                self._session = _open_session(self._path, onnx_with_features(self._path), *self._settings)
                self._has_features = True
        decoded, *features = self._run(images)
        return decoded, np.concatenate([each.reshape(len(images), -1) for each in features], axis=1)

    def _run(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        session = self._session  # a reference, so that `close` in another thread does not free it yet
        if session is None:
            raise ValueError(f"{self._path}: this backend was closed")
        check_shape(self._path, self.input_shape, images.shape)
        given = as_planes(images) if self._planes else images
        try:
            outputs: list[NDArray[np.float32]] = session.run(None, {self._input_name: given})
        except Exception as error:  # ONNX Runtime's exceptions share no base below Exception
            raise engine_failed(self._path, error) from error
        check_output(self._path, outputs[0], len(images), len(self.info.names))
        return outputs

    def close(self) -> None:
        """Free the session; calling afterwards is an error."""
        self._session = None


open_tensorrt = partial(OnnxBackend, tensorrt=True)


def providers(
    available: Sequence[str], arithmetic: Arithmetic, device: str = AUTO, *, tensorrt: bool
) -> list[Any]:
    """Return ONNX Runtime's execution providers in order of preference, with their settings.

    A GPU comes first, unless the CPU is chosen; the CPU is always last and runs the operators that the others
    lack. CUDA does not round float32 to TF32. TensorRT is used only on request, because building its engine
    on first use takes minutes.

    Args:
        available: `onnxruntime.get_available_providers()`.
        arithmetic: precision of the float layers; only TensorRT supports bfloat16.
        device: `auto`, `cpu`, `cuda` or `cuda:1`.
        tensorrt: whether TensorRT is requested.

    Raises:
        ConfigError: TensorRT or CUDA is requested but not available.
    """
    chosen: list[Any] = []
    number = {"device_id": device.partition(":")[2] or "0"}
    if tensorrt:
        if TENSORRT not in available:
            raise ConfigError(
                f"backend: expected {TENSORRT} in ONNX Runtime for tensorrt (pip install onnxruntime-gpu, "
                f"and TensorRT), found {', '.join(available)}"
            )
        kept = {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(cache_folder() / "tensorrt")}
        chosen.append((TENSORRT, {**number, **kept, "trt_bf16_enable": str(int(arithmetic == "bfloat16"))}))
    elif kind_of(device) == "cuda" and CUDA not in available:
        raise ConfigError(
            f"device: expected {CUDA} in ONNX Runtime for {device} (pip install onnxruntime-gpu), "
            f"found {', '.join(available)}"
        )
    if CUDA in available and device != "cpu":
        chosen.append((CUDA, {**number, "use_tf32": "0"}))
    return [*chosen, "CPUExecutionProvider"]


def check_used(used: Sequence[str], device: str, *, tensorrt: bool = False) -> str:
    """Return the device of an open session: `cpu`, `cuda` or `cuda:1`.

    ONNX Runtime silently falls back to the next provider if a library or the GPU is missing.

    Args:
        used: `InferenceSession.get_providers()`.
        device: requested device.
        tensorrt: whether TensorRT was requested.

    Raises:
        ConfigError: a GPU or TensorRT was requested, but is not used.
    """
    if tensorrt and TENSORRT not in used:
        raise ConfigError(
            "backend: expected a GPU that ONNX Runtime can use for tensorrt, with its driver and libraries "
            "(CUDA, TensorRT), found none"
        )
    if CUDA in used or TENSORRT in used:
        return device if kind_of(device) == "cuda" else "cuda"
    if kind_of(device) == "cuda":
        raise ConfigError(
            f"device: expected a GPU that ONNX Runtime can use for {device}, with its driver and CUDA's "
            "libraries, found none"
        )
    return "cpu"


def _open_session(
    path: Path, model: Path | bytes, threads: int | None, chosen: list[Any]
) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = ORT_FATAL
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return ort.InferenceSession(model, options, providers=chosen)
    except Exception as error:  # ONNX Runtime's exceptions share no base below Exception
        raise ModelFileError(
            f"{path}: expected an ONNX model, found {describe_content(path, error)}"
        ) from error
