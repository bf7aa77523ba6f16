"""Test the means of the losses since the last reading, over the epoch, and over processes."""

from pathlib import Path

import pytest
import torch

from lookonce.errors import NonFiniteLossError
from lookonce.train.loss import Losses
from lookonce.train.meter import LossMeter


def losses(*giou: float) -> Losses:
    """Make one image per number; its other terms are 1 and 2."""
    terms = torch.tensor(giou)
    return Losses(terms, torch.ones_like(terms), torch.full_like(terms, 2))


def paths(count: int) -> list[Path]:
    return [Path(f"{number}.png") for number in range(count)]


def test_means_are_over_images_not_batches() -> None:
    meter = LossMeter()
    meter.add(losses(1, 2, 3), paths(3))
    meter.add(losses(10), paths(1))
    assert meter.read() == pytest.approx({"total": 7, "giou": 4, "conf": 1, "prob": 2})
    assert meter.images == 4


def test_a_reading_covers_images_since_the_last_one_and_means_cover_all() -> None:
    meter = LossMeter()
    meter.add(losses(2), paths(1))
    meter.read()
    meter.add(losses(5, 5), paths(2))
    assert meter.read()["giou"] == 5
    assert meter.read() == {}
    assert meter.means()["giou"] == 4
    assert LossMeter().means() == {"total": 0, "giou": 0, "conf": 0, "prob": 0}


def test_a_reading_covers_all_processes() -> None:
    meter = LossMeter()
    meter.add(losses(2), paths(1))
    found = meter.read(lambda mine: [mine, (3, [18.0, 9.0, 3.0, 6.0])])
    assert found == pytest.approx({"total": 5.75, "giou": 2.75, "conf": 1, "prob": 2})
    assert meter.images == 4


def test_a_restored_state_continues_with_unread_images() -> None:
    meter = LossMeter()
    meter.add(losses(1), paths(1))
    meter.read()
    meter.add(losses(7, 9), paths(2))
    other = LossMeter.of(meter.state())
    for each in (meter, other):
        assert each.read()["giou"] == 8
        assert each.images == 3
        assert each.means()["giou"] == pytest.approx(17 / 3)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_images_whose_loss_is_not_finite_are_named(bad: float) -> None:
    with pytest.raises(NonFiniteLossError, match=r"not finite on 1\.png: .*optimizer\.rate"):
        LossMeter().add(losses(1, bad, 3), paths(3))
