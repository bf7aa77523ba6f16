"""Write and read checkpoints: model files from which a run can be resumed."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Self, cast

import torch
from torch import Tensor

from lookonce._counted import counted
from lookonce.errors import NonFiniteLossError, TrainingError
from lookonce.metadata import ModelInfo, RunProgress, RunState, TrainedOn, Training
from lookonce.model.files import load_training, load_weights, save_model
from lookonce.networks import RUN_MODEL
from lookonce.train.clock import Clock
from lookonce.train.learner import Learner
from lookonce.train.loop import Epoch
from lookonce.train.meter import LossMeter, MeterState
from lookonce.train.optimizer import optimizer_tensors, restore

LAST, BEST = "last.safetensors", RUN_MODEL
# prefixes of the tensors that a checkpoint holds besides the model
OPTIMIZER, LEARNING, UNREAD, UPDATES = "optimizer/", "learning/", "meter/unread", "ema/updates"
LARGEST_CHANGE = 0.2  # share by which the number of images may change between start and resume
LEARNED = 0.01  # AP from which a plateau is counted; below it, AP varies by chance


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a run.

    Attributes:
        epochs: finished epochs.
        best_ap: highest validation AP so far; -1 without any.
        best_epoch: epoch of the best AP, counted from 1.
        seconds: seconds of training and evaluation in finished epochs.
    """

    epochs: int = 0
    best_ap: float = -1.0
    best_epoch: int = 0
    seconds: float = 0.0

    @classmethod
    def of(cls, info: ModelInfo, file: Path) -> Self:
        """Return the progress recorded in a checkpoint.

        Raises:
            TrainingError: the file is a model, but not a checkpoint.
        """
        if "progress" not in info.training:
            raise TrainingError(f"{file}: expected a checkpoint of a run, found a plain model")
        return cls(**info.training["progress"])

    def plateau(self, patience: int) -> str:
        """Return a sentence if AP has not improved for `patience` epochs or more, else an empty string."""
        since = self.epochs - self.best_epoch
        if not patience or self.best_ap < LEARNED or since < patience:
            return ""
        return f"no better AP in {counted(since, 'epoch')} (best {self.best_ap:.3f}, epoch {self.best_epoch})"


def save(
    folder: Path,
    learner: Learner,
    progress: Progress,
    metrics: Mapping[str, float],
    clock: Clock | None = None,
) -> Progress:
    """Write the checkpoints of a finished epoch, each file atomically.

    `best.safetensors` holds only the model and its metrics; `last.safetensors` holds the model and everything
    that `resume` needs. The best model is written first, so that `last` never refers to a missing file. With
    `keep_epochs`, the model of every epoch is kept as well.

    Args:
        folder: run folder.
        learner: network, optimizer and average.
        progress: progress including this epoch.
        metrics: `ap` and `ap50` of this epoch; empty without evaluation. If no epoch of a run is evaluated,
            its last model counts as the best.
        clock: clock of a run with `minutes`.

    Returns:
        Progress with the best epoch so far.

    Raises:
        NonFiniteLossError: as `save_within`.
    """
    _check_finite(learner, folder)
    reached: Training = {"epoch": progress.epochs, "metrics": dict(metrics)}
    described = replace(learner.info, training={**learner.info.training, **reached})
    if learner.settings.keep_epochs:
        save_model(
            folder / f"epoch-{progress.epochs:03}.safetensors", learner.evaluated.state_dict(), described
        )
    ap = metrics.get("ap", -1.0)
    if ap > progress.best_ap or ap == progress.best_ap <= 0:  # while AP is 0, take the newest
        progress = replace(progress, best_ap=ap, best_epoch=progress.epochs)
        save_model(folder / BEST, learner.evaluated.state_dict(), described)
    save_within(folder, learner, progress, Epoch(progress.epochs), clock)
    return progress


def save_within(
    folder: Path, learner: Learner, progress: Progress, epoch: Epoch, clock: Clock | None = None
) -> None:
    """Write `last.safetensors` within an epoch, after an optimizer step.

    Its model is the running average of the weights if there is one; the current weights are then stored as
    well.

    Raises:
        NonFiniteLossError: a weight or a loss not yet read is not finite; nothing is written, and the
            previous checkpoint is kept.
    """
    _check_finite(learner, folder)
    meter = epoch.meter.state()
    standing: RunState = {
        "number": epoch.number,
        "steps": epoch.steps,
        "seconds": epoch.seconds,
        "waited": epoch.waited,
        "skipped": epoch.skipped,
        "batches": learner.batches,
        "images": meter.images,
        "sums": dict(meter.sums),
        "scaler": learner.scaler.state_dict(),
    }
    if clock:
        standing["clock"] = clock.state()
    so_far: Training = {"progress": cast(RunProgress, asdict(progress)), "running": standing}
    described = replace(learner.info, training={**learner.info.training, **so_far})
    tensors = {f"{OPTIMIZER}{name}": tensor for name, tensor in optimizer_tensors(learner.optimizer).items()}
    tensors[UNREAD] = meter.unread
    if learner.ema:
        tensors[UPDATES] = torch.tensor(learner.ema.updates)
        tensors |= {f"{LEARNING}{name}": tensor for name, tensor in learner.network.state_dict().items()}
    save_model(folder / LAST, learner.evaluated.state_dict(), described, tensors)


def _check_finite(learner: Learner, folder: Path) -> None:
    """Raise an error if a weight is not finite, which a step with a finite loss can cause."""
    for network in (learner.network, learner.evaluated):
        if not all(bool(tensor.isfinite().all()) for tensor in network.state_dict().values()):
            raise NonFiniteLossError(
                f"the weights are no longer finite; they are not saved, and {folder} keeps what it has: "
                "lower optimizer.rate, or clip gradients (optimizer.clip=10)"
            )


def resume(
    folder: Path, learner: Learner, say: Callable[[str], None], clock: Clock | None = None
) -> tuple[Progress, Epoch]:
    """Restore a run from its last checkpoint; return its progress and the epoch to continue with.

    Small changes of the data are reported and accepted. A large change in the number of images is refused,
    because it suggests a wrong path.

    Raises:
        ModelFileError: the checkpoint is damaged.
        TrainingError: the checkpoint belongs to another network, optimizer or data set.
    """
    file, info = folder / LAST, learner.info
    weights, saved = load_weights(file)
    for name in (field.name for field in fields(info) if field.name not in ("training", "thresholds")):
        if (wanted := getattr(info, name)) != (found := getattr(saved, name)):
            raise TrainingError(
                f"{file}: expected the checkpoint of a model with {name} {wanted}, found {found}: a run "
                "resumes with the data it started with; a new run can start from its weights"
            )
    progress, standing = Progress.of(saved, file), saved.training.get("running")
    if standing is None:
        raise TrainingError(f"{file}: expected a checkpoint of a run, found a plain model")
    before, now = saved.training.get("data"), info.training["data"]
    if before and before != now:
        changed = f"{file}: the data changed: expected {describe_data(before)}, found {describe_data(now)}"
        counts = (before["images"], now["images"]), (before["validation"], now["validation"])
        if any(abs(found - expected) > LARGEST_CHANGE * expected for expected, found in counts):
            raise TrainingError(f"{changed}: too different to resume; a new run can start from its weights")
        say(f"{changed}, resumed with these")
    tensors = load_training(file)
    unread = tensors[UNREAD] if learner.group.is_first else tensors[UNREAD][:, :0]  # of all processes
    epoch = Epoch(
        standing["number"],
        standing["steps"],
        LossMeter.of(MeterState(standing["images"], standing["sums"], unread)),
        standing["seconds"],
        standing["waited"],
        standing["skipped"],
    )
    if learner.ema:
        learner.ema.restore(weights, int(tensors[UPDATES]))
        weights = _under(LEARNING, tensors)
    learner.network.load_state_dict(weights)
    learner.batches = standing["batches"]
    restore(learner.optimizer, _under(OPTIMIZER, tensors))
    if standing["scaler"]:  # empty if the run has not computed in float16 so far
        learner.scaler.load_state_dict(dict(standing["scaler"]))
    if clock and "clock" in standing:
        clock.restore(standing["clock"])
    return progress, epoch


def describe_data(data: TrainedOn) -> str:
    """Describe the data of a run by its counts and the first eight digits of its digest."""
    return (
        f"{counted(data['images'], 'training image')} with {counted(data['boxes'], 'box')} and "
        f"{counted(data['validation'], 'validation image')} (digest {data['digest'][:8]})"
    )


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names start with a prefix, with the prefix removed."""
    return {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
