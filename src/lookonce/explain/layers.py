"""Describe every layer of a network: its name, its operation and its cost.

Legend: **C** channels, **H**, **W** height and width of an output.
"""

import math

from lookonce._counted import counted
from lookonce.darknet.network import Network
from lookonce.darknet.sections import (
    AvgPool,
    Convolutional,
    LayerSection,
    MaxPool,
    Route,
    Shortcut,
    Upsample,
    Yolo,
)
from lookonce.explain.records import Kernel, NetworkLayer
from lookonce.metadata import DARKNET53_STAGES
from lookonce.networks import NETWORKS

# The write-up's names of the backbone's outputs, by stage, and of the raw maps, finest first.
ROUTES = {2: "route_1", 3: "route_2", 4: "conv"}
RAW_MAPS = ("conv_sbbox", "conv_mbbox", "conv_lbbox")
POOLS = (13, 9, 5)  # sides of `SpatialPyramidPooling.pools`, in the same order


def describe_layers(
    network: Network, architecture: str, seconds: dict[int, float], total_seconds: float
) -> tuple[NetworkLayer, ...]:
    """Describe every layer of a network.

    Args:
        network: network, resolved at its input size.
        architecture: a name in `networks.NETWORKS`, whose layers have names, or `darknet`.
        seconds: measured time by layer number, in seconds.
        total_seconds: measured time of the whole network, in seconds.
    """
    specs = {spec.layer: spec for spec in network.convolutions}
    parts, modules = parts_of(network, architecture), module_names(network, architecture)
    titles = write_up_names(network) if architecture in NETWORKS else {}
    found = []
    for layer in network.layers:
        parameters = trainable = multiply_adds = 0
        kernel = None
        if isinstance(section := layer.section, Convolutional):
            kernel = Kernel(
                section.size,
                section.stride,
                section.padding * section.dilation,
                section.dilation,
                section.groups,
                section.batch_normalize,
                network.shared.get(layer.index),
            )
            owner = specs[layer.index if kernel.owner is None else kernel.owner]
            multiply_adds = layer.shape.height * layer.shape.width * math.prod(owner.kernel_shape)
            if kernel.owner is None:
                parameters = owner.numbers
                trainable = parameters - (2 * owner.filters if owner.batch_normalize else 0)  # mean, variance
        found.append(
            NetworkLayer(
                index=layer.index,
                kind=network.cfg.kinds[layer.index],
                part=parts[layer.index],
                name=modules.get(layer.index, ""),
                title=titles.get(layer.index, ""),
                detail=operation(layer.section),
                inputs=layer.sources,
                shape=layer.shape,
                kernel=kernel,
                parameters=parameters,
                trainable=trainable,
                multiply_adds=multiply_adds,
                seconds=seconds.get(layer.index, 0.0),
                share=seconds.get(layer.index, 0.0) / total_seconds if total_seconds else 0.0,
            )
        )
    return tuple(found)


def parts_of(network: Network, architecture: str) -> list[str]:
    """Return the part of each layer: `backbone`, `neck` or `head` (see `records.NetworkLayer`)."""
    heads = {scale.source for scale in network.scales}
    heads |= {layer.index for layer in network.layers if isinstance(layer.section, Yolo)}
    if architecture in NETWORKS:
        backbone = set(range(network.convolutions[NETWORKS[architecture].backbone].layer))
    else:
        backbone = network.backbone
    return [
        "head" if layer.index in heads else "backbone" if layer.index in backbone else "neck"
        for layer in network.layers
    ]


def module_names(network: Network, architecture: str) -> dict[int, str]:
    """Return the name of each layer's module in `model.yolov3` or `model.tiny`, by layer number."""
    if architecture not in NETWORKS:
        return {}
    tiny, spp = architecture.startswith("yolov3-tiny"), architecture == "yolov3-spp"
    if tiny:
        made = [f"backbone.convs.{number}" for number in range(7)] + ["squeeze", "coarse", "coarse_head"]
        for scale in ("medium", "fine")[-len(network.scales) + 1 :]:
            made += [f"to_{scale}", scale, f"{scale}_head"]
    else:
        made = ["backbone.stem"]
        for stage, (repeats, _) in enumerate(DARKNET53_STAGES):
            made.append(f"backbone.stages.{stage}.0")
            for block in range(1, repeats + 1):
                made += [f"backbone.stages.{stage}.{block}.{name}" for name in ("squeeze", "expand")]
        for scale in ("coarse", "medium", "fine"):  # in file order
            made += [] if scale == "coarse" else [f"to_{scale}"]
            # on the coarse scale of yolov3-spp, number 3 is the pyramid pooling
            five = (0, 1, 2, 4, 5, 6) if spp and scale == "coarse" else range(5)
            made += [*(f"{scale}.five.{number}" for number in five), f"{scale}.own", f"{scale}.head"]
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


def write_up_names(network: Network) -> dict[int, str]:
    """Return the write-up's names of outputs, by layer number; empty unless there are three scales."""
    if len(network.scales) != len(RAW_MAPS):
        return {}
    titles = {scale.source: title for scale, title in zip(network.scales, RAW_MAPS, strict=True)}
    sums = [layer.index for layer in network.layers if isinstance(layer.section, Shortcut)]
    for stage, title in ROUTES.items():
        last_of_stage = sum(repeats for repeats, _ in DARKNET53_STAGES[: stage + 1]) - 1
        if last_of_stage < len(sums):
            titles[sums[last_of_stage]] = title
    return titles


def operation(section: LayerSection) -> str:
    """Describe a layer's operation in a few words."""
    match section:
        case Convolutional(filters, size, stride, _, groups, batch_normalize, activation):
            parts = [f"{size}x{size}" + f" / {stride}" * (stride > 1), f"{filters} filters"]
            parts += [f"{groups} groups"] * (groups > 1) + ["batch norm"] * batch_normalize + [activation]
            return ", ".join(parts)
        case Shortcut(_, activation):
            return "sum" if activation == "linear" else f"sum, {activation}"
        case Route(layers, groups, group_id):
            joined = "joined along the channels" if len(layers) > 1 else "passed on"
            return joined if groups == 1 else f"{joined}, part {group_id + 1} of {groups}"
        case MaxPool(size, stride):
            return f"maximum of {size}x{size}" + f" / {stride}" * (stride > 1)
        case Upsample(stride):
            return f"nearest, x{stride}"
        case AvgPool():
            return "mean of each channel"
        case Yolo(anchors, classes):
            return f"{counted(len(anchors), 'anchor')}, {counted(classes, 'class')}"
    return "nothing outside training"
