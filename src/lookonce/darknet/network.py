"""From sections to a network: the inputs of every layer, and the shape of its output.

Legend: **C** channels, **H**, **W** height and width of one layer's output.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, NoReturn

from lookonce.darknet.cfg import (
    AvgPool,
    Cfg,
    Contrastive,
    Convolutional,
    LayerSection,
    LocalAvgPool,
    MaxPool,
    Reorg,
    Route,
    Sam,
    ScaleChannels,
    Shortcut,
    Upsample,
    Yolo,
)
from lookonce.errors import ModelFileError
from lookonce.geometry.sizes import size_text
from lookonce.metadata import LARGEST_STRIDE

IMAGE = -1  # source of the first layer
LARGEST_OUTPUT = 1 << 28  # numbers in one layer's output for one image: 1 GiB, yolov3 at 2880x2880
MOST_ALIVE = 1 << 29  # numbers in all outputs that a later layer still reads: 2 GiB
MOST_NUMBERS = 500_000_000  # weights; ONNX cannot hold more than 2 GB in one file


class Shape(NamedTuple):
    """(C, H, W) of one layer's output."""

    channels: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.channels}x{self.height}x{self.width}"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: a section and its inputs.

    Attributes:
        index: Darknet's layer number.
        section: what the file says.
        sources: the layers it reads, `IMAGE` for the image.
        shape: of its output; a [yolo] hands on its input.
    """

    index: int
    section: LayerSection
    sources: tuple[int, ...]
    shape: Shape


@dataclass(frozen=True, slots=True)
class ConvSpec:
    """Numbers that the weight file holds for one convolution."""

    layer: int
    line: int
    channels: int
    filters: int
    size: int
    groups: int
    batch_normalize: bool

    @property
    def kernel_shape(self) -> tuple[int, int, int, int]:
        """(out, in / groups, size, size)."""
        return self.filters, self.channels // self.groups, self.size, self.size

    @property
    def numbers(self) -> int:
        """Return the count: per filter a bias, or four of batch normalization; and the kernel."""
        out, inputs, rows, columns = self.kernel_shape
        return out * (4 if self.batch_normalize else 1) + out * inputs * rows * columns


@dataclass(frozen=True, slots=True)
class Scale:
    """One [yolo].

    Attributes:
        source: the layer whose output is its raw map.
        stride: side of a cell, in whole input pixels.
        section: what the file says.
        cell: (width, height) of a cell at the size in the file; fractions if that size is not a multiple.
    """

    source: int
    stride: int
    section: Yolo
    cell: tuple[float, float]

    @property
    def anchors(self) -> tuple[tuple[float, float], ...]:
        """Return (width, height) in input pixels, whatever the unit in the section."""
        x, y = self.cell if self.in_cells else (1, 1)
        return tuple((width * x, height * y) for width, height in self.section.anchors)

    @property
    def in_cells(self) -> bool:
        """Return whether the section gives its anchors in cells."""
        return self.section.form.startswith("region")

    @property
    def whole(self) -> bool:
        """Return whether cells are squares of whole pixels."""
        return self.cell == (self.stride, self.stride)

    @property
    def columns(self) -> int:
        """Return the raw numbers per anchor: 5 + C, or 9 + C if each side has an uncertainty."""
        return columns(self.section)


@dataclass(frozen=True, slots=True)
class Network:
    """A `.cfg` with every shape known.

    Attributes:
        cfg: source of the network.
        layers: in file order.
        convolutions: those with weights of their own, in file order, which is the order of the weight file.
        shared: by layer, the layer whose weights it uses.
        scales: finest first, as everywhere in lookonce; the file has the reverse order.
    """

    cfg: Cfg
    layers: tuple[Layer, ...]
    convolutions: tuple[ConvSpec, ...]
    shared: dict[int, int]
    scales: tuple[Scale, ...]

    def shape(self, source: int) -> Shape:
        """Return the shape of a layer's output, or of the image."""
        return _shape(self.cfg, self.layers, source)

    @property
    def numbers(self) -> int:
        """Return the count of numbers in the weight file."""
        return sum(spec.numbers for spec in self.convolutions)

    @property
    def is_plain(self) -> bool:
        """Return whether scales are decoded as in YOLOv3, on whole cells, without shared weights."""
        yolo = all(scale.section.form == "yolo" and scale.whole for scale in self.scales)
        return yolo and not self.shared

    @property
    def classes(self) -> int:
        """Return C, the same on all scales."""
        return self.scales[0].section.classes


def columns(section: Yolo) -> int:
    """Return the raw numbers per anchor; see `Scale.columns`."""
    return (9 if section.form == "gaussian" else 5) + section.classes


def resolve(cfg: Cfg) -> Network:
    """Connect the layers and compute every shape, without allocating any output.

    Raises:
        ModelFileError: layers that point nowhere, do not fit together, or are absurdly large.
    """
    layers: list[Layer] = []
    for index, section in enumerate(cfg.layers):
        sources = _sources(cfg, layers, index, section)
        inputs = [_shape(cfg, layers, source) for source in sources]
        shape = _output(cfg, section, inputs)
        if min(shape) < 1 or shape.channels * shape.height * shape.width > LARGEST_OUTPUT:
            _fail(cfg, section, f"would give an output of {shape}; expected 1 to {LARGEST_OUTPUT:,} numbers")
        layers.append(Layer(index, section, sources, shape))
    specs = {
        layer.index: _convolution(cfg, layers, layer, layer.section)
        for layer in layers
        if isinstance(layer.section, Convolutional)
    }
    shared = _shared(cfg, specs)
    own = tuple(spec for spec in specs.values() if spec.layer not in shared)
    network = Network(cfg, tuple(layers), own, shared, _scales(cfg, layers))
    _check_memory(cfg, layers)
    if network.numbers > MOST_NUMBERS:
        raise ModelFileError(
            f"{cfg.file}: expected at most {MOST_NUMBERS:,} weights, found {network.numbers:,}"
        )
    return network


def _check_memory(cfg: Cfg, layers: Sequence[Layer]) -> None:
    """Refuse a network whose outputs, each kept until its last reader, exceed `MOST_ALIVE` at once."""
    last_reader = {source: layer.index for layer in layers for source in layer.sources}
    alive: dict[int, int] = {}
    for layer in layers:
        alive[layer.index] = math.prod(layer.shape)
        total = sum(alive.values())
        if total > MOST_ALIVE:
            _fail(
                cfg,
                layer.section,
                f"would keep outputs of {total:,} numbers in memory; expected at most {MOST_ALIVE:,}",
            )
        alive = {index: size for index, size in alive.items() if last_reader.get(index, -1) > layer.index}


def _sources(cfg: Cfg, layers: Sequence[Layer], index: int, section: LayerSection) -> tuple[int, ...]:
    """Return the layers that a section reads, as absolute numbers."""
    named = section.layers if isinstance(section, Route | Shortcut | ScaleChannels | Sam) else ()
    absolute = [number if number >= 0 else index + number for number in named]
    for written, number in zip(named, absolute, strict=True):
        if not 0 <= number < index:
            _fail(cfg, section, f"points to layer {written}; this is layer {index}, it can read earlier ones")
    before = [] if isinstance(section, Route) else [index - 1]
    sources = tuple(before + absolute)
    for source in sources:
        if source >= 0 and isinstance(layers[source].section, Yolo | Contrastive):
            _fail(
                cfg,
                section,
                f"reads layer {source}, which has no output; expected a [route] elsewhere",
            )
    return sources


def _shape(cfg: Cfg, layers: Sequence[Layer], source: int) -> Shape:
    return Shape(cfg.net.channels, cfg.net.height, cfg.net.width) if source == IMAGE else layers[source].shape


def _output(cfg: Cfg, section: LayerSection, inputs: Sequence[Shape]) -> Shape:
    """Return the output shape of a section for its inputs."""
    first = inputs[0]
    match section:
        case Convolutional(filters, size, stride, padding, groups, dilation=dilation):
            if first.channels % groups or filters % groups:
                _fail(cfg, section, f"has groups={groups}, {first.channels} channels and filters={filters}")
            window = dilation * (size - 1) + 1
            return Shape(
                filters, *(_windows(side, 2 * padding * dilation, window, stride) for side in first[1:])
            )
        case MaxPool(size, stride, padding) | LocalAvgPool(size, stride, padding):
            return Shape(first.channels, *(_windows(side, padding, size, stride) for side in first[1:]))
        case Upsample(stride):
            return Shape(first.channels, first.height * stride, first.width * stride)
        case AvgPool():
            return Shape(first.channels, 1, 1)
        case Shortcut():
            if any(other[1:] != first[1:] for other in inputs):
                _fail(cfg, section, f"adds outputs of different sizes: {', '.join(map(str, inputs))}")
        case ScaleChannels():
            if first not in ((inputs[1].channels, 1, 1), (1, *inputs[1][1:])):
                _fail(cfg, section, f"cannot scale {inputs[1]} by {first}")
            return inputs[1]
        case Sam():
            if inputs[1] != first:
                _fail(cfg, section, f"multiplies outputs of different shapes: {first}, {inputs[1]}")
        case Reorg(stride, scrambled):
            square = stride * stride
            if first.height % stride or first.width % stride or (scrambled and first.channels % square):
                _fail(cfg, section, f"cannot cut {first} into squares of {stride}")
            return Shape(first.channels * square, first.height // stride, first.width // stride)
        case Route(_, groups):
            return _route(cfg, section, inputs, groups)
        case Yolo(anchors, classes):
            expected = len(anchors) * columns(section)
            if first.channels != expected:
                _fail(
                    cfg,
                    section,
                    f"with {classes} classes and {len(anchors)} anchors needs filters={expected} "
                    f"in the layer before it, found {first.channels}",
                )
    return first


def _windows(side: int, padding: int, size: int, stride: int) -> int:
    """Return the number of window positions on a padded side."""
    return (side + padding - size) // stride + 1


def _route(cfg: Cfg, section: Route, inputs: Sequence[Shape], groups: int) -> Shape:
    if any(shape[1:] != inputs[0][1:] for shape in inputs):
        _fail(cfg, section, f"joins outputs of different sizes: {', '.join(map(str, inputs))}")
    if any(shape.channels % groups for shape in inputs):
        _fail(cfg, section, f"cuts {', '.join(map(str, inputs))} into groups={groups}")
    return Shape(sum(shape.channels // groups for shape in inputs), *inputs[0][1:])


def _convolution(cfg: Cfg, layers: Sequence[Layer], layer: Layer, section: Convolutional) -> ConvSpec:
    channels = _shape(cfg, layers, layer.sources[0]).channels
    return ConvSpec(
        layer.index,
        section.line,
        channels,
        section.filters,
        section.size,
        section.groups,
        section.batch_normalize,
    )


def _shared(cfg: Cfg, specs: dict[int, ConvSpec]) -> dict[int, int]:
    """Return, by layer, the layer whose weights it uses: absolute, or relative if below 0."""
    shared: dict[int, int] = {}
    for index, spec in specs.items():
        section = cfg.layers[index]
        assert isinstance(section, Convolutional)
        if section.share is None:
            continue
        owner = section.share if section.share >= 0 else index + section.share
        owner = shared.get(owner, owner)
        same = owner in specs and replace(specs[owner], layer=index, line=spec.line) == spec
        if not same or owner >= index:
            _fail(
                cfg,
                section,
                f"shares the weights of layer {owner}, which is no earlier one of the same shape",
            )
        shared[index] = owner
    return shared


def _scales(cfg: Cfg, layers: Sequence[Layer]) -> tuple[Scale, ...]:
    """Return the [yolo] layers, finest first."""
    scales = [_scale(cfg, layer) for layer in layers if isinstance(layer.section, Yolo)]
    for scale in scales:
        if scale.section.classes != scales[0].section.classes:
            _fail(
                cfg,
                scale.section,
                f"has {scale.section.classes} classes, the first [yolo] {scales[0].section.classes}",
            )
    return tuple(sorted(scales, key=lambda scale: scale.stride))


def _scale(cfg: Cfg, layer: Layer) -> Scale:
    section, (height, width) = layer.section, layer.shape[1:]
    assert isinstance(section, Yolo)
    cell = cfg.net.width / width, cfg.net.height / height
    stride = round(max(cell))
    # more than half a pixel per cell means the input size of another network, not square cells
    if not all(abs(side - stride) <= 0.5 for side in cell) or stride > LARGEST_STRIDE:
        _fail(
            cfg,
            section,
            f"cuts the input of {size_text((cfg.net.height, cfg.net.width))} into "
            f"{size_text((height, width))} cells, which are no squares; expected width and height in "
            "[net] to be multiples of 32",
        )
    return Scale(layer.sources[0], stride, section, cell)


def _fail(cfg: Cfg, section: LayerSection, what: str) -> NoReturn:
    raise ModelFileError(f"{cfg.file}:{section.line}: [{type(section).__name__.lower()}] {what}")
