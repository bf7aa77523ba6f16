"""Compare the learning rate with the original code, and test the deliberate differences."""

from pathlib import Path

import numpy as np
import pytest

from lookonce.train.schedule import Schedule


@pytest.mark.parametrize("k", range(6))
def test_rates_equal_the_reference(reference: Path, k: int) -> None:
    stored = np.load(reference / "schedule.npz")
    per_epoch, warmup_epochs, epochs, rate, end = stored["config"][k]
    steps, warmup = int(per_epoch * epochs), int(per_epoch * warmup_epochs)
    schedule = Schedule(rate, end, warmup, steps)
    used = stored[f"lr_used{k}"]
    # the reference's first update uses Adam's default rate; later ones follow the schedule
    found = [schedule(n) for n in range(2, steps + 1)]
    np.testing.assert_allclose(found, used[1:steps], rtol=5e-7, atol=1e-12)


def test_the_schedule_holds_from_the_first_step() -> None:
    assert Schedule(0.01, 0.0, warmup=10, steps=100)(1) == pytest.approx(0.001)


def test_a_warmup_as_long_as_the_run_ends_at_the_full_rate() -> None:
    schedule = Schedule(0.01, 0.0, warmup=50, steps=20)
    assert [schedule(10), schedule(20)] == pytest.approx([0.005, 0.01])


def test_the_rate_stays_at_its_end_past_the_end() -> None:
    schedule = Schedule(0.01, 1e-4, warmup=0, steps=20)
    assert [schedule(20), schedule(21), schedule(400)] == [1e-4, 1e-4, 1e-4]
