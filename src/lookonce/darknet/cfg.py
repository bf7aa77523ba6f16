"""A `.cfg` as typed sections: checked, defaults filled in, each with its line number.

Defaults are Darknet's own. Two keys that it would fill with a useless default are required here: `filters`
of a convolution and `anchors` of a [yolo].
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from lookonce.darknet.ini import Section, parse_sections, read_sections
from lookonce.darknet.keys import HARMLESS, HARMLESS_IN_ANY_LAYER, SWITCHED_OFF
from lookonce.errors import ModelFileError

ACTIVATIONS = ("linear", "leaky", "relu", "relu6", "logistic", "swish", "mish")

# Far beyond any real model; what is larger is refused before anything is made of it.
LARGEST_SIDE = 8192  # pixels of the network input
LARGEST_FILTERS = 65_536
LARGEST_WINDOW = 1024  # cells: kernel, pooling window, stride, padding
MOST_LAYERS = 4096


@dataclass(frozen=True, slots=True)
class Net:
    """[net]: the network's input, in pixels. Images are RGB."""

    width: int
    height: int
    line: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class Convolutional:
    """[convolutional]: `padding` cells on each of the four sides; bias, or batch normalisation instead."""

    filters: int
    size: int
    stride: int
    padding: int
    groups: int
    batch_normalize: bool
    activation: str
    line: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class Shortcut:
    """[shortcut]: the layer before, plus the layers named, then an activation."""

    layers: tuple[int, ...]
    activation: str
    line: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class Route:
    """[route]: layers one behind the other along the channels; of each, part `group_id` of `groups`."""

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
class Dropout:
    """[dropout]: does nothing to a trained network, but counts as a layer."""

    line: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class Yolo:
    """[yolo]: one scale. `anchors` are those that the mask picks, (width, height) in input pixels."""

    anchors: tuple[tuple[float, float], ...]
    classes: int
    scale_x_y: float
    line: int = field(compare=False, default=0)


LayerSection: TypeAlias = Convolutional | Shortcut | Route | MaxPool | Upsample | AvgPool | Dropout | Yolo


@dataclass(frozen=True, slots=True)
class Cfg:
    """A whole file.

    Attributes:
        file: named in errors.
        net: the [net] section.
        layers: in file order; the place in this tuple is Darknet's layer number.
        ignored: by kind of section, the keys that change nothing here, each once.
    """

    file: str
    net: Net
    layers: tuple[LayerSection, ...]
    ignored: dict[str, list[str]]


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
    net = _net(sections[0])
    _finish(sections[0], ignored)
    layers: list[LayerSection] = []
    for section in sections[1:]:
        if section.kind not in _LAYERS:
            raise section.error(f"is not a section lookonce knows; it knows {', '.join(_LAYERS)}")
        layers.append(_LAYERS[section.kind](section))
        _finish(section, ignored)
    return Cfg(file, net, tuple(layers), ignored)


def _finish(section: Section, ignored: dict[str, list[str]]) -> None:
    """Look at the keys that nobody took, and note the harmless ones."""
    for key, neutral in SWITCHED_OFF.get(section.kind, {}).items():
        section.only(key, neutral)
    harmless = HARMLESS.get(section.kind, HARMLESS_IN_ANY_LAYER)
    for key in section.leftovers(harmless):
        listed = ignored.setdefault(section.kind, [])
        if key not in listed:
            listed.append(key)


def _net(section: Section) -> Net:
    if section.integer("channels", 3, 1, LARGEST_FILTERS) != 3:
        raise section.error("lookonce runs networks on RGB images: expected channels=3")
    width = section.integer("width", None, 1, LARGEST_SIDE)
    return Net(width, section.integer("height", None, 1, LARGEST_SIDE), section.line)


def _convolutional(section: Section) -> Convolutional:
    size = section.integer("size", 1, 1, LARGEST_WINDOW)
    padding = section.integer("padding", 0, 0, LARGEST_WINDOW)
    if section.integer("pad", 0, 0, LARGEST_WINDOW):  # any number but 0 means "same", as in Darknet
        padding = size // 2
    return Convolutional(
        filters=section.integer("filters", None, 1, LARGEST_FILTERS),
        size=size,
        stride=section.integer("stride", 1, 1, LARGEST_WINDOW),
        padding=padding,
        groups=section.integer("groups", 1, 1, LARGEST_FILTERS),
        # 2 is AlexeyAB's normalisation across batches, which differs in training only
        batch_normalize=section.integer("batch_normalize", 0, 0, 2) > 0,
        activation=section.word("activation", "logistic", ACTIVATIONS),
        line=section.line,
    )


def _shortcut(section: Section) -> Shortcut:
    layers = section.integers("from", needed=True)
    return Shortcut(layers, section.word("activation", "linear", ACTIVATIONS), section.line)


def _route(section: Section) -> Route:
    layers = section.integers("layers", needed=True)
    groups = section.integer("groups", 1, 1, LARGEST_FILTERS)
    return Route(layers, groups, section.integer("group_id", 0, 0, groups - 1), section.line)


def _maxpool(section: Section) -> MaxPool:
    stride = section.integer("stride", 1, 1, LARGEST_WINDOW)
    size = section.integer("size", stride, 1, LARGEST_WINDOW)
    # half of it goes left, so more than this would make windows that hold nothing
    padding = section.integer("padding", size - 1, 0, 2 * size - 2)
    return MaxPool(size, stride, padding, section.line)


def _upsample(section: Section) -> Upsample:
    return Upsample(section.integer("stride", 2, 1, LARGEST_WINDOW), section.line)


def _avgpool(section: Section) -> AvgPool:
    return AvgPool(section.line)


def _dropout(section: Section) -> Dropout:
    return Dropout(section.line)


def _yolo(section: Section) -> Yolo:
    total = section.integer("num", 1, 1, LARGEST_FILTERS)
    mask = section.integers("mask") or tuple(range(total))
    anchors = section.numbers("anchors", needed=True)
    if len(anchors) != 2 * total:
        raise section.error(f"expected num={total} pairs of numbers in anchors, found {len(anchors)} numbers")
    if min(anchors) <= 0:
        raise section.error(f"expected anchors above 0, found {min(anchors)}")
    if not 0 <= min(mask) <= max(mask) < total:
        raise section.error(f"expected a mask of 0 to {total - 1}, found {min(mask)} to {max(mask)}")
    return Yolo(
        anchors=tuple((anchors[2 * i], anchors[2 * i + 1]) for i in mask),
        classes=section.integer("classes", 20, 1, LARGEST_FILTERS),
        scale_x_y=section.number("scale_x_y", 1.0),
        line=section.line,
    )


_LAYERS: dict[str, Callable[[Section], LayerSection]] = {
    "convolutional": _convolutional,
    "shortcut": _shortcut,
    "route": _route,
    "maxpool": _maxpool,
    "upsample": _upsample,
    "avgpool": _avgpool,
    "dropout": _dropout,
    "yolo": _yolo,
}
