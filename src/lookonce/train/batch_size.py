"""Find the largest batch whose training step fits into memory, for `batch: auto`.

On a CUDA GPU, real steps are run, starting with the largest batch, until one fits. On a CPU, trying is not
possible, because the kernel kills a process that runs out of memory. Instead, the memory that small forward
passes keep for the backward pass is measured and extrapolated linearly.
"""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from lookonce.config import TrainSettings
from lookonce.data.assign import Positives
from lookonce.data.cache import MOST_BYTES
from lookonce.data.loader import BATCHES_AHEAD, Batch
from lookonce.errors import ConfigError, TrainingError
from lookonce.geometry.sizes import to_multiple
from lookonce.metadata import ModelInfo
from lookonce.model.network import build
from lookonce.train.learner import Learner, forward
from lookonce.train.setup import TrainData, describe
from lookonce.train.transfer import freeze_parts

BATCHES = (64, 56, 48, 40, 32, 24, 16, 8, 4, 2, 1)  # above 64, the learning rate would have to change
FEWEST_STEPS = 8  # per epoch; on a small data set, more steps help more than larger batches
MARGIN = 0.8  # share of the free memory for a step; the rest is for other programs and fragmentation
WEIGHT_COPIES = 5  # weights, gradients, Adam's two moments and the running average
MOSAIC_IMAGES, MIXUP_IMAGES = 4, 2  # images combined by mosaic and by mixup, with their boxes


@dataclass(frozen=True, slots=True)
class StepMemory:
    """Memory of a training step in bytes: `fixed + batch * per_image`."""

    fixed: int
    per_image: int

    def of(self, batch: int) -> int:
        """Return the bytes that a step needs at a batch size."""
        return self.fixed + batch * self.per_image


@dataclass(frozen=True, slots=True)
class Choice:
    """Chosen batch size, and a line for the log that gives the reason."""

    batch: int
    why: str


def choose_batch(
    data: TrainData, settings: TrainSettings, device: torch.device, processes: int = 1
) -> Choice:
    """Find the largest batch that fits into memory at the largest input of the run.

    Args:
        data: images of the run; the batch is limited to `FEWEST_STEPS` steps per epoch.
        settings: settings of the run.
        device: device of the run.
        processes: number of processes that share each batch, each with its own device of this kind.

    Raises:
        ConfigError: this system does not report its free memory.
        TrainingError: not even a batch of one image fits.
    """
    trial = Trial(data, settings, device)
    most = max(len(data.train) // FEWEST_STEPS, 1)
    batches = [batch for batch in BATCHES if batch <= most]
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        needs: Callable[[int], int] = trial.peak_on_cuda
    else:
        free = free_bytes()
        memory = trial.estimate()
        # the processes share the memory, and each has its own image cache
        needs = lambda images: processes * (memory.of(images) + MOST_BYTES)  # noqa: E731
    height, width = trial.size
    for batch in batches:
        try:
            need = needs(-(-batch // processes))
        except torch.OutOfMemoryError:
            continue
        if need <= MARGIN * free:
            limit = f"{MARGIN:.0%} of the memory"
            if batch == batches[0]:
                limit = f"at most {BATCHES[0]}" if batch == BATCHES[0] else f"{FEWEST_STEPS} steps per epoch"
            return Choice(
                batch,
                f"batch {batch}: a step at {height}x{width} takes {_gib(need)} of {_gib(free)} free "
                f"(limited by: {limit}); the learning rate stays {settings.optimizer.rate:g}",
            )
    raise TrainingError(
        f"not even one image of {height}x{width} fits into {MARGIN:.0%} of {_gib(free)}: "
        "use a smaller size or width, or set batch to a number to try it anyway"
    )


class Trial:
    """Training steps on gray images, to measure how much memory they take.

    Attributes:
        size: (height, width) of the largest input of the run.
    """

    def __init__(self, data: TrainData, settings: TrainSettings, device: torch.device) -> None:
        # official anchors save time: computing others is slow and does not affect memory
        self._info: ModelInfo = describe(data, settings.model_copy(update={"anchors": "official"}))
        self._settings, self._device = settings, device
        spread = 1 + settings.augment.multi_scale
        height, width = (to_multiple(side * spread, self._info.side_multiple) for side in settings.size)
        self.size = height, width
        fullest = max((len(sample.boxes) for sample in data.train), default=0)
        self._boxes = fullest * (MOSAIC_IMAGES if settings.augment.mosaic else 1)
        self._boxes *= MIXUP_IMAGES if settings.augment.mixup else 1

    def estimate(self) -> StepMemory:
        """Estimate the memory of a step from forward passes of two and of three images."""
        network = self._network()
        two, three = (self._kept(network, batch) for batch in (2, 3))
        weights = sum(tensor.nbytes for tensor in network.state_dict().values())
        prepared = 3 * self.size[0] * self.size[1] * (self._settings.workers + BATCHES_AHEAD + 1)
        return StepMemory(
            fixed=two - 2 * (three - two) + WEIGHT_COPIES * weights, per_image=three - two + prepared
        )

    def peak_on_cuda(self, batch: int) -> int:
        """Measure the peak GPU memory of two real steps, in bytes; the first creates the optimizer's state.

        Raises:
            torch.OutOfMemoryError: the steps do not fit.
        """
        gc.collect()  # free the memory of the previous trial
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_reserved(self._device)
        try:
            self.take_steps(batch)
            return torch.cuda.max_memory_reserved(self._device) - before
        finally:
            gc.collect()
            torch.cuda.empty_cache()

    def take_steps(self, batch: int) -> None:
        """Run two real steps."""
        learner = Learner(self._network(), self._info, self._settings)
        for _ in range(2):
            learner.backward(forward(learner.network, self.batch(batch), self._info, self._settings).total())
            learner.step(self._settings.optimizer.rate)

    def _network(self) -> nn.Module:
        network = build(self._info).to(self._device).train()
        freeze_parts(network, self._info, self._settings.freeze)
        return network

    def _kept(self, network: nn.Module, batch: int) -> int:
        """Return the bytes that autograd holds between forward and backward pass, without the weights.

        The largest tensor counts three times, because the backward pass of a layer also holds two gradients.
        """
        held: dict[int, torch.UntypedStorage] = {}

        def note(tensor: Tensor) -> None:
            storage = tensor.untyped_storage()
            held[storage.data_ptr()] = storage

        with torch.autograd.graph.saved_tensors_hooks(note, lambda packed: packed):
            losses = forward(network, self.batch(batch), self._info, self._settings).total()
        own = {tensor.untyped_storage().data_ptr() for tensor in network.state_dict().values()}
        del losses
        sizes = [storage.nbytes() for pointer, storage in held.items() if pointer not in own]
        return sum(sizes) + 2 * max(sizes, default=0)

    def batch(self, batch: int) -> Batch:
        """Make gray images, each with the most boxes an image can have; their positions do not matter."""
        height, width = self.size
        scales, anchors = len(self._info.strides), min(map(len, self._info.anchors))
        image = torch.arange(batch).repeat_interleave(self._boxes * anchors)
        number = torch.arange(len(image))
        nowhere = torch.zeros_like(image)
        box = torch.tensor([0.0, 0.0, width, height])
        positives = Positives(
            image, number % scales, nowhere, nowhere, number % anchors, box.expand(len(image), 4), nowhere
        )
        images = torch.full((batch, height, width, 3), 128, dtype=torch.uint8).permute(0, 3, 1, 2)
        return Batch(images, positives, box.expand(batch, self._boxes, 4), ())


def free_bytes(root: Path = Path("/")) -> int:
    """Return the bytes of memory that the kernel and its control groups leave to this process.

    Args:
        root: folder that holds `proc` and `sys`.

    Raises:
        ConfigError: the system is not Linux, or its kernel does not report the available memory.
    """
    meminfo = _lines(root / "proc/meminfo")
    free = [int(line.split()[1]) * 1024 for line in meminfo if line.startswith("MemAvailable:")]
    if not free:
        raise ConfigError("batch: auto knows the free memory on CUDA and Linux only: set batch to a number")
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # version 2
            limit, usage, reclaimable = "memory.max", "memory.current", "inactive_file"
            top = root / "sys/fs/cgroup"
        elif "memory" in controllers.split(","):
            limit, usage = "memory.limit_in_bytes", "memory.usage_in_bytes"
            reclaimable = "total_inactive_file"
            top = root / "sys/fs/cgroup/memory"
        else:
            continue
        group = top / path.strip("/")
        for folder in (group, *group.parents):
            allowed, used = _lines(folder / limit), _lines(folder / usage)
            if folder.is_relative_to(top) and allowed and used and allowed[0] != "max":
                statistics = dict(line.split() for line in _lines(folder / "memory.stat"))
                cached = int(statistics.get(reclaimable, 0))  # the kernel frees this when memory runs short
                free.append(int(allowed[0]) - int(used[0]) + cached)
    return max(min(free), 0)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _gib(count: int) -> str:
    return f"{count / 2**30:.2f} GiB"
