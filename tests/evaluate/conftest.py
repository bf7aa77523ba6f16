"""Detections and ground truth to evaluate: real ones, and random ones with every flag."""

import json
from pathlib import Path

import numpy as np
import pytest

from lookonce.detections import Detections
from lookonce.samples import Sample

Case = tuple[list[Sample], list[Detections], tuple[str, ...]]


@pytest.fixture(scope="session")
def voc_sample(data: Path) -> Case:
    """Return 100 VOC images without difficult flags, and 452 detections."""
    folder = data / "voc_sample"
    found = json.loads((folder / "dets/coco_format/coco_dets.json").read_text())
    names = tuple(category["name"] for category in found["categories"])
    annotated = json.loads((folder / "gts/coco_format_v1/instances_default.json").read_text())
    own = {category["id"]: names.index(category["name"]) for category in annotated["categories"]}
    file_of = {image["id"]: image["file_name"] for image in found["images"]}
    truth, detections = [], []
    for image in annotated["images"]:
        rows = [row for row in annotated["annotations"] if row["image_id"] == image["id"]]
        labels = np.array([own[row["category_id"]] for row in rows], np.int64)
        truth.append(Sample(Path(image["file_name"]), corners(rows), labels))
        rows = [row for row in found["annotations"] if file_of[row["image_id"]] == image["file_name"]]
        scores = np.array([row["score"] for row in rows], np.float32)
        labels = np.array([row["category_id"] for row in rows], np.int64)
        detections.append(Detections(corners(rows), scores, labels, names))
    return truth, detections, names


def sample(boxes: list, labels: list[int] | None = None, **flags: list[bool]) -> Sample:
    labels = [0] * len(boxes) if labels is None else labels
    arrays = {name: np.array(flag, bool) for name, flag in flags.items()}
    return Sample(
        Path("a.jpg"), np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64), **arrays
    )


def found(boxes: list, scores: list[float], labels: list[int] | None = None) -> Detections:
    labels = [0] * len(boxes) if labels is None else labels
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(labels, np.int64)
    )


def corners(rows: list[dict]) -> np.ndarray:
    """Convert COCO's left, top, width, height to xyxy."""
    boxes = np.array([row["bbox"] for row in rows], np.float32).reshape(-1, 4)
    return boxes + np.pad(boxes[:, :2], [(0, 0), (2, 0)])


def random_case(seed: int, images: int, classes: int, objects: int, flags: bool = True) -> Case:
    """Draw objects of all sizes; detections are near them, duplicate, of the wrong class, or random."""
    rng = np.random.default_rng(seed)
    truth, detections = [], []
    for i in range(images):
        n = int(rng.integers(0, objects + 1))
        boxes, labels = random_boxes(rng, n), rng.integers(0, classes, n)
        difficult, crowd = (rng.random((2, n)) < 0.1) & flags
        truth.append(Sample(Path(f"{i}.jpg"), boxes, labels, difficult, crowd))
        repeats = rng.integers(0, 3, n)
        near = np.repeat(boxes, repeats, axis=0)
        near = near + rng.normal(0, 0.08, near.shape) * np.tile(near[:, 2:] - near[:, :2], 2)
        stray = random_boxes(rng, int(rng.integers(0, 5)))
        m = len(near) + len(stray)
        guessed = np.concatenate([np.repeat(labels, repeats), np.zeros(len(stray), np.int64)])
        guessed = np.where(rng.random(m) < 0.1, rng.integers(0, classes, m), guessed)
        scores = np.round(rng.random(m), 2).astype(np.float32)  # rounded, so that some are equal
        order = np.argsort(-scores, kind="stable")
        found = np.concatenate([near, stray]).astype(np.float32)
        detections.append(Detections(found[order], scores[order], guessed[order]))
    return truth, detections, tuple(f"class {c}" for c in range(classes))


def random_boxes(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw (n, 4) boxes with sides of 8 to 200 pixels."""
    low, sides = rng.uniform(0, 400, (n, 2)), np.exp(rng.uniform(np.log(8), np.log(200), (n, 2)))
    return np.concatenate([low, low + sides], axis=1).astype(np.float32)
