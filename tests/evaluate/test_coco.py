"""Compare COCO's metrics with pycocotools and, in simple cases, with values computed by hand."""

import contextlib
import io
import json
import math
import sys
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lookonce.detections import Detections
from lookonce.errors import AnnotationError, MissingExtraError, ModelFileError
from lookonce.evaluate import inputs
from lookonce.evaluate.coco import ClassMetrics, Metrics, evaluate
from lookonce.evaluate.matching import match

from .conftest import Case, found, random_case, sample

TWELVE = (
    "ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large",
    "ar_1", "ar_10", "ar_100", "ar_small", "ar_medium", "ar_large",
)  # fmt: skip


def by_pycocotools(case: Case, caps: tuple[int, int, int] = (1, 10, 100)) -> COCOeval:
    """Compute the metrics with the reference program."""
    truth, detections, names = case
    rows: list[Any] = []
    results: list[Any] = []
    for i, (annotated, result) in enumerate(zip(truth, detections, strict=True)):
        for n in range(len(annotated.labels)):
            x, y, right, bottom = map(float, annotated.boxes[n])
            ignored = annotated.difficult[n] and not annotated.crowd[n]
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": i,
                    "category_id": int(annotated.labels[n]),
                    "bbox": [x, y, right - x, bottom - y],
                    "area": 1e12 if ignored else (right - x) * (bottom - y),
                    "iscrowd": int(annotated.crowd[n]),
                }
            )
        for n in range(len(result)):
            x, y, right, bottom = map(float, result.boxes[n])
            box = [x, y, right - x, bottom - y]
            label, score = int(result.labels[n]), float(result.scores[n])
            results.append({"image_id": i, "category_id": label, "bbox": box, "score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": i} for i in range(len(truth))],
            "categories": [{"id": c, "name": name} for c, name in enumerate(names)],
            "annotations": rows,
        }
        coco.createIndex()
        run = COCOeval(coco, coco.loadRes(results), "bbox")
        run.params.maxDets = list(caps)
        run.evaluate()
        run.accumulate()
        if caps == (1, 10, 100):  # the only limits that its summary supports
            run.summarize()
    return run


def mean(values: np.ndarray) -> float:
    return float(values[values > -1].mean()) if (values > -1).any() else math.nan


def assert_equal_to_pycocotools(case: Case) -> Metrics:
    ours = evaluate(*case)
    run = by_pycocotools(case)
    theirs = [math.nan if value == -1 else value for value in run.stats]
    np.testing.assert_allclose([getattr(ours, name) for name in TWELVE], theirs, atol=1e-6)
    precision, recall = run.eval["precision"][:, :, :, 0, 2], run.eval["recall"][:, :, 0, 2]
    for c, row in enumerate(ours.classes):
        expected = [mean(precision[:, :, c]), mean(precision[0, :, c]), mean(precision[5, :, c])]
        np.testing.assert_allclose([row.ap, row.ap50, row.ap75], expected, atol=1e-6)
        np.testing.assert_allclose(row.ar, mean(recall[:, c]), atol=1e-6)
    return ours


def test_no_images_measure_nothing() -> None:
    metrics = evaluate([], [], ["cat"])
    assert math.isnan(metrics.ap)
    assert (metrics.images, metrics.objects, metrics.detections) == (0, 0, 0)


def test_no_detections_give_zero_and_an_absent_class_nan() -> None:
    metrics = evaluate([sample([[0, 0, 40, 40]])], [Detections.none()], ["cat", "dog"])
    assert (metrics.ap, metrics.ar_100, metrics.ap_medium) == (0, 0, 0)
    assert math.isnan(metrics.ap_small)
    assert metrics.classes[0] == ClassMetrics("cat", 1, 0, 0, 0, 0)
    assert math.isnan(metrics.classes[1].ap)


def test_detections_on_a_background_image_are_false_alarms() -> None:
    truth = [sample([[0, 0, 40, 40]]), sample([])]
    right = found([[0, 0, 40, 40]], [0.5])
    assert evaluate(truth, [right, found([], [])], ["cat"]).ap == pytest.approx(1)
    assert evaluate(truth, [right, found([[5, 5, 9, 9]], [0.9])], ["cat"]).ap == pytest.approx(0.5)


def test_voc_sample_equals_pycocotools(voc_sample: Case) -> None:
    metrics = assert_equal_to_pycocotools(voc_sample)
    assert (metrics.images, metrics.objects, metrics.detections) == (100, 273, 452)
    assert metrics.ap50 > 0.3  # the detections are of these images, in this order


@pytest.mark.parametrize(
    ("seed", "images", "classes", "objects"),
    [(0, 12, 1, 6), (1, 20, 3, 10), (2, 8, 30, 20), (3, 2, 2, 300)],
)
def test_random_sets_with_crowds_and_difficult_objects_equal_pycocotools(
    seed: int, images: int, classes: int, objects: int
) -> None:
    assert_equal_to_pycocotools(random_case(seed, images, classes, objects))


def test_a_difficult_object_is_neither_rewarded_nor_missed() -> None:
    boxes = [[0, 0, 40, 40], [100, 100, 150, 150]]
    plain, difficult = [sample(boxes)], [sample(boxes, difficult=[False, True])]
    one, both = found(boxes[:1], [0.5]), found(boxes, [0.5, 0.9])
    assert evaluate(plain, [one], ["cat"]).ar_100 == pytest.approx(0.5)
    assert evaluate(difficult, [one], ["cat"]).ar_100 == pytest.approx(1)
    assert evaluate(difficult, [both], ["cat"]).ap == pytest.approx(1)
    assert evaluate(difficult, [both], ["cat"]).objects == 1


def test_any_number_of_detections_may_lie_in_a_crowd() -> None:
    truth = [sample([[0, 0, 40, 40], [100, 0, 300, 200]], crowd=[False, True])]
    inside = found([[110, 10, 150, 60], [200, 50, 260, 150], [0, 0, 40, 40]], [0.9, 0.8, 0.7])
    assert evaluate(truth, [inside], ["head"]).ap == pytest.approx(1)


def test_uncapped_metrics_count_beyond_100_detections() -> None:
    corner = np.arange(150) * 50.0
    boxes = np.stack([corner, 0 * corner, corner + 40, 0 * corner + 40], axis=1)
    case = [sample(boxes.tolist())], [found(boxes.tolist(), [0.9] * 150)], ("head",)
    metrics = evaluate(*case)
    assert metrics.ar_100 == pytest.approx(100 / 150)
    assert (metrics.ap_uncapped, metrics.ar_uncapped) == pytest.approx((1, 1))
    assert metrics.crowded == 1
    assert_equal_to_pycocotools(case)


def test_uncapped_equals_pycocotools_with_the_cap_raised() -> None:
    case = random_case(5, 2, 1, 400)
    run = by_pycocotools(case, (1, 10, 1000))
    metrics = evaluate(*case)
    assert metrics.ap_uncapped == pytest.approx(mean(run.eval["precision"][..., 0, 2]), abs=1e-6)
    assert metrics.ar_uncapped == pytest.approx(mean(run.eval["recall"][..., 0, 2]), abs=1e-6)
    assert metrics.ar_uncapped > metrics.ar_100


def test_json_has_null_for_undefined_metrics() -> None:
    metrics = evaluate([sample([[0, 0, 40, 40]])], [found([[0, 0, 40, 40]], [0.5])], ["chat", "été"])
    written = json.loads(metrics.to_json(), parse_constant=pytest.fail)
    assert written["ap"] == pytest.approx(1)
    assert written["ap_small"] is None
    assert written["classes"][1]["name"] == "été"
    assert metrics.to_json().splitlines()[1].startswith('  "ap": '), "indented for people"
    assert '"été"' in metrics.to_json(), "letters of names stay letters"


def test_evaluate_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    evaluate(*random_case(0, 3, 2, 5))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("truth", "detections", "message"),
    [
        ([sample([])], [], "expected one result for each of 1 images, found 0"),
        ([sample([])], [found([[0, 0, 9, 9]], [0.5], [1])], "expected labels 0 to 0, found 1 to 1"),
        ([sample([[0, 0, 9, 9]], [-1])], [found([], [])], "expected labels 0 to 0, found -1 to -1"),
    ],
)
def test_inconsistent_input_is_refused(truth: list, detections: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(truth, detections, ["cat"])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_detections_that_are_not_finite_are_refused(value: float) -> None:
    truth = [sample([[0, 0, 9, 9]])]
    for result in (found([[0, 0, 9, 9]], [value]), found([[0, 0, value, 9]], [0.5])):
        with pytest.raises(ModelFileError, match=r"^a.jpg: expected finite scores and boxes"):
            evaluate(truth, [result], ["cat"])


def test_more_pairs_than_memory_can_hold_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    case = [sample([[0, 0, 9, 9]] * 3)], [found([[0, 0, 9, 9]] * 2, [0.5, 0.4])], ["cat"]
    monkeypatch.setattr(inputs, "MOST_PAIRS", 6)
    evaluate(*case)
    monkeypatch.setattr(inputs, "MOST_PAIRS", 5)
    with pytest.raises(
        AnnotationError, match=r"^a.jpg: expected at most 5 pairs .* found 3 objects and 2 det"
    ):
        evaluate(*case)


def test_boxes_far_smaller_than_a_pixel_are_matched() -> None:
    """The guard against division by zero must not affect small boxes (normalized boxes, tiny images)."""
    box, half = [0, 0, 0.02, 0.02], [0, 0, 0.02, 0.01]
    metrics = evaluate([sample([box])], [found([box], [0.9])], ["cat"])
    assert metrics.ap == pytest.approx(1)
    for measured, expected in ((box, True), (half, True), ([0, 0, 0.02, 0.009], False)):
        matches = match([sample([box])], [found([measured], [0.9])], ["cat"])
        assert matches.correct.tolist() == [expected]


@pytest.mark.parametrize(("objects", "crowded"), [(100, 0), (101, 1)])
def test_an_image_with_more_than_100_objects_is_crowded(objects: int, crowded: int) -> None:
    assert evaluate([sample([[0, 0, 40, 40]] * objects)], [found([], [])], ["cat"]).crowded == crowded


def test_crowded_images_are_counted_one_by_one() -> None:
    crowd, few = sample([[0, 0, 40, 40]] * 101), sample([[0, 0, 40, 40]])
    assert evaluate([crowd, few, crowd], [found([], [])] * 3, ["cat"]).crowded == 2


def test_a_missing_evaluator_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(MissingExtraError, match=r"faster_coco_eval.*evaluate\]"):
        evaluate([sample([])], [found([], [])], ["cat"])


def test_only_objects_that_are_neither_difficult_nor_crowd_are_counted() -> None:
    flags = {"difficult": [True, False, True, False], "crowd": [False, True, True, False]}
    truth = [sample([[0, 0, 40, 40]] * 4, **flags)]
    metrics = evaluate(truth, [found([], [])], ["cat"])
    assert metrics.objects == metrics.classes[0].objects == 1
    assert match(truth, [found([], [])], ["cat"]).objects.tolist() == [1]
