"""Take two real training steps, say how far memory grew: `python -m tests.train.step_memory SETTING...`."""

import resource
import sys

import torch

from lookonce.config import load_settings
from lookonce.train.batch_size import Trial
from tests.train.test_batch_size import pictures


def main() -> None:
    settings = load_settings(None, sys.argv[1:])
    data, device = pictures(512), torch.device("cpu")
    small = settings.model_copy(update={"width": 0.0625, "size": (64, 64)})
    Trial(data, small, device).take_steps(2)  # libraries and their buffers are there from now on
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    Trial(data, settings, device).take_steps(settings.batch_size)
    print(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))


if __name__ == "__main__":
    main()
