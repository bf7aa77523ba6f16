"""Train for one epoch.

for each step: (for each of its batches: network -> losses -> backward) -> weights
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain

import torch
from torch import Tensor

from lookonce.data.loader import Batch, Loader
from lookonce.errors import TrainingError
from lookonce.train.clock import Course
from lookonce.train.learner import Learner
from lookonce.train.meter import LossMeter

MOST_SKIPPED = 10  # batches in a row, or all of a shorter epoch, after which the weights must be the cause


@dataclass(frozen=True, slots=True)
class StepReport:
    """Report of the steps since the previous one, for the log.

    Attributes:
        step: number of optimizer steps done in the run.
        rate: learning rate of the last step.
        losses: mean of each loss term since the last report, by name.
        images: number of images trained on since the last report.
    """

    step: int
    rate: float
    losses: dict[str, float]
    images: int


@dataclass(slots=True)
class Epoch:
    """Progress within an epoch.

    Attributes:
        number: number of the epoch, from 0; it determines the order of the images and their augmentation.
        steps: number of steps done so far; a resumed run continues after them.
        meter: running means of the losses.
        seconds: seconds of training in this epoch, including time before an interruption.
        waited: seconds of this time spent waiting for images.
        skipped: number of batches skipped because their loss was not finite.
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
    course: Course,
    epoch: Epoch,
    after_step: Callable[[StepReport | None], None] = lambda report: None,
) -> bool:
    """Train once on every image, or until the run ends.

    Args:
        learner: network and optimizer.
        loader: loader that yields the batches of each step.
        course: learning rate of each step, and the end of the run.
        epoch: progress, updated after every step.
        after_step: function called after every step, which may write a checkpoint; it receives a report every
            `log_every` steps and at the end of the epoch, otherwise None.

    Returns:
        Whether the run ends with this epoch.

    Raises:
        NonFiniteLossError: a loss is not finite, and the settings do not allow skipping the batch.
        TrainingError: the losses of too many batches in a row are not finite.
    """
    settings, gather, steps = learner.settings, learner.group.gather, loader.steps_per_epoch
    started, waited, reported = time.perf_counter() - epoch.seconds, epoch.waited, epoch.meter.images
    skips, ended = Skips(learner, len(loader)), False
    learner.start_epoch()

    for step in loader.steps(epoch.number, skip=epoch.steps):
        for batch in step:
            losses = learner.losses(batch)
            loss = losses.total(batch.image_count)
            if skips.skip(loss, batch):
                epoch.skipped += 1
            else:
                epoch.meter.add(losses, batch.paths)
                learner.backward(loss / len(step))

        number = epoch.number * steps + step.number
        rate = course.schedule(number)
        learner.step(rate)
        ended = course.step_done(number)

        epoch.steps, epoch.waited = step.number, waited + loader.waited
        epoch.seconds = time.perf_counter() - started
        report = None
        if step.number % settings.log_every == 0 or step.number == steps or ended:
            means, images = epoch.meter.read(gather), epoch.meter.images - reported
            report = StepReport(number, rate, means, images) if means else None
            reported += images
        after_step(report)
        if ended:
            break
    return ended


class Skips:
    """Skips the batches of an epoch whose loss is not finite, if the settings allow it."""

    def __init__(self, learner: Learner, batches: int) -> None:
        """Start an epoch of `batches` batches."""
        self._learner, self._gather = learner, learner.group.gather
        self._allowed = learner.settings.loss.non_finite == "skip"
        self._most, self._in_a_row = min(MOST_SKIPPED, batches), 0
        self._good: Batch | None = None  # last batch with a finite loss

    def skip(self, loss: Tensor, batch: Batch) -> bool:
        """Return whether to skip a batch, which all processes do if its loss is not finite in any of them.

        A skipped batch leaves no trace in the running statistics.

        Args:
            loss: loss of the batch.
            batch: the batch.

        Raises:
            TrainingError: the weights are to blame: the loss of a batch that was finite no longer is, or too
                many batches in a row were skipped.
        """
        if not self._allowed:
            return False
        if all(self._gather(bool(torch.isfinite(loss)))):
            self._in_a_row, self._good = 0, batch
            return False
        self._learner.undo()
        self._in_a_row += 1
        paths = ", ".join(map(str, chain(*self._gather(batch.paths))))
        if self._in_a_row == self._most:
            raise TrainingError(
                f"the loss of {self._most} batches in a row was not finite, the last on {paths}: the weights "
                "are ruined; lower optimizer.rate"
            )
        if self._in_a_row == 1 and self._good is not None:
            with torch.no_grad():
                again = self._learner.losses(self._good).total(self._good.image_count)
            self._learner.undo()
            if not all(self._gather(bool(torch.isfinite(again)))):
                raise TrainingError(
                    f"the loss on {paths} was not finite, and that of an earlier batch no longer is: the "
                    "weights are ruined; lower optimizer.rate"
                )
        return True
