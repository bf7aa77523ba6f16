"""Expected time of training yolov3 on COCO on 1, 8 and 64 GPUs: counted and computed, not measured.

    python benchmarks/scaling.py            # prints the tables of docs/scaling.md

The arithmetic of the network, and the memory kept for the backward pass, are counted in the network itself.
The rates of similar training runs, and the speed and cost of GPUs, are published values. The rest is computed
from these; docs/scaling.md lists every source.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from lookonce.metadata import ModelInfo
from lookonce.model.network import build
from lookonce.networks import NETWORKS

MODEL, CLASSES, SIZES = "yolov3", 80, (416, 608)
IMAGES, EPOCHS, BYTES = 118_287, 300, 19.3e9  # COCO train2017 and its archive
PASSES = 3  # a backward pass is two forward passes: gradients of the inputs, and of the weights
ADAM_COPIES = 5  # weights, gradients, their sum over the processes, and the two moments of Adam
LOADER = 540  # images/s per core, benchmarks/loader.md
SGD_COPIES = 3  # weights, gradients and momentum, in the training runs of MMDetection
RESNET50 = 2 * 4.09  # GFLOPs forward at 224: torchvision lists 4.09 G multiply-adds
SIDE_BY_SIDE = (1, 8, 64)  # GPUs


@dataclass(frozen=True)
class Published:
    """A published training run."""

    what: str
    gpu: str
    gpus: int
    rate: float  # images/s of all GPUs
    forward: float  # GFLOPs per image
    peak: float  # TFLOPS per GPU in 16 bit, dense

    @property
    def utilization(self) -> float:
        """Return the share of the GPUs' peak that the arithmetic of the network uses."""
        return self.rate * PASSES * self.forward / (self.gpus * self.peak * 1000)


@dataclass(frozen=True)
class Range:
    """A range between a lower and a higher published value."""

    low: float
    high: float

    def __mul__(self, factor: "float | Range") -> "Range":
        other = factor if isinstance(factor, Range) else Range(factor, factor)
        return Range(self.low * other.low, self.high * other.high)

    def under(self, total: float) -> "Range":
        """Return `total` divided by the range."""
        return Range(total / self.high, total / self.low)

    def text(self, form: str = ",.0f") -> str:
        return f"{self.low:{form}} to {self.high:{form}}"


@dataclass(frozen=True)
class Gpu:
    """A GPU for training."""

    name: str
    peak: float  # TFLOPS in 16 bit, dense
    memory: float  # bytes
    price: Range  # dollars per hour
    relative: float = 1.0  # factor for the published utilization


@dataclass(frozen=True)
class Network:
    """The cost of a network per image."""

    size: int
    forward: float  # GFLOPs
    kept: float  # bytes for the backward pass, float32
    weights: int  # trained parameters


T4 = Gpu("T4", 65, 16e9, Range(0.35, 0.98))
A100 = Gpu("A100 80 GB", 312, 80e9, Range(0.80, 3.00))
# MLPerf Training 3.0, ResNet-50 on 16 GPUs: H100 7.8 minutes, A100 14.4 minutes; the peaks differ 3.2-fold
H100 = Gpu("H100 SXM", 989.4, 80e9, Range(1.99, 5.00), relative=14.4 / 7.8 * 312 / 989.4)
GPUS = (T4, A100, H100)

# Throughput of several GPUs as a share of the sum of single GPUs, for ResNet-50. 8 GPUs: A100 (NVIDIA: 16,621
# images/s, 2,470 on one) and V100 (Paddle: 10,650, 1,445 on one). 64 GPUs: training time on 8 and on 64 H100
# (MLPerf 3.0: 13.466 and 2.664 minutes, which includes more epochs for larger batches), and 32 V100 in 4
# nodes (Paddle: 39,972 images/s, 1,445 on one).
SCALING = {
    1: Range(1, 1),
    8: Range(16_621 / 2_470 / 8, 10_649.9 / 1_444.94 / 8),
    64: Range(16_621 / 2_470 / 8 * 13.466 / 2.664 / 8, 39_972.13 / 1_444.94 / 32),
}
LINKS = (  # bytes/s in one direction, and GPUs that share them
    ("8 GPUs, NVLink of A100, 300 GB/s", 8, 300e9),
    ("64 GPUs, 400 Gb/s per GPU", 64, 50e9),
    ("64 GPUs, 100 Gb/s per node", 64, 12.5e9),
    ("64 GPUs, 10 Gb/s per node", 64, 1.25e9),
)


@cache
def count(size: int) -> Network:
    """Count the costs of the network on one image, on the meta device, which allocates no memory."""
    info = ModelInfo(
        MODEL,
        tuple(map(str, range(CLASSES))),
        NETWORKS[MODEL].anchors,
        NETWORKS[MODEL].strides,
        input_size=(size, size),
    )
    with torch.device("meta"):
        network, image = build(info).train(), torch.empty(1, 3, size, size)
    own = {id(parameter) for parameter in network.parameters()}
    held: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if id(tensor) not in own:
            storage = tensor.untyped_storage()
            held[storage._cdata] = storage.nbytes()
        return tensor

    with FlopCounterMode(display=False) as counter:
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            maps = network(image)
        forward = counter.get_total_flops()
    del maps
    weights = sum(parameter.numel() for parameter in network.parameters())
    return Network(size, forward / 1e9, sum(held.values()), weights)


def trainings(at_416: Network) -> tuple[Published, ...]:
    """Return the published training runs."""
    yolov3 = at_416.forward
    return (
        Published("YOLOv3 416, GluonCV, mixed precision", "V100", 8, 353, yolov3, 125),
        Published("YOLOv3 416, MindSpore", "V100", 8, 320 * 82_783 / (18 * 3600), yolov3, 125),
        Published("ResNet-50, NVIDIA, mixed precision", "V100", 1, 1_200, RESNET50, 125),
        Published("ResNet-50, NVIDIA, mixed precision", "A100", 1, 2_470, RESNET50, 312),
        Published("ResNet-50, NVIDIA, mixed precision", "A100", 8, 16_621, RESNET50, 312),
    )


def rate_of(gpu: Gpu, network: Network, utilization: Range) -> Range:
    """Return the images/s of one GPU."""
    return utilization * (gpu.relative * gpu.peak * 1000 / (PASSES * network.forward))


def table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def arithmetic(networks: Sequence[Network]) -> str:
    head = ("input", "forward, GFLOPs", "training, GFLOPs", "kept for the backward pass, MB in float32")
    rows = (
        (str(n.size), f"{n.forward:.1f}", f"{PASSES * n.forward:.1f}", f"{n.kept / 1e6:.0f}")
        for n in networks
    )
    return table(head, rows)


def published(found: Sequence[Published]) -> str:
    head = ("training", "GPUs", "images/s", "share of the 16-bit peak")
    rows = ((p.what, f"{p.gpus} {p.gpu}", f"{p.rate:,.0f}", f"{p.utilization:.1%}") for p in found)
    return table(head, rows)


def plan(networks: Sequence[Network], utilization: Range) -> str:
    head = ("GPU", "input", "GPUs", "images/s", "minutes per epoch", "days", "dollars")

    def rows() -> Iterator[Sequence[str]]:
        for gpu in GPUS:
            for network in networks:
                for gpus in SIDE_BY_SIDE:
                    rate = rate_of(gpu, network, utilization) * SCALING[gpus] * gpus
                    hours = rate.under(IMAGES * EPOCHS / 3600)
                    dollars = Range(hours.low * gpu.price.low, hours.high * gpu.price.high) * gpus
                    yield (
                        gpu.name,
                        str(network.size),
                        str(gpus),
                        rate.text(),
                        rate.under(IMAGES / 60).text(".1f"),
                        (hours * (1 / 24)).text(".2f"),
                        dollars.text(),
                    )

    return table(head, rows())


def memory(networks: Sequence[Network]) -> str:
    head = ("GPU", "input", "images that fit, float32", "16 bit")
    fixed = SGD_COPIES * 4 * networks[0].weights / 1e9
    share = (4.7 - fixed) / (7.4 - fixed)  # mixed precision to float32, GB: MMDetection, 8 images of 608

    def rows() -> Iterator[Sequence[str]]:
        for gpu in GPUS[:2]:  # an H100 has as much memory as an A100
            for network in networks:
                fits = (0.8 * gpu.memory - ADAM_COPIES * 4 * network.weights) / network.kept
                name = gpu.name if gpu is T4 else "80 GB"
                yield name, str(network.size), f"{fits:.0f}", f"{fits / share:.0f}"

    return table(head, rows())


def loading(networks: Sequence[Network], utilization: Range) -> str:
    head = ("GPU", "input", "images/s per GPU", "cores per GPU", "MB/s per GPU", "GB/s, 64 GPUs")

    def rows() -> Iterator[Sequence[str]]:
        for gpu in GPUS:
            for network in networks:
                rate = rate_of(gpu, network, utilization)
                traffic = rate * (BYTES / IMAGES)
                yield (
                    gpu.name,
                    str(network.size),
                    rate.text(),
                    (rate * (1 / LOADER)).text(".2f"),
                    (traffic * 1e-6).text(),
                    (traffic * 64e-9).text(".1f"),
                )

    return table(head, rows())


def exchange(weights: int) -> str:
    """Return a table of the times in which a ring of n GPUs sums the gradients.

    Each GPU, or node, sends 2 (n - 1) / n times the bytes of the gradients.
    """
    head = ("GPUs and link", "ms to sum the gradients")
    rows = (
        (name, f"{1000 * 2 * (gpus - 1) / gpus * 4 * weights / speed:.1f}") for name, gpus, speed in LINKS
    )
    return table(head, rows)


def main() -> None:
    networks = [count(size) for size in SIZES]
    found = trainings(networks[0])
    on_yolov3 = [training.utilization for training in found if "YOLOv3" in training.what]
    on_a100 = [training.utilization for training in found if training.gpu == "A100"]
    utilization = Range(min(on_yolov3), max(on_a100))
    tables = (
        arithmetic(networks),
        published(found),
        plan(networks, utilization),
        loading(networks, utilization),
        memory(networks),
        exchange(networks[0].weights),
    )
    print("\n\n".join(tables))


if __name__ == "__main__":
    main()
