"""A whole training run: data, network, optimizer, epochs, checkpoints.

run folder/
    settings.yaml       what was asked for; `--resume` reads it back
    last.safetensors    after every epoch: a model, and everything needed to go on
    best.safetensors    the model with the highest validation AP
    steps.csv, epochs.csv, tensorboard/
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
import yaml
from rich.console import Console

from lookonce._files import remove_leftovers, write_text
from lookonce.config import TrainSettings
from lookonce.data.dataset import Dataset
from lookonce.data.loader import Loader
from lookonce.errors import ConfigError, TrainingError
from lookonce.model.network import build
from lookonce.train import checkpoint
from lookonce.train.checkpoint import Progress
from lookonce.train.log import RunLog
from lookonce.train.loop import train_one_epoch
from lookonce.train.optimizer import make_optimizer
from lookonce.train.plan import TrainData, describe, make_schedule
from lookonce.train.transfer import freeze_backbone, transfer
from lookonce.train.validate import Judge

SETTINGS = "settings.yaml"


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a finished run leaves.

    Attributes:
        model: path of the best model.
        progress: epochs, best AP, seconds.
    """

    model: Path
    progress: Progress


def train(
    data: TrainData,
    settings: TrainSettings,
    out: Path,
    console: Console,
    *,
    weights: Path | None = None,
    resume: bool = False,
    strict: bool = False,
) -> RunResult:
    """Train until the last epoch.

    Args:
        data: annotated pictures.
        settings: of the run; a resumed run must have the same.
        out: run folder.
        console: for the bar and the log lines.
        weights: a lookonce model to start from.
        resume: go on from `out/last.safetensors`.
        strict: stop at the first picture or box that would be set aside.

    Raises:
        ConfigError: `out` holds a run already, or nothing to resume, or a run with other settings.
        TrainingError: a non-finite loss, or out of memory; the message says what to do.
        ModelFileError: `weights` or the checkpoint is damaged or does not fit.
    """
    prepare_folder(out, settings, resume=resume)
    torch.manual_seed(settings.seed)
    info = describe(data, settings)
    network = build(info).to("cuda" if torch.cuda.is_available() else "cpu")
    say = partial(console.print, highlight=False, markup=False)
    if weights and not resume:
        taken = transfer(network, info, weights)
        say(f"{weights}: took {taken.taken} tensors, {len(taken.left)} start fresh")
    optimizer = make_optimizer(network, settings.optimizer)
    progress = checkpoint.resume(out, network, info, optimizer) if resume else Progress()
    dataset = Dataset(data.train, info, settings.augment, settings.seed)
    loader = Loader(
        dataset,
        settings.batch,
        settings.workers,
        strict=strict,
        report=lambda problem: say(f"set aside: {problem}"),
    )
    schedule = make_schedule(settings, len(loader))
    log = RunLog(
        out,
        console,
        epochs=settings.epochs,
        pictures=len(data.train),
        done_epochs=progress.epochs,
        done_steps=progress.epochs * schedule.steps // settings.epochs,
    )
    judge = Judge(network, info, data.val, settings, console)
    with loader, log, _memory_advice(settings):
        for epoch in range(progress.epochs, settings.epochs):
            started = time.perf_counter()
            network.train()
            if settings.freeze == "backbone":
                freeze_backbone(network)
            stats = train_one_epoch(network, loader, optimizer, schedule, info, settings, epoch, log.step)
            progress = replace(progress, epochs=epoch + 1)
            metrics = judge.after(progress.epochs, partial(log.predictions, epoch=progress.epochs))
            seconds = progress.seconds + time.perf_counter() - started
            progress = checkpoint.save(
                out, network, info, optimizer, replace(progress, seconds=seconds), metrics
            )
            log.epoch(progress.epochs, stats, metrics, seconds / 60)
    return RunResult(out / checkpoint.BEST, progress)


def prepare_folder(out: Path, settings: TrainSettings, *, resume: bool) -> None:
    """Make the run folder, or check that there is a run with the same settings to go on with.

    Raises:
        ConfigError: `out` holds a run already, or nothing to resume, or a run with other settings.
    """
    for name in (checkpoint.LAST, checkpoint.BEST):
        remove_leftovers(out / name)
    file, text = out / SETTINGS, yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False)
    if not resume:
        if (out / checkpoint.LAST).exists():
            raise ConfigError(
                f"{out}: holds a run already: --resume goes on with it, another --out starts anew"
            )
        write_text(file, text)
    elif not (out / checkpoint.LAST).exists():
        raise ConfigError(f"{out}: nothing to resume: expected {checkpoint.LAST}")
    elif file.read_text(encoding="utf-8") != text:
        raise ConfigError(f"{file}: a resumed run keeps its settings; leave out the options, or start anew")


@contextmanager
def _memory_advice(settings: TrainSettings) -> Iterator[None]:
    """Turn an out-of-memory error into what to lower."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        height, width = settings.size
        raise TrainingError(
            f"out of memory at batch {settings.batch}, size {height}x{width}: lower --batch "
            f"(and keep the step with --set optimizer.accumulate={2 * settings.optimizer.accumulate}), "
            "--size or --set width=..."
        ) from error
