"""The network as torch compiles it, for the steps that a compiled network can take.

Compiled code is made for one size of batch and for fixed numbers. The last batch of an epoch may be smaller,
and the momentum of the running statistics changes with each of the first steps (`follow_statistics`): these
run as they are, or every one of them would be compiled anew.
"""

import torch
from torch import Tensor, nn

from lookonce.errors import TrainingError
from lookonce.model.blocks import BN_MOMENTUM


class Compiled(nn.Module):
    """Runs a network compiled where it can; weights and names stay those of the network."""

    def __init__(self, network: nn.Module, batch: int) -> None:
        """Try the compiler at once, not in the middle of a run.

        Args:
            network: to be learnt with.
            batch: images of a full batch.

        Raises:
            TrainingError: there is no working compiler.
        """
        super().__init__()
        try:
            torch.compile(torch.sin)(torch.zeros(8))
        except Exception as error:  # torch has a class for each way to fail, and not the same in each version
            first = str(error).strip().partition("\n")[0]
            raise TrainingError(
                f"compile: true needs a C++ compiler (such as g++) and torch's own: {first}; "
                "leave it out with --set compile=false"
            ) from error
        self._network, self._batch = network, batch
        self._fast = torch.compile(network.forward)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> the raw maps of the network."""
        first = next(block for block in self.modules() if isinstance(block, nn.BatchNorm2d))
        ready = len(images) == self._batch and first.momentum == BN_MOMENTUM
        maps: list[Tensor] = self._fast(images) if ready else self._network(images)
        return maps
