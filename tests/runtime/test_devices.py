"""Choice of the device, on simulated machines, so none of the devices is needed."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookonce._onnxruntime import ort
from lookonce._optional import require
from lookonce.cli import main
from lookonce.errors import ConfigError
from lookonce.runtime import onnx_backend, openvino_backend
from lookonce.runtime.backends import open_backend
from lookonce.runtime.detector import Detector
from lookonce.runtime.devices import check_device, choose_device
from lookonce.runtime.onnx_backend import check_used, providers
from lookonce.runtime.openvino_backend import MOST_SHAPES, OpenVinoBackend
from tests.export.models import INFO, write_every_form

torch = require("torch", "train")
ov = require("openvino", "openvino")

CPU, CUDA, TRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a model as `m.safetensors`, `m.onnx` and `m.xml`; return its folder."""
    folder = tmp_path_factory.mktemp("models")
    write_every_form(folder / "m")
    return folder


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Simulate a machine with the devices in `devices`; the CPU does their work.

    Each network is appended to `compiled`: its device, shape and settings.
    """
    monkeypatch.setenv("LOOKONCE_CACHE", os.devnull)  # without networks compiled earlier
    real = openvino_backend.openvino_core()
    made: dict[str, Any] = {"devices": ["CPU", "GPU.0", "GPU.1", "NPU"], "compiled": []}

    class Core:
        read_model = staticmethod(real.read_model)

        @property
        def available_devices(self) -> list[str]:
            return list(made["devices"])

        def compile_model(self, model: Any, device: str, settings: dict[str, Any]) -> Any:
            made["compiled"].append((device, str(model.inputs[0].get_partial_shape()), settings))
            return real.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    monkeypatch.setattr(openvino_backend, "openvino_core", Core)
    return made


def pixels(batch: int = 1, height: int = INFO.input_size[0]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (batch, height, INFO.input_size[1], 3), np.uint8)


@pytest.mark.parametrize(
    ("wanted", "found", "chosen"),
    [
        ("auto", ["cpu"], "cpu"),
        ("auto", ["cuda:0", "cuda:1", "cpu"], "cuda:0"),
        ("cpu", ["cuda:0", "cpu"], "cpu"),
        ("cuda", ["cuda:0", "cuda:1", "cpu"], "cuda:0"),
        ("cuda:1", ["cuda:0", "cuda:1", "cpu"], "cuda:1"),
        ("gpu:1", ["cpu", "gpu:0", "gpu:1"], "gpu:1"),
        ("gpu:0", ["cpu", "gpu"], "gpu"),  # OpenVINO numbers devices only if there are several
        ("gpu", ["cpu", "gpu"], "gpu"),
    ],
)
def test_a_name_chooses_among_the_devices_of_a_machine(wanted: str, found: list[str], chosen: str) -> None:
    check_device(wanted)
    assert choose_device(wanted, found, "engine") == chosen


@pytest.mark.parametrize("wanted", ["cuda", "cuda:2", "mps", "gpu:1"])
def test_a_missing_device_lists_the_available_ones(wanted: str) -> None:
    with pytest.raises(ConfigError, match=rf"^device: expected cpu or gpu, which torch .*found '{wanted}'"):
        choose_device(wanted, ["cpu", "gpu"], "torch")


@pytest.mark.parametrize("name", ["", "CUDA", "tpu", "cuda:", "cuda:x", "auto:1", "cpu,gpu", "cuda:-1"])
def test_an_unknown_device_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^device: expected auto, cpu, cuda"):
        Detector.open("any.onnx", device=name)


@pytest.mark.parametrize(
    ("available", "device", "expected"),
    [
        ([CPU], "auto", [(CPU, None)]),
        ([CUDA, CPU], "auto", [(CUDA, "0"), (CPU, None)]),
        ([CUDA, CPU], "cuda", [(CUDA, "0"), (CPU, None)]),
        ([TRT, CUDA, CPU], "cuda:3", [(CUDA, "3"), (CPU, None)]),
        ([TRT, CUDA, CPU], "cpu", [(CPU, None)]),
    ],
)
def test_onnx_runtime_gets_the_gpu_of_that_number(
    available: list[str], device: str, expected: list[tuple[str, str | None]]
) -> None:
    chosen = providers(available, "float32", device, tensorrt=False)
    found = [(each, None) if isinstance(each, str) else (each[0], each[1]["device_id"]) for each in chosen]
    assert found == expected


def test_tensorrt_and_cuda_beside_it_share_a_gpu() -> None:
    *chosen, last = providers([TRT, CUDA, CPU], "float32", "cuda:1", tensorrt=True)
    assert [(name, settings["device_id"]) for name, settings in chosen] == [(TRT, "1"), (CUDA, "1")]
    assert last == CPU


def test_onnx_runtime_without_cuda_is_an_error_not_a_slow_answer(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"^device: expected CUDAExecution.*onnxruntime-gpu.*found"):
        open_backend(models / "m.onnx", device="cuda")
    # a build with CUDA on a machine without a GPU: ONNX Runtime silently uses the CPU
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    opened = onnx_backend._open_session
    monkeypatch.setattr(
        onnx_backend, "_open_session", lambda path, model, threads, _: opened(path, model, threads, [CPU])
    )
    with pytest.raises(ConfigError, match=r"^device: expected a GPU that ONNX Runtime can use for cuda:0"):
        open_backend(models / "m.onnx", device="cuda:0")
    assert open_backend(models / "m.onnx").engine == "onnxruntime, float32"


@pytest.mark.parametrize(
    ("used", "device", "told"),
    [
        ([CPU], "auto", "cpu"),
        ([CPU], "cpu", "cpu"),
        ([CUDA, CPU], "auto", "cuda"),
        ([TRT, CUDA, CPU], "cuda:1", "cuda:1"),
    ],
)
def test_the_device_in_use_is_reported(used: list[str], device: str, told: str) -> None:
    assert check_used(used, device) == told


@pytest.mark.parametrize("used", [[CPU], [CUDA, CPU]])
def test_tensorrt_without_its_libraries_is_an_error(used: list[str]) -> None:
    assert check_used([TRT, *used], "auto", tensorrt=True) == "cuda"
    with pytest.raises(ConfigError, match=r"^backend: expected a GPU that ONNX Runtime can use for tensorrt"):
        check_used(used, "auto", tensorrt=True)


@pytest.mark.parametrize(
    ("device", "name"),
    [("auto", "CPU"), ("cpu", "CPU"), ("gpu", "GPU.0"), ("gpu:1", "GPU.1"), ("npu", "NPU")],
)
def test_openvino_compiles_for_the_device(
    models: Path, machine: dict[str, Any], device: str, name: str
) -> None:
    expected = open_backend(models / "m.onnx")(pixels())
    backend = open_backend(models / "m.xml", device=device)
    np.testing.assert_allclose(backend(pixels()), expected, rtol=1e-4, atol=1e-4)
    ((used, _, settings),) = machine["compiled"]
    assert used == name
    assert ("INFERENCE_PRECISION_HINT" in settings) == (name != "NPU")
    place = {"CPU": "openvino, float32", "NPU": "openvino on npu, float16"}
    assert backend.engine == place.get(name, f"openvino on {name.lower().replace('.', ':')}, float32")


def test_only_a_cpu_gets_threads(models: Path, machine: dict[str, Any]) -> None:
    for device in ("cpu", "gpu"):
        open_backend(models / "m.xml", device=device, threads=1)(pixels())
    on_cpu, on_gpu = (settings for _, _, settings in machine["compiled"])
    assert "INFERENCE_NUM_THREADS" in on_cpu
    assert "INFERENCE_NUM_THREADS" not in on_gpu


def test_an_npu_gets_only_fixed_shapes(models: Path, machine: dict[str, Any]) -> None:
    backend = OpenVinoBackend(models / "m.xml", device="npu")
    heights = [32 * (1 + number) for number in range(MOST_SHAPES + 2)]
    for height in heights:
        assert backend(pixels(2, height)).shape[0] == 2
    backend(pixels(2, heights[0]))  # dropped to make room, so it is compiled again
    shapes = [shape for _, shape, _ in machine["compiled"]]
    width = INFO.input_size[1]
    assert shapes == [f"[2,{height},{width},3]" for height in [*heights, heights[0]]]


def test_an_onnx_file_goes_to_the_engine_that_has_the_device(models: Path, machine: dict[str, Any]) -> None:
    with Detector.open(models / "m.onnx", device="gpu:1") as detector:
        assert isinstance(detector._backend, OpenVinoBackend)
        assert "openvino on gpu:1, float32" in repr(detector)
    machine["devices"] = ["CPU"]
    with pytest.raises(ConfigError, match=r"^device: expected cpu, which OpenVINO .*found 'npu'"):
        Detector.open(models / "m.onnx", device="npu")


@pytest.mark.parametrize(
    ("file", "backend", "device", "expected"),
    [
        ("m.xml", None, "cuda", "cpu or gpu or npu"),
        ("m.safetensors", None, "gpu", "cpu or cuda or mps"),
        ("m.onnx", "onnxruntime", "gpu", "cpu or cuda"),
        ("m.onnx", "tensorrt", "cpu", "cuda"),
        ("m.onnx", None, "mps", "cpu or cuda or gpu or npu"),
    ],
)
def test_an_engine_without_the_device_lists_its_own(
    models: Path, file: str, backend: str | None, device: str, expected: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^device: expected {expected}, on which .*found '{device}'"):
        open_backend(models / file, backend=backend, device=device)


def test_bfloat16_on_an_openvino_gpu_is_refused(models: Path, machine: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"^precision: expected float32 on gpu:0"):
        OpenVinoBackend(models / "m.xml", arithmetic="bfloat16", device="gpu")
    assert not machine["compiled"]


@pytest.mark.parametrize(
    ("gpus", "apple", "wanted", "chosen"),
    [
        (0, False, "auto", "cpu"),
        (0, True, "auto", "cpu"),  # only on request, because it was never tested on such a machine
        (0, True, "mps", "mps"),
        (2, False, "auto", "cuda:0"),
        (2, False, "cuda:1", "cuda:1"),
        (2, False, "cpu", "cpu"),
    ],
)
def test_torch_chooses_the_device(
    monkeypatch: pytest.MonkeyPatch, gpus: int, apple: bool, wanted: str, chosen: str
) -> None:
    from lookonce.model.backend import torch_device

    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: apple)
    assert str(torch_device(wanted)) == chosen


@pytest.mark.parametrize(
    "words",
    [
        ["detect", "MODEL", "photo.png", "--device", "gpu:7"],
        ["evaluate", "MODEL", "data", "--device", "gpu:7"],
        ["train", "data", "--device", "cuda:7"],
    ],
)
def test_commands_name_the_option_in_device_errors(
    models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
) -> None:
    from lookonce.data.synthetic import render

    monkeypatch.chdir(tmp_path)
    render(tmp_path / "data", {"train": 2, "val": 1})
    (tmp_path / "photo.png").write_bytes(next((tmp_path / "data").rglob("*.jpg")).read_bytes())
    monkeypatch.setattr(
        "sys.argv", ["lookonce", *(str(models / "m.onnx") if word == "MODEL" else word for word in words)]
    )
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("lookonce: --device: expected cpu")
    assert message.endswith(f"found '{words[-1]}'")
