"""ONNX files that work, and files that are not models."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from lookonce.errors import ConfigError, ModelFileError
from lookonce.metadata import METADATA_KEY, ModelInfo
from lookonce.runtime.backends import open_backend
from lookonce.runtime.onnx_backend import OnnxBackend
from tests.tiny_onnx import CELL, INFO, YELLOW, image, write_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


def test_the_backend_runs_and_has_a_description(model: Path) -> None:
    backend = open_backend(model, threads=1)
    batch = np.stack([image((64, 96), ((32, 0, 64, 32), YELLOW)), image((64, 96))])

    candidates = backend(batch)

    assert isinstance(backend, OnnxBackend)
    assert backend.info == INFO
    assert candidates.shape == (2, 6, 7)
    assert candidates.dtype == np.float32
    assert candidates[0, 1].tolist() == [CELL, 0, 2 * CELL, CELL, 1, 1, 0]
    assert (candidates[1, :, 4:] == 0).all()


def test_eight_threads_get_the_same_as_one(model: Path) -> None:
    backend = OnnxBackend(model, threads=1)
    rng = np.random.default_rng(0)
    batches = [rng.integers(0, 256, (1, 32 * (1 + i % 3), 96, 3), np.uint8) for i in range(64)]
    alone = [backend(batch) for batch in batches]

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(backend, batches))

    for expected, found in zip(alone, together, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_closed_backend_says_so(model: Path) -> None:
    backend = OnnxBackend(model)
    backend.close()
    backend.close()

    with pytest.raises(ValueError, match=r"tiny\.onnx: this backend was closed"):
        backend(np.zeros((1, 64, 96, 3), np.uint8))


def test_another_size_than_the_fixed_one_is_refused(tmp_path: Path) -> None:
    backend = OnnxBackend(write_tiny_model(tmp_path / "fixed.onnx", shape=("batch", 64, 96)))

    assert backend.input_shape == (None, 64, 96)
    assert backend(np.zeros((2, 64, 96, 3), np.uint8)).shape == (2, 6, 7)
    with pytest.raises(ConfigError, match=r"fixed\.onnx: .*\(any, 64, 96, 3\).* found \(2, 96, 64, 3\)"):
        backend(np.zeros((2, 96, 64, 3), np.uint8))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"\n<!DOCTYPE html>\n<html><body>404</body></html>", "an HTML page"),
        (b"\x00\x01not a model at all" * 50, "a file that is damaged, cut short"),
    ],
)
def test_a_file_that_is_not_a_model_is_refused(tmp_path: Path, content: bytes, found: str) -> None:
    path = tmp_path / "wrong.onnx"
    path.write_bytes(content)

    with pytest.raises(ModelFileError, match=rf"wrong\.onnx: expected an ONNX model, found {found}"):
        OnnxBackend(path)


def test_a_model_cut_short_is_refused(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(model.read_bytes()[:-300])

    with pytest.raises(ModelFileError, match=r"cut\.onnx"):
        OnnxBackend(path)


def test_a_model_without_metadata_is_refused(tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "other.onnx", info=None)

    with pytest.raises(ModelFileError, match=rf"other\.onnx: .*{METADATA_KEY!r}.* found no metadata"):
        OnnxBackend(path)


def test_a_description_of_another_network_is_refused(tmp_path: Path) -> None:
    three = ModelInfo(**{**{name: getattr(INFO, name) for name in INFO.__slots__}, "names": ("a", "b", "c")})
    path = write_tiny_model(tmp_path / "mixed.onnx", info=three)

    with pytest.raises(ModelFileError, match=r"mixed\.onnx: expected .*\(B, K, 8\), found"):
        OnnxBackend(path)
