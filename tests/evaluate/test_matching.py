"""Test which detections are correct."""

import numpy as np
import pytest

from lookonce.detections import Detections
from lookonce.evaluate.matching import (
    in_crowd,
    match,
    match_image,
    overlapping_objects,
    take_most_overlapping,
    take_turns,
)
from lookonce.geometry.pairs import Pairs

from .conftest import found, sample

BOX = [0, 0, 40, 40]
NEAR = [0, 0, 40, 30]  # IoU 0.75 with BOX
FAR = [100, 100, 140, 140]


def test_no_images_have_no_matches() -> None:
    matches = match([], [], ["cat", "dog"])
    assert len(matches.scores) == len(matches.correct) == 0
    assert matches.objects.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("boxes", "labels", "correct"),
    [
        ([BOX], [0], [True]),
        ([FAR], [0], [False]),
        ([BOX], [1], [False]),  # the wrong class
        ([NEAR, BOX], [0, 0], [True, False]),  # the better score, not the better box
        ([FAR, NEAR, BOX], [0, 0, 0], [False, True, False]),
    ],
)
def test_the_best_detection_of_an_object_is_correct(
    boxes: list, labels: list[int], correct: list[bool]
) -> None:
    scores = [0.9, 0.8, 0.7][: len(boxes)]
    assert match([sample([BOX])], [found(boxes, scores, labels)], ["a", "b"]).correct.tolist() == correct


@pytest.mark.parametrize(("iou", "correct"), [(0.75, True), (0.76, False)])
def test_an_iou_at_the_threshold_matches(iou: float, correct: bool) -> None:
    assert match([sample([BOX])], [found([NEAR], [0.9])], ["a"], iou).correct.tolist() == [correct]


def test_images_are_matched_separately_and_sorted_together() -> None:
    matches = match(
        [sample([BOX]), sample([BOX], [1])],
        [found([BOX, FAR], [0.5, 0.4]), found([BOX, BOX], [0.9, 0.1], [1, 1])],
        ["a", "b"],
    )
    np.testing.assert_allclose(matches.scores, [0.9, 0.5, 0.4, 0.1])
    assert matches.labels.tolist() == [1, 0, 0, 1]
    assert matches.correct.tolist() == [True, True, False, False]
    assert matches.objects.tolist() == [1, 1]


def test_detections_are_matched_by_score_not_by_order() -> None:
    matches = match([sample([BOX])], [found([BOX, NEAR], [0.3, 0.9])], ["a"])
    assert matches.correct.tolist() == [True, False]
    np.testing.assert_allclose(matches.scores, [0.9, 0.3])


def test_detections_of_a_difficult_object_do_not_count() -> None:
    truth = sample([BOX, FAR], difficult=[True, False])
    matches = match([truth], [found([BOX, NEAR, FAR], [0.9, 0.8, 0.7])], ["a"])
    assert matches.correct.tolist() == [True]
    assert matches.objects.tolist() == [1]


def test_detections_in_a_crowd_do_not_count_unless_correct() -> None:
    truth = sample([[0, 0, 200, 200], BOX], crowd=[True, False])
    inside, outside = [50, 50, 90, 90], [300, 300, 340, 340]
    matches = match([truth], [found([inside, BOX, BOX, outside], [0.9, 0.8, 0.7, 0.6])], ["a"])
    np.testing.assert_allclose(matches.scores, [0.8, 0.6])
    assert matches.correct.tolist() == [True, False]


def test_a_crowd_holds_mostly_covered_detections_of_its_class() -> None:
    truth = sample([[0, 0, 20, 10]], crowd=[True])
    boxes = [[10, 0, 30, 10], [9, 0, 31, 10], [11, 0, 31, 10], [0, 0, 10, 10], [5, 5, 5, 5]]
    result = found(boxes, [0.9] * 5, [0, 0, 0, 1, 0])
    assert in_crowd(truth, result, 0.5).tolist() == [True, True, False, False, False]
    assert in_crowd(truth, Detections.none(), 0.5).shape == (0,)


def test_empty_matches_have_the_usual_types() -> None:
    empty, full = match([], [], ["cat"]), match([sample([BOX])], [found([BOX], [0.9])], ["cat"])
    for name, dtype in (("scores", np.float32), ("labels", np.int64), ("correct", np.bool_)):
        assert getattr(empty, name).dtype == getattr(full, name).dtype == dtype


def test_equal_scores_keep_the_order_of_the_detections() -> None:
    scores = (np.random.default_rng(0).integers(1, 4, 500) / 4).tolist()  # more than a sort keeps by chance
    matches = match([sample([BOX])], [found([FAR] * 500, scores, list(range(500)))], ["cat"] * 500)
    assert matches.labels.tolist() == sorted(range(500), key=lambda i: (-scores[i], i))
    boxes = [BOX if each else NEAR for each in range(60)]
    matches = match([sample([BOX])], [found(boxes, [0.5] * 60)], ["cat"])
    assert matches.correct.tolist() == [True] + [False] * 59


def test_a_matched_object_stays_matched() -> None:
    pairs = Pairs(np.array([0, 1, 1, 2]), np.array([1, 0, 1, 1]), np.array([0.9, 0.8, 0.7, 0.6]))
    before = np.array([-1, -1, -1, 0])

    after = take_turns(pairs, np.array([0.5, 0.9, 0.8, 0.1], np.float32), before)

    assert after.tolist() == [-1, 1, -1, 0]  # object 0 is gone, so detection 1 takes its second choice
    assert before.tolist() == [-1, -1, -1, 0]


def test_the_highest_score_matches_first_and_the_rest_stay_unmatched() -> None:
    pairs = Pairs(np.array([0, 1]), np.array([0, 0]), np.array([0.9, 0.6]))
    assert take_turns(pairs, np.array([0.3, 0.4], np.float32)).tolist() == [-1, 0]


def test_a_correct_detection_counts_even_inside_a_crowd() -> None:
    crowded = sample([BOX, [0, 0, 80, 80]], crowd=[False, True])
    assert match_image(crowded, found([BOX, BOX], [0.9, 0.8])).counts.tolist() == [True, False]


def test_a_crowd_is_never_matched() -> None:
    crowded = sample([BOX, FAR], crowd=[True, False])
    pairs = overlapping_objects(crowded, found([BOX, FAR], [0.9, 0.8]), 0.5)
    assert (pairs.first.tolist(), pairs.second.tolist()) == ([1], [1])


def test_matches_of_some_images_keep_their_image_numbers() -> None:
    matches = match(
        [sample([BOX]), sample([BOX, FAR], [1, 0]), sample([BOX])],
        [found([BOX], [0.5]), found([BOX, BOX], [0.9, 0.4], [1, 0]), found([FAR], [0.7])],
        ["a", "b"],
    )
    assert matches.image.tolist() == [1, 2, 0, 1]
    some = matches.only(np.array([False, True, True]))
    assert some.image.tolist() == [1, 2, 1]
    assert some.scores.tolist() == pytest.approx([0.9, 0.7, 0.4])
    assert some.labels.tolist() == [1, 0, 0]
    assert some.correct.tolist() == [True, False, False]
    assert some.annotated.tolist() == [[0, 0], [1, 1], [1, 0]]
    assert some.objects.tolist() == [2, 1]


def test_a_matched_detection_takes_no_other_object() -> None:
    pairs = Pairs(np.array([0, 0, 1]), np.array([0, 1, 1]), np.array([0.9, 0.8, 0.7]))
    scores = np.array([0.9, 0.8], np.float32)
    assert take_turns(pairs, scores).tolist() == [0, 1]
    assert take_turns(pairs, scores, np.array([0, -1])).tolist() == [0, 1]


def test_of_equal_scores_the_first_matches_first() -> None:
    """The pairs are given from the last detection to the first."""
    count = 40
    each = np.arange(count)[::-1]
    pairs = Pairs(each, np.zeros(count, np.int64), np.full(count, 0.6))
    found = take_turns(pairs, np.full(count, 0.5, np.float32))
    assert found.tolist() == [0] + [-1] * (count - 1)
    assert found.dtype == np.int64


def test_cocos_rule_matches_the_free_object_that_overlaps_most() -> None:
    """Of equal overlaps, the first object is taken; difficult objects only if there is no other."""
    truth = sample([BOX, NEAR, BOX, BOX], difficult=[False, False, False, True])
    first, second = np.divmod(np.arange(20), 4)
    all_pairs = Pairs(first, second, np.tile([1, 0.75, 1, 1], 5))
    scores = np.array([0.5, 0.9, 0.8, 0.7, 0.6], np.float32)
    assert take_most_overlapping(truth, all_pairs, scores).tolist() == [-1, 0, 2, 1, 3]
    backwards = all_pairs.only(np.arange(20)[::-1])
    assert take_most_overlapping(truth, backwards, scores).tolist() == [-1, 0, 2, 1, 3]


def test_a_share_in_a_crowd_at_the_threshold_is_enough() -> None:
    truth = sample([[0, 0, 20, 10]], crowd=[True])
    result = found([[10, 0, 30, 10], [5, 0, 25, 10]], [0.9, 0.8])  # half, and three quarters
    assert in_crowd(truth, result, 0.5).tolist() == [True, True]
    assert in_crowd(truth, result, 0.75).tolist() == [False, True]
    assert in_crowd(truth, result, 0.76).tolist() == [False, False]
