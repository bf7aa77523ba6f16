"""Test which images come first in the gallery."""

from lookonce.evaluate.errors import Outcome, find_outcomes
from lookonce.evaluate.worst import worst_images

from .conftest import found, random_case, sample

BOX, FAR, AWAY = [0, 0, 40, 40], [100, 100, 140, 140], [200, 200, 240, 240]


def test_images_are_sorted_by_errors_then_by_confidence() -> None:
    truth = [sample([BOX]), sample([BOX]), sample([BOX]), sample([BOX, FAR])]
    results = [
        found([BOX], [0.9]),
        found([BOX, FAR], [0.9, 0.6]),
        found([BOX, FAR], [0.9, 0.8]),
        found([AWAY], [0.3]),
    ]

    worst = worst_images(find_outcomes(truth, results, ("cat",)), 4, most=24)

    assert [(each.image, each.total) for each in worst] == [(3, 3), (2, 1), (1, 1)]
    assert worst[0].errors == {Outcome.BACKGROUND: 1, Outcome.MISSED: 2}


def test_the_list_is_limited_and_counts_each_error_once() -> None:
    truth, detections, names = random_case(6, 40, 3, 8)
    outcomes = find_outcomes(truth, detections, names)

    assert len(worst_images(outcomes, 40, most=5)) == 5
    total = sum(each.total for each in worst_images(outcomes, 40, most=40))
    assert total == sum(outcomes.count(Outcome(error)) for error in range(1, 7))


def test_no_images_give_no_worst_ones() -> None:
    assert worst_images(find_outcomes([], [], ("cat",)), 0, most=3) == ()
