"""Turn the sections of a `.cfg` into a network: find the inputs and output shape of every layer."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn

from lookonce._counted import counted
from lookonce.darknet.cfg import Cfg
from lookonce.darknet.network import IMAGE, ConvSpec, Layer, Network, Scale, Shape
from lookonce.darknet.sections import (
    AvgPool,
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
from lookonce.geometry.decode import Decoding
from lookonce.geometry.sizes import size_text
from lookonce.metadata import LARGEST_STRIDE

LARGEST_OUTPUT = 1 << 28  # numbers in one layer's output for one image: 1 GiB, as in yolov3 at 2880x2880
MOST_ALIVE = 1 << 29  # numbers in all outputs that later layers still read: 2 GiB
MOST_NUMBERS = 500_000_000  # weights; an ONNX file cannot have more than 2 GB


def resolve(cfg: Cfg, size: tuple[int, int] | None = None) -> Network:
    """Connect the layers and compute every shape, without allocating any output.

    Args:
        cfg: content of the `.cfg`.
        size: (height, width) of the input; None for the size in [net].

    Raises:
        ModelFileError: a layer refers to a missing one, layers do not fit together, or are far too large.
    """
    if size is not None:
        cfg = replace(cfg, net=replace(cfg.net, height=size[0], width=size[1]))
    image = Shape(cfg.net.channels, cfg.net.height, cfg.net.width)
    layers: list[Layer] = []
    specs: dict[int, ConvSpec] = {}
    for index, section in enumerate(cfg.layers):
        sources = _sources(cfg, index, section)
        inputs = [image if source == IMAGE else layers[source].shape for source in sources]
        shape = _output(cfg, section, inputs)
        if min(shape) < 1 or math.prod(shape) > LARGEST_OUTPUT:
            _fail(cfg, section, f"would give an output of {shape}; expected 1 to {LARGEST_OUTPUT:,} numbers")
        layers.append(Layer(index, section, sources, shape))
        if isinstance(section, Convolutional):
            specs[index] = ConvSpec(
                index, section.line, inputs[0].channels, section.filters, section.size, section.groups,
                section.batch_normalize,
            )  # fmt: skip
    shared = _shared(cfg, specs)
    scales = _scales(cfg, layers)
    _check_memory(cfg, layers)
    convolutions = tuple(spec for spec in specs.values() if spec.layer not in shared)
    network = Network(cfg, tuple(layers), convolutions, shared, scales)
    if network.numbers > MOST_NUMBERS:
        raise ModelFileError(
            f"{cfg.file}: expected at most {MOST_NUMBERS:,} weights, found {network.numbers:,}"
        )
    return network


def _check_memory(cfg: Cfg, layers: Sequence[Layer]) -> None:
    """Reject a network that needs too much memory, with each output kept until it is last read.

    Raises:
        ModelFileError: the outputs exceed `MOST_ALIVE` numbers at a time.
    """
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


def _sources(cfg: Cfg, index: int, section: LayerSection) -> tuple[int, ...]:
    """Return the numbers of the layers that a section reads."""
    named = section.layers if isinstance(section, Route | Shortcut | ScaleChannels | Sam) else ()
    absolute = [number if number >= 0 else index + number for number in named]
    for written, number in zip(named, absolute, strict=True):
        if not 0 <= number < index:
            _fail(cfg, section, f"points to layer {written}; this is layer {index}, it can read earlier ones")
    before = [] if isinstance(section, Route) else [index - 1]
    sources = tuple(before + absolute)
    for source in sources:
        if source >= 0 and isinstance(cfg.layers[source], Yolo | Contrastive):
            _fail(cfg, section, f"reads layer {source}, which has no output; expected a [route] elsewhere")
    return sources


def _output(cfg: Cfg, section: LayerSection, inputs: Sequence[Shape]) -> Shape:
    """Return the shape of a section's output for inputs of the given shapes."""
    first, listed = inputs[0], ", ".join(map(str, inputs))
    match section:
        case Convolutional(filters, size, stride, padding, groups, dilation=dilation):
            if first.channels % groups or filters % groups:
                _fail(cfg, section, f"has groups={groups}, {first.channels} channels and filters={filters}")
            window = dilation * (size - 1) + 1
            positions = ((side + 2 * padding * dilation - window) // stride + 1 for side in first[1:])
            return Shape(filters, *positions)
        case MaxPool(size, stride, padding) | LocalAvgPool(size, stride, padding):
            return Shape(first.channels, *((side + padding - size) // stride + 1 for side in first[1:]))
        case Upsample(stride):
            return Shape(first.channels, first.height * stride, first.width * stride)
        case AvgPool():
            return Shape(first.channels, 1, 1)
        case Shortcut():
            if any(other[1:] != first[1:] for other in inputs):
                _fail(cfg, section, f"adds outputs of different sizes: {listed}")
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
            if any(shape[1:] != first[1:] for shape in inputs):
                _fail(cfg, section, f"joins outputs of different sizes: {listed}")
            if any(shape.channels % groups for shape in inputs):
                _fail(cfg, section, f"cuts {listed} into groups={groups}")
            return Shape(sum(shape.channels // groups for shape in inputs), *first[1:])
        case Yolo(anchors, classes, form=form):
            expected = len(anchors) * (Decoding(form).columns + classes)
            if first.channels != expected:
                _fail(
                    cfg,
                    section,
                    f"with {counted(classes, 'class')} and {counted(len(anchors), 'anchor')} needs "
                    f"filters={expected} in the layer before it, found {first.channels}",
                )
    return first


def _shared(cfg: Cfg, specs: dict[int, ConvSpec]) -> dict[int, int]:
    """Return the owner of the weights by layer that shares them; a negative `share` is relative."""
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
                f"shares the weights of layer {owner}, which is not an earlier layer of the same shape",
            )
        shared[index] = owner
    return shared


def _scales(cfg: Cfg, layers: list[Layer]) -> tuple[Scale, ...]:
    """Return the scales of the [yolo] layers, finest first.

    With `new_coords`, the convolution before a [yolo] usually has a logistic activation. It is moved into the
    decoding, so that the raw map has logits, as on other scales.
    """
    readers = Counter(source for layer in layers for source in layer.sources)
    scales: list[Scale] = []
    for layer in layers:
        section, (height, width) = layer.section, layer.shape[1:]
        if not isinstance(section, Yolo):
            continue
        if scales and section.classes != scales[0].section.classes:
            _fail(
                cfg,
                section,
                f"has {counted(section.classes, 'class')}, the first [yolo] {scales[0].section.classes}",
            )
        cell = cfg.net.width / width, cfg.net.height / height
        stride = round(max(cell))
        # a difference of more than half a pixel means that the input size belongs to another network
        if not all(abs(side - stride) <= 0.5 for side in cell) or stride > LARGEST_STRIDE:
            _fail(
                cfg,
                section,
                f"cuts the input of {size_text((cfg.net.height, cfg.net.width))} into "
                f"{size_text((height, width))} cells, which are not square; expected width and height in "
                "[net] to be multiples of 32",
            )
        source, activated = layer.sources[0], False
        if section.form == "new_coords":
            before = IMAGE if source == IMAGE else layers[source].section
            activated = not (
                isinstance(before, Convolutional) and before.activation == "logistic" and readers[source] == 1
            )
            if not activated:
                assert isinstance(before, Convolutional)
                layers[source] = replace(layers[source], section=replace(before, activation="linear"))
        scales.append(Scale(layer.index, source, stride, section, cell, activated))
    return tuple(sorted(scales, key=lambda scale: scale.stride))


def _fail(cfg: Cfg, section: LayerSection, what: str) -> NoReturn:
    kind = next(kind for kind, each in zip(cfg.kinds, cfg.layers, strict=True) if each is section)
    raise ModelFileError(f"{cfg.file}:{section.line}: [{kind}] {what}")
