"""Checkpoints: a model file that also knows how to go on."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self, cast

import torch
from torch import Tensor

from lookonce.errors import NonFiniteLossError, TrainingError
from lookonce.metadata import LEARNT_FROM, ModelInfo, Training
from lookonce.model.files import load_training, load_weights, save_model
from lookonce.train.learner import Learner
from lookonce.train.loop import Epoch
from lookonce.train.meter import LossMeter, MeterState
from lookonce.train.optimizer import optimizer_tensors, restore

LAST, BEST = "last.safetensors", "best.safetensors"
# names of a checkpoint's further tensors
OPTIMIZER, LEARNING, UNREAD, UPDATES = "optimizer/", "learning/", "meter/unread", "ema/updates"
LARGEST_CHANGE = 0.2  # of the number of images, between two sittings


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        epochs: done.
        best_ap: highest validation AP so far; -1 before the first evaluation that found a number.
        best_epoch: when, counted from 1.
        seconds: of training and evaluation so far, over all sittings; of finished epochs.
    """

    epochs: int = 0
    best_ap: float = -1.0
    best_epoch: int = 0
    seconds: float = 0.0

    @classmethod
    def of(cls, info: ModelInfo, file: Path) -> Self:
        """Read the progress that a checkpoint's description carries."""
        try:
            return cls(**info.training["progress"])
        except (KeyError, TypeError) as error:
            raise TrainingError(
                f"{file}: expected a checkpoint of a training, found a plain model"
            ) from error


def save(
    folder: Path,
    learner: Learner,
    info: ModelInfo,
    progress: Progress,
    metrics: Mapping[str, float],
) -> Progress:
    """Write the checkpoints of a finished epoch, each in one piece.

    `best.safetensors` is the model alone, with the metrics it reached; `last.safetensors` is the model and
    everything that `resume` needs. The best comes first, so that `last` never tells of one that is not there.
    `metrics` is empty after an epoch without evaluation; a run that never evaluates has the last as its best.

    Returns:
        The progress with the best so far.

    Raises:
        NonFiniteLossError: as `save_within`.
    """
    _check_finite(learner, folder)
    ap = metrics.get("ap", -1.0)
    if ap >= progress.best_ap:  # of equals, such as the zeros of the first epochs, the one that learnt longer
        progress = replace(progress, best_ap=ap, best_epoch=progress.epochs)
        described = _with_training(info, epoch=progress.epochs, metrics=dict(metrics))
        save_model(folder / BEST, learner.judged.state_dict(), described)
    save_within(folder, learner, info, progress, Epoch(progress.epochs))
    return progress


def save_within(folder: Path, learner: Learner, info: ModelInfo, progress: Progress, epoch: Epoch) -> None:
    """Write `last.safetensors` as things stand, after an optimizer step of the epoch.

    Its model is the averaged one where there is an average; the weights that go on learning lie beside it.

    Raises:
        NonFiniteLossError: a loss that nobody had looked at yet is not finite, or a weight; nothing is
            written, so that the checkpoint before stays.
    """
    _check_finite(learner, folder)
    meter = epoch.meter.state()
    standing = {
        "number": epoch.number,
        "batches": epoch.batches,
        "seconds": epoch.seconds,
        "waited": epoch.waited,
        "skipped": epoch.skipped,
        "images": meter.images,
        "sums": dict(meter.sums),
        "scaler": learner.scaler.state_dict(),
    }
    described = _with_training(info, progress=asdict(progress), running=standing)
    tensors = {f"{OPTIMIZER}{name}": tensor for name, tensor in optimizer_tensors(learner.optimizer).items()}
    tensors[UNREAD] = meter.unread
    if learner.ema:
        tensors[UPDATES] = torch.tensor(learner.ema.updates)
        tensors |= {f"{LEARNING}{name}": tensor for name, tensor in learner.network.state_dict().items()}
    save_model(folder / LAST, learner.judged.state_dict(), described, tensors)


def _check_finite(learner: Learner, folder: Path) -> None:
    """A finite loss may still have led to a step that ruined the weights."""
    for network in (learner.network, learner.judged):
        if not all(bool(tensor.isfinite().all()) for tensor in network.state_dict().values()):
            raise NonFiniteLossError(
                f"the weights are no longer finite; they are not saved, and {folder} keeps what it has: "
                "lower the rate (--set optimizer.rate=...) or clip gradients (--set optimizer.clip=10)"
            )


def progress_of(folder: Path) -> Progress:
    """How far the run in a folder is.

    Raises:
        ModelFileError: the checkpoint is damaged.
        TrainingError: it is a plain model.
    """
    return Progress.of(load_weights(folder / LAST)[1], folder / LAST)


def resume(
    folder: Path, learner: Learner, info: ModelInfo, say: Callable[[str], None]
) -> tuple[Progress, Epoch]:
    """Put a run back to where its last checkpoint was: its progress, and the epoch that comes or goes on.

    Some images or boxes more or less are said and taken. Counts that are far from what they were are other
    data: a wrong path must not spoil a run.

    Raises:
        ModelFileError: the checkpoint is damaged.
        TrainingError: it belongs to another network or optimizer, or to other data.
    """
    file = folder / LAST
    weights, saved = load_weights(file)
    for name in (field.name for field in fields(info) if field.name != "training"):
        if (wanted := getattr(info, name)) != (found := getattr(saved, name)):
            raise TrainingError(
                f"{file}: the checkpoint is of another model than these data and settings ask for: expected "
                f"{name} {wanted}, found {found}; a run goes on with the data it began with, a new one can "
                "start from its model (--weights)"
            )
    before, now = saved.training.get(LEARNT_FROM), info.training[LEARNT_FROM]
    if before != now and isinstance(before, dict):
        changed = f"{file}: the data changed: expected {_counted(before)}, found {_counted(now)}"
        if any(
            abs(now[part] - before[part]) > LARGEST_CHANGE * before[part] for part in ("images", "judged")
        ):
            raise TrainingError(f"{changed}: too far apart to go on; a new run can start from it (--weights)")
        say(f"{changed}, goes on with these")
    tensors = load_training(file)
    epoch, scaling = _epoch(saved, tensors, file)
    if learner.ema:
        learner.ema.restore(weights, int(tensors[UPDATES]))
        weights = _under(LEARNING, tensors)
    learner.network.load_state_dict(weights)
    restore(learner.optimizer, _under(OPTIMIZER, tensors))
    if scaling:  # empty where the sitting before did not compute in float16
        learner.scaler.load_state_dict(scaling)
    return Progress.of(saved, file), epoch


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}


def _epoch(info: ModelInfo, tensors: Mapping[str, Tensor], file: Path) -> tuple[Epoch, dict[str, Any]]:
    """The epoch, and the state of the gradient scaler."""
    try:
        standing = dict(info.training["running"])
        meter = MeterState(standing.pop("images"), standing.pop("sums"), tensors[UNREAD])
        scaling = dict(standing.pop("scaler"))
        return Epoch(meter=LossMeter.of(meter), **standing), scaling
    except (KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"{file}: expected a checkpoint of a training, found a plain model") from error


def _counted(data: Mapping[str, Any]) -> str:
    """What a run learns from, in words."""
    return (
        f"{data.get('images')} images with {data.get('boxes')} boxes and {data.get('judged')} "
        f"to judge by (digest {str(data.get('digest'))[:8]})"
    )


def _with_training(info: ModelInfo, **entries: Any) -> ModelInfo:
    return replace(info, training=cast(Training, {**info.training, **entries}))
