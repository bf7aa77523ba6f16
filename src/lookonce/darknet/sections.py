"""The sections of a `.cfg` as records: the options of each kind of layer."""

from dataclasses import dataclass, field
from typing import TypeAlias

from lookonce.geometry.decode import Form


@dataclass(frozen=True, slots=True)
class Net:
    """[net]: the network's input, in pixels, with 3 channels (RGB) or 1 (gray).

    `letter_box` is how images are fitted to that size, if the file has the key; `stretching` is a key that
    only AlexeyAB's fork has, if there is one, since that fork stretches images.
    """

    width: int
    height: int
    channels: int = 3
    letter_box: bool | None = None
    stretching: str = ""
    line: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class Convolutional:
    """[convolutional]: `padding` cells on each of the four sides; a bias, or batch normalization.

    `share` is the layer whose weights it uses, if it has none of its own. With `xnor`, inputs above 0 count
    as 1 and others as -1, and each weight counts as the mean absolute weight of its filter, with its own
    sign.
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
    """[shortcut]: the layer before, plus the layers named, then an activation.

    The result has the channels of the layer before; channels that another layer lacks count as 0.
    """

    layers: tuple[int, ...]
    activation: str
    line: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class Route:
    """[route]: layers concatenated along the channels; only part `group_id` of `groups` of each."""

    layers: tuple[int, ...]
    groups: int
    group_id: int
    line: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class MaxPool:
    """[maxpool]: `padding` is the sum of both sides, half of it (rounded down) left and above."""

    size: int
    stride: int
    padding: int
    line: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class Upsample:
    """[upsample]: nearest neighbor, a whole factor."""

    stride: int
    line: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class AvgPool:
    """[avgpool]: the mean of each channel."""

    line: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class LocalAvgPool:
    """[local_avgpool]: as [maxpool], but the mean of the cells that lie inside."""

    size: int
    stride: int
    padding: int
    line: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class ScaleChannels:
    """[scale_channels]: the layer named, each channel (or each place) times the layer before."""

    layers: tuple[int, ...]
    activation: str
    line: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class Sam:
    """[sam]: the layer before times the layer named, element by element."""

    layers: tuple[int, ...]
    activation: str
    line: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class Reorg:
    """[reorg3d]: squares of cells as channels. [reorg] (`scrambled`) does the same, with a mistake.

    YOLOv2 was trained with the mistake: it reads its input as if it had fewer channels and longer sides.
    """

    stride: int
    scrambled: bool
    line: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class Dropout:
    """[dropout]: has no effect in a trained network, but counts as a layer."""

    line: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class Contrastive:
    """[contrastive]: a training loss, whose output no layer reads."""

    line: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class Yolo:
    """[yolo], [region] or [Gaussian_yolo]: one scale.

    Attributes:
        anchors: anchors selected by the mask, (width, height) in input pixels; in a [region] in cells.
        classes: C.
        scale_x_y: stretch of the center's offset.
        form: conversion of raw numbers to boxes and scores; see `geometry.decode`.
        parents: parent of each class in the tree of a `region_tree`, -1 for none; see `darknet.tree`.
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
