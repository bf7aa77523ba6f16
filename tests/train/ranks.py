"""Run a scenario in two processes, as torchrun would start them.

    python -m tests.train.ranks SCENARIO FOLDER

Each rank is a fork, so that nothing is imported twice. The output of the ranks goes to `FOLDER/rank0.txt` and
`rank1.txt`; the program prints their exit codes. `FOLDER/runs.txt` has one line per run: its name, then its
settings as assignments.
"""

import io
import os
import pickle
import signal
import socket
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
from rich.console import Console
from torch import nn

from lookonce.errors import LookonceError
from lookonce.evaluate.coco import evaluate
from lookonce.metadata import LEAKY_SLOPE, ModelInfo
from lookonce.model.blocks import ConvBlock
from lookonce.recipe import load_settings
from lookonce.train import learner, parallel, validate, watch
from lookonce.train.loss import Losses
from lookonce.train.parallel import Group, join
from lookonce.train.run import Session, Stopped, train
from lookonce.train.setup import TrainData, make_network
from lookonce.train.sync_norm import synchronize
from lookonce.train.validate import Validator
from tests.data.drawn_samples import INFO

RANKS = 2
START = "start.safetensors"  # weights of every run


def runs(
    group: Group,
    folder: Path,
    before_batch: Callable[[int], object] = lambda number: None,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Start or resume the runs of `runs.txt`."""
    data: TrainData = pickle.loads((folder / "data.pickle").read_bytes())
    forward, stops = learner.forward, []
    signal.signal(signal.SIGTERM, lambda *_: stops.append(True))

    def watched(network, batch, *rest) -> Losses:  # type: ignore[no-untyped-def]
        before_batch(batch.number)
        return forward(network, batch, *rest)

    learner.forward = watched
    from tests.train.test_run import settings

    for line in (folder / "runs.txt").read_text().splitlines():
        name, *assignments = line.split()
        console, out = Console(quiet=not group.is_first, width=200), folder / name
        resume = (out / "last.safetensors").exists()
        session = Session(console, group, stop=lambda: bool(stops), now=now)
        train(data, settings(*assignments), out, session, weights=folder / START, resume=resume)


def clocks_differ(group: Group, folder: Path) -> None:
    """Rank 1 has a clock that is a thousand times as fast; rank 0 is slow at each step."""
    runs(
        group,
        folder,
        lambda number: time.sleep(0.05 * group.is_first),
        now=lambda: time.monotonic() * (1 if group.is_first else 1000),
    )


def killed(group: Group, folder: Path) -> None:
    """Rank 1 is killed within the second batch."""
    runs(group, folder, lambda number: number == 2 and group.rank == 1 and kill(signal.SIGKILL))


def first_killed(group: Group, folder: Path) -> None:
    runs(group, folder, lambda number: number == 2 and group.rank == 0 and kill(signal.SIGKILL))


def killed_while_evaluating(group: Group, folder: Path) -> None:
    """Rank 1 is killed while it waits for rank 0, which is busy for ten minutes."""

    def detect(*_: object) -> list[object]:
        if group.is_first:
            time.sleep(600)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, 1)  # the system ends the process at once
        return []

    Validator._detect = detect  # type: ignore[assignment]
    runs(group, folder)


def stopped(group: Group, folder: Path) -> None:
    """Only rank 1 gets a request to stop, in the second batch."""
    runs(group, folder, lambda number: number == 2 and group.rank == 1 and kill(signal.SIGTERM))


def not_finite(group: Group, folder: Path) -> None:
    """The loss of the second batch is NaN on rank 1 only."""
    total = Losses.total

    def bad(losses: Losses, images: int | None = None) -> torch.Tensor:
        return total(losses, images) * (torch.nan if number == 2 and group.rank == 1 else 1)

    def note(n: int) -> None:
        nonlocal number
        number = n

    number = 0
    Losses.total = bad  # type: ignore[method-assign]
    runs(group, folder, note)


def fails(group: Group, folder: Path) -> None:
    """Rank 1 ends with an error while rank 0 waits for it."""
    if group.rank == 1:
        raise LookonceError("no more disk")
    group.gather(0)


def long_wait(group: Group, folder: Path) -> None:
    """Rank 0 takes longer than the time limit for joining."""
    assert group.on_first(lambda: time.sleep(4) or group.rank) == 0


def validated(group: Group, folder: Path) -> None:
    """Each rank has its own running statistics; the detections of both are collected."""
    samples = pickle.loads((folder / "data.pickle").read_bytes()).train
    console = Console(file=io.StringIO(), record=True, quiet=not group.is_first, width=200)
    network = started_network()
    if not group.is_first:
        for buffer in network.buffers():
            buffer.mul_(2)
    found: list[object] = []
    validate.evaluate = lambda *given: found.extend(given[:2]) or evaluate(*given)  # type: ignore[attr-defined]
    validator = Validator(network, INFO, samples, load_settings(None, batch=2, epochs=1), console, group)
    if group.is_first:
        samples[4].path.unlink()  # one that the other rank reads
    group.gather(0)
    metrics = validator.evaluate()
    if group.is_first:
        (folder / "found.pickle").write_bytes(pickle.dumps((*found, metrics, console.export_text())))
    else:
        assert (found, metrics) == ([], {})


def started_network(info: ModelInfo = INFO) -> nn.Module:
    """Initialize kernels by fan-in; with the reference's tiny kernels, normalization magnifies rounding."""
    torch.manual_seed(0)
    network = make_network(info, load_settings(None, objectness_prior=0.3))
    for block in network.modules():
        if isinstance(block, ConvBlock):
            nn.init.kaiming_normal_(block.conv.weight, a=LEAKY_SLOPE)
    return network


def normalized(group: Group, folder: Path) -> None:
    """Each rank normalizes its part of each case, forward and backward; see `normalize`."""
    results = []
    for x, gradient, sizes in torch.load(folder / "cases.pt"):
        start = sum(sizes[: group.rank])
        part = slice(start, start + sizes[group.rank])
        network = nn.Sequential(norm_of(x.shape[1]))
        synchronize(network)
        assert type(network[0]) is not nn.BatchNorm2d
        y, of_x = normalize(network, x[part], gradient[part])
        group.sum_gradients(network)
        norm = network[0]
        shared = [norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_var]
        assert len({pickle.dumps(each) for each in group.gather([t.tolist() for t in shared])}) == 1
        results.append([torch.cat(group.gather(y)), torch.cat(group.gather(of_x)), *shared])
    if group.is_first:
        torch.save(results, folder / "results.pt")


def norm_of(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, momentum=0.3)
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 2, channels))
        norm.bias.copy_(torch.linspace(-1, 1, channels))
    return norm


def normalize(
    network: nn.Module, x: torch.Tensor, gradient: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the output, and the gradient of the input."""
    x = x.clone().requires_grad_()
    y = network(x)
    y.backward(gradient)
    assert x.grad is not None
    return y.detach(), x.grad


def kill(number: int) -> None:
    os.kill(os.getpid(), number)


def rank_of(scenario: str, folder: Path, rank: int, port: int) -> int:
    """Run one rank and return its exit code."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(RANKS)}
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    said = os.open(folder / f"rank{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    watch.GRACE = 1  # for ranks that hang deliberately
    if scenario == "long_wait":
        parallel.JOINING = timedelta(seconds=3)
    try:
        with join() as group:
            try:
                globals()[scenario](group, folder)
            except Stopped:
                return 143
    except LookonceError as error:
        print(f"lookonce: {error}", file=sys.stderr)
        return 2
    return 0


def main() -> None:
    scenario, folder = sys.argv[1], Path(sys.argv[2])
    torch.set_num_threads(1)  # a process with threads must not fork
    with socket.create_server(("localhost", 0)) as probe:
        port = probe.getsockname()[1]
    children = []
    for rank in range(RANKS):
        child = os.fork()
        if not child:
            code = 70
            try:
                code = rank_of(scenario, folder, rank, port)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        children.append(child)
    print(*[os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])


if __name__ == "__main__":
    main()
