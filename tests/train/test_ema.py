"""Compare the running average with values computed by hand."""

import pytest
import torch
from torch import nn

from lookonce.train.ema import Ema


class Small(nn.Module):
    """Network of one weight, one running statistic and one count."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
        self.register_buffer("statistic", torch.zeros(1))
        self.register_buffer("count", torch.tensor(0))

    def become(self, value: float) -> None:
        with torch.no_grad():
            self.weight.fill_(value)
            self.statistic.fill_(10 * value)
            self.count.fill_(int(value))


def test_averages_match_hand_computed_values() -> None:
    """The decay rises from 2/11 to 3/12 and then stays at 0.3."""
    network = Small()
    ema = Ema(network, 0.3)
    expected = 0.0
    for value, decay in ((1.0, 2 / 11), (5.0, 3 / 12), (-2.0, 0.3), (7.0, 0.3)):
        network.become(value)
        ema.update(network)
        expected = decay * expected + (1 - decay) * value
        assert ema.network.weight.tolist() == pytest.approx([expected] * 2, rel=1e-6)
        assert float(ema.network.statistic) == pytest.approx(10 * expected, rel=1e-6)
        assert int(ema.network.count) == int(value), "counts are copied"
        assert ema.network.count.dtype == torch.int64
    assert ema.updates == 4


def test_late_updates_use_the_full_decay() -> None:
    network = Small()
    ema = Ema(network, 0.998)
    ema.updates = 10**5
    network.become(1)
    ema.update(network)
    assert ema.network.weight.tolist() == pytest.approx([0.002] * 2, rel=1e-4)


def test_the_average_is_a_copy_without_gradients() -> None:
    network = Small()
    ema = Ema(network, 0.9)
    network.become(3)
    assert ema.network.weight.tolist() == [0, 0]
    ema.update(network)
    assert network.weight.tolist() == [3, 3]
    assert network.weight.requires_grad
    assert not any(parameter.requires_grad for parameter in ema.network.parameters())
    assert ema.network.weight.grad is None


def test_a_restored_average_continues_identically() -> None:
    network = Small()
    one, other = Ema(network, 0.9), Ema(network, 0.9)
    for value in (1.0, 2.0):
        network.become(value)
        one.update(network)
    other.restore(one.network.state_dict(), one.updates)
    network.become(5)
    for ema in (one, other):
        ema.update(network)
    for name, tensor in one.network.state_dict().items():
        assert torch.equal(tensor, other.network.state_dict()[name])
    assert one.updates == other.updates == 3
