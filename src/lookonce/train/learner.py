"""What learns: a network, and everything that changes its weights at a step.

loss -> (float16: scaled) -> gradients -> (unscaled, clipped) -> optimizer -> running average
"""

from functools import cache

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from lookonce.config import TrainSettings
from lookonce.train.compiled import Compiled
from lookonce.train.ema import Ema
from lookonce.train.optimizer import make_optimizer, set_rate
from lookonce.train.parallel import ALONE, Group

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Learner:
    """A network on its device, with the optimizer, gradient scaler and running average that the settings ask.

    Attributes:
        network: whose weights learn.
        running: what a step runs: the network, or the network compiled.
        optimizer: of its parameters that are not frozen.
        scaler: of the loss; it leaves out a step whose gradients overflow float16.
        ema: the running average of the weights, or None.
    """

    def __init__(self, network: nn.Module, settings: TrainSettings, group: Group = ALONE) -> None:
        """Begin with the weights that the network has.

        Args:
            network: on its device; what is frozen already stays so.
            settings: of the run.
            group: the processes that divide each batch among them.

        Raises:
            TrainingError: the settings want it compiled, and there is no working compiler.
        """
        self.network = network
        self.optimizer = make_optimizer(network, settings.optimizer)
        self.scaler = make_scaler(next(network.parameters()).device, settings)
        self.ema = Ema(network, settings.ema) if settings.ema else None
        self._clip = settings.optimizer.clip
        self.running = network
        if settings.compile:
            self.running = Compiled(network, len(range(group.rank, settings.batch_size, group.size)))

    @property
    def judged(self) -> nn.Module:
        """The network to evaluate and to keep: the average, where there is one."""
        return self.ema.network if self.ema else self.network

    def backward(self, loss: Tensor) -> None:
        """Add a loss's gradients to those of the step."""
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def step(self, rate: float) -> None:
        """Change the weights by the gradients since the last step; without any, nothing changes."""
        set_rate(self.optimizer, rate)
        if all(parameter.grad is None for parameter in self.network.parameters()):
            return  # every batch of the step was left out; a scaler would take that for a mistake
        if self._clip:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self._clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        if self.ema:
            self.ema.update(self.network)


def make_scaler(device: torch.device, settings: TrainSettings) -> GradScaler:
    """Multiplies the loss, so that small gradients do not vanish in float16; else it does nothing."""
    return GradScaler(device.type, enabled=precision_on(device, settings) == torch.float16)


def precision_on(device: torch.device, settings: TrainSettings) -> torch.dtype:
    """Of the network's arithmetic: by default bfloat16, but not where it is emulated and so slower."""
    if settings.precision != "auto":
        return PRECISIONS[settings.precision]
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    return torch.bfloat16 if _processor_has_bfloat16() else torch.float32


@cache
def _processor_has_bfloat16() -> bool:
    return any(torch.cpu.get_capabilities().get(name, False) for name in ("avx512_bf16", "amx_bf16"))
