"""A network: the inputs of every layer, the shape of its output, and the scales. `resolve` makes it.

Legend: **C** channels, **H**, **W** height and width of one layer's output.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from lookonce.darknet.cfg import Cfg
from lookonce.darknet.sections import LayerSection, Yolo
from lookonce.geometry.decode import Decoding

IMAGE = -1  # source of the first layer
LUMA = 0.299, 0.587, 0.114  # weights of red, green and blue in gray, as in Darknet's image readers


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
        section: its section in the file.
        sources: the layers it reads, `IMAGE` for the image.
        shape: shape of its output; a [yolo] passes on its input.
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
        layer: number of the [yolo].
        source: the layer whose output is its raw map.
        stride: side of a cell, in whole input pixels.
        section: its section in the file.
        cell: (width, height) of a cell at the size in the file; fractions if that size is not a multiple.
        activated: whether the raw map holds probabilities, because its convolution has an activation that
            cannot be moved into the decoding. Such a network detects, but cannot be trained.
    """

    layer: int
    source: int
    stride: int
    section: Yolo
    cell: tuple[float, float]
    activated: bool = False

    @property
    def anchors(self) -> tuple[tuple[float, float], ...]:
        """Return (width, height) in input pixels, whatever the unit in the section."""
        x, y = self.unit
        return tuple((width * x, height * y) for width, height in self.section.anchors)

    @property
    def unit(self) -> tuple[float, float]:
        """Return (width, height) in input pixels of the unit in which the section gives its anchors."""
        return self.cell if self.in_cells else (1.0, 1.0)

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
        return self.decoding.columns + self.section.classes

    @property
    def decoding(self) -> Decoding:
        """Return the conversion of its raw numbers."""
        return Decoding(self.section.form, self.section.scale_x_y)


@dataclass(frozen=True, slots=True)
class Network:
    """A `.cfg` with every shape known.

    Attributes:
        cfg: source of the network.
        layers: layers in file order.
        convolutions: those with weights of their own, in file order, which is the order of the weight file.
        shared: for each layer that shares weights, the layer that has them.
        scales: finest first, as everywhere in lookonce; the file has the reverse order.
    """

    cfg: Cfg
    layers: tuple[Layer, ...]
    convolutions: tuple[ConvSpec, ...]
    shared: dict[int, int]
    scales: tuple[Scale, ...]

    def shape(self, source: int) -> Shape:
        """Return the shape of a layer's output, or of the image."""
        net = self.cfg.net
        return Shape(net.channels, net.height, net.width) if source == IMAGE else self.layers[source].shape

    @property
    def numbers(self) -> int:
        """Return the count of numbers in the weight file."""
        return sum(spec.numbers for spec in self.convolutions)

    @property
    def candidates(self) -> int:
        """Return K: the boxes that all scales predict for one image."""
        shapes = ((self.shape(scale.source), len(scale.anchors)) for scale in self.scales)
        return sum(shape.height * shape.width * anchors for shape, anchors in shapes)

    @property
    def classes(self) -> int:
        """Return C, the same on all scales."""
        return self.scales[0].section.classes

    @property
    def decodings(self) -> tuple[Decoding, ...]:
        """Return the conversion of raw numbers per scale, finest first."""
        return tuple(scale.decoding for scale in self.scales)

    def needs(self, sources: Iterable[int]) -> set[int]:
        """Return these layers and all that they depend on."""
        needed, waiting = set[int](), [source for source in sources if source != IMAGE]
        while waiting:
            if (index := waiting.pop()) not in needed:
                needed.add(index)
                waiting += [source for source in self.layers[index].sources if source != IMAGE]
        return needed

    @property
    def backbone(self) -> set[int]:
        """Return the layers on which every scale depends."""
        return set.intersection(*(self.needs([scale.source]) for scale in self.scales))
