"""Running average of the weights, which fluctuates less and is therefore evaluated and saved.

    average <- d * average + (1 - d) * weights        after every optimizer step
    d = min(decay, (1 + n) / (10 + n))                at update n

This is Polyak averaging (Polyak and Juditsky 1992). The increasing d, taken from TensorFlow, removes the
first steps from the average quickly. The running statistics of batch normalization are averaged as well.
"""

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor, nn


class Ema:
    """Running average of a network's weights.

    Attributes:
        network: copy of the network that holds the average.
        updates: number of updates so far.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = deepcopy(network).requires_grad_(False)
        self.updates = 0
        self._decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Include the weights after an optimizer step in the average."""
        self.updates += 1
        share = 1 - min(self._decay, (1 + self.updates) / (10 + self.updates))
        average, current = self.network.state_dict(), network.state_dict()
        averaged = [name for name, tensor in average.items() if tensor.is_floating_point()]
        torch._foreach_lerp_(
            [average[name] for name in averaged], [current[name] for name in averaged], share
        )
        for name in average.keys() - set(averaged):
            average[name].copy_(current[name])

    def restore(self, weights: Mapping[str, Tensor], updates: int) -> None:
        """Continue from a saved average and its number of updates."""
        self.network.load_state_dict(weights)
        self.updates = updates
