"""A network: every layer with its inputs and the shape of its output, and the scales; see `resolve`.

Legend: **C** channels, **H**, **W** height and width of one layer's output.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from lookonce.darknet.cfg import Cfg
from lookonce.darknet.sections import LayerSection, Yolo
from lookonce.geometry.decode import Decoding

IMAGE = -1  # number of the image as a layer's source
LUMA = 0.299, 0.587, 0.114  # shares of red, green and blue in gray, as in Darknet's image readers


class Shape(NamedTuple):
    """The shape (C, H, W) of one layer's output."""

    channels: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.channels}x{self.height}x{self.width}"


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer: its section and its inputs.

    Attributes:
        index: Darknet's layer number.
        section: section in the file.
        sources: numbers of the layers that are its inputs, or `IMAGE`.
        shape: shape of the output; a [yolo] returns its input.
    """

    index: int
    section: LayerSection
    sources: tuple[int, ...]
    shape: Shape


@dataclass(frozen=True, slots=True)
class ConvSpec:
    """The shape of one convolution's weights, and where the convolution is in the `.cfg`.

    Attributes:
        layer: Darknet's layer number.
        line: line number of the section.
        channels: number of input channels.
        filters: number of output channels.
        size: side of the kernel.
        groups: number of groups.
        batch_normalize: whether batch normalization follows.
    """

    layer: int
    line: int
    channels: int
    filters: int
    size: int
    groups: int
    batch_normalize: bool

    @property
    def kernel_shape(self) -> tuple[int, int, int, int]:
        """Return the shape of the kernel, (out, in / groups, size, size)."""
        return self.filters, self.channels // self.groups, self.size, self.size

    @property
    def numbers(self) -> int:
        """Return the count of numbers in the weight file: the kernel, and one or four per filter."""
        out, inputs, rows, columns = self.kernel_shape
        return out * (4 if self.batch_normalize else 1) + out * inputs * rows * columns


@dataclass(frozen=True, slots=True)
class Scale:
    """One scale: a [yolo] and its raw map.

    Attributes:
        layer: number of the [yolo] layer.
        source: number of the layer whose output is the raw map.
        stride: side of a cell, in whole input pixels.
        section: section in the file.
        cell: (width, height) of a cell in input pixels at the size in the file; not whole numbers if that
            size is not a multiple of the stride.
        activated: whether the raw map has probabilities instead of logits, because the activation of its
            convolution cannot be moved into the decoding. Such a network cannot be trained.
    """

    layer: int
    source: int
    stride: int
    section: Yolo
    cell: tuple[float, float]
    activated: bool = False

    @property
    def anchors(self) -> tuple[tuple[float, float], ...]:
        """Return (width, height) of each anchor in input pixels, whatever the unit in the section."""
        x, y = self.unit
        return tuple((width * x, height * y) for width, height in self.section.anchors)

    @property
    def unit(self) -> tuple[float, float]:
        """Return the unit of the anchors in the section, as (width, height) in input pixels."""
        return self.cell if self.in_cells else (1.0, 1.0)

    @property
    def in_cells(self) -> bool:
        """Return whether the anchors in the section are in cells, not in pixels."""
        return self.section.form.startswith("region")

    @property
    def whole(self) -> bool:
        """Return whether cells are squares with sides in whole pixels."""
        return self.cell == (self.stride, self.stride)

    @property
    def columns(self) -> int:
        """Return the raw numbers per anchor: 5 + C, or 9 + C if x, y, width and height have uncertainties."""
        return self.decoding.columns + self.section.classes

    @property
    def decoding(self) -> Decoding:
        """Return the conversion of raw numbers to boxes and scores."""
        return Decoding(self.section.form, self.section.scale_x_y)


@dataclass(frozen=True, slots=True)
class Network:
    """A `.cfg` with the inputs and output shapes of all layers.

    Attributes:
        cfg: `.cfg` of the network.
        layers: layers in file order.
        convolutions: convolutions with weights of their own, in file order, also that of the weight file.
        shared: for each layer that shares weights, the layer that owns them.
        scales: scales, finest first; in the file they are usually in reverse order.
    """

    cfg: Cfg
    layers: tuple[Layer, ...]
    convolutions: tuple[ConvSpec, ...]
    shared: dict[int, int]
    scales: tuple[Scale, ...]

    def shape(self, source: int) -> Shape:
        """Return the shape of a layer's output, or of the image for `IMAGE`."""
        net = self.cfg.net
        return Shape(net.channels, net.height, net.width) if source == IMAGE else self.layers[source].shape

    @property
    def numbers(self) -> int:
        """Return the count of numbers in the weight file."""
        return sum(spec.numbers for spec in self.convolutions)

    @property
    def candidates(self) -> int:
        """Return K, the number of boxes that all scales predict for one image."""
        shapes = ((self.shape(scale.source), len(scale.anchors)) for scale in self.scales)
        return sum(shape.height * shape.width * anchors for shape, anchors in shapes)

    @property
    def classes(self) -> int:
        """Return the number of classes, which is the same on all scales."""
        return self.scales[0].section.classes

    @property
    def decodings(self) -> tuple[Decoding, ...]:
        """Return the decoding of each scale, finest first."""
        return tuple(scale.decoding for scale in self.scales)

    def needs(self, sources: Iterable[int]) -> set[int]:
        """Return the given layers and all layers on which they depend."""
        needed, waiting = set[int](), [source for source in sources if source != IMAGE]
        while waiting:
            if (index := waiting.pop()) not in needed:
                needed.add(index)
                waiting += [source for source in self.layers[index].sources if source != IMAGE]
        return needed

    @property
    def backbone(self) -> set[int]:
        """Return the layers on which every scale depends, without the heads."""
        heads = {scale.source for scale in self.scales}
        return set.intersection(*(self.needs([scale.source]) for scale in self.scales)) - heads
