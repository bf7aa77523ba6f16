"""Train in a child process that is killed several times before it may finish, and once without a kill.

    python -m tests.train.killed_run FOLDER EPOCHS KILLS SEED

FOLDER/cut is the run that was killed, FOLDER/whole the other one. Each attempt is a fork, so that it does not
import anything again. Every second kill waits until a checkpoint is being written. The program prints how
many kills left half a checkpoint behind.
"""

import io
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from rich.console import Console

from lookonce._outputs import leftovers
from lookonce.recipe import load_settings
from lookonce.train.checkpoint import LAST
from lookonce.train.run import Session, train
from lookonce.train.setup import TrainData
from tests.data.drawn_samples import INFO, draw_samples

SETTINGS = ("width=0.125", "size=64x96", "batch=3", "workers=1", "log_every=5", "evaluate_every=4")
EVERY_STEP = "checkpoint_minutes=1e-9"
LONGEST_WAIT = 0.3  # seconds from the first checkpoint of an attempt to the kill


def attempt(data: TrainData, out: Path, epochs: int) -> None:
    settings = load_settings(None, (*SETTINGS, EVERY_STEP, f"epochs={epochs}"))
    train(data, settings, out, Session(Console(file=io.StringIO())), resume=(out / LAST).exists())


def half_written(out: Path) -> bool:
    return bool(leftovers(out / LAST))


def stamp(out: Path) -> int:
    """Return a value that changes with every checkpoint."""
    return (out / LAST).stat().st_mtime_ns if (out / LAST).exists() else 0


def killed(data: TrainData, out: Path, epochs: int, wait: float, *, while_writing: bool) -> bool:
    """Return whether the kill interrupted the writing of a checkpoint."""
    child = os.fork()
    if not child:
        attempt(data, out, epochs)
        os._exit(0)
    before, give_up = stamp(out), time.monotonic() + 30
    while stamp(out) == before and time.monotonic() < give_up:
        time.sleep(0.001)
    time.sleep(wait)
    while while_writing and time.monotonic() < give_up:
        if half_written(out):
            os.kill(child, signal.SIGSTOP)  # it may have been finished meanwhile
            if half_written(out):
                break
            os.kill(child, signal.SIGCONT)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return half_written(out)


def main() -> None:
    folder, (epochs, kills, seed) = Path(sys.argv[1]), map(int, sys.argv[2:])
    torch.set_num_threads(1)  # a process with threads must not fork
    (images := folder / "images").mkdir()
    samples, out = draw_samples(images, 7), folder / "cut"
    data = TrainData(INFO.names, samples, samples[:2])
    waits = random.Random(seed)
    halves = sum(
        killed(data, out, epochs, waits.uniform(0, LONGEST_WAIT), while_writing=bool(number % 2))
        for number in range(kills)
    )
    attempt(data, out, epochs)
    attempt(data, folder / "whole", epochs)
    print(halves)


if __name__ == "__main__":
    main()
