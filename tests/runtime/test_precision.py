"""Precision of computation, and combinations that are rejected."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lookonce.errors import ConfigError
from lookonce.export.files import write_onnx
from lookonce.export.quantize_onnx import quantize_onnx
from lookonce.runtime import backends
from lookonce.runtime.backends import open_backend
from lookonce.runtime.cpu import Cpu, this_cpu
from lookonce.runtime.detector import Detector
from lookonce.runtime.onnx_backend import OnnxBackend, providers
from lookonce.runtime.openvino_backend import OpenVinoBackend
from lookonce.runtime.options import DetectOptions
from tests.export.models import INFO, write_every_form

NATIVE, OLD = Cpu("new", ("avx512f", "avx512_bf16"), 2), Cpu("old", ("avx2",), 2)
CPU, CUDA, TRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a model as `m.safetensors`, `m.onnx`, `m.xml` and `int8.onnx`; return its folder."""
    folder = tmp_path_factory.mktemp("models")
    graph = write_every_form(folder / "m")
    inputs = np.random.default_rng(0).integers(0, 256, (2, *INFO.input_size, 3), np.uint8)
    write_onnx(quantize_onnx(graph, inputs), folder / "int8.onnx")
    return folder


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "this_cpu", lambda: NATIVE)


@pytest.mark.parametrize("name", ["m.onnx", "m.xml", "m.safetensors"])
def test_bfloat16_is_near_float32_and_not_equal(
    models: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name != "m.safetensors" and not this_cpu().computes_bfloat16:
        pytest.skip("OpenVINO computes in float32 on CPUs without bfloat16")
    monkeypatch.setattr(backends, "this_cpu", lambda: NATIVE)
    images = np.random.default_rng(1).integers(0, 256, (1, *INFO.input_size, 3), np.uint8)
    exact = open_backend(models / name)(images)

    rough = open_backend(models / name, precision="bfloat16")(images)

    assert rough.dtype == np.float32
    scores = np.abs(rough[..., 4:] - exact[..., 4:])
    assert scores.max() < 0.05
    if this_cpu().computes_bfloat16 or name == "m.safetensors":  # OpenVINO does not emulate it
        assert scores.max() > 1e-6
    boxes = np.abs(rough[..., :4] - exact[..., :4])
    assert np.median(boxes) < 1


@pytest.mark.usefixtures("native")
def test_bfloat16_chooses_the_first_engine_that_supports_it(models: Path) -> None:
    assert isinstance(open_backend(models / "m.onnx", precision="bfloat16"), OpenVinoBackend)
    assert isinstance(open_backend(models / "m.onnx", precision="float32"), OnnxBackend)
    with pytest.raises(ConfigError, match=r"precision: expected float32, in which onnxruntime"):
        open_backend(models / "m.onnx", backend="onnxruntime", precision="bfloat16")


def test_bfloat16_is_refused_on_cpus_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "this_cpu", lambda: OLD)
    with pytest.raises(
        ConfigError, match=r"^precision: expected auto, float32 or int8, .*old, 2 cores, avx2"
    ):
        Detector.open("any.onnx", precision="bfloat16")
    for elsewhere in (DetectOptions(device="cuda"), DetectOptions(backend="tensorrt")):
        replace(elsewhere, precision="bfloat16")  # the CPU does not support


def test_int8_needs_an_int8_file(models: Path) -> None:
    open_backend(models / "int8.onnx", precision="int8").close()
    with pytest.raises(ConfigError, match=r"precision: expected a model in int8, found .*m\.onnx in float; "):
        open_backend(models / "m.onnx", precision="int8")


@pytest.mark.parametrize(
    ("available", "tensorrt", "expected"),
    [
        ([CPU], False, [CPU]),
        ([CPU, CUDA], False, [CUDA, CPU]),
        ([TRT, CUDA, CPU], False, [CUDA, CPU]),
        (["AzureExecutionProvider", CPU], False, [CPU]),
        ([CPU, CUDA, TRT], True, [TRT, CUDA, CPU]),
        ([TRT, CPU], True, [TRT, CPU]),
    ],
)
def test_execution_providers_are_ordered_by_preference(
    available: list[str], tensorrt: bool, expected: list[str]
) -> None:
    chosen = providers(available, "float32", tensorrt=tensorrt)

    assert [each if isinstance(each, str) else each[0] for each in chosen] == expected
    settings: dict[str, object] = dict(each for each in chosen if isinstance(each, tuple))
    of_cuda = {"device_id": "0", "use_tf32": "0"}
    assert settings.get(CUDA, of_cuda) == of_cuda


def test_tensorrt_computes_bfloat16_on_request() -> None:
    (_, settings), *_ = providers([TRT, CPU], "bfloat16", tensorrt=True)
    assert settings["trt_bf16_enable"] == "1"
    (_, settings), *_ = providers([TRT, CPU], "float32", tensorrt=True)
    assert settings["trt_bf16_enable"] == "0"
    with pytest.raises(ConfigError, match=r"backend: expected Tensorrt.* found CPUExecutionProvider"):
        providers([CPU], "float32", tensorrt=True)


def test_a_missing_tensorrt_is_named(models: Path) -> None:
    with pytest.raises(ConfigError, match="backend: expected TensorrtExecutionProvider"):
        open_backend(models / "m.onnx", backend="tensorrt")
