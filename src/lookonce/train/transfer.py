"""Start training from another model's weights, and freeze layers."""

import io
from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lookonce._files import open_input
from lookonce.darknet.beside import has_cfg
from lookonce.darknet.classic import layers_of
from lookonce.darknet.described import network_of
from lookonce.darknet.network import Network
from lookonce.darknet.weights import read_header
from lookonce.errors import ConfigError, ModelFileError
from lookonce.metadata import DARKNET, ModelInfo
from lookonce.model.darknet_io import (
    arrays_of,
    convolution_names,
    fill,
    head_rows,
    load_darknet,
    load_start,
)
from lookonce.model.files import load_model, load_weights
from lookonce.model.graph import DarknetGraph
from lookonce.samples import numbers_in


@dataclass(frozen=True, slots=True)
class Transfer:
    """Names of the convolutions that were copied, and of those that keep their initial weights."""

    copied: tuple[str, ...]
    fresh: tuple[str, ...]

    def __str__(self) -> str:
        whole = len(self.copied) + len(self.fresh)
        first, more = ", ".join(self.fresh[:4]), len(self.fresh) - 4
        left = f"; fresh: {first}{f' and {more} more' if more > 0 else ''}" if self.fresh else ""
        return f"copied {len(self.copied)} of {whole} convolutions{left}"


def transfer(network: nn.Module, info: ModelInfo, source: Path, base: Network | None = None) -> Transfer:
    """Copy every layer of another model that corresponds to a layer of this network.

    Heads are copied if the class names are the same; a head for as many other classes would have the right
    shape but a different meaning. If the network has all classes of the other model and the same anchors, the
    rows of a head are copied by class name, and those of new classes keep their initial weights. If either
    is a `DarknetGraph`, a layer is copied if it and all layers that it depends on are the same in both.

    Args:
        network: network to train.
        info: description of the network.
        source: lookonce model, `.cfg` with its weights beside it, or Darknet weights with or without a
            `.cfg`.
        base: network of weights without a `.cfg`, see `model.darknet_io.load_start`; None for the network
            to train.

    Raises:
        ModelFileError: the source is no such model, has another width, or has no layer that fits.
    """
    source_info: ModelInfo | None = None
    base = base or network_of(info)
    suffix = source.suffix.lower()
    has_own_cfg = suffix == ".cfg" or (suffix == ".weights" and has_cfg(source))
    if suffix == ".safetensors":
        weights, source_info = load_weights(source)
    elif has_own_cfg:
        whole, source_info = load_darknet(source)
        weights = whole.state_dict()
    else:
        weights = load_start(source, base if info.architecture == DARKNET else as_long_as(source, info))
    if source_info and source_info.architecture == info.architecture and source_info.width != info.width:
        raise ModelFileError(
            f"{source}: expected a model of width {info.width}, found {source_info.width}: its weights fit a "
            f"network trained with width={source_info.width}"
        )
    architectures = {info.architecture, source_info.architecture if source_info else info.architecture}
    filled = network
    if len(architectures) == 2 and DARKNET in architectures:  # they name the same layers differently
        assert source_info is not None
        filled = as_graph(network, info)
        weights = as_graph(whole if has_own_cfg else load_model(source)[0], source_info).state_dict()
    own, heads, names = filled.state_dict(), head_rows(filled), convolution_names(filled)
    if DARKNET in architectures:
        target = network_of(info)
        same = same_layers(target, network_of(source_info) if source_info else base)
        names = [name for name, spec in zip(names, target.convolutions, strict=True) if spec.layer in same]
    known = source_info.names if source_info else ()
    grows = source_info is not None and set(known) <= set(info.names) and source_info.anchors == info.anchors
    copied: dict[str, dict[str, Tensor]] = {}
    for name in names:
        current = {key: tensor for key, tensor in own.items() if key.startswith(f"{name}.")}
        loaded = {key: weights[key] for key in current if key in weights}
        if name in heads and grows:
            anchors, beside = heads[name]
            for key, each in loaded.items():
                if each.shape == (anchors * (beside + len(known)), *current[key].shape[1:]):
                    loaded[key] = grown_head(
                        each, current[key], numbers_in(info.names, known), anchors, beside
                    )
        elif name in heads and known != info.names:
            continue
        if all(key in loaded and loaded[key].shape == current[key].shape for key in current):
            copied[name] = loaded
    if not copied:
        raise ModelFileError(f"{source}: expected layers that the network to train has as well, found none")
    filled.load_state_dict(
        {key: each for part in copied.values() for key, each in part.items()}, strict=False
    )
    if filled is not network:
        fill(network, arrays_of(filled))
    pairs = [*zip(convolution_names(filled), convolution_names(network), strict=True)]
    return Transfer(
        tuple(name for key, name in pairs if key in copied),
        tuple(name for key, name in pairs if key not in copied),
    )


def as_long_as(source: Path, info: ModelInfo) -> Network:
    """Return a named network with as many classes as complete weights without a `.cfg` have.

    If no number of classes fits the length of the file, or if the file ends after a layer, as a backbone
    does, the classes are those of `info`.

    Raises:
        ModelFileError: the file is not a weight file.
    """
    network, one_more = (network_of(replace(info, names=("",) * (len(info.names) + n))) for n in (0, 1))
    with open_input(source, ModelFileError) as file:
        header = read_header(source, file.read(20))
        found = (file.seek(0, io.SEEK_END) - header.size) // 4
    more, rest = divmod(found - network.numbers, one_more.numbers - network.numbers)
    classes = len(info.names) + more
    if rest or classes < 1 or found in accumulate(spec.numbers for spec in network.convolutions):
        return network
    return network_of(replace(info, names=("",) * classes))


def as_graph(network: nn.Module, info: ModelInfo) -> DarknetGraph:
    """Return a network as a `DarknetGraph` with the same weights."""
    graph = DarknetGraph(network_of(info), bn_epsilon=info.bn_epsilon)
    fill(graph, arrays_of(network))
    return graph


def same_layers(target: Network, source: Network) -> set[int]:
    """Return the layers that are the same in both networks, as are all layers that they depend on."""
    same = {
        index
        for index, (layer, other) in enumerate(zip(layers_of(target), layers_of(source), strict=False))
        if layer == other
    }
    heads = {scale.source for scale in target.scales}  # their shapes and class names are compared instead
    before = {index: target.needs(target.layers[index].sources) for index in same | heads}
    return {index for index, needed in before.items() if needed <= same}


def frozen_parts(network: nn.Module, info: ModelInfo, freeze: str | int) -> list[nn.Module]:
    """Return the modules to freeze, which keep their weights and statistics in training.

    Args:
        network: network to train.
        info: description of the network.
        freeze: layers to freeze, see `TrainSettings.freeze`.

    Raises:
        ConfigError: there is no such layer.
    """
    if freeze == "nothing":
        return []
    named = dict(network.named_modules())
    if isinstance(freeze, str) and freeze in named:
        return [named[freeze]]
    graph, names = network_of(info), convolution_names(network)
    last = graph.convolutions[-1].layer
    if isinstance(freeze, int) and freeze <= last:
        chosen = set(range(freeze))
    elif freeze == "backbone":
        chosen = graph.backbone
    else:
        raise ConfigError(
            f"freeze: expected nothing, backbone, a number of layers from 1 to {last}, or a layer's "
            f"name, such as {names[0]}, found {freeze!r}"
        )
    return [named[name] for name, spec in zip(names, graph.convolutions, strict=True) if spec.layer in chosen]


def freeze_parts(network: nn.Module, info: ModelInfo, freeze: str | int) -> None:
    """Freeze the weights and running statistics of some layers; see `frozen_parts`."""
    for part in frozen_parts(network, info, freeze):
        part.requires_grad_(False)
        part.eval()


def check_frozen(network: nn.Module, info: ModelInfo, freeze: str | int, fresh: Collection[str]) -> None:
    """Check that frozen layers have no initial weights, which nothing trains, and that a layer is trained.

    Args:
        network: network to train.
        info: description of the network.
        freeze: layers to freeze, see `TrainSettings.freeze`.
        fresh: names of the convolutions with initial weights.

    Raises:
        ConfigError: a frozen layer has initial weights, there is no such layer to freeze, or no layer is left
            to train.
    """
    frozen = {module for part in frozen_parts(network, info, freeze) for module in part.modules()}
    weighted = (each for each in network.modules() if next(each.parameters(recurse=False), None) is not None)
    if frozen.issuperset(weighted):
        raise ConfigError(f"freeze: expected layers left to train, found none besides {freeze}")
    for name in fresh:
        if not frozen.isdisjoint(network.get_submodule(name).modules()):
            raise ConfigError(
                f"freeze: expected layers with weights from a trained model, found random weights in {name}"
            )


def grown_head(old: Tensor, fresh: Tensor, numbers: NDArray[np.int64], anchors: int, beside: int) -> Tensor:
    """Copy the rows of an older head with fewer classes into a head's weights or biases, (A*(5+C), ...).

    Args:
        old: weights or biases of the older head.
        fresh: initial values of the new head, which the rows of new classes keep.
        numbers: number of each old class in the new head.
        anchors: number of anchors A.
        beside: rows per anchor besides the classes: 5, or 9 in a [Gaussian_yolo].
    """
    grown = fresh.clone()
    by_anchor, rows = (each.view(anchors, -1, *each.shape[1:]) for each in (grown, old))
    by_anchor[:, :beside] = rows[:, :beside]
    by_anchor[:, beside + torch.from_numpy(numbers)] = rows[:, beside:]
    return grown
