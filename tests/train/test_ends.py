"""Test the end of a run by its time limit, with a clock that advances per step, or by a plateau of the AP."""

import csv
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from lookonce.config import TrainSettings
from lookonce.errors import ConfigError
from lookonce.metadata import ClockState, RunState
from lookonce.model.files import load_weights
from lookonce.recipe import load_settings
from lookonce.train.checkpoint import BEST, LAST
from lookonce.train.run import RunResult, Session, Stopped, train
from lookonce.train.setup import TrainData
from lookonce.train.validate import Validator
from tests.data.drawn_samples import INFO, draw_samples
from tests.train.test_run import QUICK, settings, write_lines


class Machine:
    """Clock that advances by a second per step and three per evaluation, and can stop a run."""

    def __init__(self) -> None:
        self.seconds, self.steps, self.stop_at = 50.0, 0, 10**9
        self.said = io.StringIO()

    def stop(self) -> bool:
        """Advance the clock after a step or an epoch; return whether to stop."""
        self.seconds += 1
        self.steps += 1
        return self.steps >= self.stop_at

    def session(self) -> Session:
        console = Console(file=self.said, width=300)
        return Session(console, stop=self.stop, now=lambda: self.seconds, started=self.seconds - 1)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made, evaluate = Machine(), Validator.evaluate

    def slowly(*given) -> dict[str, float]:  # type: ignore[no-untyped-def]
        made.seconds += 3
        return evaluate(*given)

    monkeypatch.setattr(Validator, "evaluate", slowly)
    monkeypatch.setattr(Validator, "expected_seconds", lambda *_: 3.0)
    return made


@pytest.fixture
def data(tmp_path: Path) -> TrainData:
    samples = draw_samples(tmp_path, 7)
    return TrainData(INFO.names, samples, samples[:4])


def column(file: Path, name: str) -> list[str]:
    with file.open(newline="") as stream:
        return [row[name] for row in csv.DictReader(stream)]


def state(out: Path) -> tuple[RunState, ClockState]:
    running = load_weights(out / LAST)[1].training["running"]
    return running, running["clock"]


def timed(minutes: float, *assignments: str) -> TrainSettings:
    return settings(f"minutes={minutes}", "log_every=1", *assignments)


@pytest.mark.parametrize(
    "additions",
    [
        (),
        ("optimizer.accumulate=2",),
        ("augment.multi_scale=0.4", "size=96x128", "keep_epochs=true"),
        ("evaluate_every=4",),
        ("ema=0",),
        ("batch=7", "evaluate_every=3"),
    ],
)
def test_a_run_ends_when_its_minutes_are_used(
    data: TrainData, tmp_path: Path, machine: Machine, additions: tuple[str, ...]
) -> None:
    out = tmp_path / "run"
    result = train(data, timed(1, *additions), out, machine.session())
    running, clock = state(out)
    assert clock["used"] == pytest.approx(60, abs=2.1)  # a step and the fractions of an evaluation
    assert clock["closed"] == 60
    rates = [float(rate) for rate in column(out / "steps.csv", "lr")]
    assert max(rates) > 0.0009
    assert rates[-1] < 0.0001
    epochs = column(out / "epochs.csv", "epoch")
    assert len(epochs) == result.progress.epochs == running["number"]
    assert column(out / "epochs.csv", "ap")[-1], "the last epoch was not evaluated"
    assert (out / BEST).exists()
    assert len(list(out.glob("epoch-*.safetensors"))) == (
        len(epochs) if "keep_epochs=true" in additions else 0
    )
    said = machine.said.getvalue()
    assert f"ended after {clock['used'] / 60:.2f} of 1 minutes: {len(rates)} steps, " in said
    assert " of 1 min" in said


def test_an_epoch_longer_than_the_time_ends_early(data: TrainData, tmp_path: Path, machine: Machine) -> None:
    train(data, timed(0.15, "batch=1"), tmp_path / "run", machine.session())
    assert column(tmp_path / "run" / "epochs.csv", "epoch") == ["1"]
    assert 3 <= len(column(tmp_path / "run" / "steps.csv", "step")) < 7
    assert column(tmp_path / "run" / "epochs.csv", "ap")[0]


@pytest.mark.parametrize("stop_at", [2, 9, 30])
def test_a_resumed_run_uses_the_rest_of_its_minutes(
    data: TrainData, tmp_path: Path, machine: Machine, stop_at: int
) -> None:
    out = tmp_path / "run"
    machine.stop_at = stop_at
    with pytest.raises(Stopped):
        train(data, timed(1), out, machine.session())
    used = state(out)[1]["used"]
    assert used > stop_at
    machine.stop_at = 10**9
    machine.seconds += 10_000  # nobody trained meanwhile
    began = machine.seconds
    train(data, timed(1), out, machine.session(), resume=True)
    assert state(out)[1]["used"] == pytest.approx(60, abs=2.1)
    assert machine.seconds - began == pytest.approx(60 - used, abs=3.1)
    steps = [int(step) for step in column(out / "steps.csv", "step")]
    assert len(set(steps)) == len(steps)


def test_a_run_that_used_its_minutes_needs_more_to_continue(
    data: TrainData, tmp_path: Path, machine: Machine
) -> None:
    out = tmp_path / "run"
    train(data, timed(0.5), out, machine.session())
    before = (out / LAST).read_bytes()
    train(data, timed(0.5), out, machine.session(), resume=True)
    assert "all 0.5 minutes are used; give the run more minutes" in machine.said.getvalue()
    assert (out / LAST).read_bytes() == before
    train(data, timed(1), out, machine.session(), resume=True)
    assert state(out)[1]["used"] == pytest.approx(60, abs=2.1)
    assert load_settings(out / "settings.yaml").minutes == 1
    with pytest.raises(ConfigError, match="minutes: 0"):
        train(data, timed(0), out, machine.session(), resume=True)


def test_an_evaluation_that_would_use_up_the_time_is_skipped(
    data: TrainData, tmp_path: Path, machine: Machine
) -> None:
    """Evaluations take 3 of 18 seconds each, so they follow some epochs and the end, but not every epoch."""
    train(data, timed(0.3), tmp_path / "run", machine.session())
    aps = column(tmp_path / "run" / "epochs.csv", "ap")
    assert aps[0]
    assert aps[-1]
    assert "" in aps
    assert state(tmp_path / "run")[1]["used"] == pytest.approx(18, abs=2.1)


@pytest.fixture
def aps(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make validation return these APs, one after the other."""

    def find(*values: float) -> None:
        found: Iterator[float] = iter(values)

        def evaluate(*_: object) -> dict[str, float]:
            ap = next(found)
            return {"ap": ap, "ap50": ap}

        monkeypatch.setattr(Validator, "evaluate", evaluate)

    return find


def patient(
    data: TrainData, out: Path, said: io.StringIO, *assignments: str, resume: bool = False
) -> RunResult:
    session = Session(Console(file=said, width=300))
    return train(data, settings("epochs=9", *assignments), out, session, resume=resume)


def test_a_plateau_ends_the_run_and_the_best_is_kept(
    data: TrainData, tmp_path: Path, aps: Callable[..., None]
) -> None:
    aps(0.1, 0.3, 0.2, 0.3, 0.25, 0.9)
    said, out = io.StringIO(), tmp_path / "run"
    progress = patient(data, out, said, "patience=3").progress
    assert (progress.epochs, progress.best_ap, progress.best_epoch) == (5, 0.3, 2)
    assert load_weights(out / BEST)[1].training["epoch"] == 2
    assert "no better AP in 3 epochs (best 0.300, epoch 2): ended after epoch 5" in said.getvalue()
    patient(data, out, said, "patience=3", resume=True)
    assert "raise patience to train for longer" in said.getvalue()
    aps(0.4, 0.3, 0.2, 0.1)
    assert patient(data, out, said, "patience=4", resume=True).progress.epochs == 9
    assert "ended after all 9 epochs" in said.getvalue()


@pytest.mark.parametrize(
    ("found", "epochs"),
    [
        ((0.0, 0.0, 0.0, 0.002, 0.001, 0.009, 0.003, 0.0, 0.004), 9),  # below `LEARNED`, there is no plateau
        ((0.01, 0.0, 0.0, 0.1), 3),
        ((1.0, 1.0, 1.0), 3),
        ((0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), 9),
    ],
)
def test_patience_counts_only_after_the_first_usable_ap(
    data: TrainData, tmp_path: Path, aps: Callable[..., None], found: tuple[float, ...], epochs: int
) -> None:
    aps(*found)
    assert patient(data, tmp_path / "run", io.StringIO(), "patience=2").progress.epochs == epochs


def test_epochs_between_evaluations_count(data: TrainData, tmp_path: Path, aps: Callable[..., None]) -> None:
    aps(0.2, 0.1)
    progress = patient(data, tmp_path / "run", io.StringIO(), "patience=2", "evaluate_every=2").progress
    assert (progress.epochs, progress.best_epoch) == (4, 2)


def test_a_plateau_ends_a_run_with_minutes(data: TrainData, tmp_path: Path, aps: Callable[..., None]) -> None:
    aps(0.2, 0.1, 0.1)
    progress = patient(data, tmp_path / "run", io.StringIO(), "minutes=30", "patience=2").progress
    assert progress.epochs == 3


def test_patience_needs_objects_to_validate_on(data: TrainData, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="patience: expected validation images with objects, found none"):
        patient(TrainData(data.names, data.train, ()), tmp_path / "run", io.StringIO(), "patience=2")
    assert not (tmp_path / "run").exists()


def test_a_stopped_process_resumes_its_minutes(tmp_path: Path) -> None:
    lines, out = write_lines(tmp_path / "images"), tmp_path / "run"
    (tmp_path / "things.names").write_text("disc\nbar\nring\n")
    command = [
        sys.executable,
        "-m",
        "lookonce",
        "train",
        str(lines),
        "--names",
        str(tmp_path / "things.names"),
    ]
    command += ["--out", str(out), *(part for each in QUICK for part in ("--set", each))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*command, "--minutes", "5"], env=environment, stdout=subprocess.DEVNULL)
    give_up = time.monotonic() + 300
    while not (out / LAST).exists() and process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    used = state(out)[1]["used"]
    assert 0 < used < 300
    minutes = str((used + 4) / 60)
    done = subprocess.run(
        [*command, "--resume", "--minutes", minutes],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "the learning rate fitted to that time" in done.stdout
    clock = state(out)[1]
    assert clock["closed"] == pytest.approx(used + 4)
    assert clock["used"] > used
    assert "resumed in epoch" in done.stdout
