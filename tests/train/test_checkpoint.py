"""Test the checkpoints at the end of an epoch."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lookonce.config import TrainSettings
from lookonce.errors import NonFiniteLossError, TrainingError
from lookonce.model.files import load_info, load_weights, save_model
from lookonce.model.network import build
from lookonce.train.checkpoint import BEST, LAST, Progress, save
from lookonce.train.learner import Learner
from tests.data.drawn_samples import INFO

NARROW = replace(INFO, width=0.125)


def learner(keep_epochs: bool = False) -> Learner:
    return Learner(build(NARROW), NARROW, TrainSettings(ema=0, keep_epochs=keep_epochs))


def after_epochs(folder: Path, learning: Learner, *aps: float | None) -> Progress:
    """Save epochs with these APs; in epoch n, the bias of the finest head is n."""
    progress = Progress()
    for number, ap in enumerate(aps, start=1):
        torch.nn.init.constant_(learning.network.get_submodule("fine_head").bias, number)  # type: ignore[arg-type]
        metrics = {} if ap is None else {"ap": ap}
        progress = save(folder, learning, replace(progress, epochs=number), metrics)
    return progress


def epoch_of(file: Path) -> float:
    return float(load_weights(file)[0]["fine_head.bias"][0])


@pytest.mark.parametrize(
    ("aps", "best"),
    [((0.2, 0.5, 0.4), 2), ((0.0, 0.0), 2), ((0.3, 0.3, 0.1), 1), ((None, None), 2), ((0.4, None), 1)],
)
def test_the_best_has_the_highest_ap_or_is_the_last_of_zeros(
    tmp_path: Path, aps: tuple[float | None, ...], best: int
) -> None:
    progress = after_epochs(tmp_path, learner(), *aps)
    assert epoch_of(tmp_path / BEST) == best == progress.best_epoch
    assert load_weights(tmp_path / BEST)[1].training["epoch"] == best
    assert epoch_of(tmp_path / LAST) == len(aps)
    assert Progress.of(load_info(tmp_path / LAST), tmp_path / LAST) == progress


@pytest.mark.parametrize("keep", [False, True])
def test_every_epoch_is_kept_if_so_set(tmp_path: Path, keep: bool) -> None:
    after_epochs(tmp_path, learner(keep), 0.3, 0.1)
    files = sorted(tmp_path.glob("epoch-*.safetensors"))
    assert [epoch_of(file) for file in files] == ([1, 2] if keep else [])
    assert [file.name for file in files] == (
        ["epoch-001.safetensors", "epoch-002.safetensors"] if keep else []
    )


def test_ruined_weights_are_not_saved(tmp_path: Path) -> None:
    learning = learner()
    after_epochs(tmp_path, learning, 0.1)
    with pytest.raises(NonFiniteLossError, match=r"no longer finite.*optimizer\.rate"):
        after_epochs(tmp_path, ruined(learning), 0.2)
    assert epoch_of(tmp_path / LAST) == 1


def ruined(learning: Learner) -> Learner:
    next(learning.network.parameters()).data.fill_(torch.nan)
    return learning


def test_a_plain_model_is_not_a_checkpoint(tmp_path: Path) -> None:
    save_model(tmp_path / LAST, build(NARROW).state_dict(), NARROW)
    with pytest.raises(TrainingError, match=r"last\.safetensors: expected a checkpoint of a run"):
        Progress.of(load_info(tmp_path / LAST), tmp_path / LAST)
