"""The training loop: one epoch, in the order in which it happens.

for each step: (for each of its batches: network -> losses -> backward) -> weights
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain

import torch

from lookonce.data.loader import Loader
from lookonce.errors import TrainingError
from lookonce.train.learner import Learner
from lookonce.train.meter import LossMeter
from lookonce.train.schedule import Schedule

MOST_SKIPPED = 10  # consecutive batches, or all of an epoch: not a bad image, but non-finite weights


@dataclass(frozen=True, slots=True)
class StepReport:
    """One entry of the log.

    Attributes:
        step: optimizer steps done in this run.
        rate: learning rate of the last one.
        losses: means by term since the last report.
        images: trained on since the last report.
    """

    step: int
    rate: float
    losses: dict[str, float]
    images: int


@dataclass(slots=True)
class Epoch:
    """Progress within an epoch.

    Attributes:
        number: counted from 0; determines order and augmentation.
        steps: done so far; a resumed run continues after them.
        meter: of the losses.
        seconds: of training, over all runs of the program.
        waited: seconds of these spent waiting for images.
        skipped: batches skipped because their loss was not finite.
    """

    number: int
    steps: int = 0
    meter: LossMeter = field(default_factory=LossMeter)
    seconds: float = 0.0
    waited: float = 0.0
    skipped: int = 0


def train_one_epoch(
    learner: Learner,
    loader: Loader,
    schedule: Schedule,
    epoch: Epoch,
    after_step: Callable[[StepReport | None], None] = lambda report: None,
) -> None:
    """Train once on every image.

    Args:
        learner: the network and its optimizer.
        loader: gives the steps of an epoch and their batches.
        schedule: learning rate by optimizer step.
        epoch: kept up to date after every step.
        after_step: called after every step, when everything may be saved; the report is there every
            `log_every` steps and at the end.

    Raises:
        NonFiniteLossError: a loss is not finite, and the settings do not skip it.
        TrainingError: they do, but too many losses in a row are not finite.
    """
    settings, group, last = learner.settings, learner.group, loader.steps_per_epoch
    started, waited = time.perf_counter() - epoch.seconds, epoch.waited
    reported, skipped_in_a_row = epoch.meter.images, 0
    learner.start_epoch()

    for step in loader.steps(epoch.number, skip=epoch.steps):
        for batch in step:
            losses = learner.losses(batch, epoch.number * len(loader) + batch.number)
            loss = losses.total(batch.image_count)
            if settings.loss.non_finite == "skip" and not all(group.gather(bool(torch.isfinite(loss)))):
                epoch.skipped += 1
                skipped_in_a_row += 1
                if skipped_in_a_row == min(MOST_SKIPPED, len(loader)):
                    paths = ", ".join(map(str, chain(*group.gather(batch.paths))))
                    raise TrainingError(
                        f"the loss of {skipped_in_a_row} batches in a row was not finite, the last on "
                        f"{paths}: the weights are ruined; lower optimizer.rate"
                    )
                continue
            skipped_in_a_row = 0
            epoch.meter.add(losses, batch.paths)
            learner.backward(loss / len(step))

        number = epoch.number * last + step.number
        learner.step(schedule(number))

        report = None
        if step.number % settings.log_every == 0 or step.number == last:
            means = epoch.meter.read(group.gather)
            if means:
                report = StepReport(number, schedule(number), means, epoch.meter.images - reported)
                reported = epoch.meter.images
        epoch.steps = step.number
        epoch.seconds = time.perf_counter() - started
        epoch.waited = waited + loader.waited
        after_step(report)
