"""Test which weights decay, and how."""

import pytest
import torch
from torch import nn
from torch.optim import Adam, AdamW

from lookonce.config import OptimizerSettings
from lookonce.train.optimizer import make_optimizer, optimizer_tensors, restore

RATE, DECAY = 0.1, 0.5


def stepped(name: str, gradient: float) -> tuple[float, float]:
    """Return a kernel of 4 and a bias of 4 after one step."""
    network = nn.Conv2d(1, 1, 1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(4)
            parameter.grad = torch.full_like(parameter, gradient)
    make_optimizer(network, OptimizerSettings(name=name, rate=RATE, weight_decay=DECAY)).step()
    return float(network.weight.detach()), float(network.bias.detach())


def test_adamw_subtracts_the_decay_from_the_weights() -> None:
    """Adam's first step equals the rate for any gradient; AdamW adds a decay of rate * decay * weight."""
    for gradient in (0.01, 100.0):
        kernel, bias = stepped("adamw", gradient)
        assert kernel == pytest.approx(4 - RATE * DECAY * 4 - RATE, abs=1e-4)
        assert bias == pytest.approx(4 - RATE, abs=1e-4), "biases do not decay"
    assert stepped("adamw", 0.0) == pytest.approx((4 - RATE * DECAY * 4, 4))


def test_adam_adds_the_decay_to_the_gradient() -> None:
    assert stepped("adam", 100.0) == pytest.approx((4 - RATE, 4 - RATE), abs=1e-4)
    assert stepped("adam", 0.0) == pytest.approx((4 - RATE, 4), abs=1e-4)


@pytest.mark.parametrize(("name", "kind"), [("adam", Adam), ("adamw", AdamW)])
def test_each_optimizer_restores_its_state(name: str, kind: type) -> None:
    network = nn.Conv2d(2, 3, 3)
    settings = OptimizerSettings(name=name)
    one, other = make_optimizer(network, settings), make_optimizer(network, settings)
    assert type(one) is kind
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    one.step()
    restore(other, optimizer_tensors(one))
    for key, tensor in optimizer_tensors(one).items():
        assert torch.equal(tensor, optimizer_tensors(other)[key])
