"""Weight generator of the reference numbers, written from its description."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from lookonce.model.blocks import ConvBlock, Head, Residual


def convolutions(network: nn.Module) -> list[tuple[ConvBlock | Head, bool]]:
    """Return every convolution in the order of a weight file, and whether it ends a residual block."""
    closing = {id(block.expand) for block in network.modules() if isinstance(block, Residual)}
    return [(m, id(m) in closing) for m in network.modules() if isinstance(m, ConvBlock | Head)]


def fill(network: nn.Module, seed: int = 20180408) -> None:
    """Draw beta, gamma, mean, variance, kernel (or bias, kernel) for every convolution in file order."""
    rng = np.random.Generator(np.random.PCG64(seed))
    with torch.no_grad():
        for block, closes in convolutions(network):
            conv = block if isinstance(block, Head) else block.conv
            for target, values in _draw(rng, block, closes, tuple(conv.weight.shape)):
                target.copy_(torch.from_numpy(values.astype(np.float32)))


def _draw(
    rng: np.random.Generator, block: ConvBlock | Head, closes: bool, shape: tuple[int, ...]
) -> Iterator[tuple[torch.Tensor, np.ndarray]]:
    out, fan_in = shape[0], int(np.prod(shape[1:]))
    if isinstance(block, Head):
        assert block.bias is not None
        yield block.bias, 0.1 * rng.standard_normal(out)
        yield block.weight, np.sqrt(1.0 / fan_in) * rng.standard_normal(shape)
        return
    bn = block.bn
    assert isinstance(bn, nn.BatchNorm2d)
    assert bn.running_mean is not None
    assert bn.running_var is not None
    yield bn.bias, 0.1 * rng.standard_normal(out)
    yield bn.weight, (0.8 + 0.4 * rng.random(out)) * (0.5 if closes else 1.0)
    yield bn.running_mean, 0.1 * rng.standard_normal(out)
    yield bn.running_var, 0.6 + 0.8 * rng.random(out)
    yield block.conv.weight, np.sqrt(1.4 / fan_in) * rng.standard_normal(shape)
