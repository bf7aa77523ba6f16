"""Speed on a CUDA GPU of training by precision, memory format and compilation, and of inference.

    python benchmarks/gpu.py [--model yolov3] [--size 416] [--batch 32] [--steps 30]

No data is needed: the images are synthetic and in GPU memory, so the speed does not depend on a disk. Without
a GPU, the script prints a message and ends with exit code 1.
"""

import argparse
import gc
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch
from machine import machine_line
from torch import nn

from lookonce.config import TrainSettings, parse_size
from lookonce.metadata import ModelInfo
from lookonce.model.network import build, to_input
from lookonce.recipe import load_settings
from lookonce.samples import Sample
from lookonce.train.batch_size import Trial
from lookonce.train.learner import Learner, forward
from lookonce.train.setup import TrainData, describe

RECIPES = Path(__file__).parents[1] / "recipes"
DEVICE = torch.device("cuda")
NAMES = tuple(f"class {number}" for number in range(80))
BOXES = 8  # per image, about as many as in COCO
WARM_UP = 5  # steps before the clock starts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="yolov3")
    parser.add_argument("--size", type=parse_size, default=(416, 416))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=30)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("no CUDA card here (torch.cuda.is_available() says no): nothing was measured")

    torch.backends.cudnn.allow_tf32 = False  # so that "float32" below is not TF32
    print(machine_line("torch", "numpy"))
    print(f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}")
    print(f"{options.model} at {options.size}, batch {options.batch}, {options.steps} steps\n")
    print("training     memory          network    images/s    GiB")
    for precision, order, compiled in product(
        ("bfloat16", "float16", "float32"), ("channels-last", "contiguous"), (False, True)
    ):
        settings = load_settings(
            RECIPES / "classic.yaml",  # without mosaics, which have four times the boxes
            model=options.model,
            size=options.size,
            batch=options.batch,
            precision=precision,
        )
        row(precision, order, compiled, partial(training, settings, order, compiled), options)
    print("\ninference    memory          network    images/s    GiB")
    info = describe(TrainData(NAMES, (), ()), settings)
    for dtype, compiled in product((torch.bfloat16, torch.float16, torch.float32), (False, True)):
        name = str(dtype).removeprefix("torch.")
        row(
            name, "channels-last", compiled, partial(inference, info, dtype, compiled, options.batch), options
        )


def training(settings: TrainSettings, order: str, compiled: bool) -> Callable[[], None]:
    """Return a training step on a batch in GPU memory."""
    sample = Sample(Path(), np.ones((BOXES, 4), np.float32), np.zeros(BOXES, np.int64))
    data = TrainData(NAMES, [sample], ())
    info = describe(data, settings)
    network = in_order(build(info).to(DEVICE).train(), order)
    learner = Learner(network, info, settings)
    running: nn.Module = torch.compile(network) if compiled else network  # type: ignore[assignment]
    batch = Trial(data, settings, DEVICE).batch(settings.batch_size)
    batch = replace(
        batch,
        images=batch.images.to(DEVICE),
        positives=batch.positives.each(lambda column: column.to(DEVICE)),
        truth=batch.truth.to(DEVICE),
    )

    def step() -> None:
        learner.backward(forward(running, batch, info, settings).total())
        learner.step(settings.optimizer.rate)

    return step


def in_order(network: nn.Module, order: str) -> nn.Module:
    """Return the network in a memory format; for `contiguous`, also make its inputs contiguous.

    A convolution is channels-last if its kernel or its input is.
    """
    if order == "contiguous":
        network.to(memory_format=torch.contiguous_format)
        network.register_forward_pre_hook(lambda module, inputs: (inputs[0].contiguous(),))
    return network


def inference(info: ModelInfo, dtype: torch.dtype, compiled: bool, batch: int) -> Callable[[], None]:
    """Return a forward pass to the raw maps."""
    network = build(info).to(DEVICE, dtype).eval()
    answer = torch.compile(network) if compiled else network
    images = to_input(torch.full((batch, 3, *info.input_size), 128, dtype=torch.uint8, device=DEVICE))
    images = images.to(dtype)

    def step() -> None:
        with torch.inference_mode():
            answer(images)

    return step


def row(
    precision: str,
    order: str,
    compiled: bool,
    make: Callable[[], Callable[[], None]],
    options: argparse.Namespace,
) -> None:
    torch.compiler.reset()  # forget the networks before this one
    gc.collect()
    torch.cuda.empty_cache()
    try:
        rate, memory = measure(make(), options)
        result = f"{rate:10.1f} {memory:6.1f}"
    except torch.OutOfMemoryError:
        result = "out of memory"
    print(f"{precision:12} {order:15} {'compiled' if compiled else 'eager':10} {result}", flush=True)


def measure(step: Callable[[], None], options: argparse.Namespace) -> tuple[float, float]:
    """Return images per second and the peak of GPU memory in GiB; compiling takes place in the warm-up."""
    for _ in range(WARM_UP):
        step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    for _ in range(options.steps):
        step()
    torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    return options.batch * options.steps / seconds, torch.cuda.max_memory_allocated() / 2**30


if __name__ == "__main__":
    main()
