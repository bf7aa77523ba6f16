"""From sections to a network: who feeds whom, and the shape of every output.

Legend: **C** channels, **H**, **W** height and width of one layer's output.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from lookonce.darknet.cfg import (
    AvgPool,
    Cfg,
    Convolutional,
    LayerSection,
    MaxPool,
    Route,
    Shortcut,
    Upsample,
    Yolo,
)
from lookonce.errors import ModelFileError

IMAGE = -1  # the source of the first layer
LARGEST_OUTPUT = 1 << 28  # numbers in one layer's output for one image: 1 GiB, yolov3 at 2880x2880
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
    """One section in its place.

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
    """What the weight file holds for one convolution."""

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
        """How many: a bias, or four of batch normalisation, for each filter; and the kernel."""
        out, inputs, rows, columns = self.kernel_shape
        return out * (4 if self.batch_normalize else 1) + out * inputs * rows * columns


@dataclass(frozen=True, slots=True)
class Scale:
    """One [yolo]: the layer whose output is its raw map, its stride and its section."""

    source: int
    stride: int
    section: Yolo


@dataclass(frozen=True, slots=True)
class Network:
    """A `.cfg` with every shape known.

    Attributes:
        cfg: where it came from.
        layers: in file order.
        convolutions: in file order, which is the order of the weight file.
        scales: finest first, as everywhere in lookonce; the file has them the other way round.
    """

    cfg: Cfg
    layers: tuple[Layer, ...]
    convolutions: tuple[ConvSpec, ...]
    scales: tuple[Scale, ...]

    def shape(self, source: int) -> Shape:
        """Of a layer's output, or of the image."""
        return _shape(self.cfg, self.layers, source)

    @property
    def numbers(self) -> int:
        """How many numbers the weight file holds."""
        return sum(spec.numbers for spec in self.convolutions)

    @property
    def classes(self) -> int:
        """C, the same on all scales."""
        return self.scales[0].section.classes


def resolve(cfg: Cfg) -> Network:
    """Connect the layers and compute every shape, taking no memory for it.

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
    convolutions = tuple(_convolution(cfg, layers, layer) for layer in layers if _is_convolution(layer))
    network = Network(cfg, tuple(layers), convolutions, _scales(cfg, layers))
    if network.numbers > MOST_NUMBERS:
        raise ModelFileError(
            f"{cfg.file}: expected at most {MOST_NUMBERS:,} weights, found {network.numbers:,}"
        )
    return network


def _sources(cfg: Cfg, layers: Sequence[Layer], index: int, section: LayerSection) -> tuple[int, ...]:
    """The layers that a section reads, as absolute numbers."""
    named = section.layers if isinstance(section, Route | Shortcut) else ()
    absolute = [number if number >= 0 else index + number for number in named]
    for written, number in zip(named, absolute, strict=True):
        if not 0 <= number < index:
            _fail(cfg, section, f"points to layer {written}; this is layer {index}, it can read earlier ones")
    before = [] if isinstance(section, Route) else [index - 1]
    sources = tuple(before + absolute)
    for source in sources:
        if source >= 0 and isinstance(layers[source].section, Yolo):
            _fail(
                cfg, section, f"reads layer {source}, a [yolo]; expected a [route] to another layer between"
            )
    return sources


def _shape(cfg: Cfg, layers: Sequence[Layer], source: int) -> Shape:
    return Shape(3, cfg.net.height, cfg.net.width) if source == IMAGE else layers[source].shape


def _output(cfg: Cfg, section: LayerSection, inputs: Sequence[Shape]) -> Shape:
    """The shape that a section makes of its inputs."""
    first = inputs[0]
    match section:
        case Convolutional(filters, size, stride, padding, groups):
            if first.channels % groups or filters % groups:
                _fail(cfg, section, f"has groups={groups}, {first.channels} channels and filters={filters}")
            return Shape(filters, *(_windows(side, 2 * padding, size, stride) for side in first[1:]))
        case MaxPool(size, stride, padding):
            return Shape(first.channels, *(_windows(side, padding, size, stride) for side in first[1:]))
        case Upsample(stride):
            return Shape(first.channels, first.height * stride, first.width * stride)
        case AvgPool():
            return Shape(first.channels, 1, 1)
        case Shortcut():
            if any(other != first for other in inputs):
                _fail(cfg, section, f"adds outputs of different shapes: {', '.join(map(str, inputs))}")
        case Route(_, groups):
            return _route(cfg, section, inputs, groups)
        case Yolo(anchors, classes):
            expected = len(anchors) * (5 + classes)
            if first.channels != expected:
                _fail(
                    cfg,
                    section,
                    f"with {classes} classes and {len(anchors)} anchors needs filters={expected} "
                    f"in the layer before it, found {first.channels}",
                )
    return first


def _windows(side: int, padding: int, size: int, stride: int) -> int:
    """How many places a window has on a padded side."""
    return (side + padding - size) // stride + 1


def _route(cfg: Cfg, section: Route, inputs: Sequence[Shape], groups: int) -> Shape:
    if any(shape[1:] != inputs[0][1:] for shape in inputs):
        _fail(cfg, section, f"joins outputs of different sizes: {', '.join(map(str, inputs))}")
    if any(shape.channels % groups for shape in inputs):
        _fail(cfg, section, f"cuts {', '.join(map(str, inputs))} into groups={groups}")
    return Shape(sum(shape.channels // groups for shape in inputs), *inputs[0][1:])


def _is_convolution(layer: Layer) -> bool:
    return isinstance(layer.section, Convolutional)


def _convolution(cfg: Cfg, layers: Sequence[Layer], layer: Layer) -> ConvSpec:
    section = layer.section
    assert isinstance(section, Convolutional)
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


def _scales(cfg: Cfg, layers: Sequence[Layer]) -> tuple[Scale, ...]:
    """The [yolo] layers, finest first."""
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
    if cfg.net.height % height or cfg.net.width % width or cfg.net.height // height != cfg.net.width // width:
        _fail(
            cfg,
            section,
            f"cuts the input of {cfg.net.width}x{cfg.net.height} into {width}x{height} cells, which are no "
            "whole squares; expected width and height in [net] to be multiples of 32",
        )
    return Scale(layer.sources[0], cfg.net.height // height, section)


def _fail(cfg: Cfg, section: LayerSection, what: str) -> NoReturn:
    raise ModelFileError(f"{cfg.file}:{section.line}: [{type(section).__name__.lower()}] {what}")
