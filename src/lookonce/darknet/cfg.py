"""A `.cfg` as typed sections: checked, defaults filled in, each with its line number.

Defaults are Darknet's own. Two keys that it would fill with a useless default are required here: `filters`
of a convolution and `anchors` of a [yolo].
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from lookonce.darknet.ini import Section, parse_sections, read_sections
from lookonce.darknet.keys import HARMLESS, HARMLESS_IN_ANY_LAYER, STRETCHING, SWITCHED_OFF
from lookonce.errors import ModelFileError
from lookonce.metadata import LARGEST_ANCHOR, LARGEST_SIDE, MOST_ANCHORS, MOST_CLASSES

Form = Literal["yolo", "new_coords", "gaussian", "region", "region_logistic"]
ACTIVATIONS = ("linear", "leaky", "relu", "relu6", "logistic", "swish", "mish", "tanh", "elu")

# Far beyond any real model; anything larger is refused before it is built.
LARGEST_FILTERS = 65_536
LARGEST_WINDOW = 1024  # cells: kernel, pooling window, stride, padding
MOST_LAYERS = 4096


@dataclass(frozen=True, slots=True)
class Net:
    """[net]: the network's input, in pixels, with 3 channels (RGB) or 1 (grey).

    `letter_box` tells how images get to that size, if the file says so; `stretching` is an entry known only
    to the branch of Darknet that stretches them, if there is one.
    """

    width: int
    height: int
    channels: int = 3
    letter_box: bool | None = None
    stretching: str = ""
    line: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class Convolutional:
    """[convolutional]: `padding` cells on each of the four sides; bias, or batch normalization instead.

    `share` is the layer whose weights it uses if it has none of its own.
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
    """[route]: layers concatenated along the channels; of each, part `group_id` of `groups`."""

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
    """[upsample]: nearest neighbour, a whole factor."""

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
    """[sam]: the layer before times the layer named, number by number."""

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
    """[contrastive]: a loss of training, whose output no layer reads."""

    line: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class Yolo:
    """[yolo], [region] or [Gaussian_yolo]: one scale.

    Attributes:
        anchors: anchors selected by the mask, (width, height) in input pixels; in a [region] in cells.
        classes: C.
        scale_x_y: stretch of the centre's offset.
        form: conversion of raw numbers to boxes and scores; see `darknet.onnx_decode`.
    """

    anchors: tuple[tuple[float, float], ...]
    classes: int
    scale_x_y: float = 1.0
    form: Form = "yolo"
    line: int = field(compare=False, default=0)


LayerSection: TypeAlias = (
    Convolutional | Shortcut | Route | MaxPool | LocalAvgPool | Upsample | AvgPool | ScaleChannels | Sam
    | Reorg | Dropout | Contrastive | Yolo
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cfg:
    """A whole file.

    Attributes:
        file: named in errors.
        net: the [net] section.
        layers: layers in file order; the index is Darknet's layer number.
        ignored: by kind of section, the keys without effect here, each once.
        unknown: by kind of section, the keys that neither lookonce nor Darknet knows, with a hint.
    """

    file: str
    net: Net
    layers: tuple[LayerSection, ...]
    ignored: dict[str, list[str]]
    unknown: dict[str, list[str]]


def read_cfg(path: Path) -> Cfg:
    """Read a `.cfg` file.

    Raises:
        ModelFileError: unreadable, or a section or key that cannot be used, with its line.
    """
    return _typed(read_sections(path), str(path))


def parse_cfg(text: str, file: str) -> Cfg:
    """Read the text of a `.cfg`; `file` is named in errors. See `read_cfg`."""
    return _typed(parse_sections(text, file), file)


def _typed(sections: list[Section], file: str) -> Cfg:
    if not sections or sections[0].kind != "net":
        raise ModelFileError(f"{file}: expected a .cfg that begins with [net], found none")
    if not 2 <= len(sections) <= MOST_LAYERS:
        raise ModelFileError(f"{file}: expected 1 to {MOST_LAYERS} layers, found {len(sections) - 1}")
    ignored: dict[str, list[str]] = {}
    unknown: dict[str, list[str]] = {}
    stretching = [word for section in sections for word in (f"[{section.kind}]", *section.options)]
    net = _net(sections[0], next((word for word in stretching if word in STRETCHING), ""))
    _finish(sections[0], ignored, unknown)
    layers: list[LayerSection] = []
    for section in sections[1:]:
        if section.kind not in _LAYERS:
            raise section.error(f"is not a section lookonce knows; it knows {', '.join(_LAYERS)}")
        layers.append(_LAYERS[section.kind](section))
        _finish(section, ignored, unknown)
    return Cfg(file, net, tuple(layers), ignored, unknown)


def _finish(section: Section, ignored: dict[str, list[str]], unknown: dict[str, list[str]]) -> None:
    """Record the keys that were not read; refuse those that would change the numbers."""
    for key, neutral in SWITCHED_OFF.get(section.kind, {}).items():
        section.only(key, neutral)
    harmless = HARMLESS.get(section.kind, HARMLESS_IN_ANY_LAYER)
    passed, strange = section.leftovers(harmless)
    for listed, keys in ((ignored, passed), (unknown, strange.values())):
        if keys:
            listed[section.kind] = list(dict.fromkeys([*listed.get(section.kind, []), *keys]))


def _net(section: Section, stretching: str) -> Net:
    channels = section.integer("channels", 3, 0, LARGEST_FILTERS)
    if channels not in (1, 3):
        raise section.error(f"expected channels=3 (RGB) or channels=1 (grey), found {channels}")
    width = section.integer("width", None, 1, LARGEST_SIDE)
    height = section.integer("height", None, 1, LARGEST_SIDE)
    letter_box = bool(section.integer("letter_box", 0, 0, 1)) if "letter_box" in section.options else None
    return Net(width, height, channels, letter_box, stretching, section.line)


def _convolutional(section: Section) -> Convolutional:
    size, shares = section.integer("size", 1, 1, LARGEST_WINDOW), "share_index" in section.options
    padding = section.integer("padding", 0, 0, LARGEST_WINDOW)
    if section.integer("pad", 0, 0, LARGEST_WINDOW):  # any number but 0 means "same", as in Darknet
        padding = size // 2
    return Convolutional(
        filters=section.integer("filters", None, 1, LARGEST_FILTERS),
        size=size,
        stride=_stride(section, 1),
        padding=padding,
        groups=section.integer("groups", 1, 1, LARGEST_FILTERS),
        # 2 is AlexeyAB's normalization across batches, which differs only in training
        batch_normalize=section.integer("batch_normalize", 0, 0, 2) > 0,
        activation=section.word("activation", "logistic", ACTIVATIONS),
        dilation=section.integer("dilation", 1, 1, LARGEST_WINDOW),
        share=section.integer("share_index", 0, -MOST_LAYERS, MOST_LAYERS) if shares else None,
        line=section.line,
    )


def _stride(section: Section, default: int) -> int:
    stride = section.integer("stride", default, 1, LARGEST_WINDOW)
    sides = [section.integer(key, stride, 1, LARGEST_WINDOW) for key in ("stride_x", "stride_y")]
    if sides[0] != sides[1]:
        raise section.error(f"expected one stride for both sides, found {sides[0]} and {sides[1]}")
    return sides[0]


def _shortcut(section: Section) -> Shortcut:
    layers = section.integers("from", needed=True)
    return Shortcut(layers, section.word("activation", "linear", ACTIVATIONS), section.line)


def _route(section: Section) -> Route:
    layers = section.integers("layers", needed=True)
    groups = section.integer("groups", 1, 1, LARGEST_FILTERS)
    return Route(layers, groups, section.integer("group_id", 0, 0, groups - 1), section.line)


def _window(section: Section) -> tuple[int, int, int]:
    """Size, stride and padding of a pooling window."""
    stride = _stride(section, 1)
    size = section.integer("size", stride, 1, LARGEST_WINDOW)
    # half of it goes left, so more than this would make empty windows
    padding = section.integer("padding", size - 1, 0, 2 * size - 2)
    return size, stride, padding


def _scale_channels(section: Section) -> ScaleChannels:
    section.integer("scale_wh", 0, 0, 1)  # the shapes determine the direction
    layers = (section.integer("from", None, -MOST_LAYERS, MOST_LAYERS),)
    return ScaleChannels(layers, section.word("activation", "linear", ACTIVATIONS), section.line)


def _sam(section: Section) -> Sam:
    layers = (section.integer("from", None, -MOST_LAYERS, MOST_LAYERS),)
    return Sam(layers, section.word("activation", "linear", ACTIVATIONS), section.line)


def _reorg(section: Section) -> Reorg:
    section.only("reverse", "0")
    return Reorg(section.integer("stride", 1, 1, LARGEST_WINDOW), section.kind == "reorg", section.line)


def _yolo(section: Section) -> Yolo:
    new_coords = section.integer("new_coords", 0, 0, 1)
    return _anchored(section, "new_coords" if new_coords else "yolo", section.number("scale_x_y", 1.0))


def _gaussian_yolo(section: Section) -> Yolo:
    return _anchored(section, "gaussian", section.number("scale_x_y", 1.0))


def _region(section: Section) -> Yolo:
    if "tree" in section.options:
        raise section.error("sorts its classes in a tree, as YOLO9000 does; expected flat classes")
    softmax = section.integer("softmax", 0, 0, 1)
    return _anchored(section, "region" if softmax else "region_logistic", 1.0)


def _anchored(section: Section, form: Form, scale_x_y: float) -> Yolo:
    total = section.integer("num", 1, 1, LARGEST_FILTERS)
    mask = section.integers("mask") or tuple(range(total))
    anchors = section.numbers("anchors", needed=True)
    if len(anchors) < 2 * total:
        raise section.error(f"expected num={total} pairs of numbers in anchors, found {len(anchors)} numbers")
    anchors = anchors[: 2 * total]  # Darknet ignores the rest
    if not 0 < min(anchors) <= max(anchors) <= LARGEST_ANCHOR:
        raise section.error(f"expected anchors above 0 and at most {LARGEST_ANCHOR}, found {min(anchors)}")
    if not 0 <= min(mask) <= max(mask) < total:
        raise section.error(f"expected a mask of 0 to {total - 1}, found {min(mask)} to {max(mask)}")
    if len(mask) > MOST_ANCHORS:
        raise section.error(f"expected at most {MOST_ANCHORS} anchors, found {len(mask)}")
    return Yolo(
        anchors=tuple((anchors[2 * i], anchors[2 * i + 1]) for i in mask),
        classes=section.integer("classes", 20, 1, MOST_CLASSES),
        scale_x_y=scale_x_y,
        form=form,
        line=section.line,
    )


_LAYERS: dict[str, Callable[[Section], LayerSection]] = {
    "convolutional": _convolutional,
    "shortcut": _shortcut,
    "route": _route,
    "maxpool": lambda section: MaxPool(*_window(section), section.line),
    "local_avgpool": lambda section: LocalAvgPool(*_window(section), section.line),
    "upsample": lambda section: Upsample(_stride(section, 2), section.line),
    "avgpool": lambda section: AvgPool(section.line),
    "scale_channels": _scale_channels,
    "sam": _sam,
    "reorg": _reorg,
    "reorg3d": _reorg,
    "dropout": lambda section: Dropout(section.line),
    "contrastive": lambda section: Contrastive(section.line),
    "yolo": _yolo,
    "region": _region,
    "Gaussian_yolo": _gaussian_yolo,
}
