"""Several processes that train one network, started by `torchrun`; a single process needs none of this.

    batch ─┬─> rank 0: its images -> gradients ─┐
           └─> rank 1: its images -> gradients ─┴─> summed: every rank takes the same step

Gradients are summed in one piece after the backward passes of a step, by hand instead of by
DistributedDataParallel: a rank without images and several batches per step are then not special
cases, and the network keeps its names. The cost: DDP would overlap the sum with the backward
pass. yolov3 has 62 million
weights, 250 MB per step, which takes milliseconds between the GPUs of a machine, compared with about a
hundred for the arithmetic.

Decisions that must not differ (how many images a batch has, whether to stop) are exchanged on the
CPU, so no GPU waits for them.

**A process that ends** must not leave the others waiting forever. Every rank holds a connection to rank 0
that carries nothing while all is well. When a process is killed its system closes the connection at once, and
when a machine is lost TCP's own probes find out within half a minute; since there is no timer, a long
evaluation or a busy process is never mistaken for a dead one. Rank 0 forwards the information.
"""

import atexit
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lookonce.config import TrainSettings
from lookonce.data.dataset import Dataset
from lookonce.data.loader import Batch, Loader, PlannedBatch
from lookonce.errors import ConfigError, TrainingError
from lookonce.samples import Problem

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

T = TypeVar("T")

JOINING = timedelta(minutes=5)  # until all processes have joined
PATIENCE = timedelta(
    days=1
)  # of ranks that wait for the images of others; dead ranks are detected separately
PROBES = (
    ("TCP_KEEPIDLE", 10),
    ("TCP_KEEPINTVL", 5),
    ("TCP_KEEPCNT", 4),
)  # 30 s until a machine counts as lost
NOTICED = 40  # seconds to find the reason of a broken exchange
GRACE = 10  # seconds for an orderly exit once a rank is lost
WATCH, DONE = "lookonce/watch", "done"
GONE = "killed, crashed, or its machine is lost; resume from the last checkpoint"


class Group:
    """The processes of a run; here a single one, so an exchange returns its own value.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.
    """

    rank, size = 0, 1

    @property
    def is_first(self) -> bool:
        """Return whether this process writes and prints."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def gather(self, mine: T) -> list[T]:
        """Collect a value from every process, by rank; all processes must call it."""
        return [mine]

    def on_first(self, work: Callable[[], T]) -> T:
        """Run `work` in the first process only, and return its result everywhere; the others wait."""
        return self.gather(work() if self.is_first else None)[0]  # type: ignore[return-value]

    def sum_gradients(self, network: nn.Module) -> None:
        """Replace the gradients by their sum over all processes."""

    def share_statistics(self, network: nn.Module) -> None:
        """Replace the running statistics by those of the first process: they differ between processes."""


ALONE = Group()


class _Joined(Group):
    """One of several processes."""

    def __init__(self, rank: int, size: int, device: torch.device) -> None:
        self.rank, self.size, self._device = rank, size, device

    @property
    def device(self) -> torch.device:
        return self._device

    def gather(self, mine: T) -> list[T]:
        parts: list[Any] = [None] * self.size
        with _exchange():
            dist.all_gather_object(parts, mine)
        return parts

    def sum_gradients(self, network: nn.Module) -> None:
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        if not any(self.gather(any(parameter.grad is not None for parameter in trained))):
            return  # as with one process: if all batches were skipped, there is no step
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
    """A loader with which each process makes its part of every batch.

    Batches are divided by rank after planning, so the images, their sizes and their augmentation are the same
    with any number of processes.
    """

    def __init__(self, group: Group, dataset: Dataset, settings: TrainSettings, **options: Any) -> None:
        """See `Loader`.

        Args:
            group: the processes.
            dataset: the training images, the same in every process.
            settings: batch size, threads, batches per step.
            options: `strict` and `report` of `Loader`.
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
        """Return this process's part of each batch; it may be empty."""
        mine = slice(self._group.rank, None, self._group.size)
        return [replace(planned, turns=planned.turns[mine]) for planned in super().plan(epoch)]

    def settle(self, batch: Batch, problems: Sequence[Problem]) -> Batch:
        """Count the images of all processes, and report the problems of all."""
        parts = self._group.gather((batch.image_count, list(problems)))
        super().settle(batch, [problem for _, theirs in parts for problem in theirs])
        return replace(batch, image_count=sum(count for count, _ in parts))


class _LostError(Exception):
    """An exchange failed: another process has ended, or cannot be reached."""


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """Sum a tensor over all processes, in place."""
    with _exchange():
        dist.all_reduce(tensor)
    return tensor


def stack_over_ranks(tensor: Tensor) -> Tensor:
    """Gather a tensor of one shape from all processes, by rank: (...) -> (size, ...)."""
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
def join() -> Iterator[Group]:
    """Join the processes that `torchrun` started; without it there is only this one.

    Raises:
        ConfigError: half the environment of `torchrun`, or more processes than GPUs.
        TrainingError: not all processes joined; or one ended early, which the message names.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise ConfigError(f"WORLD_SIZE is {size}, but {', '.join(missing)} not set: start with torchrun")
    from torch.distributed.rendezvous import rendezvous  # not in every build of torch

    rank, device = int(os.environ["RANK"]), _device_of(int(os.environ.get("LOCAL_RANK", "0")))
    try:
        store = next(rendezvous("env://", rank, size, timeout=JOINING))[0]
        watch = _Watch(rank, size, store)
    except (RuntimeError, OSError) as error:
        raise TrainingError(f"expected {size} processes, not all came: {error}") from error
    with watch:
        try:
            with _exchange():
                dist.init_process_group(
                    "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
                    store=store,
                    rank=rank,
                    world_size=size,
                    timeout=PATIENCE,
                )
            yield _Joined(rank, size, device)
        except _LostError as error:
            raise TrainingError(watch.verdict() or f"the other ranks cannot be reached: {error}") from error
        dist.destroy_process_group()


def _device_of(local_rank: int) -> torch.device:
    """The GPU of a process, by its number on this machine.

    Raises:
        ConfigError: there are fewer.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    if local_rank >= torch.cuda.device_count():
        raise ConfigError(
            f"expected a GPU for each process, found {torch.cuda.device_count()} GPUs for process "
            f"{local_rank + 1} of this machine: start fewer processes"
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device


class _Watch:
    """Ends this process when another one has ended early.

    After a failed exchange, `verdict` gives the reason; a process that is stuck or busy is terminated.
    """

    def __init__(self, rank: int, size: int, store: "Store") -> None:
        """Connect to rank 0 or, as rank 0, wait until all others have connected.

        Raises:
            OSError: a rank did not connect.
            RuntimeError: the store cannot be reached.
        """
        self._name = f"rank {rank} of {size}"
        self._verdict, self._lock = "", Lock()
        self._known, self._left = Event(), Event()
        self._peers = _accept(size - 1, store) if rank == 0 else [_connect(store)]
        here = f"{self._name} (process {os.getpid()} on {socket.gethostname()})"
        for peer in self._peers:
            _keep_probing(peer)
            peer.sendall(f"{here}\n".encode())
            Thread(target=self._listen, args=(peer,), daemon=True).start()

    def __enter__(self) -> "_Watch":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._left.set()
        if error is None:
            self._tell(DONE)
        else:
            self._tell(f"{self._name} ended: {error or type(error).__name__}")
            if hasattr(signal, "alarm"):  # Python must not wait at exit for an unanswered exchange
                atexit.register(signal.alarm, GRACE)

    def verdict(self) -> str:
        """Return the process that ended, and the reason; empty if not known in time."""
        self._known.wait(NOTICED)
        return self._verdict

    def _listen(self, peer: socket.socket) -> None:
        """Wait until a peer ends, and act if it failed. Runs in a thread."""
        name, last_words = "a rank", ""
        with suppress(OSError), peer, peer.makefile(encoding="utf-8") as words:
            name = words.readline().strip() or name
            last_words = words.read()
        if last_words != DONE:
            self._end(last_words or f"{name} is gone: {GONE}")

    def _end(self, verdict: str) -> None:
        with self._lock:
            if self._verdict or self._left.is_set():
                return
            self._verdict = verdict
        self._tell(verdict)
        self._known.set()
        if not self._left.wait(GRACE):
            print(f"lookonce: {self._verdict}", file=sys.stderr, flush=True)
            os._exit(2)

    def _tell(self, words: str) -> None:
        """Send a final message to all peers, unless one was sent before."""
        for peer in self._peers:
            with suppress(OSError):
                peer.sendall(words.encode())
                peer.shutdown(socket.SHUT_WR)


def _accept(count: int, store: "Store") -> list[socket.socket]:
    """Accept the connections of all other ranks, as rank 0."""
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    with socket.create_server(("", 0), family=family, dualstack_ipv6=both, backlog=count) as server:
        server.settimeout(JOINING.total_seconds())
        store.set(WATCH, str(server.getsockname()[1]))
        return [server.accept()[0] for _ in range(count)]


def _connect(store: "Store") -> socket.socket:
    """Connect to rank 0, as any other rank."""
    port = int(store.get(WATCH))
    peer = socket.create_connection((os.environ["MASTER_ADDR"], port), JOINING.total_seconds())
    peer.settimeout(None)
    return peer


def _keep_probing(peer: socket.socket) -> None:
    """Enable keepalive probes, with which the system detects a lost machine."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in PROBES:
        if hasattr(socket, name):
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
