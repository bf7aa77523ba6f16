"""Test the comparison of two models on the same images: its sentence, and how often it is right."""

import math

import numpy as np
import pytest

from lookonce.detections import Detections
from lookonce.evaluate.bootstrap import Interval
from lookonce.evaluate.paired import Difference, compare_pair

from .conftest import random_case

NOWHERE = Interval(math.nan, math.nan)


def difference(a: float, b: float, low: float, high: float, units: int = 100) -> Difference:
    return Difference(a, b, NOWHERE, NOWHERE, Interval(low, high), units)


@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        (
            difference(0.5, 0.512, -0.004, 0.028, 180),
            "B is better by 0.012 (−0.004 to 0.028): not decided; about 140 more images would decide it",
        ),
        (difference(0.5, 0.53, 0.011, 0.049), "B is better by 0.030 (0.011 to 0.049): decided"),
        (difference(0.53, 0.5, -0.049, -0.011), "A is better by 0.030 (0.011 to 0.049): decided"),
        (
            difference(0.51, 0.5, -0.03, 0.01, 50),
            "A is better by 0.010 (−0.010 to 0.030): not decided; about 150 more images would decide it",
        ),
        (
            difference(0.5, 0.501, -0.02, 0.022),
            "B is better by 0.001 (−0.020 to 0.022): not decided, even with 100 times as many images",
        ),
        (difference(0.5, 0.5, 0, 0), "A and B are equal"),
        (difference(0.5, 0.6, math.nan, math.nan, 1), "B is better by 0.100: not decided by one image"),
        (difference(math.nan, math.nan, math.nan, math.nan), "nothing to compare: no object"),
    ],
)
def test_the_sentence_states_difference_interval_and_decision(case: Difference, sentence: str) -> None:
    assert case.sentence() == sentence


def test_groups_are_counted_as_groups() -> None:
    sentence = difference(0.5, 0.512, -0.004, 0.028, 18).sentence("group")
    assert sentence.endswith("14 more groups would decide it")


# half the interval is twice the difference, so four times as many images would decide it: three times more
@pytest.mark.parametrize(("units", "more"), [(1, 3), (5, 15), (47, 140), (3317, 10_000), (3315, 9900)])
def test_the_number_of_images_needed_is_rounded_to_two_digits(units: int, more: int) -> None:
    told = difference(0.5, 0.75, -0.25, 0.75, units).sentence()
    assert told.endswith(f"not decided; about {more} more images would decide it")


def without(found: list[Detections], share: float, seed: int) -> list[Detections]:
    """Drop a share of the detections."""
    rng = np.random.default_rng(seed)
    return [each[rng.random(len(each)) >= share] for each in found]


def test_a_model_that_loses_a_third_of_its_detections_is_worse() -> None:
    truth, found, names = random_case(0, images=60, classes=2, objects=9)
    ap, ap50 = compare_pair(truth, found, without(found, 0.35, 1), names)
    assert ap.decided
    assert ap50.decided
    assert -1 < ap50.interval.low < ap50.b - ap50.a < ap50.interval.high < 0
    assert ap50.sentence().startswith("A is better by")
    numbers = ap.to_dict()
    assert numbers["difference"] == pytest.approx(numbers["b"] - numbers["a"])
    assert numbers["more_units"] is None


def test_the_same_model_twice_is_equal() -> None:
    truth, found, names = random_case(0, images=12, classes=2, objects=9)
    ap, _ = compare_pair(truth, found, found, names)
    assert (ap.sentence(), ap.decided, ap.more_units) == ("A and B are equal", False, None)


def test_pairs_decide_what_two_intervals_do_not() -> None:
    truth, found, names = random_case(3, images=80, classes=1, objects=9)
    ap50 = compare_pair(truth, found, without(found, 0.05, 1), names)[1]
    assert ap50.decided
    assert ap50.b_interval.high > ap50.a_interval.low  # the two intervals overlap


def test_no_images_leave_nothing_to_compare() -> None:
    assert compare_pair([], [], [], ("cat",))[0].sentence() == "nothing to compare: no object"


@pytest.mark.slow
def test_equal_models_are_rarely_decided() -> None:
    """If models differ only by chance, about 5 of 100 comparisons at most decide that one is better."""
    decided = 0
    for seed in range(200):
        truth, found, names = random_case(seed, images=50, classes=1, objects=6, flags=False)
        pairs = [without(found, 0.3, 1000 + seed), without(found, 0.3, 2000 + seed)]
        decided += compare_pair(truth, pairs[0], pairs[1], names)[1].decided
    assert 2 <= decided <= 20


def test_the_width_shrinks_with_the_root_of_the_number_of_images() -> None:
    truth, found, names = random_case(5, images=400, classes=1, objects=6, flags=False)
    a, b = without(found, 0.30, 1), without(found, 0.33, 2)

    def of(count: int) -> Difference:
        return compare_pair(truth[:count], a[:count], b[:count], names)[1]

    few, many = of(50), of(400)
    ratio = (few.interval.high - few.interval.low) / (many.interval.high - many.interval.low)
    assert ratio == pytest.approx(math.sqrt(8), rel=0.25)
