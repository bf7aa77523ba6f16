"""Train one network with several processes, started by `torchrun`.

    batch ─┬─> rank 0: its images -> gradients ─┐
           └─> rank 1: its images -> gradients ─┴─> summed: every rank takes the same step

Gradients are summed at once after the backward passes of a step, without DistributedDataParallel (DDP). Ranks
without images and several batches per step then need no special treatment, and parameters keep their names.
DDP would overlap the sum with the backward pass, but save little: the 62 million weights of yolov3 make 250
MB per step, which the GPUs of one machine exchange in milliseconds, while the arithmetic takes about a
hundred.

Values that all processes need (the number of images in a batch, when to stop) are exchanged between CPUs, so
no GPU waits for them. `watch` detects a rank that ends early.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lookonce.config import TrainSettings
from lookonce.data.dataset import Dataset
from lookonce.data.loader import Batch, Loader, PlannedBatch
from lookonce.errors import ConfigError, TrainingError
from lookonce.model.backend import torch_device
from lookonce.runtime.devices import AUTO
from lookonce.samples import Problem
from lookonce.train.watch import Watch

T = TypeVar("T")

JOINING = timedelta(minutes=5)  # time limit for all processes to join
PATIENCE = timedelta(days=1)  # time limit of an exchange, in which ranks may wait for a long evaluation


class Group:
    """Processes of a run. This class is for a single process: an exchange returns its own value.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.
    """

    rank, size = 0, 1

    def __init__(self, device: str = AUTO) -> None:
        self._wanted = device

    @property
    def is_first(self) -> bool:
        """Return whether this is the first process, which writes and prints."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """Return the device of this process."""
        return torch_device(self._wanted)

    def gather(self, value: T) -> list[T]:
        """Collect a value from every process, by rank; all processes must call it."""
        return [value]

    def on_first(self, work: Callable[[], T]) -> T:
        """Run `work` in the first process only, and return its result in all processes; the others wait."""
        return self.gather(work() if self.is_first else None)[0]  # type: ignore[return-value]

    def sum_gradients(self, network: nn.Module) -> None:
        """Replace the gradients with their sum over all processes."""

    def share_statistics(self, network: nn.Module) -> None:
        """Replace the running statistics, which differ between processes, with those of the first process."""


ALONE = Group()


class _Joined(Group):
    """One of several processes."""

    def __init__(self, rank: int, size: int, device: torch.device) -> None:
        super().__init__(str(device))
        self.rank, self.size, self._device = rank, size, device

    @property
    def device(self) -> torch.device:
        return self._device

    def gather(self, value: T) -> list[T]:
        parts: list[Any] = [None] * self.size
        with _exchange():
            dist.all_gather_object(parts, value)
        return parts

    def sum_gradients(self, network: nn.Module) -> None:
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        if not any(self.gather(any(parameter.grad is not None for parameter in trained))):
            return  # all batches were skipped, so there is no step, as with one process
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in trained]
        summed = sum_over_ranks(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = torch.split(summed, [gradient.numel() for gradient in gradients])
        for parameter, gradient, part in zip(trained, gradients, parts, strict=True):
            parameter.grad = gradient.copy_(part.view_as(gradient))

    def share_statistics(self, network: nn.Module) -> None:
        statistics = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
        shared = torch.cat([buffer.flatten() for buffer in statistics])
        with _exchange():
            dist.broadcast(shared, src=0)
        parts = torch.split(shared, [buffer.numel() for buffer in statistics])
        for buffer, part in zip(statistics, parts, strict=True):
            buffer.copy_(part.view_as(buffer))


class SharedLoader(Loader):
    """Loader that makes only this process's share of every batch.

    Batches are planned for all processes and then divided, so images, sizes and augmentation do not depend on
    the number of processes.
    """

    def __init__(self, group: Group, dataset: Dataset, settings: TrainSettings, **options: Any) -> None:
        """Start the threads; see `Loader`.

        Args:
            group: processes of the run.
            dataset: training images, the same in every process.
            settings: batch size, threads, and batches per step.
            options: `strict` and `report`, as for `Loader`.
        """
        super().__init__(
            dataset,
            settings.batch_size,
            settings.workers,
            accumulate=settings.optimizer.accumulate,
            **options,
        )
        self._group = group

    def plan(self, epoch: int) -> list[PlannedBatch]:
        """Return this process's share of each batch, which may be empty."""
        own = slice(self._group.rank, None, self._group.size)
        return [replace(planned, visits=planned.visits[own]) for planned in super().plan(epoch)]

    def settle(self, batch: Batch, problems: Sequence[Problem]) -> Batch:
        """Report the problems of all processes; return the batch with the number of all their images."""
        parts = self._group.gather((batch.image_count, list(problems)))
        super().settle(batch, [problem for _, reported in parts for problem in reported])
        return replace(batch, image_count=sum(count for count, _ in parts))


class _LostError(Exception):
    """Failed exchange: another process has ended or cannot be reached."""


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """Sum a tensor over all processes, in place."""
    with _exchange():
        dist.all_reduce(tensor)
    return tensor


def stack_over_ranks(tensor: Tensor) -> Tensor:
    """Stack a tensor of the same shape from every process, by rank: (...) -> (size, ...)."""
    parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    with _exchange():
        dist.all_gather(parts, tensor)
    return torch.stack(parts)


@contextmanager
def _exchange() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise _LostError(str(error)) from error


@contextmanager
def join(device: str = AUTO) -> Iterator[Group]:
    """Join the processes that `torchrun` started; without `torchrun`, the group is this process alone.

    Args:
        device: device of this process; with several processes, `auto`, `cuda` or `cpu`.

    Raises:
        ConfigError: there is no such device, the environment variables of `torchrun` are incomplete, or there
            are more processes than GPUs.
        TrainingError: not all processes joined, or one ended early; the message names it.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Group(device)
        return
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise ConfigError(f"WORLD_SIZE is {size}, but {', '.join(missing)} not set: start with torchrun")
    from torch.distributed.rendezvous import rendezvous  # missing from some builds of torch

    rank = int(os.environ["RANK"])
    own = _device_of(int(os.environ.get("LOCAL_RANK", "0")), device)
    try:
        store = next(rendezvous("env://", rank, size, timeout=JOINING))[0]
        watch = Watch(rank, size, store, JOINING.total_seconds())
    except (RuntimeError, OSError) as error:
        raise TrainingError(f"expected {size} processes, not all connected: {error}") from error
    with watch:
        try:
            with _exchange():
                dist.init_process_group(
                    "cpu:gloo,cuda:nccl" if own.type == "cuda" else "gloo",
                    store=store,
                    rank=rank,
                    world_size=size,
                    timeout=PATIENCE,
                )
            yield _Joined(rank, size, own)
        except _LostError as error:
            raise TrainingError(watch.verdict() or f"the other ranks cannot be reached: {error}") from error
        dist.destroy_process_group()


def _device_of(local_rank: int, wanted: str) -> torch.device:
    """Return the device of one of several processes: the GPU with its number on this machine, or the CPU.

    Raises:
        ConfigError: there are fewer GPUs than processes, or several processes cannot use the device.
    """
    if wanted not in (AUTO, "cuda", "cpu"):
        raise ConfigError(f"device: expected auto, cuda or cpu for several processes, found {wanted!r}")
    if torch_device(wanted).type == "cpu":
        return torch.device("cpu")
    if local_rank >= torch.cuda.device_count():
        raise ConfigError(
            f"expected a GPU for each process, found {torch.cuda.device_count()} GPUs for process "
            f"{local_rank + 1} of this machine: start fewer processes"
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device
