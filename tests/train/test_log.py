"""Test the log of a run: its files, and their changes by a resumed run."""

import csv
import io
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from rich.console import Console

from lookonce.config import TrainSettings
from lookonce.train.log import EPOCHS, STEPS, RunLog
from lookonce.train.loop import Epoch, StepReport
from tests.train.test_meter import losses, paths

SETTINGS = TrainSettings(epochs=3)
LOSSES = {"total": 7.0, "giou": 4.0, "conf": 1.0, "prob": 2.0}


def epoch(seconds: float = 10, waited: float = 0, skipped: int = 0) -> Epoch:
    done = Epoch(0, seconds=seconds, waited=waited, skipped=skipped)
    done.meter.add(losses(4, 4), paths(2))
    done.meter.read()
    return done


def log(folder: Path, said: io.StringIO, done: int = 0) -> RunLog:
    console = Console(file=said, width=300)
    return RunLog(folder, console, SETTINGS, images=2, steps=3, epoch=Epoch(*divmod(done, 3)))


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_steps_and_epochs_are_rows(tmp_path: Path) -> None:
    said = io.StringIO()
    with log(tmp_path, said) as opened:
        opened.step(StepReport(1, 0.25, LOSSES, 2), 3)
        opened.epoch(1, epoch(), {"ap": 0.5, "ap50": 0.75}, minutes=1.5)
        opened.epoch(2, epoch(), {}, minutes=3)
    (step,) = rows(tmp_path / STEPS)
    assert (step["step"], float(step["lr"]), float(step["total_loss"])) == ("1", 0.25, 7)
    first, second = rows(tmp_path / EPOCHS)
    assert (first["ap"], first["ap50"], first["images_per_second"]) == ("0.5", "0.75", "0.2")
    assert (second["ap"], second["minutes"]) == ("", "3")
    assert "epoch 1/3  loss 7  AP50 0.750  AP 0.500  0.2 images/s  1.5 min" in said.getvalue()


def test_rows_after_the_checkpoint_are_removed(tmp_path: Path) -> None:
    with log(tmp_path, io.StringIO()) as opened:
        for step in (1, 2, 3):
            opened.step(StepReport(step, 0.1, LOSSES, 2), 3)
        opened.epoch(1, epoch(), {}, minutes=1)
    with (tmp_path / STEPS).open("a") as file:
        file.write("4,0.")  # cut off by a full disk
    with log(tmp_path, io.StringIO(), done=2) as opened:
        opened.step(StepReport(3, 0.5, LOSSES, 2), 3)
    assert [(row["step"], row["lr"]) for row in rows(tmp_path / STEPS)] == [
        ("1", "0.1"),
        ("2", "0.1"),
        ("3", "0.5"),
    ]
    assert rows(tmp_path / EPOCHS) == []


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from rich.console import Console
from lookonce.config import TrainSettings
from lookonce.train.log import RunLog
from lookonce.train.loop import Epoch

try:
    with RunLog(
        Path(sys.argv[1]), Console(file=sys.stdout), TrainSettings(), images=2, steps=1, epoch=Epoch(0)
    ) as log:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
        log.predictions(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), 1)
except OSError as error:
    print(error, file=sys.stderr)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_disk_too_full_for_tensorboard_is_named_once(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert ran.stderr == f"[Errno 27] File too large: '{tmp_path}/tensorboard'\n"


@pytest.mark.parametrize(("waited", "warned"), [(0.9, False), (1.1, True)])
def test_waiting_for_images_is_reported_above_a_tenth_of_the_time(
    tmp_path: Path, waited: float, warned: bool
) -> None:
    said = io.StringIO()
    with log(tmp_path, said) as opened:
        opened.epoch(1, epoch(waited=waited, skipped=3), {}, minutes=1)
    assert ("data-bound: 11%" in said.getvalue()) == warned
    assert "3 batches" in said.getvalue()


def test_errors_of_other_threads_are_still_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    with RunLog(tmp_path, Console(quiet=True), SETTINGS, images=1, steps=1, epoch=Epoch(0)):
        thread = threading.Thread(target=(tmp_path / "missing").read_bytes)
        thread.start()
        thread.join()
    assert [type(each.exc_value) for each in failed] == [FileNotFoundError]
