"""The engines and the files they run: a table with one row per engine, each imported only when used."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from lookonce._files import check_file, check_utf8, open_input
from lookonce._optional import require
from lookonce.errors import ConfigError, ModelFileError
from lookonce.metadata import ModelInfo
from lookonce.networks import BUILT_IN, model_name
from lookonce.runtime.cpu import this_cpu
from lookonce.runtime.devices import AUTO, check_device, kind_of

InputShape = tuple[int | None, int | None, int | None]
Precision = Literal["auto", "float32", "bfloat16", "int8"]
Arithmetic = Literal["float32", "bfloat16"]  # of the layers that are not quantized


class Backend(Protocol):
    """A network and its decoding as one function, for images already at the network's input size.

    Legend: **B** batch, **K** candidates of all scales (10,647 at 416), **C** classes.

    Attributes:
        info: description from the model file.
        input_shape: fixed (B, H, W) of the input; None for a dimension that may have any size.
        engine: engine, device if it is not the CPU, and precision, such as `onnxruntime, float32`.
    """

    info: ModelInfo
    input_shape: InputShape
    engine: str

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(B, H, W, 3) uint8 RGB -> (B, K, 5+C) float32.

        The columns are xyxy in input pixels, objectness and class probabilities. The candidates are ordered
        by scale, from fine to coarse, and within a scale by row, column and anchor.

        Raises:
            ConfigError: the file is fixed to another shape.
            ModelFileError: the engine fails, or its output has an unexpected shape or is not finite.
            ValueError: the backend was closed.
        """

    def with_features(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(B, H, W, 3) uint8 RGB -> the result of `__call__`, and (B, F) features of each image.

        Features are the last feature maps before the heads, averaged over all cells; similar images have
        similar features. The order of the scales depends on the engine. The first call prepares the network
        for features.

        Raises:
            ConfigError, ValueError: as in `__call__`.
            ModelFileError: the network has no convolutions, or as in `__call__`.
        """

    def close(self) -> None:
        """Release the engine's resources.

        Closing again has no effect. A call still running in another thread returns its result or raises an
        error; later calls raise an error.
        """


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that runs networks.

    Attributes:
        opener: `module:function`, which takes the path and keyword options and returns a Backend.
        suffixes: suffixes of the files that the engine reads.
        needs: required package and the extra that provides it; None if the base install has it, or if the
            opener checks for it.
        bfloat16: whether the engine can compute in bfloat16.
        devices: kinds of devices that the engine can use; see `runtime.devices`.
    """

    opener: str
    suffixes: tuple[str, ...]
    needs: tuple[str, str] | None = None
    bfloat16: bool = False
    devices: tuple[str, ...] = ("cpu", "cuda")


# The first engine that reads a suffix is the default, so an `.onnx` file gives the same numbers on every
# installation; `lookonce tune` finds a faster engine for a particular machine (docs/speed.md).
ENGINES = {
    "onnxruntime": Engine("lookonce.runtime.onnx_backend:OnnxBackend", (".onnx",)),
    "openvino": Engine(
        "lookonce.runtime.openvino_backend:OpenVinoBackend",
        (".xml", ".onnx"),
        ("openvino", "openvino"),
        bfloat16=True,
        devices=("cpu", "gpu", "npu"),
    ),
    "torch": Engine(
        "lookonce.model.backend:open_model",
        (".safetensors",),
        ("torch", "train"),
        bfloat16=True,
        devices=("cpu", "cuda", "mps"),
    ),
    "tensorrt": Engine(
        "lookonce.runtime.onnx_backend:open_tensorrt", (".onnx",), bfloat16=True, devices=("cuda",)
    ),
    "ncnn": Engine("lookonce.export.ncnn_backend:NcnnBackend", (".param",), devices=("cpu",)),
}

NEGLIGIBLE = 0.001  # objectness below which even an evaluation ignores a candidate

# File suffix -> "module:function" that takes the model's path and returns the path of a file to open instead.
CONVERTERS = dict.fromkeys((".cfg", ".weights"), "lookonce.darknet.cache:cached_onnx")


def open_backend(
    path: Path,
    *,
    backend: str | None = None,
    threads: int | None = None,
    weights: Path | None = None,
    precision: Precision = "float32",
    device: str = AUTO,
) -> Backend:
    """Open a model file with the default engine for its suffix, or with another that reads it.

    Args:
        path: model file.
        backend: a name in `ENGINES`; None for the first engine that reads the file.
        threads: engine threads per call; None lets the engine decide.
        weights: weights of a Darknet `.cfg`; None for the file beside it.
        precision: `float32`, or `bfloat16` if the CPU supports it, for all layers that are not int8 in the
            file; `int8` for an int8 file, or for the one that `lookonce tune` made and accepted; `auto` for
            the plan of `lookonce tune` for this machine, or float32 without a plan.
        device: a name in `runtime.devices`. Plans are for the CPU, so only `auto` and `cpu` use them.

    Raises:
        ModelFileError: there is no such file, it is damaged, or no engine reads its suffix.
        ConfigError: there is no such engine, precision or device; the engine does not read such files or
            compute in this precision; the file is not int8, as `precision` requires; or `weights` is given
            with a model other than a `.cfg`.
        MissingExtraError: the engine's package is not installed.
    """
    check_file(path, ModelFileError, BUILT_IN)
    check_utf8(path, ModelFileError)
    check_weights_option(path, weights)
    check_device(device)
    check_precision(precision, backend, device)
    name, path = model_name(path), engine_file(path, weights)
    arithmetic: Arithmetic = "bfloat16" if precision == "bfloat16" else "float32"
    if precision in ("auto", "int8") and backend is None and device in (AUTO, "cpu"):
        from lookonce.runtime.plans import tuned_way

        if found := tuned_way(path, name, threads, precision):
            path, way = found
            backend, arithmetic = way.backend, way.arithmetic
            threads = min(threads or way.threads, way.threads)
    opened = load_engine(path, backend, threads, arithmetic, device)
    if precision == "int8" and "int8" not in opened.info.training:
        opened.close()
        raise ConfigError(
            f"precision: expected a model in int8, found {path} in float; `lookonce tune` or "
            "`lookonce export --precision int8` makes one"
        )
    return opened


def engine_text(engine: str, info: ModelInfo, arithmetic: str = "float32", device: str = "cpu") -> str:
    """Describe engine, device and precision: `onnxruntime, float32`, `openvino on gpu, float32`."""
    if device != "cpu":
        engine = f"{engine} on {device}"
    if "int8" not in info.training:
        return f"{engine}, {arithmetic}"
    return f"{engine}, int8" if arithmetic == "float32" else f"{engine}, int8 and {arithmetic}"


def engine_file(path: Path, weights: Path | None = None) -> Path:
    """Return the file to run for a model: the model itself, or a converted Darknet model.

    Raises:
        ModelFileError: the model cannot be converted.
    """
    if converter := CONVERTERS.get(path.suffix.lower()):
        path = resolve_name(converter)(path, weights)
    return path


def check_precision(precision: str, backend: str | None, device: str) -> None:
    """Reject an unknown precision, and bfloat16 on a CPU that could only emulate it, slowly.

    Args:
        precision: a name in `Precision`.
        backend: a name in `ENGINES`; None for any.
        device: a name in `runtime.devices`.

    Raises:
        ConfigError: the precision cannot be used here.
    """
    if precision not in get_args(Precision):
        raise ConfigError(f"precision: expected one of {', '.join(get_args(Precision))}, found {precision!r}")
    engine = ENGINES.get(backend or "")
    on_cpu = kind_of(device) in (AUTO, "cpu") and (engine is None or "cpu" in engine.devices)
    if precision == "bfloat16" and on_cpu and not this_cpu().computes_bfloat16:
        raise ConfigError(
            "precision: expected auto, float32 or int8, because this CPU has no instructions for "
            f"bfloat16 ({this_cpu()}); found 'bfloat16'"
        )


def check_weights_option(model: Path, weights: Path | None) -> None:
    """Reject weights for a model that takes none, and weights that cannot be read.

    Raises:
        ConfigError: the model is not a Darknet `.cfg`.
        ModelFileError: the weights cannot be opened.
    """
    if weights is None:
        return
    if model.suffix.lower() != ".cfg":
        raise ConfigError(f"weights: expected a Darknet .cfg as the model, found {model.name}")
    open_input(weights, ModelFileError).close()


def describe_content(path: Path, error: Exception) -> str:
    """Describe a file that is not a model, as a common mistake or with the engine's message."""
    with open_input(path, ModelFileError) as stream:
        start = stream.read(512)
    if not start:
        return "an empty file"
    if b"<html" in start.lower() or start.lstrip().lower().startswith(b"<!doctype html"):
        return "an HTML page (a failed download?)"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer; try `git lfs pull`"
    return f"a file that is damaged, cut short, or something else: {' '.join(str(error).split())[:300]}"


def check_shape(path: Path, fixed: InputShape, given: tuple[int, ...]) -> None:
    """Check the shape (B, H, W, 3) of images against the fixed shape of a file.

    Raises:
        ConfigError: the shapes differ.
    """
    if any(side is not None and side != found for side, found in zip(fixed, given, strict=False)):
        expected = ", ".join("any" if side is None else str(side) for side in fixed)
        raise ConfigError(
            f"{path}: expected input of the shape it was exported for, ({expected}, 3) "
            f"(batch, height, width, channels), found {given}"
        )


def check_ports(
    path: Path, classes: int, ports: Sequence[tuple[str, tuple[int | None, ...]]]
) -> tuple[InputShape, bool]:
    """Check a graph's inputs and outputs, each as (type, shape).

    Returns:
        Fixed (B, H, W) of the input, with None for an open dimension, and whether the input is in planes
        (see `as_planes`).

    Raises:
        ModelFileError: the graph is not one that lookonce exports, or has another number of classes.
    """
    match ports:
        case [
            ("u8" | "tensor(uint8)", (batch, height, width, 3)),
            ("f32" | "tensor(float)", (_, _, columns)),
        ] if columns == 5 + classes:
            return (batch, height, width), False
        case [
            ("f32" | "tensor(float)", (batch, 3, height, width)),
            ("f32" | "tensor(float)", (_, _, columns)),
        ] if columns == 5 + classes:
            return (batch, height, width), True
    raise ModelFileError(
        f"{path}: expected one input, uint8 (B, H, W, 3) or float (B, 3, H, W), and one float output "
        f"(B, K, {5 + classes}), found {ports}; a file exported with --nms is for other programs"
    )


def as_planes(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(B, H, W, 3) uint8 -> (B, 3, H, W) float32 in [0, 1], contiguous, for graphs with a float input."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32) / np.float32(255)


def check_output(path: Path, candidates: NDArray[np.float32], images: int, classes: int) -> None:
    """Check the shape and the values of an engine's output.

    Raises:
        ModelFileError: the shape is not (images, K, 5 + classes), or a possible detection has a NaN or
            an infinite score; since NaN exceeds no threshold, the image would look empty.
    """
    if candidates.ndim != 3 or (candidates.shape[0], candidates.shape[2]) != (images, 5 + classes):
        raise ModelFileError(
            f"{path}: expected an output of ({images}, K, {5 + classes}), found {candidates.shape}"
        )
    likely = candidates[candidates[..., 4] > NEGLIGIBLE]
    finite = (candidates[..., 4], likely[:, 5:])
    if not all(np.isfinite(each).all() for each in finite) or np.isnan(likely[:, :4]).any():
        raise ModelFileError(f"{path}: expected scores and boxes, found NaN or infinity in the output")


def engine_failed(path: Path, error: Exception) -> ModelFileError:
    """Return an engine's error as a `ModelFileError` with one short line."""
    return ModelFileError(f"{path}: the engine failed: {' '.join(str(error).split())[:300]}")


def load_engine(
    path: Path,
    name: str | None = None,
    threads: int | None = None,
    arithmetic: Arithmetic = "float32",
    device: str = AUTO,
) -> Backend:
    """Open a file with the named engine, or the first that reads it and supports the precision and device.

    Raises:
        ModelFileError, ConfigError, MissingExtraError: as in `open_backend`.
    """
    suffix = path.suffix.lower()
    if name is not None and name not in ENGINES:
        raise ConfigError(f"backend: expected one of {', '.join(ENGINES)}, found {name!r}")
    reading = [each for each, engine in ENGINES.items() if suffix in engine.suffixes]
    if not reading:
        suffixes = [each for engine in ENGINES.values() for each in engine.suffixes]
        known = ", ".join(dict.fromkeys([*suffixes, *CONVERTERS]))
        raise ModelFileError(f"{path}: expected a model file ({known}), found suffix {path.suffix!r}")
    if name is not None and name not in reading:
        raise ConfigError(
            f"{path}: expected a file that {name} runs ({', '.join(ENGINES[name].suffixes)}), found suffix "
            f"{path.suffix!r}; `lookonce export` may make one"
        )
    kind = kind_of(device)
    on_device = [each for each in reading if kind == AUTO or kind in ENGINES[each].devices]
    if not on_device or (name is not None and name not in on_device):
        devices = [each for engine in ([name] if name else reading) for each in ENGINES[engine].devices]
        raise ConfigError(
            f"device: expected {' or '.join(dict.fromkeys(devices))}, on which "
            f"{name or f'an engine for {suffix} files'} runs, found {device!r}"
        )
    able = [each for each in on_device if arithmetic == "float32" or ENGINES[each].bfloat16]
    if not able or (name is not None and name not in able):
        others = f"; for that choose the backend {' or '.join(able)}" if able else ""
        raise ConfigError(
            f"precision: expected float32, in which {name or on_device[0]} computes what is not int8 in the "
            f"file, found {arithmetic!r}{others}"
        )
    engine = ENGINES[name or able[0]]
    if engine.needs:
        require(*engine.needs)
    opened: Backend = resolve_name(engine.opener)(path, threads=threads, arithmetic=arithmetic, device=device)
    return opened
