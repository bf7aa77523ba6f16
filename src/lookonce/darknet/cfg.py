"""Read a `.cfg` into typed sections: checked, with defaults filled in, each with its line number.

The defaults are Darknet's own, except for two keys with useless defaults, which are required here: `filters`
of a convolution and `anchors` of a [yolo].
"""

from dataclasses import dataclass, field
from pathlib import Path

from lookonce._counted import counted
from lookonce.darknet.ini import Section, parse_sections, read_sections, sections_text
from lookonce.darknet.keys import HARMLESS, HARMLESS_IN_ANY_LAYER, STRETCHING, SWITCHED_OFF
from lookonce.darknet.sections import (
    AvgPool,
    Contrastive,
    Convolutional,
    Dropout,
    LayerSection,
    LocalAvgPool,
    MaxPool,
    Net,
    Reorg,
    Route,
    Sam,
    ScaleChannels,
    Shortcut,
    Upsample,
    Yolo,
)
from lookonce.darknet.tree import check_tree, include_tree
from lookonce.errors import ModelFileError
from lookonce.geometry.decode import Form
from lookonce.metadata import LARGEST_ANCHOR, LARGEST_SIDE, MOST_ANCHORS, MOST_CLASSES

KINDS = (
    "convolutional", "shortcut", "route", "maxpool", "local_avgpool", "upsample", "avgpool", "scale_channels",
    "sam", "reorg", "reorg3d", "dropout", "contrastive", "yolo", "region", "Gaussian_yolo",
)  # fmt: skip
RECURRENT = "crnn", "rnn", "gru", "lstm", "conv_lstm", "history"
ACTIVATIONS = ("linear", "leaky", "relu", "relu6", "logistic", "swish", "mish", "tanh", "elu")

# Limits far above any real model; a larger one is rejected before it is built.
LARGEST_FILTERS = 65_536
LARGEST_WINDOW = 1024  # cells of a kernel, a pooling window, a stride or padding
MOST_LAYERS = 4096


@dataclass(frozen=True, slots=True)
class Cfg:
    """The content of a `.cfg`.

    Attributes:
        file: name of the file, for error messages.
        net: [net] section.
        layers: layers in file order; the index is Darknet's layer number.
        kinds: kind of each layer's section, such as `Gaussian_yolo`.
        ignored: known keys that have no effect in lookonce, without repetition, by kind of section.
        unknown: unknown keys, with a suggestion if one is similar, by kind of section.
        text: text of the file without comments and blanks.
    """

    file: str
    net: Net
    layers: tuple[LayerSection, ...]
    kinds: tuple[str, ...]
    ignored: dict[str, list[str]]
    unknown: dict[str, list[str]]
    text: str = field(compare=False, repr=False, default="")


def read_cfg(path: Path) -> Cfg:
    """Read a `.cfg` file.

    Raises:
        ModelFileError: the file cannot be read, or a section or key cannot be used; the message names its
            line.
    """
    sections = read_sections(path)
    for section in sections:
        if section.kind == "region":
            include_tree(section)
    return typed(sections, str(path))


def parse_cfg(text: str, file: str) -> Cfg:
    """Read the text of a `.cfg`, as `read_cfg` does; `file` is its name in error messages."""
    return typed(parse_sections(text, file), file)


def typed(sections: list[Section], file: str) -> Cfg:
    """Check the sections of a `.cfg` and read their options, as `read_cfg` does."""
    if not sections or sections[0].kind != "net":
        raise ModelFileError(f"{file}: expected a .cfg that begins with [net], found none")
    if not 2 <= len(sections) <= MOST_LAYERS:
        raise ModelFileError(f"{file}: expected 1 to {MOST_LAYERS} layers, found {len(sections) - 1}")
    text = sections_text(sections)
    net, layers = _net(sections), []
    ignored: dict[str, list[str]] = {}
    unknown: dict[str, list[str]] = {}
    for section in sections:
        if section is not sections[0]:
            layers.append(_layer(section))
        for key, neutral in SWITCHED_OFF.get(section.kind, {}).items():
            section.only(key, neutral)
        passed, strange = section.leftovers(HARMLESS.get(section.kind, HARMLESS_IN_ANY_LAYER))
        for listed, keys in ((ignored, passed), (unknown, strange.values())):
            if keys:
                listed[section.kind] = list(dict.fromkeys([*listed.get(section.kind, []), *keys]))
    return Cfg(file, net, tuple(layers), tuple(each.kind for each in sections[1:]), ignored, unknown, text)


def _net(sections: list[Section]) -> Net:
    """Read [net]; keys of other sections may determine how images are fitted to the input size."""
    section = sections[0]
    channels = section.integer("channels", 3, 0, LARGEST_FILTERS)
    if channels not in (1, 3):
        raise section.error(f"expected channels=3 (RGB) or channels=1 (gray), found {channels}")
    words = [word for each in sections for word in (f"[{each.kind}]", *each.options)]
    return Net(
        section.integer("width", None, 1, LARGEST_SIDE),
        section.integer("height", None, 1, LARGEST_SIDE),
        channels,
        bool(section.integer("letter_box", 0, 0, 1)) if "letter_box" in section.options else None,
        next((word for word in words if word in STRETCHING), ""),
        section.line,
    )


def _layer(section: Section) -> LayerSection:
    """Read a section other than [net]."""
    line = section.line
    match section.kind:
        case "convolutional":
            return _convolutional(section)
        case "shortcut":
            layers = section.integers("from", needed=True)
            return Shortcut(layers, section.word("activation", "linear", ACTIVATIONS), line)
        case "route":
            layers = section.integers("layers", needed=True)
            groups = section.integer("groups", 1, 1, LARGEST_FILTERS)
            return Route(layers, groups, section.integer("group_id", 0, 0, groups - 1), line)
        case "maxpool" | "local_avgpool":
            stride = _stride(section, 1)
            size = section.integer("size", stride, 1, LARGEST_WINDOW)
            # half of the padding is on the left, so more than this would give empty windows
            padding = section.integer("padding", size - 1, 0, 2 * size - 2)
            return (MaxPool if section.kind == "maxpool" else LocalAvgPool)(size, stride, padding, line)
        case "upsample":
            return Upsample(_stride(section, 2), line)
        case "avgpool":
            return AvgPool(line)
        case "scale_channels" | "sam":
            layers = (section.integer("from", None, -MOST_LAYERS, MOST_LAYERS),)
            activation = section.word("activation", "linear", ACTIVATIONS)
            if section.kind == "sam":
                return Sam(layers, activation, line)
            section.integer("scale_wh", 0, 0, 1)  # the shapes determine the direction
            return ScaleChannels(layers, activation, line)
        case "reorg" | "reorg3d":
            section.only("reverse", "0")
            return Reorg(section.integer("stride", 1, 1, LARGEST_WINDOW), section.kind == "reorg", line)
        case "dropout":
            return Dropout(line)
        case "contrastive":
            return Contrastive(line)
        case "yolo" | "region" | "Gaussian_yolo":
            return _yolo(section)
    if section.kind in RECURRENT:
        raise section.error(
            "is a recurrent layer, which needs a video's frames in order; expected one for single images"
        )
    raise section.error(f"is not a section lookonce knows; it knows {', '.join(KINDS)}")


def _convolutional(section: Section) -> Convolutional:
    size, shares = section.integer("size", 1, 1, LARGEST_WINDOW), "share_index" in section.options
    padding = section.integer("padding", 0, 0, LARGEST_WINDOW)
    if section.integer("pad", 0, 0, LARGEST_WINDOW):  # any number except 0 means "same", as in Darknet
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
        xnor=bool(section.integer("xnor", 0, 0, 1)),
        line=section.line,
    )


def _stride(section: Section, default: int) -> int:
    stride = section.integer("stride", default, 1, LARGEST_WINDOW)
    sides = [section.integer(key, stride, 1, LARGEST_WINDOW) for key in ("stride_x", "stride_y")]
    if sides[0] != sides[1]:
        raise section.error(f"expected one stride for both sides, found {sides[0]} and {sides[1]}")
    return sides[0]


def _yolo(section: Section) -> Yolo:
    form: Form = "gaussian"
    if section.kind == "yolo":
        form = "new_coords" if section.integer("new_coords", 0, 0, 1) else "yolo"
    elif section.kind == "region":
        form = "region" if section.integer("softmax", 0, 0, 1) else "region_logistic"
    parents = section.integers("tree")
    if parents:  # Darknet then ignores `softmax`
        form = "region_tree"
        check_tree(section, parents)
    scale_x_y = 1.0 if section.kind == "region" else section.number("scale_x_y", 1.0)
    total = section.integer("num", 1, 1, LARGEST_FILTERS)
    mask = section.integers("mask") or tuple(range(total))
    anchors = section.numbers("anchors", needed=True)
    if len(anchors) < 2 * total:
        raise section.error(
            f"expected num={total} pairs of numbers in anchors, found {len(anchors)} numbers"
            f"{'; is a comma missing, as in 45 61,45?' if len(anchors) % 2 else ''}"
        )
    if max(mask) >= total and section.kind != "region":  # Darknet reads beyond `num`, still in the list
        total = min(max(mask) + 1, len(anchors) // 2)
    anchors = anchors[: 2 * total]  # Darknet ignores the rest
    if not 0 < min(anchors) <= max(anchors) <= LARGEST_ANCHOR:
        raise section.error(f"expected anchors above 0 and at most {LARGEST_ANCHOR}, found {min(anchors)}")
    if not 0 <= min(mask) <= max(mask) < total:
        raise section.error(f"expected a mask of 0 to {total - 1}, found {min(mask)} to {max(mask)}")
    if len(mask) > MOST_ANCHORS:
        raise section.error(f"expected at most {MOST_ANCHORS} anchors, found {len(mask)}")
    classes = section.integer("classes", 20, 1, MOST_CLASSES)
    if parents and len(parents) != classes:
        raise section.error(f"expected a tree of {counted(classes, 'class')}, found one of {len(parents)}")
    return Yolo(
        anchors=tuple((anchors[2 * i], anchors[2 * i + 1]) for i in mask),
        classes=classes,
        scale_x_y=scale_x_y,
        form=form,
        parents=parents,
        line=section.line,
    )
