"""Overfit check: train a network on eight of the images until it finds every object in them.

Shifted boxes, swapped classes or bad settings make this check fail within minutes, before a long run does.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.progress import TimeElapsedColumn

from lookonce._terminal import progress_bar
from lookonce.config import AugmentSettings, TrainSettings
from lookonce.data.loader import Loader
from lookonce.errors import AnnotationError
from lookonce.samples import Sample
from lookonce.train.clock import Course
from lookonce.train.learner import Learner
from lookonce.train.loop import Epoch, train_one_epoch
from lookonce.train.parallel import ALONE, Group
from lookonce.train.schedule import Schedule
from lookonce.train.setup import TrainData, describe, make_dataset, make_network
from lookonce.train.validate import Validator

IMAGES = 8
GOAL = 0.99  # AP50 from which the check passes
SECONDS = 180.0  # time limit
MOST_STEPS, EVALUATE_EVERY = 600, 20
FALLEN = 0.5  # share of the first loss that the last one must fall below if time runs out
FEWEST_STEPS = 20  # steps below which the loss is not yet meaningful


@dataclass(frozen=True, slots=True)
class SelfTest:
    """Result of the overfit check.

    Attributes:
        ap50: AP50 on the eight images.
        steps: number of optimizer steps.
        seconds: time taken.
        losses: mean loss over the first tenth of the steps, and over the last tenth.
        lost: number of positives replaced by another object on the same cell and anchor.
    """

    ap50: float
    steps: int
    seconds: float
    losses: tuple[float, float]
    lost: int

    @property
    def passed(self) -> bool:
        """Return whether the network overfits the images."""
        return self.ap50 >= GOAL

    @property
    def failed(self) -> bool:
        """Return whether the check failed: no overfit after all steps, or a high loss when time ran out.

        Too few steps within the time limit are no failure, as the machine may just be slow.
        """
        if self.passed or self.steps == MOST_STEPS:
            return not self.passed
        first, last = self.losses
        return self.steps >= FEWEST_STEPS and not last < FALLEN * first


def self_test(data: TrainData, settings: TrainSettings, console: Console, group: Group = ALONE) -> SelfTest:
    """Overfit on eight images, in at most three minutes, on the device of this process.

    Raises:
        AnnotationError: no image has a box.
    """
    chosen = choose(data.train, len(data.names))
    settings = settings.model_copy(
        update={
            "batch": len(chosen),
            "epochs": MOST_STEPS,
            "augment": AugmentSettings.off(),
            "ema": 0,
            "freeze": "nothing",  # all weights are random
        }
    )
    torch.manual_seed(settings.seed)
    data = TrainData(data.names, chosen, chosen)
    info = describe(data, settings)
    network = make_network(info, settings).to(group.device)
    loader = Loader(make_dataset(data, info, settings), settings.batch_size, workers=0)
    learner = Learner(network, info, settings)
    rate = settings.optimizer.rate
    schedule = Schedule(rate, rate / 100, warmup=EVALUATE_EVERY, steps=MOST_STEPS)
    validator = Validator(network, info, chosen, settings, console)
    lost = sum(batch.positives.lost for step in loader.steps(0) for batch in step)
    started, ap50, steps = time.perf_counter(), 0.0, 0
    losses: list[float] = []
    with progress_bar(console, TimeElapsedColumn()) as bar:
        task = bar.add_task(f"memorizing, {SECONDS:.0f} s at most")
        while steps < MOST_STEPS and ap50 < GOAL and time.perf_counter() - started < SECONDS:
            epoch = Epoch(steps)
            train_one_epoch(learner, loader, Course(schedule), epoch)
            steps += 1
            if steps % EVALUATE_EVERY == 0 or steps == MOST_STEPS:
                ap50 = validator.evaluate()["ap50"]
            losses.append(epoch.meter.means()["total"])
            bar.update(task, description=f"step {steps}  loss {losses[-1]:.3g}  AP50 {ap50:.3f}")
    tenth = -(-steps // 10)
    ends = sum(losses[:tenth]) / tenth, sum(losses[-tenth:]) / tenth
    return SelfTest(ap50, steps, time.perf_counter() - started, ends, lost)


def choose(samples: Sequence[Sample], num_classes: int) -> list[Sample]:
    """Choose up to eight images with boxes: the first image of each class, then others in order.

    Raises:
        AnnotationError: no image has a box.
    """
    with_boxes = [sample for sample in samples if len(sample.labels)]
    if not with_boxes:
        raise AnnotationError("expected images with boxes to memorize, found none")
    first_of = [
        next((i for i, sample in enumerate(with_boxes) if label in sample.labels), 0)
        for label in range(num_classes)
    ]
    wanted = list(dict.fromkeys([*first_of, *range(len(with_boxes))]))[:IMAGES]
    return [with_boxes[i] for i in wanted]
