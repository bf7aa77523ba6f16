"""Checkpoints: a model file that also knows how to go on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from torch import nn
from torch.optim import Optimizer

from lookonce.errors import TrainingError
from lookonce.metadata import ModelInfo
from lookonce.model.files import load_training, load_weights, save_model
from lookonce.train.optimizer import optimizer_tensors, restore

LAST, BEST = "last.safetensors", "best.safetensors"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        epochs: done.
        best_ap: highest validation AP so far; -1 before the first evaluation that found a number.
        best_epoch: when, counted from 1.
        seconds: of training and evaluation so far, over all sittings.
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
    network: nn.Module,
    info: ModelInfo,
    optimizer: Optimizer,
    progress: Progress,
    metrics: Mapping[str, float],
) -> Progress:
    """Write the checkpoints of an epoch, each in one piece.

    `best.safetensors` is the model alone, with the metrics it reached; `last.safetensors` is the model and
    everything that `resume` needs. The best comes first, so that `last` never tells of one that is not there.
    `metrics` is empty after an epoch without evaluation; a run that never evaluates has the last as its best.

    Returns:
        The progress with the best so far.
    """
    ap = metrics.get("ap", -1.0)
    if ap > progress.best_ap or progress.best_ap < 0:
        progress = replace(progress, best_ap=ap, best_epoch=progress.epochs)
        described = _with_training(info, epoch=progress.epochs, metrics=dict(metrics))
        save_model(folder / BEST, network.state_dict(), described)
    described = _with_training(info, progress=asdict(progress))
    save_model(folder / LAST, network.state_dict(), described, optimizer_tensors(optimizer))
    return progress


def resume(folder: Path, network: nn.Module, info: ModelInfo, optimizer: Optimizer) -> Progress:
    """Put a run back to where its last checkpoint was.

    Raises:
        ModelFileError: the checkpoint is damaged.
        TrainingError: it belongs to another network or optimizer.
    """
    file = folder / LAST
    weights, saved = load_weights(file)
    if replace(saved, training={}) != replace(info, training={}):
        raise TrainingError(f"{file}: the checkpoint is of another model or other classes than this run")
    network.load_state_dict(weights)
    restore(optimizer, load_training(file))
    return Progress.of(saved, file)


def _with_training(info: ModelInfo, **entries: Any) -> ModelInfo:
    return replace(info, training={**info.training, **entries})
