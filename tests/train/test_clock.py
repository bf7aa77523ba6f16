"""Test runs with `minutes`, with a clock that the tests advance."""

import math
from dataclasses import dataclass

import pytest

from lookonce.train.clock import SHORTEST_WARMUP, UNSTEADY, Clock, Course
from lookonce.train.schedule import Schedule

PLANNED = Schedule(0.001, 0.0, warmup=100, steps=1500)  # 30 epochs of 50 steps, with two epochs of warm-up


@dataclass
class Time:
    """Clock in seconds."""

    seconds: float = 1000.0

    def __call__(self) -> float:
        return self.seconds


def started(total: float, time: Time) -> Clock:
    clock = Clock(total, time(), time)
    clock.begin()
    return clock


def steps(clock: Clock, time: Time, *seconds: float) -> None:
    for each in seconds:
        time.seconds += each
        clock.step_done()


def test_the_pace_ignores_the_first_steps() -> None:
    time = Time()
    clock = started(600, time)
    steps(clock, time, 9)
    assert clock.seconds_per_step() == 9  # nothing else is known
    steps(clock, time, 5)
    assert clock.seconds_per_step() == 7
    steps(clock, time, 1, 2)
    assert clock.seconds_per_step() == 1.5
    time.seconds += 30
    clock.apart(30)
    assert clock.seconds_per_step() == 1.5
    assert clock.used == 47


def test_without_evaluations_the_remaining_time_is_all_steps() -> None:
    time = Time()
    clock = started(100, time)
    steps(clock, time, 2, 2, 2)
    assert clock.steps_that_fit(until=1000, between=1000) == 47  # of 94 seconds left
    clock.closing = 10
    assert clock.left() == 84
    assert clock.steps_that_fit(until=1000, between=1000) == 42


@pytest.mark.parametrize(
    ("left", "until", "fitting"),
    [
        # an evaluation takes 10 seconds, 20 steps of a second lie between two; `left` excludes the last one
        (5, 3, 5),
        (22.9, 3, 23),  # an evaluation after 3 steps would leave 9.9 seconds, less than it takes
        (23, 3, 13),
        (52.9, 3, 43),  # the next one would come after 3 + 20 steps
        (53, 3, 33),
        (83, 3, 53),
        (20, 0, 10),
        (19, 0, 19),
        (0.4, 3, 0),
        (0.6, 3, 1),
        (-7, 3, 0),
    ],
)
def test_evaluations_cost_steps_unless_too_little_time_is_left(left: float, until: int, fitting: int) -> None:
    time = Time()
    clock = Clock(left + 10, time(), time, pace=1, closing=10)
    clock.begin()
    assert clock.steps_that_fit(until, between=20) == fitting


@pytest.mark.parametrize(("left", "fits"), [(20, True), (19.9, False)])
def test_an_evaluation_needs_as_much_time_again(left: float, fits: bool) -> None:
    time = Time()
    assert Clock(left + 10, time(), time, closing=10).fits_evaluation() == fits


def test_a_resumed_clock_keeps_used_time_and_pace() -> None:
    time = Time()
    clock = started(100, time)
    steps(clock, time, 9, 9, 2, 2, 2)
    clock.closing, clock.closed = 4, 100
    state = clock.state()
    assert state == {"used": 24, "pace": 2, "closing": 4, "closed": 100}
    later = Time(5.0)
    resumed = Clock(100, later(), later)
    resumed.restore(state)
    later.seconds += 6
    assert (resumed.used, resumed.left(), resumed.closed) == (30, 66, 100)
    resumed.begin()
    steps(resumed, later, 50)
    assert resumed.seconds_per_step() == 2  # the first step is not measured
    steps(resumed, later, 50, *[3] * 10)
    assert resumed.seconds_per_step() == 2.5  # ten steps of two seconds, ten of three


def test_a_clock_without_measured_steps_has_no_pace() -> None:
    time = Time()
    clock = started(100, time)
    steps(clock, time, 9)
    assert clock.state()["pace"] == 0
    assert clock.state()["closing"] == 0


def run(course: Course, time: Time, pace: list[float], closing: float) -> list[float]:
    """Return the learning rates of a run with 50 steps per epoch."""
    clock, ended = course.clock, False
    rates: list[float] = []
    assert clock is not None
    clock.begin()
    while not ended:
        number = len(rates) + 1
        rates.append(course.schedule(number))
        time.seconds += pace[min(number, len(pace)) - 1]
        ended = course.step_done(number)
        assert number < 100_000
        if ended or (number % 50 == 0 and clock.fits_evaluation()):
            time.seconds += closing
            clock.apart(closing)
            clock.closing = closing
        elif clock.used > clock.total / 2 and clock.closing is None:
            clock.closing = closing
    return rates


@pytest.mark.parametrize("minutes", [1, 5, 20])
@pytest.mark.parametrize("pace", [0.11, 0.5, 4.0])
@pytest.mark.parametrize("closing", [0.0, 1.5, 9.0])
def test_a_run_at_steady_speed_ends_in_time(minutes: float, pace: float, closing: float) -> None:
    time = Time()
    clock = Clock(60 * minutes, time(), time)
    time.seconds += 2  # to start the program
    rates = run(Course(PLANNED, clock, 50), time, [pace], closing)
    assert clock.used == pytest.approx(60 * minutes, abs=pace + 1e-6)
    fitted = Schedule(0.001, 0, min(100, max(10, round(len(rates) / 15))), len(rates))
    if closing == 0:
        for number, rate in enumerate(rates[2 * SHORTEST_WARMUP :], 2 * SHORTEST_WARMUP + 1):
            assert rate == pytest.approx(fitted(number), rel=0.15, abs=2e-5)
    assert max(rates) == pytest.approx(0.001, rel=0.1)
    assert rates[-1] < 0.1 * 0.001


def test_a_run_whose_speed_changes_ends_in_time() -> None:
    for late in (0.1, 3.0):
        time = Time()
        clock = Clock(300, time(), time)
        rates = run(Course(PLANNED, clock, 50), time, [*[0.6] * 200, late], 3.0)
        assert clock.used == pytest.approx(300, abs=3.1)
        assert rates[-1] < 0.02 * 0.001
        assert max(rates) == pytest.approx(0.001, rel=1e-3)


def test_a_slow_first_step_does_not_raise_the_rate() -> None:
    time = Time()
    clock = Clock(60, time(), time)
    rates = run(Course(PLANNED, clock, 50), time, [8.0, 3.0, 0.1], 0.0)
    assert len(rates) > 400
    assert all(rate <= 0.001 * step / SHORTEST_WARMUP + 1e-9 for step, rate in enumerate(rates, 1))


def test_a_long_run_warms_up_no_longer_than_planned() -> None:
    time = Time()
    rates = run(Course(PLANNED, Clock(3600, time(), time), 50), time, [0.5], 0.0)
    assert len(rates) == 7200
    assert math.isclose(rates[99], 0.001, rel_tol=1e-6)
    assert rates[49] == pytest.approx(0.0005, rel=1e-6)


def test_without_a_clock_the_schedule_decides() -> None:
    course = Course(Schedule(0.1, 0, 0, 3))
    assert [course.step_done(number) for number in (1, 2, 3)] == [False, False, True]
    assert course.schedule.steps == 3


def test_the_number_of_unsteady_steps_is_two() -> None:
    assert UNSTEADY == 2, "the paces of this file rely on it"
