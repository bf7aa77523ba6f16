"""OpenVINO files that work, files that are not models, and connections that OpenVINO must not open."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lookonce._optional import REPORTING, require
from lookonce.errors import ConfigError, ModelFileError
from lookonce.metadata import METADATA_KEY, ModelInfo
from lookonce.runtime import openvino_backend
from lookonce.runtime.backends import open_backend
from lookonce.runtime.detector import Detector
from lookonce.runtime.openvino_backend import OpenVinoBackend
from tests.tiny_onnx import CELL, INFO, YELLOW, image, write_tiny_model

ov = require("openvino", "openvino")


def write_tiny_ir(
    path: Path,
    info: ModelInfo | None = INFO,
    shape: tuple[int | str, int | str, int | str] = ("batch", "height", "width"),
) -> Path:
    """Write the tiny network as `.xml` and `.bin`."""
    source = write_tiny_model(path.with_name("source.onnx"), info, shape)
    ov.save_model(ov.Core().read_model(source), path, compress_to_fp16=False)
    source.unlink()
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_ir(tmp_path_factory.mktemp("model") / "tiny.xml")


def noise(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)


def test_the_backend_runs_and_has_a_description(model: Path) -> None:
    backend = open_backend(model, threads=1)
    batch = np.stack([image((64, 96), ((32, 0, 64, 32), YELLOW)), image((64, 96))])

    candidates = backend(batch)

    assert isinstance(backend, OpenVinoBackend)
    assert backend.info == INFO
    assert backend.input_shape == (None, None, None)
    assert candidates.shape == (2, 6, 7)
    assert candidates.dtype == np.float32
    assert candidates[0, 1].tolist() == [CELL, 0, 2 * CELL, CELL, 1, 1, 0]
    assert (candidates[1, :, 4:] == 0).all()


def test_openvino_can_be_chosen_for_an_onnx_file(tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "tiny.onnx")
    images = noise(2, 64, 96)

    with Detector.open(path, backend="openvino") as forced, Detector.open(path) as usual:
        assert isinstance(forced._backend, OpenVinoBackend)
        assert forced.info == usual.info
        expected = usual._backend(images)
        np.testing.assert_allclose(forced._backend(images), expected, rtol=1e-5, atol=1e-5)


def test_results_outlive_the_next_call(model: Path) -> None:
    backend = OpenVinoBackend(model)
    first = backend(noise(1, 64, 96))
    kept = first.copy()

    backend(np.zeros((1, 64, 96, 3), np.uint8))

    np.testing.assert_array_equal(first, kept)


def test_images_may_be_read_only_or_strided(model: Path) -> None:
    backend, images = OpenVinoBackend(model), noise(2, 64, 96)
    expected = backend(images)
    locked = images.copy()
    locked.flags.writeable = False

    np.testing.assert_array_equal(backend(locked), expected)
    np.testing.assert_array_equal(backend(np.flip(np.flip(images, 1).copy(), 1)), expected)


@pytest.mark.parametrize("threads", [None, 1, 3])
def test_eight_threads_get_the_same_as_one(model: Path, threads: int | None) -> None:
    backend = OpenVinoBackend(model, threads=threads)
    rng = np.random.default_rng(0)
    shapes = [(1 + i % 3, 32 * (1 + i % 3), 96, 3) for i in range(64)]
    batches = [rng.integers(0, 256, shape, np.uint8) for shape in shapes]
    alone = [backend(batch) for batch in batches]

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(backend, batches))

    for expected, found in zip(alone, together, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_first_calls_of_a_process_may_be_simultaneous(model: Path) -> None:
    """Two simultaneous first conversions in OpenVINO used to deadlock."""
    code = f"""
import sys
from pathlib import Path
from threading import Barrier, Thread
import numpy as np
from lookonce.runtime.openvino_backend import OpenVinoBackend
backend, together, found = OpenVinoBackend(Path({str(model)!r}), threads=1), Barrier(4), []
def call():
    together.wait()
    found.append(backend(np.zeros((1, 64, 64, 3), np.uint8)))
threads = [Thread(target=call) for _ in range(4)]
sys.setswitchinterval(1e-6)
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(found) == 4
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_first_shapes_are_compiled_once_and_the_others_share_one(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_backend, "MOST_SHAPES", 2)
    monkeypatch.setenv("LOOKONCE_CACHE", os.devnull)  # without networks compiled earlier
    backend = OpenVinoBackend(model)
    compiled, compile_model = [], openvino_backend.openvino_core().compile_model

    def count(network: object, *rest: object) -> object:
        compiled.append(network)
        return compile_model(network, *rest)

    core = type("Core", (), {"compile_model": staticmethod(count)})
    monkeypatch.setattr(openvino_backend, "openvino_core", lambda: core)
    counts = []
    for batch, height in [(1, 32), (2, 32), (5, 32), (1, 32), (1, 64), (2, 64), (3, 96), (1, 32)]:
        assert backend(noise(batch, height, 96)).shape == (batch, 3 * height // 32, 7)
        counts.append(len(compiled))

    assert counts == [1, 2, 2, 2, 3, 3, 3, 3]


def test_a_closed_backend_says_so(model: Path) -> None:
    backend = OpenVinoBackend(model)
    backend.close()
    backend.close()

    with pytest.raises(ValueError, match=r"tiny\.xml: this backend was closed"):
        backend(np.zeros((1, 64, 96, 3), np.uint8))


def test_another_size_than_the_fixed_one_is_refused(tmp_path: Path) -> None:
    backend = OpenVinoBackend(write_tiny_ir(tmp_path / "fixed.xml", shape=("batch", 64, 96)))

    assert backend.input_shape == (None, 64, 96)
    assert backend(noise(2, 64, 96)).shape == (2, 6, 7)
    with pytest.raises(ConfigError, match=r"fixed\.xml: .*\(any, 64, 96, 3\).* found \(2, 96, 64, 3\)"):
        backend(noise(2, 96, 64))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"\n<!DOCTYPE html>\n<html><body>404</body></html>", "an HTML page"),
        (b"\x00\x01not a model at all" * 50, "a file that is damaged, cut short"),
        (b"<?xml version='1.0'?><annotation></annotation>", "a file that is damaged, cut short"),
    ],
)
def test_a_file_that_is_not_a_model_is_refused(
    tmp_path: Path, content: bytes, found: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wrong.xml"
    path.write_bytes(content)
    path.with_suffix(".bin").touch()

    with pytest.raises(
        ModelFileError, match=rf"wrong\.xml: expected an OpenVINO or ONNX model, found {found}"
    ):
        OpenVinoBackend(path)
    assert capfd.readouterr().err == ""


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda xml: cut(xml), "a file that is damaged"),
        (lambda xml: cut(xml.with_suffix(".bin")), "a file that is damaged"),
        (lambda xml: xml.with_suffix(".bin").unlink(), r"found no model\.bin beside it"),
    ],
)
def test_a_damaged_or_missing_bin_is_refused(tmp_path: Path, damage: object, found: str) -> None:
    path = write_tiny_ir(tmp_path / "model.xml")
    assert callable(damage)
    damage(path)

    with pytest.raises(ModelFileError, match=found):
        OpenVinoBackend(path)


def test_a_model_without_metadata_is_refused(tmp_path: Path) -> None:
    path = write_tiny_ir(tmp_path / "other.xml", info=None)

    with pytest.raises(ModelFileError, match=rf"other\.xml: .*{METADATA_KEY}\), found none"):
        OpenVinoBackend(path)


def test_a_description_of_another_network_is_refused(tmp_path: Path) -> None:
    path = write_tiny_ir(tmp_path / "mixed.xml", info=replace(INFO, names=("a", "b", "c")))

    with pytest.raises(ModelFileError, match=r"mixed\.xml: expected .*\(B, K, 8\), found"):
        OpenVinoBackend(path)


def test_openvino_sends_no_telemetry(model: Path) -> None:
    """Neither the telemetry package is loaded, nor is a host name resolved."""
    program = f"""
import socket, sys
def refuse(*_, **__):
    sys.exit("a connection was tried")
socket.getaddrinfo = socket.socket.connect = refuse
import numpy as np
from pathlib import Path
from lookonce.runtime.backends import open_backend
open_backend(Path({str(model)!r}))(np.zeros((1, 64, 96, 3), np.uint8))
assert not [name for name, module in sys.modules.items() if name.startswith({REPORTING!r}) and module]
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_a_signal_after_closing_does_not_crash(model: Path) -> None:
    code = """
import gc, signal, sys
import numpy as np
from pathlib import Path
from lookonce.runtime.backends import open_backend

opened = [open_backend(Path(sys.argv[1])) for _ in range(2)]
for backend in opened:
    backend(np.zeros((1, 64, 64, 3), np.uint8))
while opened:  # the first one first
    opened.pop(0).close()
    gc.collect()
noted = []
signal.signal(signal.SIGTERM, lambda number, frame: noted.append(number))
signal.raise_signal(signal.SIGTERM)
print(len(noted))
"""
    done = subprocess.run([sys.executable, "-c", code, model], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
