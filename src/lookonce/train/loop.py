"""The training loop: one epoch, in the order in which it happens.

batch -> images to the device -> network -> losses -> backward -> (every `accumulate` batches) step

Of several processes each goes through its part of every batch, and all take the same steps.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain

import torch
from torch import nn

from lookonce.config import TrainSettings
from lookonce.data.loader import Batch, Loader
from lookonce.errors import TrainingError
from lookonce.metadata import ModelInfo
from lookonce.model.blocks import follow_statistics
from lookonce.model.network import to_input
from lookonce.train.learner import Learner, precision_on
from lookonce.train.loss import Losses, compute_losses
from lookonce.train.meter import LossMeter
from lookonce.train.parallel import ALONE, Group
from lookonce.train.schedule import Schedule

MOST_SKIPPED = 10  # batches in a row, or all of an epoch: not a bad image, but ruined weights


@dataclass(frozen=True, slots=True)
class StepReport:
    """What the log gets to see.

    Attributes:
        step: optimizer steps done in this run.
        rate: learning rate of the last one.
        losses: means by term since the last report.
        images: learnt from since the last report.
    """

    step: int
    rate: float
    losses: dict[str, float]
    images: int


@dataclass(slots=True)
class Epoch:
    """An epoch that is under way, or done.

    Attributes:
        number: counted from 0; decides order and augmentation.
        batches: learnt from so far; a checkpoint within the epoch goes on after them.
        meter: of the losses.
        seconds: of learning, over all sittings.
        waited: seconds of these spent waiting for images.
        skipped: batches left out for a loss that was not finite.
    """

    number: int
    batches: int = 0
    meter: LossMeter = field(default_factory=LossMeter)
    seconds: float = 0.0
    waited: float = 0.0
    skipped: int = 0


def train_one_epoch(
    learner: Learner,
    loader: Loader,
    schedule: Schedule,
    info: ModelInfo,
    settings: TrainSettings,
    epoch: Epoch,
    log: Callable[[StepReport], None] = lambda report: None,
    after_step: Callable[[], None] = lambda: None,
    group: Group = ALONE,
) -> None:
    """Learn once from every image.

    Args:
        learner: its network in training mode.
        loader: gives the batches of an epoch.
        schedule: learning rate by optimizer step.
        info: anchors and strides.
        settings: loss, accumulation, logging.
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
    reported, in_a_row = epoch.meter.images, 0
    for batch, following in _with_following(loader.epoch(epoch.number, skip=epoch.batches)):
        follow_statistics(learner.network, epoch.number * len(loader) + batch.number)
        steps_before = (batch.number - 1) // accumulate
        step_batches = min(accumulate, len(loader) - steps_before * accumulate)
        learnt = _learn(learner, batch, info, settings, epoch.meter, group, step_batches)
        epoch.skipped += not learnt
        in_a_row = 0 if learnt else in_a_row + 1
        if in_a_row == min(MOST_SKIPPED, len(loader)):
            raise TrainingError(
                f"the loss of {in_a_row} batches in a row was not finite, the last on "
                f"{', '.join(map(str, chain(*group.gather(batch.paths))))}: the weights are ruined; "
                "lower --set optimizer.rate="
            )
        last = following is None
        stepped = following is None or (following.number - 1) // accumulate > steps_before
        step = before + steps_before + stepped
        if stepped:
            group.sum_gradients(learner.network)
            learner.step(schedule(step))
        if (last or batch.number % settings.log_every == 0) and (means := epoch.meter.read(group.gather)):
            log(StepReport(step, schedule(step), means, epoch.meter.images - reported))
            reported = epoch.meter.images
        if stepped:
            epoch.batches = batch.number
            epoch.seconds = seconds + time.perf_counter() - started
            epoch.waited = waited + loader.waited
            after_step()


def _learn(
    learner: Learner,
    batch: Batch,
    info: ModelInfo,
    settings: TrainSettings,
    meter: LossMeter,
    group: Group,
    step_batches: int,
) -> bool:
    """Add a batch's gradients, one of so many; False where its loss is not finite and it was left out."""
    here = bool(batch.examples)
    losses = forward(learner.running, batch, info, settings) if here or settings.sync_bn else Losses.none()
    total = losses.total(batch.image_count)
    if settings.loss.non_finite == "skip" and not all(group.gather(bool(torch.isfinite(total)))):
        return False
    meter.add(losses, batch.paths)
    if total.requires_grad:
        learner.backward(total / step_batches)
    return True


def forward(network: nn.Module, batch: Batch, info: ModelInfo, settings: TrainSettings) -> Losses:
    """The losses of a batch, on the network's device."""
    device = next(network.parameters()).device
    images = to_input(batch.images.to(device, non_blocking=True))
    precision = precision_on(device, settings)
    with torch.autocast(device.type, precision, enabled=precision != torch.float32):
        raw_maps = network(images)
    positives = batch.positives.each(lambda column: column.to(device, non_blocking=True))
    truth = batch.truth.to(device)
    return compute_losses(raw_maps, positives, truth, info.anchors, info.strides, settings.loss)


def steps_an_epoch(batches: int, accumulate: int) -> int:
    """Optimizer steps; the last one may hold fewer batches."""
    return -(-batches // accumulate)


def steps_done(epoch: Epoch, batches: int, accumulate: int) -> int:
    """Optimizer steps of a run until where its epoch stands, at so many batches an epoch."""
    return epoch.number * steps_an_epoch(batches, accumulate) + steps_an_epoch(epoch.batches, accumulate)


def _with_following(batches: Iterator[Batch]) -> Iterator[tuple[Batch, Batch | None]]:
    """Each batch, and the one after it; a loader may skip unreadable ones, so counting will not do."""
    ahead = next(batches, None)
    while ahead is not None:
        batch, ahead = ahead, next(batches, None)
        yield batch, ahead
