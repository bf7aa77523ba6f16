"""The table of all layers: what each is called, what it does, what it costs.

Legend: **C** channels, **H**, **W** height and width of an output.
"""

from collections.abc import Iterator

from lookonce.darknet.cfg import (
    AvgPool,
    Convolutional,
    LayerSection,
    MaxPool,
    Route,
    Shortcut,
    Upsample,
    Yolo,
)
from lookonce.darknet.network import IMAGE, ConvSpec, Layer, Network
from lookonce.explain.records import NetworkLayer
from lookonce.metadata import ARCHITECTURES, DARKNET53_STAGES

# The write-up's names: what the backbone hands on, by stage, and the raw maps, finest first.
ROUTES = {2: "route_1", 3: "route_2", 4: "conv"}
RAW_MAPS = ("conv_sbbox", "conv_mbbox", "conv_lbbox")
SCALE_NAMES = ("coarse", "medium", "fine")  # in `model.yolov3`, as the file has them
POOLS = (13, 9, 5)  # sides of `SpatialPyramidPooling.pools`, in its order


def describe_layers(
    network: Network, architecture: str, seconds: dict[int, float], total_seconds: float
) -> tuple[NetworkLayer, ...]:
    """Every layer of a network.

    Args:
        network: at the size it runs at.
        architecture: one of lookonce's, so that layers have names; else `darknet`.
        seconds: measured, by layer.
        total_seconds: of the whole network.
    """
    specs = {spec.layer: spec for spec in network.convolutions}
    parts, names, titles = _parts(network, architecture), _names(network, architecture), _titles(network)
    return tuple(
        NetworkLayer(
            index=layer.index,
            kind=type(layer.section).__name__.lower(),
            part=parts[layer.index],
            name=names.get(layer.index, ""),
            title=titles.get(layer.index, "") if architecture in ARCHITECTURES else "",
            detail=_detail(layer.section),
            inputs=layer.sources,
            shape=layer.shape,
            parameters=specs[layer.index].numbers if layer.index in specs else 0,
            trainable=_trainable(specs.get(layer.index)),
            multiply_adds=_multiply_adds(layer, specs.get(layer.index)),
            seconds=seconds.get(layer.index, 0.0),
            share=seconds.get(layer.index, 0.0) / total_seconds if total_seconds else 0.0,
        )
        for layer in network.layers
    )


def _trainable(spec: ConvSpec | None) -> int:
    """The numbers of a convolution without its running mean and variance."""
    if spec is None:
        return 0
    return spec.numbers - (2 * spec.filters if spec.batch_normalize else 0)


def _multiply_adds(layer: Layer, spec: ConvSpec | None) -> int:
    """H * W * out * (in / groups) * size * size."""
    if spec is None:
        return 0
    filters, inputs, rows, columns = spec.kernel_shape
    return layer.shape.height * layer.shape.width * filters * inputs * rows * columns


def _parts(network: Network, architecture: str) -> list[str]:
    """`backbone`, `neck` or `head` of each layer; see `records.NetworkLayer`."""
    heads = {scale.source for scale in network.scales}
    heads |= {layer.index for layer in network.layers if isinstance(layer.section, Yolo)}
    if architecture in ARCHITECTURES:
        after = network.convolutions[ARCHITECTURES[architecture][1]].layer
        backbone = set(range(after))
    else:
        backbone = set.intersection(*(_read_by(network, scale.source) for scale in network.scales))
    return [
        "head" if layer.index in heads else "backbone" if layer.index in backbone else "neck"
        for layer in network.layers
    ]


def _read_by(network: Network, index: int) -> set[int]:
    """A layer and all that it depends on."""
    found, waiting = set(), [index]
    while waiting:
        if (layer := waiting.pop()) not in found and layer != IMAGE:
            found.add(layer)
            waiting += network.layers[layer].sources
    return found


def _names(network: Network, architecture: str) -> dict[int, str]:
    """The module of the readable network that each layer is."""
    if architecture not in ARCHITECTURES:
        return {}
    tiny = architecture == "yolov3-tiny"
    made = _tiny_names() if tiny else _yolov3_names(spp=architecture == "yolov3-spp")
    names = {spec.layer: name for spec, name in zip(network.convolutions, made, strict=True)}
    for layer in network.layers:
        match layer.section:
            case Shortcut():
                names[layer.index] = names[layer.index - 1].removesuffix(".expand")
            case MaxPool(stride=2):
                names[layer.index] = "backbone.halve"
            case MaxPool(size=size) if not tiny:
                names[layer.index] = f"coarse.five.3.pools.{POOLS.index(size)}"
            case Route() if len(layer.sources) == 1 + len(POOLS):
                names[layer.index] = "coarse.five.3"
    return names


def _yolov3_names(*, spp: bool) -> Iterator[str]:
    """The convolutions of `model.yolov3.YOLOv3`, in file order."""
    yield "backbone.stem"
    for stage, (repeats, _) in enumerate(DARKNET53_STAGES):
        yield f"backbone.stages.{stage}.0"
        for block in range(1, repeats + 1):
            yield f"backbone.stages.{stage}.{block}.squeeze"
            yield f"backbone.stages.{stage}.{block}.expand"
    for scale in SCALE_NAMES:
        if scale != "coarse":
            yield f"to_{scale}"
        # with pyramid pooling, number 3 of the coarse scale is the pooling
        five = (0, 1, 2, 4, 5, 6) if spp and scale == "coarse" else range(5)
        yield from (f"{scale}.five.{number}" for number in five)
        yield f"{scale}.own"
        yield f"{scale}.head"


def _tiny_names() -> Iterator[str]:
    """The convolutions of `model.tiny.YOLOv3Tiny`, in file order."""
    yield from (f"backbone.convs.{number}" for number in range(7))
    yield from ("squeeze", "coarse", "coarse_head", "to_fine", "fine", "fine_head")


def _titles(network: Network) -> dict[int, str]:
    """The write-up's names of a network with its three scales: what the backbone hands on, the raw maps."""
    if len(network.scales) != len(RAW_MAPS):
        return {}
    titles = {scale.source: title for scale, title in zip(network.scales, RAW_MAPS, strict=True)}
    sums = [layer.index for layer in network.layers if isinstance(layer.section, Shortcut)]
    for stage, title in ROUTES.items():
        last_of_stage = sum(repeats for repeats, _ in DARKNET53_STAGES[: stage + 1]) - 1
        if last_of_stage < len(sums):
            titles[sums[last_of_stage]] = title
    return titles


def _detail(section: LayerSection) -> str:
    """What a layer does, in a few words."""
    match section:
        case Convolutional(filters, size, stride, _, groups, batch_normalize, activation):
            parts = [f"{size}x{size}{_over(stride)}", f"{filters} filters"]
            parts += [f"{groups} groups"] * (groups > 1) + ["batch norm"] * batch_normalize + [activation]
            return ", ".join(parts)
        case Shortcut(_, activation):
            return "sum" if activation == "linear" else f"sum, {activation}"
        case Route(layers, groups, group_id):
            joined = "joined along the channels" if len(layers) > 1 else "handed on"
            return joined if groups == 1 else f"{joined}, part {group_id + 1} of {groups}"
        case MaxPool(size, stride):
            return f"maximum of {size}x{size}{_over(stride)}"
        case Upsample(stride):
            return f"nearest, x{stride}"
        case AvgPool():
            return "mean of each channel"
        case Yolo(anchors, classes):
            return f"{len(anchors)} anchors, {classes} classes"
    return "nothing outside training"


def _over(stride: int) -> str:
    return f" / {stride}" if stride > 1 else ""
