"""Start from another model's weights."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from lookonce.errors import ModelFileError
from lookonce.metadata import ModelInfo
from lookonce.model.darknet_io import load_start
from lookonce.model.files import load_weights


@dataclass(frozen=True, slots=True)
class Transfer:
    """Number of tensors taken over, and names of those that start fresh."""

    taken: int
    left: tuple[str, ...]


def transfer(network: nn.Module, info: ModelInfo, source: Path) -> Transfer:
    """Copy every tensor of another model that fits.

    Heads are copied only if the class names are the same: a head for the same number of other classes has the
    right shape and the wrong meaning.

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
    taken = {
        name: tensor
        for name, tensor in weights.items()
        if name in own
        and own[name].shape == tensor.shape
        and ("head" not in name or source_info.names == info.names)
    }
    if not taken:
        raise ModelFileError(
            f"{source}: nothing in this {source_info.architecture} fits a {info.architecture} "
            f"of width {info.width}"
        )
    network.load_state_dict(taken, strict=False)
    return Transfer(len(taken), tuple(name for name in own if name not in taken))


def freeze_backbone(network: nn.Module) -> None:
    """Freeze the backbone's weights, and its batch normalization at its running statistics."""
    backbone = network.get_submodule("backbone")
    backbone.requires_grad_(False)
    backbone.eval()
