"""Each stage in a constructed case, and all stages compared with evaluation on real images."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
import pytest

from lookonce.detections import Detections
from lookonce.evaluate.matching import match
from lookonce.explain import Explainer, Explanation
from lookonce.explain.nms import suppress
from lookonce.explain.records import Candidates, NmsResult
from lookonce.explain.stages import (
    DETECTION_STAGES,
    OBJECT_STAGES,
    Predictions,
    detection_verdicts,
    object_verdicts,
)
from lookonce.explain.truth_records import StageName, Verdict
from lookonce.samples import Sample

CAT, DOG = 0, 1
NAMES = ("cat", "dog")
CONFIDENCE, IOU = 0.25, 0.45
OBJECT = (100, 100, 200, 200)  # a dog


class Guess(NamedTuple):
    """A prediction with one probable class."""

    box: tuple[float, float, float, float]
    objectness: float
    label: int = DOG
    probability: float = 1.0


def shifted(by: float, box: tuple[float, float, float, float] = OBJECT) -> tuple[float, float, float, float]:
    """Return a box moved to the right; for a square of 100, the IoU is (100 - by) / (100 + by)."""
    left, top, right, bottom = box
    return left + by, top, right + by, bottom


def tables(guesses: tuple[Guess, ...]) -> tuple[Predictions, Candidates, NmsResult]:
    n = len(guesses)
    predictions = Predictions(
        positions=np.array([(0, 0, i, 0) for i in range(n)], np.int64).reshape(-1, 4),
        boxes=np.array([guess.box for guess in guesses], np.float32).reshape(-1, 4),
        objectness=np.array([guess.objectness for guess in guesses], np.float32),
        scores=np.array([guess.objectness * guess.probability for guess in guesses], np.float32),
        labels=np.array([guess.label for guess in guesses], np.int64),
    )
    listed = predictions.scores > 0.01
    candidates = Candidates(
        *(
            getattr(predictions, name)[listed]
            for name in ("positions", "boxes", "objectness", "scores", "labels")
        ),
        total=n, floor=0.01, left_out=0, limit=3000, complete_from=0.01, invisible=0,
    )  # fmt: skip
    return predictions, candidates, suppress(candidates, (CONFIDENCE,) * len(NAMES), IOU)


def truth_of(*boxes: tuple[float, float, float, float], labels: tuple[int, ...] | None = None) -> Sample:
    numbers = np.array(labels or (DOG,) * len(boxes), np.int64)
    return Sample(Path("p.jpg"), np.array(boxes, np.float32).reshape(-1, 4), numbers)


def judged(
    truth: Sample, *guesses: Guess, anchor: float = 0.6, fits: bool = True
) -> tuple[tuple[Verdict, ...], tuple[Verdict, ...]]:
    """Return the verdicts on objects and on detections."""
    predictions, candidates, nms = tables(guesses)
    kept = nms.kept
    found = Detections(candidates.boxes[kept], candidates.scores[kept], candidates.labels[kept], NAMES)
    on_detections, found_by = detection_verdicts(truth, found)
    anchors = np.full(len(truth.labels), anchor)
    return (
        object_verdicts(
            truth, anchors, np.full(len(anchors), fits), predictions, candidates, nms, found_by, NAMES
        ),
        on_detections,
    )


def stages(verdicts: tuple[Verdict, ...]) -> list[StageName]:
    return [verdict.stage for verdict in verdicts]


def test_a_matched_object_is_found() -> None:
    objects, detections = judged(truth_of(OBJECT), Guess(shifted(10), 0.9))

    assert (stages(objects), stages(detections)) == (["found"], ["found"])
    assert objects[0].text == "detection 0, score 0.90, IoU 0.82"
    assert (objects[0].position, objects[0].label) == ((0, 0, 0, 0), DOG)
    assert detections[0].text == "dog, score 0.90: matches object 0 (dog), IoU 0.82"


def test_a_suppressed_prediction_is_named() -> None:
    # two dogs, one half hidden: its good box is suppressed, because the better box of the other overlaps it
    second = shifted(30)
    objects, detections = judged(
        truth_of(OBJECT, second), Guess(OBJECT, 0.9), Guess(shifted(29), 0.5), Guess(shifted(31), 0.3)
    )

    assert (stages(objects), stages(detections)) == (["found", "suppressed by NMS"], ["found"])
    assert objects[1].text == (
        "IoU 0.98, score 0.50: suppressed by detection 0, score 0.90, at IoU 0.55, above 0.45"
    )
    assert objects[1].position == (0, 0, 1, 0)


def test_objects_and_detections_use_the_same_exact_iou() -> None:
    truth = (437.79327392578125, 105.39337158203125, 612.387939453125, 210.97450256347656)
    guess = (437.5298156738281, 105.39337158203125, 613.0473022460938, 315.4454040527344)  # float32: IoU 0.5
    objects, detections = judged(truth_of(truth), Guess(guess, 0.9))

    assert (stages(objects), stages(detections)) == (["box too loose"], ["box too loose"])


def test_a_score_below_the_threshold_is_named() -> None:
    (verdict,), _ = judged(truth_of(OBJECT), Guess(shifted(10), 0.6, DOG, 0.4), Guess(OBJECT, 0.2))

    assert verdict.stage == "below threshold"
    assert verdict.text == "IoU 0.82, objectness 0.60, but score 0.240; more than 0.25 is needed"


def test_a_wrong_class_is_named() -> None:
    objects, detections = judged(truth_of(OBJECT), Guess(shifted(10), 0.8, CAT), Guess(OBJECT, 0.2))

    assert (stages(objects), stages(detections)) == (["wrong class"], ["wrong class"])
    assert objects[0].text == "IoU 0.82, objectness 0.80, but its class is cat, score 0.80"
    assert detections[0].text == "cat, score 0.80: IoU 0.82 with object 0 (dog), which has another class"


def test_a_box_that_is_too_loose_is_named() -> None:
    objects, detections = judged(truth_of(OBJECT), Guess(shifted(50), 0.8), Guess(OBJECT, 0.2))

    assert (stages(objects), stages(detections)) == (["box too loose"], ["box too loose"])
    assert objects[0].text == "IoU 0.33; 0.5 is needed; objectness 0.80"
    assert objects[0].iou == pytest.approx(1 / 3)


def test_low_objectness_is_named() -> None:
    objects, detections = judged(truth_of(OBJECT), Guess(shifted(10), 0.2), Guess(shifted(80), 0.24))

    assert (stages(objects), stages(detections)) == (["objectness low"], [])
    assert objects[0].text == (
        "its best prediction has IoU 0.82 and objectness 0.200; more than 0.25 is needed"
    )


def test_a_missing_anchor_is_named() -> None:
    objects, _ = judged(truth_of(OBJECT), Guess(shifted(60), 0.2), anchor=0.3, fits=False)

    assert stages(objects) == ["no anchor fits"]
    assert objects[0].text.startswith("the best anchor has an IoU of 0.30; its best prediction has IoU 0.25")


def test_a_missing_prediction_is_named() -> None:
    objects, _ = judged(truth_of(OBJECT), Guess((0, 0, 20, 20), 0.2), anchor=0.1, fits=False)

    assert objects == (
        Verdict("no anchor fits", "no prediction is near it; the best anchor has an IoU of 0.10"),
    )


def test_no_anchor_fits_is_not_named_if_a_box_was_found() -> None:
    objects, _ = judged(truth_of(OBJECT), Guess(shifted(50), 0.8), anchor=0.1, fits=False)

    assert stages(objects) == ["box too loose"]


def test_a_second_detection_is_a_duplicate() -> None:
    # both fit the one object, with an IoU of only 0.43 with each other
    _, detections = judged(truth_of(OBJECT), Guess(shifted(20), 0.9), Guess(shifted(-20), 0.8))

    assert stages(detections) == ["found", "duplicate"]
    assert detections[1].text == (
        "dog, score 0.80: IoU 0.67 with object 0 (dog), which a better detection matches"
    )


@pytest.mark.parametrize(("score", "stage"), [(0.5, "probably not annotated"), (0.49, "background")])
def test_a_detection_without_an_object_is_background_or_unannotated(score: float, stage: StageName) -> None:
    objects, detections = judged(truth_of(OBJECT), Guess(OBJECT, 0.9), Guess((300, 300, 350, 350), score))

    assert stages(detections) == ["found", stage]
    assert detections[1].text == f"dog, score {score:.2f}: no object has an IoU of 0.1 or more with it"
    assert stages(objects) == ["found"]


def test_without_objects_detections_are_probably_unannotated() -> None:
    objects, detections = judged(truth_of(), Guess(OBJECT, 0.9))

    assert (objects, stages(detections)) == ((), ["probably not annotated"])


def test_difficult_and_crowd_do_not_count() -> None:
    truth = replace(
        truth_of(OBJECT, (300, 0, 500, 200), (600, 0, 700, 100)),
        difficult=np.array([True, False, False]),
        crowd=np.array([False, True, False]),
    )
    objects, detections = judged(truth, Guess(OBJECT, 0.9), Guess((310, 10, 350, 50), 0.8))

    assert stages(objects) == ["not counted", "not counted", "objectness low"]
    assert [verdict.text for verdict in objects[:2]] == ["marked difficult", "marked crowd"]
    assert stages(detections) == ["not counted", "not counted"]


# If two stages apply, the later one of the pipeline is the verdict.
ORDER: tuple[tuple[StageName, Guess], ...] = (
    ("objectness low", Guess(shifted(5), 0.2)),
    ("box too loose", Guess(shifted(50), 0.8)),
    ("wrong class", Guess(shifted(20), 0.8, CAT)),
    ("below threshold", Guess(shifted(10), 0.6, DOG, 0.4)),
)


@pytest.mark.parametrize("upto", range(1, 5))
def test_the_last_stage_reached_is_named(upto: int) -> None:
    guesses = [guess for _, guess in ORDER[:upto]]
    for order in (guesses, guesses[::-1]):
        objects, _ = judged(truth_of(OBJECT), *order)
        assert stages(objects) == [ORDER[upto - 1][0]]


def test_a_prediction_is_assigned_to_the_fitting_object_of_its_class() -> None:
    # a cat in front of a dog: the box of class dog fits the cat better, but still belongs to the dog
    objects, detections = judged(
        truth_of(OBJECT, shifted(5), labels=(DOG, CAT)),
        Guess(shifted(5), 0.6, DOG, 0.4),
        Guess(shifted(5), 0.9, CAT),
    )

    assert (stages(objects), stages(detections)) == (["below threshold", "found"], ["found"])


def test_the_box_of_another_object_does_not_count_as_loose() -> None:
    neighbor = shifted(60)  # IoU with the object: 0.25
    objects, _ = judged(truth_of(OBJECT, neighbor), Guess(neighbor, 0.9), Guess(OBJECT, 0.1))

    assert stages(objects) == ["objectness low", "found"]


def test_every_stage_has_a_meaning_and_none_is_unused() -> None:
    assert set(OBJECT_STAGES) | set(DETECTION_STAGES) == set(get_args(StageName))
    assert "0.5" in OBJECT_STAGES["found"]
    assert "0.1 to 0.5" in OBJECT_STAGES["box too loose"]


def perturbed(found: Explanation, seed: int) -> Sample:
    """Make annotations from detections: move boxes, change classes, remove some and invent some."""
    rng = np.random.default_rng(seed)
    candidates = found.candidates
    chosen = rng.choice(len(candidates), min(25, len(candidates)), replace=False)
    boxes = candidates.boxes[chosen] + rng.normal(0, 6, (len(chosen), 4)).astype(np.float32)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 2)
    labels = np.where(
        rng.random(len(chosen)) < 0.2, rng.integers(0, 80, len(chosen)), candidates.labels[chosen]
    )
    return Sample(
        Path("p.jpg"),
        boxes,
        labels,
        difficult=rng.random(len(chosen)) < 0.1,
        crowd=rng.random(len(chosen)) < 0.1,
    )


@pytest.mark.parametrize("photo", ["dog", "horses", "kite", "person"])
def test_found_agrees_with_the_evaluation(photo: str, nano: Explainer, data: Path) -> None:
    path, seen = data / "photos" / f"{photo}.jpg", set[StageName]()
    plain = nano(path)
    for seed in range(6):
        truth = perturbed(plain, seed)
        found = nano(path, truth)
        assert found.truth is not None
        matches = match([truth], [found.detections], found.info.names)
        verdicts = found.truth.detections
        counted = [verdict.stage != "not counted" for verdict in verdicts]
        correct = [verdict.stage == "found" for verdict in verdicts if verdict.stage != "not counted"]

        assert sum(counted) == len(matches.scores)
        np.testing.assert_array_equal(correct, matches.correct)
        found_by = [each.detection for each in found.truth.objects if each.verdict.stage == "found"]
        assert sorted(found_by) == [i for i, each in enumerate(verdicts) if each.stage == "found"]
        assert all(each.verdict.stage in OBJECT_STAGES for each in found.truth.objects)
        assert all(each.stage in DETECTION_STAGES for each in verdicts)
        seen |= {each.verdict.stage for each in found.truth.objects}
    assert len(seen) >= 3
