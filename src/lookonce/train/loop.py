"""The training loop: one epoch, in the order in which it happens.

batch -> images to the device -> network -> losses -> (in float16: scale) -> backward
      -> (every `accumulate` batches) unscale, clip, step

Of several processes each goes through its part of every batch, and all take the same steps.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import chain

import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from lookonce.config import TrainSettings
from lookonce.data.loader import Batch, Loader
from lookonce.errors import TrainingError
from lookonce.metadata import ModelInfo
from lookonce.model.blocks import follow_statistics
from lookonce.model.network import to_input
from lookonce.train.loss import Losses, compute_losses
from lookonce.train.meter import LossMeter
from lookonce.train.optimizer import set_rate
from lookonce.train.parallel import ALONE, Group
from lookonce.train.schedule import Schedule

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
MOST_SKIPPED = 10  # batches in a row, or all of an epoch: not a bad picture, but ruined weights


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


@dataclass(slots=True)
class Epoch:
    """An epoch that is under way, or done.

    Attributes:
        number: counted from 0; decides order and augmentation.
        batches: learnt from so far; a checkpoint within the epoch goes on after them.
        meter: of the losses.
        seconds: of learning, over all sittings.
        waited: seconds of these spent waiting for pictures.
        skipped: batches left out for a loss that was not finite.
    """

    number: int
    batches: int = 0
    meter: LossMeter = field(default_factory=LossMeter)
    seconds: float = 0.0
    waited: float = 0.0
    skipped: int = 0


def train_one_epoch(
    network: nn.Module,
    loader: Loader,
    optimizer: Optimizer,
    scaler: GradScaler,
    schedule: Schedule,
    info: ModelInfo,
    settings: TrainSettings,
    epoch: Epoch,
    log: Callable[[StepReport], None] = lambda report: None,
    after_step: Callable[[], None] = lambda: None,
    group: Group = ALONE,
) -> None:
    """Learn once from every picture.

    Args:
        network: in training mode.
        loader: gives the batches of an epoch.
        optimizer: of the network's parameters.
        scaler: of the loss, from `make_scaler`; it leaves out a step whose gradients overflow float16.
        schedule: learning rate by optimizer step.
        info: priors and strides.
        settings: loss, clipping, accumulation, logging.
        epoch: where it stands; kept up to date after every optimizer step.
        log: called every `log_every` batches and after the last.
        after_step: called after every optimizer step, when everything may be saved.
        group: the processes that share the batches.

    Raises:
        NonFiniteLossError: a loss is not finite, and the settings do not say to skip it.
        TrainingError: they do, and nothing else comes any more.
    """
    accumulate = settings.optimizer.accumulate
    started, seconds, waited = time.perf_counter(), epoch.seconds, epoch.waited
    before = epoch.number * steps_an_epoch(len(loader), accumulate)
    reported, in_a_row = epoch.meter.pictures, 0
    for batch, last in _with_last(loader.epoch(epoch.number, skip=epoch.batches)):
        follow_statistics(network, epoch.number * len(loader) + batch.number)
        learnt = _learn(network, scaler, batch, info, settings, epoch.meter, group)
        epoch.skipped += not learnt
        in_a_row = 0 if learnt else in_a_row + 1
        if in_a_row == min(MOST_SKIPPED, len(loader)):
            raise TrainingError(
                f"the loss of {in_a_row} batches in a row was not finite, the last on "
                f"{', '.join(map(str, chain(*group.gather(batch.paths))))}: the weights are ruined; "
                "lower --set optimizer.rate="
            )
        stepped = last or batch.number % accumulate == 0
        step = before + batch.number // accumulate + (stepped and batch.number % accumulate > 0)
        if stepped:
            group.sum_gradients(network)
            _step(network, optimizer, scaler, schedule(step), settings)
        if (last or batch.number % settings.log_every == 0) and (means := epoch.meter.read(group.gather)):
            log(StepReport(step, schedule(step), means, epoch.meter.pictures - reported))
            reported = epoch.meter.pictures
        if stepped:
            epoch.batches = batch.number
            epoch.seconds = seconds + time.perf_counter() - started
            epoch.waited = waited + loader.waited
            after_step()


def _learn(
    network: nn.Module,
    scaler: GradScaler,
    batch: Batch,
    info: ModelInfo,
    settings: TrainSettings,
    meter: LossMeter,
    group: Group,
) -> bool:
    """Add a batch's gradients; False where its loss is not finite and it was left out."""
    here = bool(batch.examples)
    losses = forward(network, batch, info, settings) if here or settings.sync_bn else Losses.none()
    total = losses.total(batch.pictures)
    if settings.loss.non_finite == "skip" and not all(group.gather(bool(torch.isfinite(total)))):
        return False
    meter.add(losses, batch.paths)
    if total.requires_grad:
        scaler.scale(total / settings.optimizer.accumulate).backward()  # type: ignore[no-untyped-call]
    return True


def _step(
    network: nn.Module, optimizer: Optimizer, scaler: GradScaler, rate: float, settings: TrainSettings
) -> None:
    set_rate(optimizer, rate)
    if all(parameter.grad is None for parameter in network.parameters()):
        return  # every batch of the step was left out; a scaler would take that for a mistake
    if settings.optimizer.clip:
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(network.parameters(), settings.optimizer.clip)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad()


def forward(network: nn.Module, batch: Batch, info: ModelInfo, settings: TrainSettings) -> Losses:
    """The losses of a batch, on the network's device."""
    device = next(network.parameters()).device
    images = to_input(batch.images.to(device, non_blocking=True))
    precision = precision_on(device, settings)
    with torch.autocast(device.type, precision, enabled=precision != torch.float32):
        raw_maps = network(images)
    positives, truth = batch.positives.to(device), batch.truth.to(device)
    return compute_losses(raw_maps, positives, truth, info.anchors, info.strides, settings.loss)


def precision_on(device: torch.device, settings: TrainSettings) -> torch.dtype:
    """Of the network's arithmetic: by default bfloat16, but not where it is emulated and so slower."""
    if settings.precision != "auto":
        return PRECISIONS[settings.precision]
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    return torch.bfloat16 if _processor_has_bfloat16() else torch.float32


def make_scaler(device: torch.device, settings: TrainSettings) -> GradScaler:
    """Multiplies the loss, so that small gradients do not vanish in float16; else it does nothing."""
    return GradScaler(device.type, enabled=precision_on(device, settings) == torch.float16)


@cache
def _processor_has_bfloat16() -> bool:
    return any(torch.cpu.get_capabilities().get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def steps_an_epoch(batches: int, accumulate: int) -> int:
    """Optimizer steps; the last one may hold fewer batches."""
    return -(-batches // accumulate)


def steps_done(epoch: Epoch, batches: int, accumulate: int) -> int:
    """Optimizer steps of a run until where its epoch stands, at so many batches an epoch."""
    return epoch.number * steps_an_epoch(batches, accumulate) + steps_an_epoch(epoch.batches, accumulate)


def _with_last(batches: Iterator[Batch]) -> Iterator[tuple[Batch, bool]]:
    """Each batch, and whether it is the last; a loader may skip unreadable ones, so counting will not do."""
    ahead = next(batches, None)
    while ahead is not None:
        batch, ahead = ahead, next(batches, None)
        yield batch, ahead is None
