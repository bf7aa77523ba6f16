"""A whole training run: data, network, optimizer, epochs, checkpoints.

run folder/
    settings.yaml       what was asked for; `--resume` reads it back
    last.safetensors    every few minutes: a model, and everything needed to go on
    best.safetensors    the model with the highest validation AP
    steps.csv, epochs.csv, tensorboard/
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console

from lookonce._files import remove_leftovers, write_text
from lookonce.config import TrainSettings, load_settings
from lookonce.data.loader import Loader
from lookonce.errors import ConfigError, ModelFileError, NonFiniteLossError, TrainingError
from lookonce.geometry.anchors import OFFICIAL
from lookonce.model.files import save_model
from lookonce.model.network import build
from lookonce.train import checkpoint
from lookonce.train.batch_size import choose_batch
from lookonce.train.checkpoint import Progress
from lookonce.train.init import initialise
from lookonce.train.learner import Learner
from lookonce.train.log import RunLog
from lookonce.train.loop import Epoch, steps_done, train_one_epoch
from lookonce.train.parallel import ALONE, Group
from lookonce.train.plan import TrainData, describe, make_dataset, make_schedule
from lookonce.train.sync_norm import synchronise
from lookonce.train.transfer import freeze_backbone, transfer
from lookonce.train.validate import Judge

SETTINGS = "settings.yaml"
NON_FINITE = "non_finite.safetensors"


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a finished run leaves.

    Attributes:
        model: path of the best model.
        progress: epochs, best AP, seconds.
    """

    model: Path
    progress: Progress


class Stopped(KeyboardInterrupt):
    """The run was asked to stop, and has saved where it stood."""


def train(
    data: TrainData,
    settings: TrainSettings,
    out: Path,
    console: Console,
    *,
    weights: Path | None = None,
    resume: bool = False,
    strict: bool = False,
    stop: Callable[[], bool] = lambda: False,
    group: Group = ALONE,
) -> RunResult:
    """Train until the last epoch.

    Args:
        data: annotated images.
        settings: of the run; a resumed run must have the same, but for more epochs once it is done.
        out: run folder.
        console: for the bar and the log lines.
        weights: a lookonce model to start from.
        resume: go on from `out/last.safetensors`.
        strict: stop at the first image or box that would be skipped.
        stop: asked after every step; once true, the run saves where it stands and ends.
        group: the processes that train together, all with the same arguments; the first speaks and writes.

    Raises:
        ConfigError: `out` holds a run already, or nothing to resume, or a run with other settings; or nobody
            says what memory is free for `batch: auto`.
        TrainingError: a non-finite loss, or out of memory; the message says what to do.
        ModelFileError: `weights` or the checkpoint is damaged or does not fit.
        Stopped: `stop` was true.
    """
    settings = group.on_first(lambda: _prepared(data, settings, out, console, group, resume=resume))
    torch.manual_seed(settings.seed)
    run = _Run(data, settings, out, console, stop, group)
    if weights and not resume:
        taken = transfer(run.network, run.info, weights)
        run.say(f"{weights}: took {taken.taken} tensors, {len(taken.left)} start fresh")
    run.prepare(resume=resume, strict=strict)
    if group.is_first:
        _write_settings(out, settings)  # of an extension, now that nothing speaks against it
    with run.loader, run.log or nullcontext(), _memory_advice(settings):
        return RunResult(out / checkpoint.BEST, run.to_the_end())


def _prepared(
    data: TrainData, settings: TrainSettings, out: Path, console: Console, group: Group, *, resume: bool
) -> TrainSettings:
    """Make the run folder ready; `batch: auto` becomes a number, which is kept in the folder's settings."""
    if resume and settings.batch == "auto" and (out / SETTINGS).exists():
        settings = settings.model_copy(update={"batch": load_settings(out / SETTINGS).batch})
    prepare_folder(out, settings, resume=resume)
    if settings.batch == "auto":
        choice = choose_batch(data, settings, group.device, group.size)
        console.print(choice.why, highlight=False, markup=False, soft_wrap=True)
        settings = settings.model_copy(update={"batch": choice.batch})
        prepare_folder(out, settings, resume=False)
    return settings


class _Run:
    """One sitting of a run."""

    def __init__(
        self,
        data: TrainData,
        settings: TrainSettings,
        out: Path,
        console: Console,
        stop: Callable[[], bool],
        group: Group,
    ) -> None:
        self._data, self._settings, self._out, self._console = data, settings, out, console
        self._stop, self._group = stop, group
        self.info = describe(data, settings)
        if settings.anchors == "data":
            for stride, mine, published in zip(
                self.info.strides, self.info.anchors, OFFICIAL[settings.model], strict=True
            ):
                if mine == published:
                    self.say(f"stride {stride}: too few boxes of that size for anchors; the published stay")
        self.network = initialise(build(self.info), settings).to(group.device)
        if settings.sync_bn and group.size > 1:
            synchronise(self.network)

    def say(self, text: str) -> None:
        """Print a line as it is."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def prepare(self, *, resume: bool, strict: bool) -> None:
        """Everything that needs the first weights in place."""
        data, settings, out, group = self._data, self._settings, self._out, self._group
        if settings.freeze == "backbone":  # before the optimizer looks at what there is to train
            freeze_backbone(self.network)
        self._learner = Learner(self.network, settings, group)
        self._progress, self._epoch = Progress(), Epoch(0)
        if resume:
            self._progress, self._epoch = checkpoint.resume(out, self._learner, self.info, self.say)
            if not group.is_first:
                self._epoch.meter.drop_unread()
        self.loader = Loader(
            make_dataset(data, self.info, settings),
            settings.batch_size,
            settings.workers,
            strict=strict,
            report=lambda problem: self.say(f"skipped: {problem}"),
            part=slice(group.rank, None, group.size),
            gather=group.gather,
        )
        self._schedule = make_schedule(settings, len(self.loader))
        judged = self._learner.judged
        self._judge = Judge(judged, self.info, data.val, settings, self._console, group)
        self.log: RunLog | None = None
        if not group.is_first:
            return
        self.log = RunLog(
            out,
            self._console,
            epochs=settings.epochs,
            images=len(self.loader.dataset),
            done_epochs=self._progress.epochs,
            done_steps=steps_done(self._epoch, len(self.loader), settings.optimizer.accumulate),
            done_images=self._epoch.meter.images,
        )

    def to_the_end(self) -> Progress:
        """Epoch after epoch."""
        self._saved = time.monotonic()
        if self._epoch.number >= self._settings.epochs:
            self.say(f"all {self._settings.epochs} epochs are done; --extend N goes on for N more")
        while self._epoch.number < self._settings.epochs:
            self._learn_and_judge(self._epoch)
            self._epoch = Epoch(self._epoch.number + 1)
            if any(self._group.gather(self._stop())):
                raise Stopped
        return self._progress

    def _learn_and_judge(self, epoch: Epoch) -> None:
        self._learn(epoch)
        judging, done = time.perf_counter(), epoch.number + 1
        metrics = self._judge.after(done, partial(self.log.predictions, epoch=done) if self.log else None)
        seconds = self._progress.seconds + epoch.seconds + time.perf_counter() - judging
        self._progress = self._group.on_first(lambda: self._save(epoch, metrics, seconds))
        self._saved = time.monotonic()

    def _learn(self, epoch: Epoch) -> None:
        self.network.train()
        if self._settings.freeze == "backbone":
            freeze_backbone(self.network)
        try:
            train_one_epoch(
                self._learner,
                self.loader,
                self._schedule,
                self.info,
                self._settings,
                epoch,
                self.log.step if self.log else lambda report: None,
                self._after_step,
                self._group,
            )
        except NonFiniteLossError as error:
            raise NonFiniteLossError(f"{error}; {self._dump(error)}") from error

    def _save(self, epoch: Epoch, metrics: Mapping[str, float], seconds: float) -> Progress:
        """The end of an epoch, in the first process.

        The log comes first: a kill between the two then leaves a row too many, which resuming takes back.
        """
        assert self.log is not None
        progress = replace(self._progress, epochs=epoch.number + 1, seconds=seconds)
        self.log.epoch(progress.epochs, epoch, metrics, seconds / 60)
        return checkpoint.save(self._out, self._learner, self.info, progress, metrics)

    def _after_step(self) -> None:
        """Save when it is time, or when the run shall stop; one process that says so is enough."""
        due = time.monotonic() - self._saved > 60 * self._settings.checkpoint_minutes
        asked = self._group.gather((self._stop(), due))
        stopping = any(stop for stop, _ in asked)
        if stopping or any(due for _, due in asked):
            epoch = replace(self._epoch, meter=self._epoch.meter.of_all(self._group.gather))
            self._group.on_first(
                lambda: checkpoint.save_within(self._out, self._learner, self.info, self._progress, epoch)
            )
            self._saved = time.monotonic()
        if stopping:
            raise Stopped

    def _dump(self, error: NonFiniteLossError) -> str:
        """Keep the weights at a loss that is not finite; say where.

        On a processor they are those that gave it. On a card losses are read every `log_every` batches, after
        the steps that followed.
        """
        path = self._out / NON_FINITE
        try:
            save_model(path, self.network.state_dict(), replace(self.info, training={"error": str(error)}))
        except ModelFileError as full:
            return f"the weights could not be kept: {full}"
        return f"the weights at that moment are in {path}"


def check_folder(out: Path, *, resume: bool) -> None:
    """There is a run to go on with, or none in the way.

    Raises:
        ConfigError: `out` holds a run already, or nothing to resume, or is no folder.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: expected a folder for the run, found a file")
    if not resume and any((out / name).exists() for name in (checkpoint.LAST, checkpoint.BEST)):
        raise ConfigError(f"{out}: holds a run already: --resume goes on with it, another --out starts anew")
    if resume and not (out / checkpoint.LAST).exists():
        raise ConfigError(f"{out}: nothing to resume: expected {checkpoint.LAST}")


def prepare_folder(out: Path, settings: TrainSettings, *, resume: bool) -> None:
    """Make the run folder, or check that there is a run to go on with.

    A resumed run keeps its settings. Once it is done it may be given more epochs: the learning rate then goes
    on where a run of that length would be.

    Raises:
        ConfigError: as `check_folder`; or `out` holds a run with other settings.
    """
    check_folder(out, resume=resume)
    for name in (checkpoint.LAST, checkpoint.BEST):
        remove_leftovers(out / name)
    if not resume:
        _write_settings(out, settings)
        return
    before = load_settings(out / SETTINGS)  # what an older file does not name is at its default
    if before != settings:
        _check_extension(out, before, settings)


def _write_settings(out: Path, settings: TrainSettings) -> None:
    write_text(out / SETTINGS, yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False))


def _check_extension(out: Path, before: TrainSettings, wanted: TrainSettings) -> None:
    differing = {
        f"{name}: {mine} instead of {theirs}"
        for (name, mine), theirs in zip(_flat(wanted).items(), _flat(before).values(), strict=True)
        if mine != theirs and name != "epochs"
    }
    if differing:
        raise ConfigError(
            f"{out / SETTINGS}: a resumed run keeps its settings, found {'; '.join(sorted(differing))}; "
            "leave the options out, or start anew"
        )
    done = checkpoint.progress_of(out).epochs
    if done < before.epochs or wanted.epochs < done:
        raise ConfigError(
            f"{out}: expected a run that is done, and more epochs than it has; found {done} of "
            f"{before.epochs} epochs done, {wanted.epochs} wanted: first --resume it to its end"
        )


def _flat(settings: TrainSettings) -> dict[str, Any]:
    """`section.name` -> value."""
    flat: dict[str, Any] = {}
    for name, value in settings.model_dump(mode="json").items():
        flat |= (
            {f"{name}.{leaf}": v for leaf, v in value.items()} if isinstance(value, dict) else {name: value}
        )
    return flat


@contextmanager
def _memory_advice(settings: TrainSettings) -> Iterator[None]:
    """Turn an out-of-memory error into what to lower."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate" not in str(error):
            raise
        height, width = settings.size
        raise TrainingError(
            f"out of memory at batch {settings.batch}, size {height}x{width}: lower --batch "
            f"(and keep the step with --set optimizer.accumulate={2 * settings.optimizer.accumulate}), "
            "--size or --set width=..."
        ) from error
