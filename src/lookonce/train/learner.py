"""A network in training, with everything that updates its weights.

batch -> network -> losses -> (float16: scaled) -> gradients -> (unscaled, clipped) -> optimizer -> average
"""

from functools import cache

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from lookonce._counted import counted
from lookonce.config import TrainSettings
from lookonce.darknet.described import decodings_of
from lookonce.data.loader import Batch
from lookonce.metadata import ModelInfo
from lookonce.model.blocks import follow_statistics
from lookonce.model.network import to_input
from lookonce.train.ema import Ema
from lookonce.train.imitate import Teacher, continuation, imitation
from lookonce.train.loss import Losses, compute_losses
from lookonce.train.optimizer import make_optimizer, set_rate
from lookonce.train.parallel import ALONE, Group
from lookonce.train.transfer import freeze_parts

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Learner:
    """Network in training, with its optimizer, gradient scaler and running average.

    Attributes:
        network: network in training, on its device.
        info: description of the network.
        settings: settings of the run.
        group: processes that share each batch.
        optimizer: optimizer of the parameters that are not frozen.
        scaler: gradient scaler, which keeps small gradients from vanishing in float16 and skips steps whose
            gradients overflow it; in other precisions, it does nothing.
        ema: running average of the weights, or None.
        batches: number of batches of this run in the running statistics of batch normalization.
        teacher: network whose raw maps are learned as well, or None.
    """

    def __init__(
        self,
        network: nn.Module,
        info: ModelInfo,
        settings: TrainSettings,
        group: Group = ALONE,
        teacher: Teacher | None = None,
    ) -> None:
        self.network, self.info, self.settings, self.group = network, info, settings, group
        self.teacher = teacher
        if teacher:
            teacher.network.to(next(network.parameters()).device).eval()
        freeze_parts(network, info, settings.freeze)  # first: the optimizer gets the parameters not frozen
        self.optimizer = make_optimizer(network, settings.optimizer)
        device = next(network.parameters()).device
        self.scaler = GradScaler(device.type, enabled=precision_on(device, settings) == torch.float16)
        self.batches = 0
        self.ema = Ema(network, settings.ema) if settings.ema else None
        self._before: tuple[int, list[Tensor]] = 0, []  # batches and buffers before one that may be skipped

    @property
    def evaluated(self) -> nn.Module:
        """Return the network to evaluate and save: the running average if there is one."""
        return self.ema.network if self.ema else self.network

    def start_epoch(self) -> None:
        """Put the network, except for frozen layers, into training mode."""
        self.network.train()
        freeze_parts(self.network, self.info, self.settings.freeze)

    def losses(self, batch: Batch) -> Losses:
        """Compute the losses of a batch, and include it in the running statistics.

        A process without images in this batch runs the network only if batch normalization is synchronized.
        """
        if self.settings.loss.non_finite == "skip":  # the forward pass updates the running statistics
            self._before = self.batches, [buffer.clone() for buffer in self.network.buffers()]
        if not batch.paths and not self.settings.sync_bn:
            return Losses.none()
        self.batches += 1
        follow_statistics(self.network, self.batches, self.settings.batch_norm)
        return forward(self.network, batch, self.info, self.settings, self.teacher)

    def undo(self) -> None:
        """Restore the running statistics from before the last batch, which is skipped."""
        self.batches, buffers = self._before
        for buffer, before in zip(self.network.buffers(), buffers, strict=True):
            buffer.copy_(before)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss to those of the step; the loss of an empty batch has none."""
        if loss.requires_grad:
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def step(self, rate: float) -> None:
        """Update the weights with the gradients since the last step, if there are any."""
        set_rate(self.optimizer, rate)
        self.group.sum_gradients(self.network)
        if all(parameter.grad is None for parameter in self.network.parameters()):
            return  # every batch of the step was skipped; the scaler would raise an error
        clip = self.settings.optimizer.clip
        if clip:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        if self.ema:
            self.ema.update(self.network)


def forward(
    network: nn.Module,
    batch: Batch,
    info: ModelInfo,
    settings: TrainSettings,
    teacher: Teacher | None = None,
) -> Losses:
    """Compute the losses of a batch on the network's device, including those against a teacher's maps."""
    device = next(network.parameters()).device
    at_once = device.type == "cuda"  # on Apple's GPU, the copies could be read before they are complete
    images = to_input(batch.images.to(device, non_blocking=at_once))
    precision = precision_on(device, settings)
    with torch.autocast(device.type, precision, enabled=precision != torch.float32):
        raw_maps = network(images)
        with torch.no_grad():
            taught = teacher.network(images) if teacher else []
    positives = batch.positives.each(lambda column: column.to(device, non_blocking=at_once))
    truth = batch.truth.to(device)
    ignored = [cells.to(device, non_blocking=at_once) for cells in batch.ignored]
    if teacher and teacher.classes is not None:
        return continuation(raw_maps, taught, teacher.classes, positives, truth, info, settings.loss, ignored)
    decodings = decodings_of(info)
    losses = compute_losses(
        raw_maps, positives, truth, info.anchors, info.strides, settings.loss, ignored, decodings
    )
    if not teacher:
        return losses
    return Losses.sum([losses, imitation(raw_maps, taught, info, settings.loss)])


def precision_on(device: torch.device, settings: TrainSettings) -> torch.dtype:
    """Return the precision of the network; `auto` avoids bfloat16 if the device only emulates it."""
    if settings.precision != "auto":
        return PRECISIONS[settings.precision]
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    if device.type == "mps":
        return torch.float32
    return torch.bfloat16 if cpu_has_bfloat16() else torch.float32


@cache
def cpu_has_bfloat16() -> bool:
    """Return whether this CPU computes in bfloat16 natively.

    PyTorch reports this on every system. `runtime.cpu`, which is for engines, works only on Linux and
    includes ARM's instructions, on which training was not measured.
    """
    return any(torch.cpu.get_capabilities().get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def describe_device(group: Group, settings: TrainSettings) -> str:
    """Name the device of a run, its precision and its threads."""
    device = group.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()
    precision = str(precision_on(device, settings)).removeprefix("torch.")
    threads = f"{counted(torch.get_num_threads(), 'thread')}, and {settings.workers} for images"
    return f"{name} in {precision}, {threads}" + (f", processes: {group.size}" if group.size > 1 else "")
