"""Detections on real photographs, compared with a detector that uses only OpenCV."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from lookonce.runtime.detector import Detector
from tests.darknet.oracle import Found, in_files, needs_opencv_importer, opencv_detections

CONFIDENCE, IOU = 0.25, 0.45


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path))


@needs_opencv_importer
@pytest.mark.parametrize("fit", ["letterbox", "stretch"])
@pytest.mark.parametrize("size", [(320, 320), (256, 416)])
@pytest.mark.parametrize("name", ["MobileNetV2-YOLOv3-Nano-coco", "yolo-fastest-1.1-xl"])
def test_detections_match_opencv(
    data: Path, photographs: list[Path], name: str, size: tuple[int, int], fit: str
) -> None:
    cfg = data / "darknet" / f"{name}.cfg"
    imported = in_files(cfg)
    total = 0
    with Detector.open(cfg, size=size, fit=fit, conf=CONFIDENCE, iou=IOU, threads=1) as detector:
        for photo in photographs:
            image = cv2.imread(str(photo))[..., ::-1]
            found = detector(np.ascontiguousarray(image))
            expected = opencv_detections(imported, image, size, fit, CONFIDENCE, IOU)
            _assert_same(list(zip(found.labels, found.scores, found.boxes, strict=True)), expected)
            total += len(expected)
    assert total >= len(photographs)


@pytest.mark.parametrize(
    ("name", "cat", "cup"),
    [("MobileNetV2-YOLOv3-Nano-coco", 0.97, 0.88), ("yolo-fastest-1.1-xl", 0.98, 0.95)],
)
def test_known_objects_are_found_with_their_scores(data: Path, name: str, cat: float, cup: float) -> None:
    with Detector.open(data / "darknet" / f"{name}.cfg", fit="letterbox") as detector:
        found = [list(detector(data / "photos" / photo)) for photo in ("cat.jpg", "coffee.jpg")]

    assert [[(label, round(float(score), 2)) for label, score, _ in each] for each in found] == [
        [("cat", cat)],
        [("cup", cup)],
    ]


def test_the_dog_photograph_has_its_known_objects(data: Path) -> None:
    with Detector.open(data / "darknet" / "MobileNetV2-YOLOv3-Nano-coco.cfg", fit="stretch") as detector:
        found = detector(data / "photos" / "dog.jpg")

    best: dict[str, float] = {}
    for name, score, _ in found:
        best.setdefault(name, round(score, 2))
    assert best == {"dog": 0.98, "car": 0.91, "bicycle": 0.46}


def _assert_same(found: Found, expected: Found) -> None:
    def order(one: tuple[int, float, np.ndarray]) -> tuple[int, float]:
        return int(one[0]), -float(one[1])

    assert [int(label) for label, _, _ in sorted(found, key=order)] == sorted(
        label for label, _, _ in expected
    )
    for ours, theirs in zip(sorted(found, key=order), sorted(expected, key=order), strict=True):
        assert abs(ours[1] - theirs[1]) < 0.005
        assert np.abs(ours[2] - theirs[2]).max() < 1
