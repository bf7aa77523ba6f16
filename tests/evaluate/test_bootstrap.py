"""Test the width of intervals, and how often they contain the true value."""

import math

import numpy as np
import pytest

from lookonce.evaluate.bootstrap import AT_ONCE, RESAMPLES, Interval, draws, intervals, precisions, student
from lookonce.evaluate.counting import Counting
from lookonce.evaluate.ranking import IOUS, Ranking


def world(rng: np.random.Generator, images: int) -> Ranking:
    """Draw images of one class; they differ in objects, in how easy these are, and in false detections."""
    skill = rng.normal(0, 0.6, images)
    objects = rng.poisson(4, images)
    image = np.repeat(np.arange(images), objects)
    image = image[rng.random(len(image)) < 1 / (1 + np.exp(-1.2 - skill[image]))]
    correct = rng.beta(4, 2, len(image)) * 0.6 + 0.4 >= IOUS[:, None]
    false = np.repeat(np.arange(images), rng.poisson(2, images))
    scores = np.concatenate([rng.normal(1.5 + 0.4 * skill[image], 0.9), rng.normal(0, 0.9, len(false))])
    order = np.argsort(-scores)
    correct = np.concatenate([correct, np.zeros((len(IOUS), len(false)), bool)], axis=1)[:, order]
    return Ranking(np.concatenate([image, false])[order], correct, np.zeros_like(correct), objects)


def counts(annotated: np.ndarray, counted: np.ndarray) -> Counting:
    names = tuple(f"{i}.jpg" for i in range(len(annotated)))
    return Counting(("cell",), (0.5,), "model", names, annotated[:, None], counted[:, None])


def coverage(images: int, rounds: int) -> tuple[float, float, float]:
    """Return how often the intervals of AP, AP50 and the counting error contain the true value."""
    rng = np.random.default_rng(5)
    many = [world(rng, 4000) for _ in range(8)]
    own = np.ones((1, 4000), np.int64)
    every = np.mean([each.average_precisions(own)[0] for each in many], axis=0)
    truth = every.mean(), every[0], 0.1
    held = np.zeros(3)
    for _ in range(rounds):
        ranking = world(rng, images)
        counted = rng.binomial(ranking.objects, 0.8) + rng.binomial(ranking.objects, 0.3)
        found = intervals([ranking], counts(ranking.objects, counted)).overall
        for i, each in enumerate((found.ap, found.ap50, found.relative)):
            held[i] += each.low <= truth[i] <= each.high
    ap, ap50, relative = held / rounds
    return ap, ap50, relative


@pytest.mark.slow
@pytest.mark.parametrize("images", [40, 120])
def test_intervals_hold_the_true_value_in_95_of_100_measurements(images: int) -> None:
    for share in coverage(images, rounds=600):
        assert 0.93 <= share <= 0.97


def test_the_interval_of_a_mean_matches_the_textbook() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(3, 2, 12)
    resampled = values[rng.integers(0, 12, (20_000, 12))].mean(axis=1)
    interval = Interval.of(np.append(values.mean(), resampled), 12)
    half = 2.201 * values.std(ddof=1) / 12**0.5  # Student's t with 11 degrees of freedom
    assert interval.low == pytest.approx(values.mean() - half, abs=0.03)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.03)


@pytest.mark.parametrize(("freedom", "expected"), [(4, 2.776), (9, 2.262), (29, 2.045), (10_000, 1.960)])
def test_student_quantiles_match_the_table(freedom: int, expected: float) -> None:
    assert student(freedom) == pytest.approx(expected, rel=5e-3)


def test_a_share_stays_between_0_and_1() -> None:
    values = np.append(0.98, np.random.default_rng(0).uniform(0.9, 1, 500))
    interval = Interval.of_share(values, 10)
    assert 0.9 < interval.low < 0.98 < interval.high <= 1
    perfect = Interval.of_share(np.ones(50), 10)
    assert (perfect.low, perfect.high) == pytest.approx((1, 1))


def test_a_relative_count_error_is_at_least_minus_one() -> None:
    objects = np.array([3, 30])
    ranking = Ranking(np.zeros(0, np.int64), np.zeros((10, 0), bool), np.zeros((10, 0), bool), objects)
    found = intervals([ranking], counts(objects, np.array([30, 3]))).overall.relative
    assert found.low == -1
    assert found.high > 5


def test_a_single_image_gives_no_interval() -> None:
    alone = Interval.of(np.ones(100), 1)
    assert math.isnan(alone.low)
    assert math.isnan(alone.high)
    nothing = Interval.of(np.full(100, math.nan), 9)
    assert math.isnan(nothing.low)


def test_draws_have_the_size_of_the_set_and_are_reproducible() -> None:
    first, second = (np.concatenate(list(draws(7))) for _ in range(2))
    assert first.shape == (1 + RESAMPLES, 7)
    assert (first[0] == 1).all()
    assert (first.sum(axis=1) == 7).all()
    assert (first == second).all()
    assert len(np.unique(first, axis=0)) > RESAMPLES / 3


def test_draws_of_very_many_images_come_in_parts() -> None:
    images = AT_ONCE // 400
    assert [len(part) for part in draws(images)] == [1, 400, 400, 200]


def test_images_of_a_group_are_drawn_together() -> None:
    rows = np.concatenate(list(draws(5, [0, 0, 1, 2, 2])))
    assert (rows[:, 0] == rows[:, 1]).all()
    assert (rows[:, 3] == rows[:, 4]).all()
    assert (rows[:, [0, 2, 3]].sum(axis=1) == 3).all()


def test_grouped_copies_do_not_narrow_the_interval() -> None:
    ranking = world(np.random.default_rng(1), 30)
    copies = Ranking(
        np.concatenate([ranking.image, ranking.image + 30]),
        np.tile(ranking.correct, 2),
        np.tile(ranking.ignored, 2),
        np.tile(ranking.objects, 2),
    )
    order = np.argsort(np.tile(np.arange(len(ranking.image)), 2), kind="stable")
    copies = Ranking(copies.image[order], copies.correct[:, order], copies.ignored[:, order], copies.objects)

    def width(ranking: Ranking, groups: list[int] | None) -> float:
        zero = np.zeros_like(ranking.objects)
        found = intervals([ranking], counts(ranking.objects, zero), groups).overall.ap
        return found.high - found.low

    honest = width(ranking, None)
    assert width(copies, None) < 0.8 * honest
    assert width(copies, [*range(30), *range(30)]) == pytest.approx(honest, rel=0.1)


def test_the_mean_is_over_the_classes_that_were_drawn() -> None:
    rng = np.random.default_rng(2)
    common, rare = world(rng, 10), world(rng, 10)
    only_first = Ranking(rare.image, rare.correct, rare.ignored, np.where(np.arange(10) == 0, 2, 0))
    ap, _ = precisions([common, only_first], 10)
    missing = np.concatenate(list(draws(10)))[:, 0] == 0
    assert np.isnan(ap[missing, 1]).all()
    np.testing.assert_array_equal(ap[missing, 2], ap[missing, 0])
    np.testing.assert_allclose(ap[~missing, 2], ap[~missing, :2].mean(axis=1))
