"""Test training in float16 with scaled gradients, on the CPU."""

import csv
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from lookonce.data.dataset import Dataset
from lookonce.data.loader import Loader
from lookonce.model.files import load_weights
from lookonce.model.network import build
from lookonce.recipe import load_settings
from lookonce.train.checkpoint import LAST
from lookonce.train.clock import Course
from lookonce.train.learner import Learner, precision_on
from lookonce.train.loop import Epoch, train_one_epoch
from lookonce.train.run import train
from lookonce.train.schedule import Schedule
from lookonce.train.setup import TrainData, describe
from tests.data.drawn_samples import INFO, draw_samples
from tests.train.test_run import CutOffError, _saving_until, quiet, settings
from tests.train.test_survival import BadBatch


@pytest.fixture
def data(tmp_path: Path) -> TrainData:
    return TrainData(INFO.names, draw_samples(tmp_path, 7), ())


@pytest.mark.parametrize(
    ("wanted", "native", "expected"),
    [
        ("auto", True, torch.bfloat16),
        ("auto", False, torch.float16),
        ("float32", False, torch.float32),
        ("bfloat16", False, torch.bfloat16),
        ("float16", True, torch.float16),
    ],
)
def test_a_gpu_without_bfloat16_gets_float16(
    monkeypatch: pytest.MonkeyPatch, wanted: str, native: bool, expected: torch.dtype
) -> None:
    # torch by itself also counts emulation as support
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or native
    )
    assert precision_on(torch.device("cuda"), load_settings(None, precision=wanted)) == expected


def test_a_cpu_gets_float16_only_on_request() -> None:
    assert precision_on(torch.device("cpu"), load_settings(None)) in (torch.bfloat16, torch.float32)
    narrow = replace(INFO, width=0.125)
    assert not Learner(build(narrow), narrow, load_settings(None)).scaler.is_enabled()
    assert Learner(build(narrow), narrow, load_settings(None, precision="float16")).scaler.is_enabled()


def test_float16_learns_like_float32(data: TrainData, tmp_path: Path) -> None:
    finals = []
    for precision in ("float32", "float16"):
        train(data, settings("epochs=3", f"precision={precision}"), tmp_path / precision, quiet())
        with (tmp_path / precision / "epochs.csv").open() as file:
            finals.append(float(list(csv.DictReader(file))[-1]["total_loss"]))
    assert finals[1] == pytest.approx(finals[0], rel=0.05)
    assert not math.isclose(finals[0], finals[1], rel_tol=1e-9), "both ran in float32"


def test_a_resumed_run_keeps_its_loss_scale_bit_for_bit(
    data: TrainData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = settings("epochs=4", "precision=float16", "optimizer.clip=1")
    monkeypatch.setattr(
        "lookonce.train.learner.GradScaler", lambda device, enabled: GradScaler("cpu", growth_interval=4)
    )
    train(data, wanted, tmp_path / "whole", quiet())
    with monkeypatch.context() as patch:
        patch.setattr("lookonce.train.run.checkpoint.save", _saving_until(3))
        with pytest.raises(CutOffError):
            train(data, wanted, tmp_path / "cut", quiet())
    train(data, wanted, tmp_path / "cut", quiet(), resume=True)

    (whole, described), (resumed, again) = (load_weights(tmp_path / name / LAST) for name in ("whole", "cut"))
    scaling = described.training["running"]["scaler"]
    assert scaling["scale"] != 2.0**16, "a scale that never moved shows nothing"
    assert scaling == again.training["running"]["scaler"]
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def learn(data: TrainData, scaler: GradScaler, *assignments: str) -> tuple[dict[str, Tensor], Epoch]:
    """Return the weights after an epoch of plain gradient descent, and the epoch."""
    wanted = settings(
        "precision=float16",
        "optimizer.name=sgd",
        "optimizer.momentum=0",
        "batch=7",
        "workers=0",
        *assignments,
    )
    torch.manual_seed(0)
    info = describe(data, wanted)
    network, epoch = build(info).train(), Epoch(0)
    learner = Learner(network, info, wanted)
    learner.scaler = scaler
    with Loader(Dataset(data.train, info, None), wanted.batch_size, 0) as loader:
        schedule = Schedule(wanted.optimizer.rate, 0, warmup=0, steps=99)
        train_one_epoch(learner, loader, Course(schedule), epoch)
    return dict(network.named_parameters()), epoch


def test_clipping_applies_to_unscaled_gradients(data: TrainData) -> None:
    clip = "optimizer.clip=0.5", "optimizer.rate=0.1"
    plain, _ = learn(data, GradScaler("cpu", init_scale=1.0), *clip)
    scaled, _ = learn(data, GradScaler("cpu", init_scale=64.0), *clip)
    start, _ = learn(
        data,
        GradScaler("cpu", init_scale=1.0),
        "optimizer.clip=0.5",
        "optimizer.rate=1e-30",
        "optimizer.end_rate=0",
    )
    for name in plain:
        moved = (plain[name] - start[name]).norm()
        assert (plain[name] - scaled[name]).norm() <= 0.05 * moved + 1e-7, name


def test_an_overflowing_step_is_skipped_without_an_error(data: TrainData) -> None:
    scaler = GradScaler("cpu", init_scale=2.0**100)
    weights, epoch = learn(data, scaler, "optimizer.clip=1", "optimizer.rate=0.1")
    untouched, _ = learn(data, GradScaler("cpu"), "optimizer.rate=1e-30", "optimizer.end_rate=0")
    assert all(torch.equal(weights[name], untouched[name]) for name in weights)
    assert scaler.get_scale() == 2.0**99
    assert epoch.skipped == 0
    assert math.isfinite(epoch.meter.means()["total"]), "the loss that is looked at is the one not scaled"


@pytest.mark.parametrize("clip", ["optimizer.clip=0", "optimizer.clip=1"])
def test_a_step_without_any_batch_left_is_skipped(
    data: TrainData, monkeypatch: pytest.MonkeyPatch, clip: str
) -> None:
    monkeypatch.setattr("lookonce.train.learner.forward", BadBatch(1))
    scaler = GradScaler("cpu")
    _, epoch = learn(data, scaler, "loss.non_finite=skip", "batch=4", clip)
    assert epoch.skipped == 1
    assert epoch.meter.images == 3
