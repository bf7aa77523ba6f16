"""One Detector in eight threads gives exactly the results of one thread, on real networks and photographs."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lookonce.detections import Detections
from lookonce.images import read_image
from lookonce.metadata import ModelInfo
from lookonce.model.backend import TorchBackend
from lookonce.model.network import build
from lookonce.runtime.backends import Backend, open_backend
from lookonce.runtime.detector import Detector
from lookonce.runtime.options import DetectOptions

THREADS = 8
OPTIONS = DetectOptions(size=256, conf=0.1, fit="letterbox")
ANCHORS = (((10, 14), (23, 27), (37, 58)), ((81, 82), (135, 169), (344, 319)))  # yolov3-tiny's


def opened(kind: str, cfg: Path) -> Backend:
    """Open a real network; for torch, which supports only classic ones, a network of random weights."""
    if kind == "torch":
        torch.manual_seed(0)
        info = ModelInfo("yolov3-tiny", ("a", "b"), ANCHORS, (16, 32), (256, 256), width=0.25)
        return TorchBackend(build(info).eval(), info)
    if kind == "openvino":
        pytest.importorskip("openvino")
    return open_backend(cfg, backend=kind, threads=1)


@pytest.fixture(params=["torch", "onnxruntime", "openvino"])
def backend(
    request: pytest.FixtureRequest, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Backend]:
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path))
    engine = opened(request.param, data / "darknet" / "MobileNetV2-YOLOv3-Nano-coco.cfg")
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def images(photographs: list[Path]) -> list[NDArray[np.uint8]]:
    """Return each photograph in three sizes and shapes."""
    whole = [read_image(path) for path in photographs]
    half = [np.asarray(cv2.resize(each, None, fx=0.5, fy=0.5), np.uint8) for each in whole]
    return [*whole, *half, *(each[:, : each.shape[1] // 2] for each in whole)]


def same_bits(one: Detections, other: Detections) -> bool:
    return all(
        np.array_equal(a, b)
        for a, b in ((one.boxes, other.boxes), (one.scores, other.scores), (one.labels, other.labels))
    )


@pytest.mark.parametrize("options", [{}, {"rect": True}, {"tiles": (1, 2)}], ids=["plain", "rect", "tiles"])
def test_eight_threads_get_the_same_bits(
    backend: Backend, images: list[NDArray[np.uint8]], options: dict[str, object]
) -> None:
    detector = Detector(backend, replace(OPTIONS, **options))  # type: ignore[arg-type]
    alone = [detector(each) for each in images]

    with ThreadPoolExecutor(THREADS) as pool:
        together = list(pool.map(detector, images))

    assert sum(map(len, alone)) > len(images)
    assert all(map(same_bits, alone, together))


def test_closing_while_others_detect_raises_an_error_in_them(
    backend: Backend, images: list[NDArray[np.uint8]]
) -> None:
    detector = Detector(backend, OPTIONS)
    expected = detector(images[0])
    running = Event()

    def detect_until_closed() -> str:
        while True:
            try:
                found = detector(images[0])
            except ValueError as error:
                return str(error)
            running.set()
            assert same_bits(found, expected)

    with ThreadPoolExecutor(THREADS) as pool:
        ends = [pool.submit(detect_until_closed) for _ in range(THREADS)]
        assert running.wait(60)
        detector.close()
        said = [end.result(60) for end in ends]

    assert all("closed" in each for each in said), said
    detector.close()
