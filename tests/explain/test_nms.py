"""Candidates and NMS: exactly those of the Detector, and the suppressing box of each suppressed one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookonce import Detections, Detector
from lookonce.explain import Explainer, Explanation, nms
from lookonce.explain.nms import list_candidates, suppress
from lookonce.explain.records import BELOW, KEPT, Candidates
from lookonce.geometry.boxes import pairwise_iou
from lookonce.runtime.options import DetectOptions
from lookonce.runtime.postprocess import postprocess
from tests.explain.page_reader import all_candidates

CLASSES = 80  # of the larger model here
THRESHOLDS = [(c, i) for c in (0.01, 0.05, 0.25, 0.5, 0.8) for i in (0.0, 0.2, 0.45, 0.7, 1.0)]


def detections(found: Explanation, conf: float, iou: float) -> Detections:
    kept = suppress(found.candidates, (conf,) * CLASSES, iou).kept
    listed = found.candidates
    return Detections(listed.boxes[kept], listed.scores[kept], listed.labels[kept])


def assert_same(found: Detections, expected: Detections) -> None:
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(found.labels, expected.labels)


@pytest.mark.parametrize("photo", ["dog", "eagle", "giraffe", "horses", "kite", "person", "scream"])
def test_every_pair_of_thresholds_equals_postprocess(photo: str, nano: Explainer, data: Path) -> None:
    found = nano(data / "photos" / f"{photo}.jpg")
    candidates = all_candidates(found)
    for conf, iou in THRESHOLDS:
        expected = postprocess(candidates, found.input.letterbox, DetectOptions(conf=conf, iou=iou))
        assert_same(detections(found, conf, iou), expected)


@pytest.mark.parametrize("conf", [0.3, 0.5, 0.6])
def test_hundreds_of_overlaps_equal_postprocess(conf: float, tiny: Explainer) -> None:
    found = tiny(np.random.default_rng(1).integers(0, 256, (200, 120, 3), np.uint8))
    candidates = all_candidates(found)
    for iou in (0.0, 0.1, 0.45, 0.9):
        expected = postprocess(candidates, found.input.letterbox, DetectOptions(conf=conf, iou=iou))
        assert_same(detections(found, conf, iou), expected)


@pytest.mark.parametrize("photo", ["dog", "horses"])
def test_detections_equal_the_detector(photo: str, nano: Explainer, data: Path) -> None:
    cfg = data / "darknet" / "MobileNetV2-YOLOv3-Nano-coco.cfg"
    with Detector.open(cfg, fit="letterbox") as detector:
        expected = detector(data / "photos" / f"{photo}.jpg")

    assert len(expected) > 1
    assert_same(nano(data / "photos" / f"{photo}.jpg").detections, expected)


def by_hand(listed: Candidates, conf: float, iou: float) -> tuple[list[int], list[int]]:
    """Run greedy NMS box by box; return the kept boxes, and the suppressing box of each other one."""
    order = [i for i in np.argsort(-listed.scores, kind="stable").tolist() if listed.scores[i] > conf]
    by = [BELOW] * len(listed)
    kept: list[Any] = []
    for i in order:
        by[i] = KEPT
        for better in kept:
            overlap = pairwise_iou(listed.boxes[better : better + 1], listed.boxes[i : i + 1])[0, 0]
            if listed.labels[better] == listed.labels[i] and overlap > iou:
                by[i] = better
                break
        if by[i] == KEPT:
            kept.append(i)
    return kept, by


@pytest.mark.parametrize(("conf", "iou"), [(0.01, 0.45), (0.3, 0.1), (0.25, 0.0)])
def test_each_suppressed_box_names_its_suppressor(
    conf: float, iou: float, nano: Explainer, data: Path
) -> None:
    listed = nano(data / "photos" / "horses.jpg").candidates
    found = suppress(listed, (conf,) * CLASSES, iou)
    kept, by = by_hand(listed, conf, iou)

    assert found.kept.tolist() == kept
    assert found.suppressed_by.tolist() == by
    assert any(each >= 0 for each in by)
    for loser, winner in enumerate(by):
        overlap = pairwise_iou(listed.boxes[[loser]], listed.boxes[[winner]])[0, 0] if winner >= 0 else 0
        assert found.iou[loser] == overlap
        assert winner < 0 or overlap > iou


def test_positions_point_to_the_prediction(nano: Explainer, data: Path) -> None:
    found = nano(data / "photos" / "dog.jpg")
    assert len(found.candidates) > 50
    for position, objectness, score, label in zip(
        found.candidates.positions.tolist(),
        found.candidates.objectness,
        found.candidates.scores,
        found.candidates.labels,
        strict=True,
    ):
        scale, where = found.scales[position[0]], position[1:]
        assert scale.objectness[tuple(where)] == objectness
        assert scale.probabilities[tuple(where)].argmax() == label
        assert scale.probabilities[tuple(where)].max() * objectness == score


def test_an_active_cap_is_reported(tiny: Explainer, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(1).integers(0, 256, (96, 128, 3), np.uint8)
    full = tiny(image).candidates
    monkeypatch.setattr(nms, "LIMIT", 60)
    found = tiny(image)
    cut = found.candidates

    assert (full.left_out, full.complete_from, full.floor) == (0, 0.01, 0.01)
    assert (len(cut), cut.limit) == (60, 60)
    assert cut.left_out == len(full) - 60
    assert cut.complete_from == np.sort(full.scores)[-61]
    assert cut.complete_from < 0.5
    np.testing.assert_array_equal(cut.scores, full.scores[full.scores > cut.complete_from])
    candidates = all_candidates(found)
    for conf in (cut.complete_from, 0.5, 0.6):
        expected = postprocess(candidates, found.input.letterbox, DetectOptions(conf=conf, iou=0.45))
        assert_same(detections(found, conf, 0.45), expected)
    with pytest.raises(ValueError, match=r"expected a score threshold of 0\.\d+ or more, found 0\.02"):
        suppress(cut, (0.02,) * CLASSES, 0.45)


def test_the_cap_keeps_everything_above_the_score_threshold(
    tiny: Explainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nms, "LIMIT", 3)
    found = tiny(np.random.default_rng(1).integers(0, 256, (96, 128, 3), np.uint8))
    above = np.count_nonzero(found.candidates.scores > 0.5)

    assert len(found.candidates) == above > 3
    assert found.candidates.complete_from <= 0.5


def test_a_score_threshold_below_the_floor_lowers_it(nano: Explainer, data: Path) -> None:
    found = nano(data / "photos" / "dog.jpg")
    candidates = all_candidates(found)
    listed = list_candidates(candidates, found.scales, found.input.letterbox, 0.001)

    assert listed.floor == 0.001
    assert len(listed) > len(found.candidates)
    expected = postprocess(candidates, found.input.letterbox, DetectOptions(conf=0.001))
    kept = suppress(listed, (0.001,) * CLASSES, 0.45).kept
    np.testing.assert_array_equal(listed.scores[kept], expected.scores)


def test_boxes_outside_the_image_are_counted(nano: Explainer, data: Path) -> None:
    found = nano(data / "photos" / "dog.jpg")
    candidates = all_candidates(found).copy()
    best = candidates[:, 4].argmax()
    candidates[best, :4] = (10, 2, 60, 20)  # in the padding above the image

    assert list_candidates(candidates, found.scales, found.input.letterbox, 0.25).invisible == 1


def test_no_candidates_above_the_threshold_give_no_detections(nano: Explainer) -> None:
    found = nano(np.zeros((50, 70, 3), np.uint8))
    result = suppress(found.candidates, (0.99,) * CLASSES, 0.45)

    assert len(result.kept) == 0
    assert set(result.suppressed_by.tolist()) <= {BELOW}
    assert len(found.detections) == 0


def test_each_class_has_its_own_threshold(nano: Explainer, data: Path) -> None:
    """The car (0.93) is removed, and a second bicycle (0.07) is added."""
    conf = {"dog": 0.9, "car": 0.99, "bicycle": 0.02}
    path = data / "darknet" / "MobileNetV2-YOLOv3-Nano-coco.cfg"
    explainer = Explainer.open(path, conf=conf, fit="letterbox")
    found = explainer(data / "photos" / "dog.jpg")
    with Detector.open(path, conf=conf, fit="letterbox") as detector:
        expected = detector(data / "photos" / "dog.jpg")
    assert_same(found.detections, expected)
    assert [name for name, _, _ in expected] == ["dog", "bicycle", "bicycle"]
    assert found.candidates.complete_from <= min(found.nms.score_thresholds) == 0.02
