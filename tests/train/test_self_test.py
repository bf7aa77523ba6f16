"""Test the verdict of the overfit check."""

import pytest

from lookonce.train.self_test import MOST_STEPS, SelfTest


@pytest.mark.parametrize(
    ("ap50", "steps", "losses", "failed"),
    [
        (1.0, 200, (40.0, 1.0), False),
        (0.5, MOST_STEPS, (40.0, 1.0), True),  # all steps, and not memorized
        (0.0, 60, (40.0, 12.0), False),  # out of time while improving
        (0.0, 60, (40.0, 30.0), True),  # out of time without improving
        (0.0, 60, (40.0, float("nan")), True),
        (0.0, 19, (40.0, 39.0), False),  # a slow machine: no verdict
    ],
)
def test_the_trend_decides_where_time_ran_out(
    ap50: float, steps: int, losses: tuple[float, float], failed: bool
) -> None:
    outcome = SelfTest(ap50, steps, 180.0, losses, 0)
    assert outcome.failed is failed
    assert outcome.passed is (ap50 == 1)
