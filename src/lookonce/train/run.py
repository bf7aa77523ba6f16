"""A whole training run: data, network, optimizer, epochs, checkpoints.

run folder/
    settings.yaml         settings of the run; a resumed run reads them back
    last.safetensors      every few minutes: a model, and everything needed to resume
    best.safetensors      the model with the highest validation AP
    epoch-*.safetensors   the model after each epoch, with `keep_epochs`
    steps.csv, epochs.csv, tensorboard/
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
import yaml
from rich.console import Console

from lookonce._files import remove_leftovers, write_text
from lookonce.config import TrainSettings, flat
from lookonce.errors import AnnotationError, ConfigError, ModelFileError, NonFiniteLossError, TrainingError
from lookonce.model.files import save_model
from lookonce.networks import NETWORKS
from lookonce.recipe import load_settings
from lookonce.train import checkpoint
from lookonce.train.batch_size import choose_batch
from lookonce.train.checkpoint import Progress
from lookonce.train.learner import Learner
from lookonce.train.log import RunLog
from lookonce.train.loop import Epoch, StepReport, train_one_epoch
from lookonce.train.parallel import ALONE, Group, SharedLoader
from lookonce.train.plan import TrainData, describe, make_dataset, make_network, make_schedule
from lookonce.train.sync_norm import synchronise
from lookonce.train.transfer import transfer
from lookonce.train.validate import Validator

SETTINGS = "settings.yaml"
NON_FINITE = "non_finite.safetensors"


@dataclass(frozen=True, slots=True)
class RunResult:
    """Result of a finished run.

    Attributes:
        model: path of the best model.
        progress: epochs, best AP, seconds.
    """

    model: Path
    progress: Progress


@dataclass(frozen=True, slots=True)
class Session:
    """Circumstances of a run that do not affect its result.

    Attributes:
        console: for the progress bar and the log lines.
        group: the processes that train together, all with the same arguments; the first prints and writes.
        stop: called after every step; once true, the run saves its state and ends.
        strict: end at the first image or box that would be skipped.
    """

    console: Console
    group: Group = ALONE
    stop: Callable[[], bool] = lambda: False
    strict: bool = False

    def say(self, text: str) -> None:
        """Print a line verbatim."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


class Stopped(KeyboardInterrupt):
    """The run was requested to stop, and has saved its state."""


def train(
    data: TrainData,
    settings: TrainSettings,
    out: Path,
    session: Session,
    *,
    weights: Path | None = None,
    resume: bool = False,
) -> RunResult:
    """Train until the last epoch.

    Args:
        data: annotated images.
        settings: of the run; a resumed run must have the same, except for more epochs once it is finished.
        out: run folder.
        session: console, processes, and how to stop.
        weights: model to start from.
        resume: continue from `out/last.safetensors`.

    Raises:
        AnnotationError: no image to train on has a box.
        ConfigError: `out` holds a run already, or nothing to resume, or a run with other settings; or the
            free memory for `batch: auto` is not known.
        TrainingError: a non-finite loss, or out of memory; the message says what to change.
        ModelFileError: `weights` or the checkpoint is damaged or does not fit.
        Stopped: `stop` was true.
    """
    if not any(len(sample.labels) for sample in data.train):
        raise AnnotationError(f"expected boxes to train on, found none in {len(data.train)} training images")
    settings = session.group.on_first(lambda: _prepare(data, settings, out, session, resume=resume))
    torch.manual_seed(settings.seed)
    run = _Run(data, settings, out, session, weights=weights, resume=resume)
    if session.group.is_first:
        _write_settings(out, settings)  # for an extension, now that everything was accepted
    with run.loader, run.log or nullcontext(), _memory_advice(settings):
        return RunResult(out / checkpoint.BEST, run.to_the_end())


def _prepare(
    data: TrainData, settings: TrainSettings, out: Path, session: Session, *, resume: bool
) -> TrainSettings:
    """Make the run folder ready; `batch: auto` becomes a number, which is kept in the folder's settings."""
    if resume and settings.batch == "auto" and (out / SETTINGS).exists():
        settings = settings.model_copy(update={"batch": load_settings(out / SETTINGS).batch})
    prepare_folder(out, settings, resume=resume)
    if settings.batch == "auto":
        choice = choose_batch(data, settings, session.group.device, session.group.size)
        session.say(choice.why)
        settings = settings.model_copy(update={"batch": choice.batch})
        prepare_folder(out, settings, resume=False)
    return settings


class _Run:
    """A run from its start, or from its last checkpoint.

    Attributes:
        learner: the network and its optimizer.
        loader: the training images.
        log: in the first process.
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
    ) -> None:
        self._settings, self._out, self._session, group = settings, out, session, session.group
        info = describe(data, settings)
        if info.values is not None:
            low, high = info.values
            session.say(
                f"images of more than 8 bits: {low:g} to {high:g} become 0 to 255, as the model keeps it"
            )
        if settings.anchors == "data":
            published = NETWORKS[settings.model]
            for stride, mine, given in zip(info.strides, info.anchors, published.anchors, strict=True):
                if mine == given:
                    session.say(f"stride {stride}: too few boxes of that size, published anchors kept")
        network = make_network(info, settings).to(group.device)
        if settings.sync_bn and group.size > 1:
            synchronise(network)
        if weights and not resume:
            copied = transfer(network, info, weights)
            session.say(f"{weights}: took {copied.taken} tensors, {len(copied.left)} start fresh")
        self.learner = Learner(network, info, settings, group)
        self._progress, self._epoch = Progress(), Epoch(0)
        if resume:
            self._progress, self._epoch = checkpoint.resume(out, self.learner, session.say)
            if not group.is_first:
                self._epoch.meter.drop_unread()
        self.loader = SharedLoader(
            group,
            make_dataset(data, info, settings),
            settings,
            strict=session.strict,
            report=lambda problem: session.say(f"skipped: {problem}"),
        )
        self._schedule = make_schedule(settings, self.loader.steps_per_epoch)
        self._validator = Validator(self.learner.evaluated, info, data.val, settings, session.console, group)
        self.log = (
            RunLog(
                out,
                session.console,
                epochs=settings.epochs,
                images=len(self.loader.dataset),
                done_epochs=self._progress.epochs,
                done_steps=self._epoch.number * self.loader.steps_per_epoch + self._epoch.steps,
                done_images=self._epoch.meter.images,
            )
            if group.is_first
            else None
        )
        self._saved = time.monotonic()

    def to_the_end(self) -> Progress:
        """Train, evaluate and save, epoch by epoch."""
        session, show = self._session, None
        if self._epoch.number >= self._settings.epochs:
            session.say(f"all {self._settings.epochs} epochs are done; extend the run to train for more")
        while self._epoch.number < self._settings.epochs:
            try:
                train_one_epoch(self.learner, self.loader, self._schedule, self._epoch, self._after_step)
            except NonFiniteLossError as error:
                raise NonFiniteLossError(f"{error}; {self._dump(error)}") from error
            started, done = time.perf_counter(), self._epoch.number + 1
            if self.log:
                show = partial(self.log.predictions, epoch=done)
            metrics = self._validator.after(done, show)
            seconds = self._progress.seconds + self._epoch.seconds + time.perf_counter() - started
            self._progress = session.group.on_first(lambda: self._save(metrics, seconds))  # noqa: B023
            self._saved = time.monotonic()
            self._epoch = Epoch(done)
            if any(session.group.gather(session.stop())):
                raise Stopped
        return self._progress

    def _save(self, metrics: Mapping[str, float], seconds: float) -> Progress:
        """End an epoch, in the first process.

        The log comes first: a kill between the two then leaves a row too many, which resuming takes back.
        """
        assert self.log is not None
        progress = replace(self._progress, epochs=self._epoch.number + 1, seconds=seconds)
        self.log.epoch(progress.epochs, self._epoch, metrics, seconds / 60)
        return checkpoint.save(self._out, self.learner, progress, metrics)

    def _after_step(self, report: StepReport | None) -> None:
        """Log; save when due, or when any process was requested to stop."""
        if report and self.log:
            self.log.step(report)
        group = self._session.group
        due = time.monotonic() - self._saved > 60 * self._settings.checkpoint_minutes
        asked = group.gather((self._session.stop(), due))
        stopping = any(stop for stop, _ in asked)
        if stopping or any(due for _, due in asked):
            epoch = replace(self._epoch, meter=self._epoch.meter.of_all(group.gather))
            group.on_first(lambda: checkpoint.save_within(self._out, self.learner, self._progress, epoch))
            self._saved = time.monotonic()
        if stopping:
            raise Stopped

    def _dump(self, error: NonFiniteLossError) -> str:
        """Save the weights at a loss that is not finite; return where.

        On a CPU, they are the weights that produced it. On a GPU, losses are read only every `log_every`
        steps, so they may be later ones.
        """
        path, info = self._out / NON_FINITE, self.learner.info
        try:
            save_model(path, self.learner.network.state_dict(), replace(info, training={"error": str(error)}))
        except ModelFileError as full:
            return f"the weights could not be saved: {full}"
        return f"the weights at that moment are in {path}"


def check_folder(out: Path, *, resume: bool) -> None:
    """Check that there is a run to resume, or no run when starting a new one.

    Raises:
        ConfigError: `out` holds a run already, or nothing to resume, or is no folder.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: expected a folder for the run, found a file")
    if not resume and any((out / name).exists() for name in (checkpoint.LAST, checkpoint.BEST)):
        raise ConfigError(f"{out}: expected a new folder, found a run: resume it, or choose another folder")
    if resume and not (out / checkpoint.LAST).exists():
        raise ConfigError(f"{out}: nothing to resume: expected {checkpoint.LAST}")


def prepare_folder(out: Path, settings: TrainSettings, *, resume: bool) -> None:
    """Make the run folder, or check that there is a run to resume.

    A resumed run keeps its settings. A finished run may get more epochs: the learning rate then continues
    where a run of that length would be.

    Raises:
        ConfigError: as `check_folder`; or `out` holds a run with other settings.
    """
    check_folder(out, resume=resume)
    for name in (checkpoint.LAST, checkpoint.BEST):
        remove_leftovers(out / name)
    if not resume:
        _write_settings(out, settings)
        return
    before = load_settings(out / SETTINGS)  # settings missing in an older file have their defaults
    if before != settings:
        _check_extension(out, before, settings)


def _write_settings(out: Path, settings: TrainSettings) -> None:
    write_text(out / SETTINGS, yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False))


def _check_extension(out: Path, before: TrainSettings, wanted: TrainSettings) -> None:
    mine, theirs = flat(wanted), flat(before)
    differing = sorted(
        f"{name}: {mine[name]} instead of {theirs[name]}"
        for name in mine
        if name != "epochs" and mine[name] != theirs[name]
    )
    if differing:
        raise ConfigError(
            f"{out / SETTINGS}: a resumed run keeps its settings, found {'; '.join(differing)}; leave the "
            "options out, or start a new run"
        )
    done = checkpoint.progress_of(out).epochs
    if done < before.epochs or wanted.epochs < done:
        raise ConfigError(
            f"{out}: expected a finished run, and more epochs than it has; found {done} of {before.epochs} "
            f"epochs done, {wanted.epochs} wanted: first resume it to its end"
        )


@contextmanager
def _memory_advice(settings: TrainSettings) -> Iterator[None]:
    """Turn an out-of-memory error into advice."""
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
