"""Start from another model's weights."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lookonce.errors import ModelFileError
from lookonce.metadata import ModelInfo
from lookonce.model.darknet_io import load_start
from lookonce.model.files import load_weights
from lookonce.samples import numbers_in


@dataclass(frozen=True, slots=True)
class Transfer:
    """Number of tensors taken over, and names of those that start fresh."""

    taken: int
    left: tuple[str, ...]


def transfer(network: nn.Module, info: ModelInfo, source: Path) -> Transfer:
    """Copy every tensor of another model that fits.

    Heads are copied if the class names are the same: a head for the same number of other classes has the
    right shape and the wrong meaning. If the network has all of the other's classes and the same anchors, the
    rows of a head are copied by class name, and those of further classes start fresh.

    Args:
        network: to be trained.
        info: its description.
        source: a lookonce model, or Darknet files as `model.darknet_io.load_start` takes them.

    Raises:
        ModelFileError: not such a model, one of another width, or nothing in it fits.
    """
    if source.suffix == ".safetensors":
        weights, source_info = load_weights(source)
    else:
        weights, source_info = load_start(source, info)
    if source_info.width != info.width:
        raise ModelFileError(
            f"{source}: expected a model of width {info.width}, found {source_info.width}: its weights fit a "
            f"network trained with width={source_info.width}"
        )
    own = network.state_dict()
    if set(source_info.names) <= set(info.names) and source_info.anchors == info.anchors:
        numbers = numbers_in(info.names, source_info.names)
        for name in own.keys() & weights.keys():
            if "head" in name and own[name].shape[1:] == weights[name].shape[1:]:
                weights[name] = grown_head(weights[name], own[name], numbers, len(info.anchors[0]))
    elif source_info.names != info.names:
        weights = {name: tensor for name, tensor in weights.items() if "head" not in name}
    taken = {
        name: tensor for name, tensor in weights.items() if name in own and own[name].shape == tensor.shape
    }
    if not taken:
        raise ModelFileError(
            f"{source}: nothing in this {source_info.architecture} fits a {info.architecture} "
            f"of width {info.width}"
        )
    network.load_state_dict(taken, strict=False)
    return Transfer(len(taken), tuple(name for name in own if name not in taken))


def grown_head(old: Tensor, fresh: Tensor, numbers: NDArray[np.int64], anchors: int) -> Tensor:
    """Return a head's weights (A*(5+C), ...) or biases with the rows of an older one of fewer classes.

    Args:
        old: of the older head.
        fresh: initial values, which the rows of new classes keep.
        numbers: number in the new head of each old class.
        anchors: A.
    """
    grown = fresh.clone()
    by_anchor, rows = (each.view(anchors, -1, *each.shape[1:]) for each in (grown, old))
    by_anchor[:, :5] = rows[:, :5]
    by_anchor[:, 5 + torch.from_numpy(numbers)] = rows[:, 5:]
    return grown


def freeze_backbone(network: nn.Module) -> None:
    """Freeze the backbone's weights, and its batch normalization at its running statistics."""
    backbone = network.get_submodule("backbone")
    backbone.requires_grad_(False)
    backbone.eval()
