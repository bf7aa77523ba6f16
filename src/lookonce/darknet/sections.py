"""The sections of a `.cfg` as records with the options of each kind of layer.

In each record, `line` is the line number of the section, and `layers` are the numbers of the layers named in
it, which are relative if negative.
"""

from dataclasses import dataclass, field
from typing import TypeAlias

from lookonce.geometry.decode import Form


@dataclass(frozen=True, slots=True)
class Net:
    """[net]: the input of the network, with 3 channels (RGB) or 1 (gray).

    Attributes:
        width: width of the input in pixels.
        height: height of the input in pixels.
        channels: number of channels.
        letter_box: whether images are letterboxed, not stretched; None if the file lacks the key.
        stretching: a key or section that only exists in forks that stretch images; empty if there is none.
    """

    width: int
    height: int
    channels: int = 3
    letter_box: bool | None = None
    stretching: str = ""
    line: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class Convolutional:
    """[convolutional]: a convolution with a bias or batch normalization, then an activation.

    `padding` is the number of cells on each of the four sides. `share` is the layer whose weights are used;
    None for weights of its own. With `xnor`, inputs above 0 count as 1 and others as -1, and each weight
    counts as the mean absolute weight of its filter, with the weight's own sign.
    """

    filters: int
    size: int
    stride: int
    padding: int
    groups: int
    batch_normalize: bool
    activation: str
    dilation: int = 1
    share: int | None = None
    xnor: bool = False
    line: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class Shortcut:
    """[shortcut]: the sum of the layer before and the named layers, then an activation.

    The result has as many channels as the layer before; channels that another layer lacks count as 0.
    """

    layers: tuple[int, ...]
    activation: str
    line: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class Route:
    """[route]: part `group_id` of `groups` equal parts of each named layer, concatenated along channels."""

    layers: tuple[int, ...]
    groups: int
    group_id: int
    line: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class MaxPool:
    """[maxpool]: the maximum in a window.

    `padding` is the sum for both sides; half of it, rounded down, is on the left and above.
    """

    size: int
    stride: int
    padding: int
    line: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class Upsample:
    """[upsample]: nearest-neighbor enlargement by a whole factor."""

    stride: int
    line: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class AvgPool:
    """[avgpool]: the mean of each channel."""

    line: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class LocalAvgPool:
    """[local_avgpool]: the mean in a window, without padding cells; the options are those of [maxpool]."""

    size: int
    stride: int
    padding: int
    line: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class ScaleChannels:
    """[scale_channels]: the named layer, with each channel or each cell multiplied by the layer before."""

    layers: tuple[int, ...]
    activation: str
    line: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class Sam:
    """[sam]: the product of the layer before and the named layer, element by element."""

    layers: tuple[int, ...]
    activation: str
    line: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class Reorg:
    """[reorg3d]: squares of cells turned into channels. [reorg] (`scrambled`) does the same, with a mistake.

    It treats its input as if it had fewer channels and longer sides, and YOLOv2 was trained with this.
    """

    stride: int
    scrambled: bool
    line: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class Dropout:
    """[dropout]: no effect in a trained network, but a layer number of its own."""

    line: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class Contrastive:
    """[contrastive]: a training loss, which no layer reads."""

    line: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class Yolo:
    """[yolo], [region] or [Gaussian_yolo]: one scale.

    Attributes:
        anchors: (width, height) of the anchors selected by the mask, in input pixels, or in cells for a
            [region].
        classes: number of classes.
        scale_x_y: factor by which the range of the center's offset is stretched.
        form: conversion of raw numbers to boxes and scores; see `geometry.decode`.
        parents: parent of each class in a `region_tree`, -1 for none; see `darknet.tree`.
    """

    anchors: tuple[tuple[float, float], ...]
    classes: int
    scale_x_y: float = 1.0
    form: Form = "yolo"
    parents: tuple[int, ...] = ()
    line: int = field(compare=False, default=0)


LayerSection: TypeAlias = (
    Convolutional | Shortcut | Route | MaxPool | LocalAvgPool | Upsample | AvgPool | ScaleChannels | Sam
    | Reorg | Dropout | Contrastive | Yolo
)  # fmt: skip
