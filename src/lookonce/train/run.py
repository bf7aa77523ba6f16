"""Carry out a training run: data, network, optimizer, epochs and checkpoints.

run folder/
    settings.yaml         settings of the run; a resumed run reads them back
    network.cfg           network, if it was given as a `.cfg`
    last.safetensors      latest model and everything needed to resume, written every few minutes
    best.safetensors      model with the highest validation AP
    epoch-*.safetensors   model after each epoch, with `keep_epochs`
    steps.csv, epochs.csv, tensorboard/
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from rich.console import Console

from lookonce._counted import counted
from lookonce._terminal import say
from lookonce.config import TrainSettings
from lookonce.darknet.described import published_scales
from lookonce.errors import AnnotationError, ConfigError, ModelFileError, NonFiniteLossError, TrainingError
from lookonce.geometry.sizes import size_text
from lookonce.metadata import ModelInfo
from lookonce.model.darknet_io import convolution_names
from lookonce.model.files import save_model
from lookonce.networks import model_name
from lookonce.recipe import load_settings
from lookonce.train import checkpoint
from lookonce.train.batch_size import choose_batch
from lookonce.train.checkpoint import Progress
from lookonce.train.clock import Clock, Course
from lookonce.train.folder import SETTINGS, prepare_folder, write_settings
from lookonce.train.imitate import Teacher
from lookonce.train.learner import Learner, describe_device
from lookonce.train.log import RunLog
from lookonce.train.loop import Epoch, StepReport, train_one_epoch
from lookonce.train.meter import LossMeter
from lookonce.train.parallel import ALONE, Group, SharedLoader
from lookonce.train.setup import TrainData, base_network, describe, make_dataset, make_network, make_schedule
from lookonce.train.sync_norm import synchronize
from lookonce.train.transfer import check_frozen, transfer
from lookonce.train.validate import Validator

NON_FINITE = "non_finite.safetensors"


@dataclass(frozen=True, slots=True)
class RunResult:
    """Result of a finished run.

    Attributes:
        model: path of the best model.
        progress: finished epochs, best AP, and time.
    """

    model: Path
    progress: Progress


@dataclass(frozen=True, slots=True)
class Session:
    """Environment of a run: console, processes, and stop condition.

    Attributes:
        console: console for the progress bar and the log lines.
        group: processes that train together, all with the same arguments; the first one prints and writes.
        stop: function called after every step; once it returns true, the run saves its state and ends.
        strict: whether to raise an error at the first image or box that would be skipped.
        now: clock that returns seconds.
        started: value of `now()` from which `minutes` count; None counts from the start of training.
    """

    console: Console
    group: Group = ALONE
    stop: Callable[[], bool] = lambda: False
    strict: bool = False
    now: Callable[[], float] = time.monotonic
    started: float | None = None

    def say(self, text: str) -> None:
        """Print a line."""
        say(text, self.console)


class Stopped(KeyboardInterrupt):
    """Raised when a run stops on request, after it has saved its state."""


def train(
    data: TrainData,
    settings: TrainSettings,
    out: Path,
    session: Session,
    *,
    weights: Path | None = None,
    resume: bool = False,
    teacher: Teacher | None = None,
) -> RunResult:
    """Train until the last epoch, the last minute, or a plateau of the AP.

    Args:
        data: annotated images.
        settings: settings of the run; for a resumed run, they may differ only as `prepare_folder` allows.
        out: run folder.
        session: console, processes, and stop condition.
        weights: model to start from; None for random weights.
        resume: whether to continue from `out/last.safetensors`.
        teacher: network whose raw maps are learned as well; None for none.

    Raises:
        AnnotationError: no training image has a box.
        ConfigError: `out` already holds a run, has no run to resume, or holds one with other settings;
            `patience` is set without objects in validation images; or the system does not report the free
            memory for `batch: auto`.
        TrainingError: a loss is not finite, or memory ran out; the message names the settings to change.
        ModelFileError: `weights` or the checkpoint is damaged or does not fit the network.
        Stopped: `session.stop` returned true.
    """
    if not any(len(sample.labels) for sample in data.train):
        raise AnnotationError(f"expected boxes to train on, found none in {len(data.train)} training images")
    if settings.patience and not any(len(sample.labels) for sample in data.val):
        raise ConfigError("patience: expected validation images with objects, found none to measure AP on")
    settings = session.group.on_first(lambda: _prepare(data, settings, out, session, resume=resume))
    torch.manual_seed(settings.seed)
    run = _Run(data, settings, out, session, weights=weights, resume=resume, teacher=teacher)
    if session.group.is_first:
        write_settings(out, settings)  # only after all checks
    with run.loader, run.log or nullcontext(), _memory_advice(settings):
        return RunResult(out / checkpoint.BEST, run.to_the_end())


def _prepare(
    data: TrainData, settings: TrainSettings, out: Path, session: Session, *, resume: bool
) -> TrainSettings:
    """Prepare the run folder; return the settings, with a number in place of `batch: auto`."""
    if resume and settings.batch == "auto" and (out / SETTINGS).exists():
        settings = settings.model_copy(update={"batch": load_settings(out / SETTINGS).batch})
    prepare_folder(out, settings, resume=resume)
    if settings.batch == "auto":
        choice = choose_batch(data, settings, session.group.device, session.group.size)
        session.say(choice.why)
        settings = settings.model_copy(update={"batch": choice.batch})
    return settings


def _remarks(info: ModelInfo, settings: TrainSettings) -> Iterator[str]:
    """Yield remarks on the range of pixel values and on scales that keep their published anchors."""
    if info.values is not None:
        low, high = info.values
        yield f"images of more than 8 bits: {low:g} to {high:g} become 0 to 255, as stored in the model"
    if settings.anchors == "data":
        published, _ = published_scales(settings.model)
        for stride, fitted, official in zip(info.strides, info.anchors, published, strict=True):
            if fitted == official:
                yield f"stride {stride}: too few boxes of that size, published anchors kept"


class _Run:
    """Run that starts anew or continues from its last checkpoint.

    Attributes:
        learner: network and optimizer.
        loader: loader of the training images.
        log: log of the run in the first process; None in the others.
    """

    def __init__(
        self,
        data: TrainData,
        settings: TrainSettings,
        out: Path,
        session: Session,
        *,
        weights: Path | None,
        resume: bool,
        teacher: Teacher | None,
    ) -> None:
        self._settings, self._out, self._session, group = settings, out, session, session.group
        info = describe(data, settings)
        for remark in _remarks(info, settings):
            session.say(remark)
        network = make_network(info, settings).to(group.device)
        if settings.sync_bn and group.size > 1:
            synchronize(network)
        start, fresh = f"random weights, seed {settings.seed}", convolution_names(network)
        if weights and not resume:
            moved = transfer(network, info, weights, base_network(settings, info))
            start, fresh = f"{model_name(weights)}: {moved}", [*moved.fresh]
        if not resume:
            check_frozen(network, info, settings.freeze, fresh)
        self.learner = Learner(network, info, settings, group, teacher)
        self._progress, self._epoch = Progress(), Epoch(0)
        self._clock: Clock | None = None
        if settings.minutes:
            started = session.now() if session.started is None else session.started
            self._clock = Clock(60 * settings.minutes, started, session.now)
        if resume:
            self._progress, self._epoch = checkpoint.resume(out, self.learner, session.say, self._clock)
            start = (
                f"resumed in epoch {self._epoch.number + 1}, after {counted(self._epoch.steps, 'step')} of it"
            )
        self.loader = SharedLoader(
            group,
            make_dataset(data, info, settings),
            settings,
            strict=session.strict,
            report=lambda problem: session.say(f"skipped: {problem}"),
        )
        per_epoch = self.loader.steps_per_epoch
        schedule = make_schedule(settings, per_epoch)
        self._course = Course(schedule, self._clock, settings.evaluate_every * per_epoch, group)
        self._validator = Validator(self.learner.evaluated, info, data.val, settings, session.console, group)
        session.say(
            f"{model_name(Path(settings.model))} at {size_text(settings.size)}, "
            f"{counted(len(data.train), 'image')} to train on, {len(self._validator.samples)} for "
            f"validation; on {describe_device(group, settings)}"
        )
        session.say(f"start: {start}")
        self.log = (
            RunLog(
                out,
                session.console,
                settings,
                images=len(self.loader.dataset),
                steps=per_epoch,
                epoch=self._epoch,
            )
            if group.is_first
            else None
        )
        self._saved = session.now()

    def to_the_end(self) -> Progress:
        """Train, evaluate and save, epoch by epoch.

        Raises:
            NonFiniteLossError: a loss is not finite; the message names the file with the weights.
            TrainingError: as `train_one_epoch`.
            Stopped: any process is to stop.
        """
        session, group = self._session, self._session.group
        ended = group.on_first(self._end_before_start)
        if ended:
            session.say(ended)
        if self._clock:
            self._clock.begin()
        while not ended:
            try:
                last = train_one_epoch(self.learner, self.loader, self._course, self._epoch, self._after_step)
            except NonFiniteLossError as error:
                # On a CPU, these weights produced the loss. On a GPU, they may be newer, because losses are
                # read only every `log_every` steps.
                path, info = (
                    self._out / NON_FINITE,
                    replace(self.learner.info, training={"error": str(error)}),
                )
                try:
                    save_model(path, self.learner.network.state_dict(), info)
                    where = f"the weights at that moment are in {path}"
                except ModelFileError as full:
                    where = f"the weights could not be saved: {full}"
                raise NonFiniteLossError(f"{error}; {where}") from error
            steps = self._epoch.number * self.loader.steps_per_epoch + self._epoch.steps
            last = last or (self._clock is None and self._epoch.number + 1 >= self._settings.epochs)
            self._close_epoch(last=last)
            ended = group.on_first(partial(self._end, steps, last=last))
            if ended:
                session.say(ended)
            if any(group.gather(session.stop())):
                raise Stopped
        return self._progress

    def _end_before_start(self) -> str:
        """Return why a resumed run has nothing left to do; empty if it continues."""
        settings, clock = self._settings, self._clock
        if clock and clock.closed >= clock.total:
            minutes = "the minute is" if settings.minutes == 1 else f"all {settings.minutes:g} minutes are"
            return f"{minutes} used; give the run more minutes to train for longer"
        if not clock and self._epoch.number >= settings.epochs:
            epochs = "the only epoch is" if settings.epochs == 1 else f"all {settings.epochs} epochs are"
            return f"{epochs} done; extend the run to train for more"
        plateau = self._progress.plateau(settings.patience)
        return plateau and f"{plateau}; raise patience to train for longer"

    def _end(self, steps: int, *, last: bool) -> str:
        """Return why the run ends after an epoch; empty if it continues. For the first process."""
        if last and self._clock:
            epochs = steps / self.loader.steps_per_epoch
            return (
                f"ended after {self._clock.used / 60:.2f} of {self._settings.minutes:g} minutes: "
                f"{counted(steps, 'step')}, {epochs:.1f} epochs, the learning rate fitted to that time"
            )
        if last:
            epochs = self._settings.epochs
            return f"ended after {'the only epoch' if epochs == 1 else f'all {epochs} epochs'}"
        plateau = self._progress.plateau(self._settings.patience)
        return plateau and f"{plateau}: ended after epoch {self._progress.epochs}"

    def _close_epoch(self, *, last: bool) -> None:
        """Finish an epoch: evaluate if an evaluation is due, log, and save."""
        session, group, clock, done = self._session, self._session.group, self._clock, self._epoch.number + 1
        started = session.now()

        in_turn = done % self._settings.evaluate_every == 0
        evaluated = last or group.on_first(lambda: in_turn and (clock is None or clock.fits_evaluation()))
        show = partial(self.log.predictions, epoch=done) if self.log else None
        metrics = self._validator.evaluate(show) if evaluated else {}
        seconds = self._progress.seconds + self._epoch.seconds + session.now() - started
        self._progress = group.on_first(lambda: self._save(metrics, seconds, last=last))
        self._saved, self._epoch = session.now(), Epoch(done)
        if clock:
            clock.apart(session.now() - started)
            if evaluated:
                clock.closing = session.now() - started

    def _save(self, metrics: Mapping[str, float], seconds: float, *, last: bool) -> Progress:
        """Log and save an epoch, in the first process.

        The log comes first: if the process is killed in between, resuming removes the extra row.
        """
        assert self.log is not None
        progress = replace(self._progress, epochs=self._epoch.number + 1, seconds=seconds)
        clock, minutes = self._clock, seconds / 60
        if clock:
            minutes = clock.used / 60
            clock.closed = clock.total if last else 0.0
        self.log.epoch(progress.epochs, self._epoch, metrics, minutes)
        self.learner.info = replace(self.learner.info, thresholds=self._validator.thresholds)
        return checkpoint.save(self._out, self.learner, progress, metrics, clock)

    def _after_step(self, report: StepReport | None) -> None:
        """Log a step; save if a checkpoint is due or any process is to stop."""
        group, now, clock = self._session.group, self._session.now, self._clock
        per_epoch = self.loader.steps_per_epoch
        if report and self.log:
            self.log.step(report, self._course.steps / per_epoch)
        started = now()
        due = started - self._saved > 60 * self._settings.checkpoint_minutes
        if clock and group.is_first and clock.closing is None:  # reserve time for the last evaluation
            due = due or clock.used > clock.total / 2 or self._epoch.steps == per_epoch
        asked = group.gather((self._session.stop(), due))
        stopping = any(stop for stop, _ in asked)
        if stopping or any(due for _, due in asked):
            meter = LossMeter.of(self._epoch.meter.state(group.gather))
            epoch = replace(self._epoch, meter=meter)
            group.on_first(
                lambda: checkpoint.save_within(self._out, self.learner, self._progress, epoch, clock)
            )
            self._saved = now()
            if clock and group.is_first and clock.closing is None and not stopping:
                clock.closing = now() - started + self._validator.expected_seconds(now)
                clock.apart(now() - started)
        if stopping:
            raise Stopped


@contextmanager
def _memory_advice(settings: TrainSettings) -> Iterator[None]:
    """Turn an out-of-memory error into one that names the settings to lower.

    Raises:
        TrainingError: memory ran out.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate" not in str(error):
            raise
        height, width = settings.size
        raise TrainingError(
            f"out of memory at batch {settings.batch}, size {height}x{width}: use a smaller batch (and keep "
            f"the step with optimizer.accumulate={2 * settings.optimizer.accumulate}), size or width"
        ) from error
