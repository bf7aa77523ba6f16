"""Features of an image: every engine gives the same means of the same feature maps."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from lookonce.darknet.cache import cached_onnx
from lookonce.detections import Detections
from lookonce.errors import ModelFileError
from lookonce.images import read_image
from lookonce.runtime.detector import Detector
from tests.export.models import THREE_SCALES, write_every_form, write_model
from tests.tiny_onnx import write_tiny_model


def test_every_engine_gives_the_same_features(data: Path, tmp_path: Path) -> None:
    write_every_form(tmp_path / "model", THREE_SCALES)
    image = read_image(data / "photos" / "dog.jpg")
    features = {}
    for suffix in (".safetensors", ".onnx", ".xml"):
        with Detector.open(tmp_path / f"model{suffix}", conf=0.5, threads=1) as detector:
            before = detector(image)
            found, features[suffix] = detector.with_features(image)
            assert found == before
            assert detector(image) == before
            assert (detector.with_features(image)[1] == features[suffix]).all()
            assert len(detector.with_features(image, conf=0.9)[0]) < len(found)
    assert features[".onnx"].shape == (32 + 64 + 128,)  # channels before the heads, at this width
    assert features[".onnx"].std() > 0
    # engines may list the scales in another order
    for suffix in (".onnx", ".xml"):
        np.testing.assert_allclose(
            np.sort(features[suffix]), np.sort(features[".safetensors"]), rtol=1e-3, atol=1e-4
        )


def test_threads_may_ask_for_features_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second thread starts while the first one still prepares the network."""
    image = np.random.default_rng(0).integers(0, 256, (128, 160, 3), np.uint8)
    with (
        Detector.open(write_model(tmp_path / "model.safetensors", THREE_SCALES)) as detector,
        ThreadPoolExecutor(2) as pool,
    ):
        modules, later = nn.Module.modules, list[Future[tuple[Detections, np.ndarray]]]()

        def slow_modules(self: nn.Module) -> Iterator[nn.Module]:
            if not later:
                later.append(pool.submit(detector.with_features, image))
                wait(later, timeout=0.5)
            return modules(self)

        monkeypatch.setattr(nn.Module, "modules", slow_modules)
        first = pool.submit(detector.with_features, image).result()[1]
        np.testing.assert_array_equal(later[0].result()[1], first)


def test_similar_images_have_similar_features(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Similar images have smaller distances than different ones."""
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path))
    nano = data / "darknet" / "MobileNetV2-YOLOv3-Nano-coco.cfg"
    dog, eagle = (read_image(data / "photos" / f"{name}.jpg") for name in ("dog", "eagle"))
    with Detector.open(cached_onnx(nano, nano.with_suffix(".weights"))) as detector:
        first, brighter, other = (
            detector.with_features(each)[1] for each in (dog, np.minimum(dog, 235) + np.uint8(20), eagle)
        )
    near, far = np.linalg.norm(first - brighter), np.linalg.norm(first - other)
    assert near < 0.5 * far


def test_a_network_without_convolutions_is_refused(tmp_path: Path) -> None:
    with (
        Detector.open(write_tiny_model(tmp_path / "tiny.onnx")) as detector,
        pytest.raises(ModelFileError, match=r"tiny\.onnx: expected convolutions, .*; found none"),
    ):
        detector.with_features(np.zeros((64, 96, 3), np.uint8))


def test_a_closed_detector_is_an_error(tmp_path: Path) -> None:
    detector = Detector.open(write_tiny_model(tmp_path / "tiny.onnx"))
    detector.close()
    with pytest.raises(ValueError, match="closed"):
        detector.with_features(np.zeros((64, 96, 3), np.uint8))
