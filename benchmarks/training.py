"""Training speed: the whole loop, the bare step, a plain eager step and the loss, as ratios within one run.

    python benchmarks/training.py DATA [--size 320] [--batch 16] [--rounds 8] [--recipe FILE] [--compile]
                                        [--cpu] [--cpu-time]

DATA is any annotated data set, of which the `train` split is read. In every round, the contenders run the
same number of steps in turn, so that other work affects all of them. Ratios are medians of the ratios within
the rounds. The steps are those of the recipe `classic`. Two more loops are those of `--recipe` (by default,
the default recipe), with its augmentation, losses and weight average: one on square inputs of the size of the
bare step, and one in the recipe's own rectangles, if it has them. `--compile` adds the bare step compiled by
torch, and prints the time for compiling. `--cpu` adds variants for a CPU: channels first, float32 that oneDNN
multiplies in bfloat16, denormal numbers treated as 0, and a loader thread per core. A CPU without
instructions for bfloat16 computes in float32. `--cpu-time` measures the CPU time of all threads instead of
elapsed time, for a machine with other work.
"""

import argparse
import ctypes
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import count, islice
from pathlib import Path

import numpy as np
import torch
from machine import machine_line
from torch import nn
from torch.optim import Adam

from lookonce.annotations import load_samples
from lookonce.config import TrainSettings, parse_size
from lookonce.data.assign import assign
from lookonce.data.dataset import Dataset
from lookonce.data.loader import Batch, Loader
from lookonce.metadata import ModelInfo
from lookonce.model.network import build, to_input
from lookonce.recipe import load_settings
from lookonce.runtime.cpu import this_cpu
from lookonce.train.learner import Learner, forward
from lookonce.train.loss import compute_losses
from lookonce.train.setup import TrainData, describe, make_dataset

RECIPES = Path(__file__).parents[1] / "recipes"
LOW = "bfloat16" if this_cpu().computes_bfloat16 else "float32"
BARE = f"bare step, {LOW}"
STEPS = 6  # per contender and round
USED_UP = 5  # untimed steps, for batches that a loader has prepared while other contenders ran


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--size", type=parse_size, default=(320, 320))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--recipe", type=Path, default=RECIPES / "default.yaml")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--cpu-time", action="store_true")
    options = parser.parse_args()

    found = load_samples(options.data, "train")
    shared = {"model": "yolov3-tiny", "size": options.size, "batch": options.batch}
    settings = load_settings(RECIPES / "classic.yaml", **shared)
    data = TrainData(found.names, found.samples, ())
    info = describe(data, settings)
    print(machine_line("torch", "numpy", "opencv-python-headless"))
    print(found.describe())
    print(f"yolov3-tiny at {info.input_size}, batch {options.batch}, {options.rounds} rounds\n")
    with ExitStack() as stack:
        real = full_batches(stack, Dataset(found.samples, info, settings.augment), settings)
        fixed = next(real)
        contenders = {
            "whole loop, float32": stepper(info, settings, "float32", lambda: next(real)),
            "bare step, float32": stepper(info, settings, "float32", lambda: fixed),
            "plain eager step, float32": plain_stepper(info, fixed),
            f"whole loop, {LOW}": stepper(info, settings, LOW, lambda: next(real)),
            BARE: stepper(info, settings, LOW, lambda: fixed),
        }
        ratios = list(dict.fromkeys(RATIOS))
        for name, assignments in (("squares", ("augment.rectangles=false",)), ("as it is", ())):
            wanted = load_settings(options.recipe, assignments, **shared)
            planned = describe(data, wanted)
            drawn = full_batches(stack, make_dataset(data, planned, wanted), wanted)
            name = f"whole loop, {options.recipe.stem}, {name}, {LOW}"
            contenders[name] = stepper(planned, wanted, LOW, partial(next, drawn))
            ratios.append((name, BARE))
        if options.compile:
            name = f"{BARE}, compiled"
            contenders[name] = compiled_stepper(info, settings, fixed)
            ratios.append((name, BARE))
        if options.cpu:
            on_cpu = {
                f"{BARE}, channels first": channels_first(info, settings, fixed),
                "bare step, float32, oneDNN in bfloat16": within(
                    stepper(info, settings, "float32", lambda: fixed), onednn_in_bfloat16
                ),
                f"{BARE}, denormals are 0": within(
                    stepper(info, settings, LOW, lambda: fixed), torch.set_flush_denormal
                ),
            }
            cores = len(os.sched_getaffinity(0))
            wanted = load_settings(options.recipe, (f"workers={cores}",), **shared)
            planned = describe(data, wanted)
            drawn = full_batches(stack, make_dataset(data, planned, wanted), wanted)
            name = f"whole loop, {options.recipe.stem}, as it is, {cores} loader threads"
            on_cpu[name] = stepper(planned, wanted, LOW, partial(next, drawn))
            contenders |= on_cpu
            ratios += [(name, BARE) for name in on_cpu]
        memory = {name: peak_memory(step) for name, step in contenders.items()}
        clock = time.process_time if options.cpu_time else time.perf_counter
        seconds = race(contenders, options.rounds, clock)
    report(seconds, memory, ratios, options.batch)
    report_loss(info, settings, fixed, statistics.median(seconds["bare step, float32"]))


def full_batches(stack: ExitStack, dataset: Dataset, settings: TrainSettings) -> Iterator[Batch]:
    """Return an endless iterator over full batches of real images."""
    loader = stack.enter_context(Loader(dataset, settings.batch_size, settings.workers))
    batches = (batch for epoch in count() for step in loader.steps(epoch) for batch in step)
    return (batch for batch in batches if len(batch.images) == loader.batch)


def stepper(
    info: ModelInfo, settings: TrainSettings, precision: str, next_batch: Callable[[], Batch]
) -> Callable[[], None]:
    """Return a step of our training loop on the next batch."""
    settings = settings.model_copy(update={"precision": precision})
    network = build(info).train()
    learner = Learner(network, info, settings)

    def step() -> None:
        learner.backward(learner.losses(next_batch()).total())
        learner.step(settings.optimizer.rate)

    return step


def compiled_stepper(info: ModelInfo, settings: TrainSettings, batch: Batch) -> Callable[[], None]:
    """Return the bare step with a compiled network, without changes of the batch normalization's momentum."""
    settings = settings.model_copy(update={"precision": LOW})
    network = build(info).train()
    learner, compiled = Learner(network, info, settings), torch.compile(network)

    def step() -> None:
        learner.backward(forward(compiled, batch, info, settings).total())
        learner.step(settings.optimizer.rate)

    started = time.perf_counter()
    step()
    print(f"compiling took {time.perf_counter() - started:.0f} s\n")
    return step


def channels_first(info: ModelInfo, settings: TrainSettings, batch: Batch) -> Callable[[], None]:
    """Return the bare step with weights and images in torch's default memory format."""
    settings = settings.model_copy(update={"precision": LOW})
    network = build(info).to(memory_format=torch.contiguous_format).train()
    learner = Learner(network, info, settings)
    network.register_forward_pre_hook(lambda _, given: given[0].contiguous())

    def step() -> None:
        learner.backward(forward(network, batch, info, settings).total())
        learner.step(settings.optimizer.rate)

    return step


def onednn_in_bfloat16(on: bool) -> None:
    """Set whether oneDNN may round float32 to bfloat16 in matrix products and convolutions."""
    torch.backends.mkldnn.fp32_precision = "bf16" if on else "none"  # type: ignore[attr-defined]


def within(step: Callable[[], None], switch: Callable[[bool], object]) -> Callable[[], None]:
    """Return the step with `switch(True)` before and `switch(False)` after it."""

    def switched() -> None:
        switch(True)
        try:
            step()
        finally:
            switch(False)

    return switched


def peak_memory(step: Callable[[], None]) -> float:
    """Return the peak memory in MiB that a step adds to this process; NaN if the system does not count it."""
    step()  # allocates the optimizer's memory
    try:
        ctypes.CDLL(None).malloc_trim(0)  # otherwise freed memory of other steps would hide that of this step
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    except (OSError, AttributeError):
        return float("nan")
    before = resident("VmRSS")
    step()
    return resident("VmHWM") - before


def resident(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def plain_stepper(info: ModelInfo, batch: Batch) -> Callable[[], None]:
    """Return a plain step: eager, channels-last, with torch's default Adam and a loss that costs nothing."""
    network = build(info).train()
    optimizer = Adam(network.parameters())
    images = to_input(batch.images)

    def step() -> None:
        torch.stack([(raw**2).mean() for raw in network(images)]).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def race(
    contenders: dict[str, Callable[[], None]], rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Return the seconds per step of each contender in each round."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, step in contenders.items():
            for _ in range(USED_UP):
                step()
            started = clock()
            for _ in range(STEPS):
                step()
            if number:  # the first round warms up
                seconds[name].append((clock() - started) / STEPS)
    return seconds


RATIOS = (
    ("whole loop, float32", "bare step, float32"),
    (f"whole loop, {LOW}", BARE),
    ("bare step, float32", "plain eager step, float32"),
    (BARE, "plain eager step, float32"),
)


def report(
    seconds: dict[str, list[float]],
    memory: dict[str, float],
    pairs: Sequence[tuple[str, str]],
    batch: int,
) -> None:
    for name, values in seconds.items():
        rate, best = batch / statistics.median(values), batch / min(values)
        print(f"{name:44} {rate:6.1f} images/s (best {best:.1f}), a step takes {memory[name]:.0f} MiB")
    print()
    for name, base in pairs:
        ratios = [b / a for a, b in zip(seconds[name], seconds[base], strict=True)]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"speed of {name} / {base}: {statistics.median(ratios):.2f} ({spread})")


def report_loss(info: ModelInfo, settings: TrainSettings, batch: Batch, step_seconds: float) -> None:
    """Print the times of assignment and of the loss, forward and backward, as shares of the bare step."""
    network: nn.Module = build(info)
    raw_maps = [raw.detach().requires_grad_() for raw in network(to_input(batch.images))]

    def assignment() -> None:
        for boxes in batch.truth.numpy():
            labels = np.zeros(len(boxes), np.int64)
            assign(boxes, labels, info.anchors, info.strides, info.input_size)

    def loss() -> None:
        losses = compute_losses(
            raw_maps, batch.positives, batch.truth, info.anchors, info.strides, settings.loss
        )
        torch.autograd.grad(losses.total(), raw_maps)

    print()
    for work in (assignment, loss):
        times = []
        for _ in islice(count(), 20):
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
        share = np.median(times) / step_seconds
        print(
            f"{work.__name__:12} {1e3 * np.median(times):6.1f} ms a batch, {share:.1%} of a bare float32 step"
        )


if __name__ == "__main__":
    main()
