"""Run two training steps and print how far memory grew: `python -m tests.train.step_memory SETTING...`."""

import sys
from pathlib import Path

import torch

from lookonce.recipe import load_settings
from lookonce.train.batch_size import Trial
from tests.train.test_batch_size import images


def main() -> None:
    settings = load_settings(None, sys.argv[1:])
    data, device = images(512), torch.device("cpu")
    small = settings.model_copy(update={"width": 0.0625, "size": (64, 64)})
    Trial(data, small, device).take_steps(2)  # after this, libraries and their buffers are loaded
    before = peak()
    Trial(data, settings, device).take_steps(settings.batch_size)
    print(peak() - before)


def peak() -> int:
    """Return the peak resident memory in bytes; that of getrusage would include the parent process."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
