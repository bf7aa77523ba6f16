"""From candidates to detections, compared with values by hand and with the reference."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookonce.detections import Detections
from lookonce.geometry.boxes import cxcywh_to_xyxy
from lookonce.geometry.letterbox import Letterbox
from lookonce.runtime.options import DetectOptions
from lookonce.runtime.postprocess import postprocess

NAMES = ("a", "b")
SQUARE = Letterbox.fit((100, 100), (100, 100))


def rows(*values: list[float]) -> np.ndarray:
    return np.array(values, np.float32)


def test_no_candidates_give_no_detections() -> None:
    found = postprocess(np.zeros((0, 7), np.float32), SQUARE, names=("a", "b"))

    assert len(found) == 0
    assert found.names == ("a", "b")


def test_score_is_objectness_times_the_best_class() -> None:
    found = postprocess(rows([10, 20, 30, 60, 0.8, 0.25, 0.75, 0.75]), SQUARE)

    assert found.boxes.tolist() == [[10, 20, 30, 60]]
    assert found.scores.tolist() == [pytest.approx(0.6)]
    assert found.labels.tolist() == [1]  # for equal scores, the first one


def test_confidence_is_a_strict_limit_on_the_score() -> None:
    candidates = rows([0, 0, 9, 9, 0.5, 1.0], [20, 0, 29, 9, 0.5, 0.875], [40, 0, 49, 9, 0.25, 1.0])

    assert postprocess(candidates, SQUARE, DetectOptions(conf=0.4375), NAMES).scores.tolist() == [0.5]
    assert postprocess(candidates, SQUARE, DetectOptions(conf=0.0), NAMES).scores.tolist() == [
        0.5,
        0.4375,
        0.25,
    ]


@pytest.mark.parametrize("more", [{}, {"multi_label": True}, {"soft_nms": True}, {"agnostic": True}])
def test_each_class_has_its_own_threshold(more: dict[str, Any]) -> None:
    candidates = rows(
        [0, 0, 9, 9, 1, 0.5, 0],
        [20, 0, 29, 9, 1, 0.3, 0],
        [40, 0, 49, 9, 1, 0, 0.3],
        [60, 0, 69, 9, 1, 0, 0.1],
    )
    found = postprocess(candidates, SQUARE, DetectOptions(conf={"a": 0.4, "b": 0.2}, **more), NAMES)
    assert (found.labels.tolist(), found.boxes[:, 0].tolist()) == ([0, 1], [0, 40])


def test_soft_nms_drops_scores_below_the_threshold_of_their_class() -> None:
    candidates = rows([0, 0, 10, 10, 1, 0.9, 0], [0, 0, 10, 8, 1, 0.8, 0])
    for threshold, expected in ((0.05, 2), (0.5, 1)):
        options = DetectOptions(conf={"a": threshold, "b": 0.01}, soft_nms=True)
        assert len(postprocess(candidates, SQUARE, options, NAMES)) == expected


def test_classes_filter_and_agnostic_nms_combine() -> None:
    candidates = rows([0, 0, 9, 9, 0.9, 0.1, 0.9], [0, 0, 9, 9, 0.9, 0.8, 0.1], [50, 50, 60, 60, 0.9, 0.7, 0])

    assert postprocess(candidates, SQUARE).labels.tolist() == [1, 0, 0]
    assert postprocess(candidates, SQUARE, DetectOptions(agnostic=True), NAMES).labels.tolist() == [1, 0]
    assert postprocess(candidates, SQUARE, DetectOptions(classes=[0]), NAMES).labels.tolist() == [0, 0]
    assert postprocess(
        candidates, SQUARE, DetectOptions(classes=[0], agnostic=True), NAMES
    ).labels.tolist() == [0, 0]
    assert len(postprocess(candidates, SQUARE, DetectOptions(classes=[]), NAMES)) == 0


def test_soft_nms_lowers_scores_within_or_across_classes() -> None:
    candidates = rows([0, 0, 10, 10, 0.9, 1, 0], [0, 0, 10, 10, 0.8, 1, 0], [0, 0, 10, 10, 0.7, 0, 1])
    once, twice = np.exp(-2), np.exp(-4)  # IoU 1, sigma 0.5

    def scores(**options: bool) -> list[float]:
        return postprocess(
            candidates, SQUARE, DetectOptions(conf=0.001, soft_nms=True, **options), NAMES
        ).scores.tolist()

    assert scores() == pytest.approx([0.9, 0.7, 0.8 * once])
    assert scores(agnostic=True) == pytest.approx([0.9, 0.8 * once, 0.7 * twice])
    assert len(postprocess(candidates, SQUARE, DetectOptions(conf=0.2, soft_nms=True), NAMES)) == 2


def test_boxes_are_mapped_to_the_image_and_invisible_ones_dropped() -> None:
    letterbox = Letterbox.fit((50, 100), (200, 200))  # scale 2, 50 rows of padding
    candidates = rows(
        [20, 60, 40, 90, 0.9, 1],  # inside
        [150, 40, 220, 170, 0.8, 1],  # crosses three borders
        [20, 0, 40, 50, 0.7, 1],  # entirely in the padding
        [70, 70, 60, 80, 0.6, 1],  # inverted
        [np.nan, 70, 60, 80, 0.5, 1],
    )

    assert postprocess(candidates, letterbox).boxes.tolist() == [[10, 5, 20, 20], [75, 0, 100, 50]]


def test_boxes_are_clipped_before_nms() -> None:
    one_object = rows([-400, 0, 50, 50, 0.9, 1], [0, 0, 50, 50, 0.8, 1])  # equal within the image

    assert postprocess(one_object, SQUARE).scores.tolist() == [pytest.approx(0.9)]


def test_infinite_and_nan_values_are_handled() -> None:
    candidates = rows(
        [-np.inf, -np.inf, np.inf, np.inf, 0.9, 1],
        [0, 0, 9, 9, np.nan, 1],
        [0, 0, 9, 9, 0.9, np.nan],
    )

    assert postprocess(candidates, SQUARE).boxes.tolist() == [[0, 0, 100, 100]]


@pytest.fixture(scope="module", params=range(8))
def case(request: pytest.FixtureRequest, reference: Path) -> dict[str, Any]:
    number = request.param
    described = json.loads((reference / "postprocess.json").read_text())[number]
    with np.load(reference / "postprocess.npz") as stored:
        pred = stored[f"pred{number}"]
        return {
            **described,
            "candidates": np.concatenate([cxcywh_to_xyxy(pred[:, :4]), pred[:, 4:]], axis=1),
            "before_nms": stored[f"before_nms{number}"],
            "after_nms": stored[f"after_nms{number}"],
        }


class ReferenceWayBack(Letterbox):
    """The rule of the reference: unrounded padding, one scale, low corner clipped at 0, high at side - 1."""

    def boxes_out(self, boxes: np.ndarray) -> np.ndarray:
        (height, width), (rows, columns) = self.source, self.target
        scale = min(columns / width, rows / height)
        padding = np.array([columns - scale * width, rows - scale * height]) / 2
        low, high = (boxes[:, :2] - padding) / scale, (boxes[:, 2:] - padding) / scale
        cut = np.maximum(low, 0), np.minimum(high, [width - 1, height - 1])
        return np.concatenate(cut, axis=1).astype(np.float32)


def detect(way_back: type[Letterbox], case: dict[str, Any], iou: float) -> Detections:
    letterbox = way_back.fit((case["original_height"], case["original_width"]), (case["input_size"],) * 2)
    return postprocess(case["candidates"], letterbox, DetectOptions(conf=case["score_threshold"], iou=iou))


def by_class(found: Detections) -> Detections:
    return found[np.argsort(found.labels, kind="stable")]


def test_with_the_references_mapping_the_result_equals_the_reference(case: dict[str, Any]) -> None:
    found = by_class(detect(ReferenceWayBack, case, case["nms_iou_threshold"]))
    expected = case["after_nms"]

    np.testing.assert_array_equal(found.labels, expected[:, 5])
    np.testing.assert_array_equal(found.scores, expected[:, 4])
    np.testing.assert_allclose(found.boxes, expected[:, :4], atol=4e-4, rtol=0)


def test_the_own_mapping_differs_only_by_the_stated_rules(case: dict[str, Any]) -> None:
    """Whole padding and exact scales move a box by up to an input pixel, clipping by an image pixel."""
    found = detect(Letterbox, case, iou=1.0)  # nothing is suppressed
    expected = case["before_nms"][np.argsort(-case["before_nms"][:, 4], kind="stable")]
    in_both = np.isin(found.scores, expected[:, 4])
    image_pixels = max(case["original_height"], case["original_width"]) / case["input_size"]

    np.testing.assert_array_equal(found.scores[in_both], expected[:, 4])
    assert (np.abs(found.boxes[in_both] - expected[:, :4]) <= max(1, image_pixels) * 1.01).all()
    # Boxes that only the reference drops are in the last pixel, where its rule gives them no area.
    last_pixel = case["original_width"] - 1, case["original_height"] - 1
    assert (found.boxes[~in_both, :2] >= last_pixel).any(axis=1).all()


def test_multi_label_counts_every_class_of_a_box() -> None:
    candidates = rows(
        [0, 0, 9, 9, 0.8, 0.5, 0.75], [20, 0, 29, 9, 0.5, 0.5, 0.6], [40, 0, 49, 9, 1, 0.4, 0.3]
    )
    options = DetectOptions(conf=0.3, multi_label=True)

    found = postprocess(candidates, SQUARE, options, NAMES)

    assert found.labels.tolist() == [1, 0, 0]  # 0.5 * 0.6 and 1 * 0.3 are not above 0.3
    assert found.scores.tolist() == pytest.approx([0.6, 0.4, 0.4])
    assert found.boxes.tolist() == [[0, 0, 9, 9], [0, 0, 9, 9], [40, 0, 49, 9]]
    assert len(postprocess(candidates, SQUARE, replace(options, classes=["b"]), NAMES)) == 1
    assert len(postprocess(candidates, SQUARE, replace(options, agnostic=True), NAMES)) == 2
