"""The training loop: one epoch, in the order in which it happens.

batch -> images to the device -> network -> losses -> backward -> (every `accumulate` batches) clip, step
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import torch
from torch import nn
from torch.optim import Optimizer

from lookonce.config import TrainSettings
from lookonce.data.loader import Batch, Loader
from lookonce.metadata import ModelInfo
from lookonce.model.blocks import follow_statistics
from lookonce.model.network import to_input
from lookonce.train.loss import Losses, compute_losses
from lookonce.train.meter import LossMeter
from lookonce.train.optimizer import set_rate
from lookonce.train.schedule import Schedule


@dataclass(frozen=True, slots=True)
class StepReport:
    """What the log gets to see.

    Attributes:
        step: optimizer steps done in this run.
        rate: learning rate of the last one.
        losses: means by term since the last report.
        pictures: learnt from since the last report.
    """

    step: int
    rate: float
    losses: dict[str, float]
    pictures: int


@dataclass(frozen=True, slots=True)
class EpochStats:
    """What one epoch did.

    Attributes:
        losses: mean of each term over the pictures.
        pictures: how many were learnt from.
        seconds: wall time.
        waited: seconds of it spent waiting for pictures.
    """

    losses: dict[str, float]
    pictures: int
    seconds: float
    waited: float


def train_one_epoch(
    network: nn.Module,
    loader: Loader,
    optimizer: Optimizer,
    schedule: Schedule,
    info: ModelInfo,
    settings: TrainSettings,
    epoch: int,
    log: Callable[[StepReport], None],
) -> EpochStats:
    """Learn once from every picture.

    Args:
        network: in training mode.
        loader: gives the batches of an epoch.
        optimizer: of the network's parameters.
        schedule: learning rate by optimizer step.
        info: priors and strides.
        settings: loss, clipping, accumulation, logging.
        epoch: counted from 0; decides order and augmentation.
        log: called every `log_every` batches and after the last.

    Raises:
        TrainingError: a loss is not finite; the message names the pictures.
    """
    meter, started = LossMeter(), time.perf_counter()
    accumulate = settings.optimizer.accumulate
    step = epoch * steps_an_epoch(len(loader), accumulate)
    reported = 0
    for number, (batch, last) in enumerate(_with_last(loader.epoch(epoch)), start=1):
        follow_statistics(network, epoch * len(loader) + number)
        losses = forward(network, batch, info, settings)
        meter.add(losses, batch.paths)
        (losses.total() / accumulate).backward()  # type: ignore[no-untyped-call]
        if number % accumulate == 0 or last:
            step += 1
            set_rate(optimizer, schedule(step))
            if settings.optimizer.clip:
                nn.utils.clip_grad_norm_(network.parameters(), settings.optimizer.clip)
            optimizer.step()
            optimizer.zero_grad()
        if number % settings.log_every == 0 or last:
            means = meter.read()
            log(StepReport(step, schedule(step), means, meter.pictures - reported))
            reported = meter.pictures
    return EpochStats(meter.means(), meter.pictures, time.perf_counter() - started, loader.waited)


def forward(network: nn.Module, batch: Batch, info: ModelInfo, settings: TrainSettings) -> Losses:
    """The losses of a batch, on the network's device."""
    device = next(network.parameters()).device
    images = to_input(batch.images.to(device, non_blocking=True))
    with torch.autocast(device.type, torch.bfloat16, enabled=in_bfloat16(settings, device)):
        raw_maps = network(images)
    positives, truth = batch.positives.to(device), batch.truth.to(device)
    return compute_losses(raw_maps, positives, truth, info.anchors, info.strides, settings.loss)


def in_bfloat16(settings: TrainSettings, device: torch.device) -> bool:
    """Whether the network's arithmetic is bfloat16: where it is emulated it would be slower, not faster."""
    if settings.precision == "auto":
        return torch.cuda.is_bf16_supported() if device.type == "cuda" else _processor_has_bfloat16()
    return settings.precision == "bfloat16"


@cache
def _processor_has_bfloat16() -> bool:
    return any(torch.cpu.get_capabilities().get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def steps_an_epoch(batches: int, accumulate: int) -> int:
    """Optimizer steps; the last one may hold fewer batches."""
    return -(-batches // accumulate)


def _with_last(batches: Iterator[Batch]) -> Iterator[tuple[Batch, bool]]:
    """Each batch, and whether it is the last; a loader may skip unreadable ones, so counting will not do."""
    ahead = next(batches, None)
    while ahead is not None:
        batch, ahead = ahead, next(batches, None)
        yield batch, ahead is None
