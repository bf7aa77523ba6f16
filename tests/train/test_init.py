"""First weights."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from lookonce.config import TrainSettings
from lookonce.model.blocks import ConvBlock, Head
from lookonce.model.network import build
from lookonce.train.init import initialise
from tests.data.drawn_samples import INFO

NARROW = replace(INFO, width=0.25)


def network(**wanted: object) -> nn.Module:
    torch.manual_seed(0)
    return initialise(build(NARROW), TrainSettings(**wanted))


def heads(of: nn.Module) -> list[Head]:
    return [module for module in of.modules() if isinstance(module, Head)]


def test_the_reference_stays_bit_for_bit() -> None:
    torch.manual_seed(0)
    built = build(NARROW).state_dict()
    for name, tensor in network(objectness_prior=0.5).state_dict().items():
        assert torch.equal(tensor, built[name]), name
        assert not torch.signbit(tensor[tensor == 0]).any(), f"{name}: a negative zero"


@pytest.mark.parametrize("anchor", [0.01, 0.3, 0.9])
def test_every_cell_answers_the_anchor_and_nothing_else_is_biased(anchor: float) -> None:
    found = heads(network(objectness_prior=anchor))
    assert len(found) == 2
    for head in found:
        assert head.bias is not None
        bias = head.bias.detach().view(3, 5 + 3)  # anchors, x y w h objectness and three classes
        assert torch.sigmoid(bias[:, 4]).tolist() == pytest.approx([anchor] * 3, rel=1e-6)
        others = [0, 1, 2, 3, 5, 6, 7]
        assert (bias[:, others] == 0).all()
        answered = head(torch.zeros(1, head.in_channels, 2, 3)).view(3, 8, 2, 3)[:, 4]
        assert torch.sigmoid(answered).flatten().tolist() == pytest.approx([anchor] * 18, rel=1e-6)


def test_kernels_by_fan_in() -> None:
    """Deviation sqrt(2 / (1 + 0.1^2) / inputs); heads keep the reference's 0.01."""
    made = network(init="he")
    blocks = [module for module in made.modules() if isinstance(module, ConvBlock)]
    assert len(blocks) > 5
    for block in blocks:
        kernel = block.conv.weight.detach()
        inputs = kernel[0].numel()
        spread = (2 / 1.01 / inputs) ** 0.5
        tolerance = 4 / (2 * kernel.numel()) ** 0.5  # four deviations of the deviation found
        assert float(kernel.std()) == pytest.approx(spread, rel=tolerance)
        assert abs(float(kernel.mean())) < 4 * spread / kernel.numel() ** 0.5
    for head in heads(made):
        assert float(head.weight.detach().std()) == pytest.approx(0.01, rel=0.1)


def test_first_kernels_follow_the_seed() -> None:
    for one, other in zip(network(init="he").parameters(), network(init="he").parameters(), strict=True):
        assert torch.equal(one, other)
