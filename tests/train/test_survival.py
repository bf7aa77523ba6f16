"""Test that no run is lost if it is killed, stopped, ended by a bad batch, or too short."""

import csv
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from rich.console import Console

from lookonce.errors import ConfigError, TrainingError
from lookonce.images import read_image, write_image
from lookonce.model.files import load_model, load_weights, save_model
from lookonce.model.network import build
from lookonce.recipe import load_settings
from lookonce.train import checkpoint
from lookonce.train import learner as learner_module
from lookonce.train.checkpoint import BEST, LAST
from lookonce.train.learner import Learner
from lookonce.train.loss import Losses
from lookonce.train.run import NON_FINITE, Session, Stopped, train
from lookonce.train.setup import TrainData, describe
from tests.command_line import typed
from tests.data.drawn_samples import INFO, draw_samples
from tests.train.killed_run import EVERY_STEP, SETTINGS
from tests.train.test_run import settings, write_lines

ROOT = Path(__file__).resolve().parents[2]
SINGLE = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def data(tmp_path: Path) -> TrainData:
    samples = draw_samples(tmp_path, 7)
    return TrainData(INFO.names, samples, samples[:4])


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute with one thread, as a process with `SINGLE` does, because the last bits depend on threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def quiet(stop: Callable[[], bool] = lambda: False) -> Session:
    return Session(Console(file=io.StringIO(), width=200), stop=stop)


def same_weights(one: Path, other: Path) -> bool:
    mine, theirs = load_weights(one)[0], load_weights(other)[0]
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def column(file: Path, name: str) -> list[str]:
    with file.open(newline="") as stream:
        return [row[name] for row in csv.DictReader(stream)]


@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_a_run_killed_at_random_moments_ends_with_the_same_bits(tmp_path: Path, kills: int) -> None:
    numbers = map(str, (4 * kills, kills, 7))
    command = [sys.executable, "-m", "tests.train.killed_run", str(tmp_path), *numbers]
    halves = subprocess.run(command, env=SINGLE, cwd=ROOT, check=True, capture_output=True, text=True).stdout

    assert int(halves) >= kills // 2 - 1, "no kill fell into the writing of a checkpoint"
    assert same_weights(tmp_path / "whole" / LAST, tmp_path / "cut" / LAST)
    assert (tmp_path / "whole/steps.csv").read_text() == (tmp_path / "cut/steps.csv").read_text()
    for name in ("epoch", "total_loss", "ap"):
        found = column(tmp_path / "cut/epochs.csv", name)
        assert found == column(tmp_path / "whole/epochs.csv", name)
    assert not list((tmp_path / "cut").glob(".*")), "half a checkpoint was left"


def test_the_first_ctrl_c_saves_and_resume_needs_no_other_option(tmp_path: Path, one_thread: None) -> None:
    lines, names = write_lines(tmp_path / "images"), tmp_path / "things.names"
    names.write_text("disc\nbar\nring\n")
    command = [sys.executable, "-m", "lookonce", "train", str(lines), "--names", str(names), "--out"]
    options = [part for each in SETTINGS for part in ("--set", each)] + ["--set", "epochs=12"]
    assert typed(*command[3:], tmp_path / "whole", *options) == 0

    process = subprocess.Popen(
        [*command, str(tmp_path / "cut"), *options], env=SINGLE, stdout=subprocess.PIPE, text=True
    )
    give_up = time.monotonic() + 120
    while not (tmp_path / "cut" / LAST).exists() and time.monotonic() < give_up:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said = process.communicate()[0]

    assert process.returncode == 130
    assert f"stopped and saved; to resume: lookonce train {lines} --out {tmp_path}/cut --resume" in said
    done = column(tmp_path / "cut/epochs.csv", "epoch")
    assert 0 < len(done) < 12
    assert typed(*command[3:], tmp_path / "cut", "--resume") == 0
    assert same_weights(tmp_path / "whole" / LAST, tmp_path / "cut" / LAST)


@pytest.mark.parametrize("written", [False, True])
def test_a_run_cut_off_at_a_checkpoint_loses_and_repeats_no_row(
    data: TrainData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    """The run is interrupted just before or just after the second epoch's checkpoint is written."""
    run, save, wanted = tmp_path / "run", checkpoint.save, settings("epochs=3", "log_every=1")

    def cut_off(folder, learner, progress, *rest):  # type: ignore[no-untyped-def]
        if progress.epochs == 2 and not written:
            raise Stopped
        saved = save(folder, learner, progress, *rest)
        if progress.epochs == 2:
            raise Stopped
        return saved

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", cut_off)
        with pytest.raises(Stopped):
            train(data, wanted, run, quiet())
    for table in ("steps.csv", "epochs.csv"):
        with (run / table).open("a") as file:
            file.write("1")  # the beginning of a later row, which a full disk cut off

    train(data, wanted, run, quiet(), resume=True)

    assert column(run / "epochs.csv", "epoch") == ["1", "2", "3"]
    steps = column(run / "steps.csv", "step")
    assert steps == [str(1 + number) for number in range(9)]


def test_a_stop_within_an_epoch_saves_the_step(data: TrainData, tmp_path: Path) -> None:
    asked = iter([False, False, False, False, True])
    with pytest.raises(Stopped):
        train(data, settings("epochs=3"), tmp_path / "run", quiet(lambda: next(asked)))

    running = load_weights(tmp_path / "run" / LAST)[1].training["running"]
    assert (running["number"], running["steps"]) == (1, 1)


def test_a_finished_run_can_be_extended(data: TrainData, tmp_path: Path) -> None:
    train(data, settings("epochs=2"), tmp_path / "run", quiet())
    train(data, settings("epochs=4"), tmp_path / "run", quiet(), resume=True)
    train(data, settings("epochs=4"), tmp_path / "long", quiet())

    assert column(tmp_path / "run/epochs.csv", "epoch") == ["1", "2", "3", "4"]
    assert yaml.safe_load((tmp_path / "run/settings.yaml").read_text())["epochs"] == 4
    rates, expected = (column(tmp_path / name / "steps.csv", "lr") for name in ("run", "long"))
    assert rates[4:] == expected[4:], "the rate goes on where a run of that length would be"
    assert rates[:4] != expected[:4]


@pytest.mark.parametrize("option", ["freeze=backbone", "optimizer.momentum=0"])
def test_every_kind_of_run_can_be_resumed(data: TrainData, tmp_path: Path, option: str) -> None:
    kind = ("optimizer.name=sgd", option)
    train(data, settings("epochs=1"), tmp_path / "first", quiet())
    start = tmp_path / "first" / LAST
    asked = iter([False] * 4 + [True])
    with pytest.raises(Stopped):
        train(data, settings("epochs=3", *kind), tmp_path / "cut", quiet(lambda: next(asked)), weights=start)
    train(data, settings("epochs=3", *kind), tmp_path / "cut", quiet(), resume=True)
    train(data, settings("epochs=3", *kind), tmp_path / "whole", quiet(), weights=start)
    assert same_weights(tmp_path / "whole" / LAST, tmp_path / "cut" / LAST)


def test_ruined_weights_do_not_replace_a_checkpoint(
    data: TrainData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss of the step that ruins them is still finite, so only the weights reveal it."""
    run, step = tmp_path / "run", Learner.step
    ruined = iter([False] * 5 + [True])  # at the end of the second epoch

    def ruining(learner: Learner, rate: float) -> None:
        step(learner, rate)
        if next(ruined):
            next(learner.network.parameters()).data.fill_(torch.nan)

    monkeypatch.setattr(Learner, "step", ruining)
    with pytest.raises(TrainingError, match=r"weights are no longer finite; they are not saved.*rate"):
        train(TrainData(data.names, data.train, ()), settings("epochs=3", "ema=0"), run, quiet())

    for name in (LAST, BEST):
        assert all(each.isfinite().all() for each in load_weights(run / name)[0].values())
    assert load_weights(run / LAST)[1].training["progress"]["epochs"] == 1


def test_an_unfinished_run_keeps_its_length(data: TrainData, tmp_path: Path) -> None:
    asked = iter([False] * 3 + [True])
    with pytest.raises(Stopped):
        train(data, settings("epochs=2"), tmp_path / "run", quiet(lambda: next(asked)))
    before = (tmp_path / "run/settings.yaml").read_text()

    with pytest.raises(ConfigError, match="1 of 2 epochs done, 4 wanted: first resume it to its end"):
        train(data, settings("epochs=4"), tmp_path / "run", quiet(), resume=True)
    with pytest.raises(ConfigError, match=r"found optimizer\.rate: 0\.5 instead of 0\.001"):
        train(data, settings("epochs=4", "optimizer.rate=0.5"), tmp_path / "run", quiet(), resume=True)
    assert (tmp_path / "run/settings.yaml").read_text() == before


class BadBatch:
    """Forward pass that makes the loss of some batches NaN."""

    def __init__(self, *numbers: int) -> None:
        self.numbers, self.forward = numbers, learner_module.forward

    def __call__(self, network, batch, info, wanted, teacher=None) -> Losses:  # type: ignore[no-untyped-def]
        losses = self.forward(network, batch, info, wanted, teacher)
        if batch.number in self.numbers:
            losses = Losses(losses.giou * torch.nan, losses.conf, losses.prob)
        return losses


def test_a_bad_batch_is_skipped_if_so_set(
    data: TrainData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner_module, "forward", BadBatch(2))
    console = Console(record=True, width=300, file=io.StringIO())

    train(data, settings("epochs=2", "loss.non_finite=skip"), tmp_path / "run", Session(console))

    assert console.export_text().count("1 batch skipped: the loss was not finite") == 2
    assert all(each.isfinite().all() for each in load_weights(tmp_path / "run" / LAST)[0].values())


def test_a_skipped_batch_leaves_no_trace(data: TrainData, tmp_path: Path) -> None:
    """The first layer overflows on a white image alone, which batch norm sees before the loss does."""
    for number, sample in enumerate(data.train):
        pixels = read_image(sample.path)
        write_image(sample.path, np.full_like(pixels, 255) if number == 3 else pixels // 8)
    wanted = settings("epochs=2", "batch=1", "precision=float16", "loss.non_finite=skip", "augment=false")
    info = describe(data, wanted)
    network = build(info)
    next(network.parameters()).data.fill_(70_000 / 27)  # white: 27 pixels of 1.0, above the largest float16
    save_model(tmp_path / "start.safetensors", network.state_dict(), info)
    console = Console(record=True, width=300, file=io.StringIO())

    train(data, wanted, tmp_path / "run", Session(console), weights=tmp_path / "start.safetensors")

    assert console.export_text().count("1 batch skipped: the loss was not finite") == 2
    weights, _ = load_weights(tmp_path / "run" / LAST)
    assert all(each.isfinite().all() for each in weights.values())
    counts = [int(each) for name, each in weights.items() if name.endswith("num_batches_tracked")]
    assert set(counts) == {2 * (len(data.train) - 1)}
    resumed = Learner(build(info), info, wanted)
    checkpoint.resume(tmp_path / "run", resumed, print)
    assert resumed.batches == counts[0]


def test_skipping_too_many_batches_in_a_row_is_an_error(
    data: TrainData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner_module, "forward", BadBatch(1, 2, 3))
    with pytest.raises(TrainingError, match=r"3 batches in a row.*image \d\.png.*weights are ruined"):
        train(data, settings("epochs=2", "loss.non_finite=skip"), tmp_path / "run", quiet())


def test_skipping_with_ruined_weights_is_an_error(data: TrainData, tmp_path: Path) -> None:
    hopeless = ("optimizer.name=sgd", "optimizer.rate=1e30", "optimizer.warmup_epochs=0")
    with pytest.raises(TrainingError, match="that of an earlier batch no longer is: the weights are ruined"):
        train(data, settings("epochs=30", "loss.non_finite=skip", *hopeless), tmp_path / "run", quiet())
    assert not (tmp_path / "run" / LAST).exists()


def test_the_weights_of_a_non_finite_loss_are_kept(
    data: TrainData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner_module, "forward", BadBatch(2))
    with pytest.raises(TrainingError, match=rf"not finite on .*image .*{NON_FINITE}"):
        train(data, settings("epochs=2"), tmp_path / "run", quiet())

    assert "image" in load_model(tmp_path / "run" / NON_FINITE)[1].training["error"]


def test_checkpoints_are_saved_at_their_interval(data: TrainData, tmp_path: Path) -> None:
    """At intervals of a minute, no checkpoint is due within these epochs; at intervals of 0, all are."""
    seen = []
    for wanted in (settings("epochs=1"), load_settings(None, (*SETTINGS, "epochs=1", EVERY_STEP))):
        out = tmp_path / str(wanted.checkpoint_minutes)
        asked = (out / LAST).exists
        train(data, wanted, out, quiet(lambda asked=asked: seen.append(asked()) or False))
    assert seen == [False, False, False, True, False, True, True, True]
