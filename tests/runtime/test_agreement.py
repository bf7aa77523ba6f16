"""Every engine gives the same detections for the same image.

Tolerances are 0.1 image pixels for boxes, and 1e-4 for scores. The number of detections, their classes and
their order must be equal.
"""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from lookonce.detections import Detections
from lookonce.images import read_image
from lookonce.runtime.detector import Detector
from tests.command_line import attempted
from tests.export.models import THREE_SCALES, write_every_form

BOXES, SCORES = 0.1, 1e-4
PHOTOS = "dog", "eagle", "horses"
needs_ncnn = pytest.mark.skipif(find_spec("ncnn") is None, reason="needs ncnn")
NANO = "MobileNetV2-YOLOv3-Nano-coco.cfg"


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a model with random weights in every format; return its folder."""
    folder = tmp_path_factory.mktemp("models")
    write_every_form(folder / "model", THREE_SCALES)
    return folder


def detect(model: Path, images: list[np.ndarray], batch: int, **options: object) -> list[Detections]:
    with Detector.open(model, threads=1, **options) as detector:  # type: ignore[arg-type]
        return list(detector.detect_many(images, batch=batch))


def assert_same(found: list[Detections], expected: list[Detections], at_least: int) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert len(theirs) >= at_least
        assert ours.labels.tolist() == theirs.labels.tolist()
        np.testing.assert_allclose(ours.boxes, theirs.boxes, rtol=0, atol=BOXES)
        np.testing.assert_allclose(ours.scores, theirs.scores, rtol=0, atol=SCORES)


@pytest.mark.parametrize(
    ("suffix", "backend"),
    [
        (".onnx", "onnxruntime"),
        (".onnx", "openvino"),
        (".xml", "openvino"),
        pytest.param(".param", "ncnn", marks=needs_ncnn),
    ],
)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("size", [None, (96, 224)])
def test_every_engine_agrees_with_torch(
    data: Path, seeded: Path, suffix: str, backend: str, batch: int, size: tuple[int, int] | None
) -> None:
    images = [read_image(data / "photos" / f"{name}.jpg") for name in PHOTOS]
    expected = detect(seeded / "model.safetensors", images, batch, size=size, conf=0.5)

    found = detect(seeded / f"model{suffix}", images, batch, size=size, conf=0.5, backend=backend)

    assert_same(found, expected, at_least=5)


def test_the_command_line_can_choose_the_engine(data: Path, seeded: Path, tmp_path: Path) -> None:
    words = [
        "detect",
        seeded / "model.onnx",
        data / "photos" / "dog.jpg",
        "--out",
        tmp_path,
        "--save",
        "json",
    ]
    lists = []
    for backend in ("onnxruntime", "openvino"):
        ran = attempted(*words, "--backend", backend)
        assert ran.exit_code == 0, ran.output
        lists.append(json.loads((tmp_path / "detections.json").read_text())["images"][0]["detections"])
    scores = [[each["score"] for each in found] for found in lists]
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)

    ran = attempted(*words, "--backend", "torch")

    assert "expected a file that torch runs (.safetensors)" in str(ran.exception)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("size", [None, (256, 352)])
def test_a_trained_darknet_model_agrees_in_every_engine(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int, size: tuple[int, int] | None
) -> None:
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path))
    model = data / "darknet" / NANO
    images = [read_image(data / "photos" / f"{name}.jpg") for name in PHOTOS]
    expected = detect(model, images, batch, size=size, backend="onnxruntime")

    found = detect(model, images, batch, size=size, backend="openvino")

    assert_same(found, expected, at_least=1)
    assert "dog" in [found[0].name_of(label) for label in found[0].labels]
