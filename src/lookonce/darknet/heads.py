"""Change the classes, anchors and input size of a `.cfg`, and the `filters` before each [yolo] with them."""

from lookonce.darknet.cfg import Cfg, typed
from lookonce.darknet.ini import Section, parse_sections, short_number
from lookonce.darknet.network import Network
from lookonce.darknet.resolve import resolve
from lookonce.darknet.sections import Yolo
from lookonce.errors import ModelFileError
from lookonce.geometry.anchors import Anchors
from lookonce.geometry.decode import Decoding
from lookonce.geometry.letterbox import Fit

PER_CLASS = ("counters_per_class", "map", "tree")  # keys of a [yolo] that refer to its classes


def with_heads(cfg: Cfg, classes: int, size: tuple[int, int], fit: Fit = "letterbox") -> Network:
    """Return a network for another number of classes and another input size; only the heads change.

    Args:
        cfg: `.cfg` of the network.
        classes: number of classes of every head.
        size: (height, width) of the input.
        fit: how images are fitted to that size, `letterbox` or `stretch`.

    Raises:
        ModelFileError: there is no [yolo], one follows no convolution, or the layers do not fit together at
            this size.
    """
    if not any(isinstance(layer, Yolo) for layer in cfg.layers):
        raise ModelFileError(f"{cfg.file}: expected a detector, found no [yolo] section")
    sections = sections_of(with_input(cfg, size, fit))
    for index, section in enumerate(cfg.layers, 1):
        if isinstance(section, Yolo):
            sections[index].set("classes", classes)
            for key in PER_CLASS:
                sections[index].options.pop(key, None)
            _set_filters(sections, index, len(section.anchors) * (Decoding(section.form).columns + classes))
    return resolve(typed(sections, cfg.file))


def with_input(cfg: Cfg, size: tuple[int, int], fit: Fit) -> Cfg:
    """Return a `.cfg` for inputs of size (height, width), to which images are fitted by `fit`."""
    sections = sections_of(cfg)
    height, width = size
    for key, value in (("width", width), ("height", height), ("letter_box", int(fit == "letterbox"))):
        sections[0].set(key, value)
    return typed(sections, cfg.file)


def with_anchors(network: Network, anchors: Anchors) -> Network:
    """Return a network with other anchors.

    Args:
        network: network.
        anchors: (width, height) in input pixels of the anchors of each scale, finest first.

    Raises:
        ModelFileError: a [yolo] follows no convolution.
    """
    sections, first = sections_of(network.cfg), 0
    every = [anchor for scale in anchors for anchor in scale]
    for scale, own in zip(network.scales, anchors, strict=True):
        head, (x, y) = sections[1 + scale.layer], scale.unit
        listed = own if scale.in_cells else every  # a [region] only lists its own anchors, without a mask
        head.set("anchors", ",".join(f"{short_number(w / x)},{short_number(h / y)}" for w, h in listed))
        head.set("num", len(listed))
        if not scale.in_cells:
            head.set("mask", ",".join(map(str, range(first, first + len(own)))))
        _set_filters(sections, 1 + scale.layer, len(own) * scale.columns)
        first += len(own)
    return resolve(typed(sections, network.cfg.file))


def sections_of(cfg: Cfg) -> list[Section]:
    """Parse the text of a `.cfg` again, and give the sections their line numbers in the file."""
    sections = parse_sections(cfg.text, cfg.file)
    for section, layer in zip(sections, (cfg.net, *cfg.layers), strict=True):
        section.line = layer.line
    return sections


def _set_filters(sections: list[Section], index: int, filters: int) -> None:
    """Set the filters of the convolution before a [yolo], perhaps with a [dropout] between them.

    Raises:
        ModelFileError: there is no convolution before it.
    """
    before = index - 1
    while sections[before].kind == "dropout":
        before -= 1
    if sections[before].kind != "convolutional":
        raise sections[index].error(
            f"follows a [{sections[before].kind}]; expected a [convolutional], whose filters depend on the "
            "classes and anchors"
        )
    sections[before].set("filters", filters)
