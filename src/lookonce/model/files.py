"""The lookonce model file: one self-contained `.safetensors` file.

It holds the weights under their names in the network, and their description (`ModelInfo`) as a JSON entry of
the header. A checkpoint additionally holds the training state under `training/`, which model readers ignore.
Nothing is ever unpickled.
"""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lookonce._files import check_file, replacing
from lookonce.errors import ModelFileError
from lookonce.metadata import METADATA_KEY, ModelInfo
from lookonce.model.network import build

TRAINING_PREFIX = "training/"


def save_model(
    path: Path, weights: Mapping[str, Tensor], info: ModelInfo, training: Mapping[str, Tensor] | None = None
) -> None:
    """Write a model file atomically.

    Args:
        path: file to write.
        weights: state dict of the network.
        info: description of the network.
        training: training state of a checkpoint, by name.

    Raises:
        ModelFileError: the file cannot be written, for example to a full disk; an existing file is kept.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    for name, tensor in (training or {}).items():
        tensors[TRAINING_PREFIX + name] = tensor.detach().cpu().contiguous()
    try:
        # safetensors first writes to a temporary name; cleanup after a kill finds it in this folder
        with (
            replacing(path) as temporary,
            TemporaryDirectory(dir=path.parent, prefix=temporary.stem) as folder,
        ):
            made = Path(folder) / path.name
            save_file(tensors, made, metadata={METADATA_KEY: info.to_json()})
            made.replace(temporary)
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{path}: cannot be written: {error}") from error


def load_model(path: Path) -> tuple[nn.Module, ModelInfo]:
    """Read a model file into the network it describes.

    Raises:
        ModelFileError: the file is no lookonce model or is truncated, or its weights do not match the
            description or are not finite.
    """
    weights, info = load_weights(path)
    try:
        with torch.device("meta"):  # only shapes, so that a wrong width takes no memory
            expected = build(info).state_dict()
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from error
    if wrong := mismatches(expected, weights):
        raise ModelFileError(
            f"{path}: the weights do not fit {info.architecture} at width {info.width}: {wrong[0]}"
        )
    for name, tensor in weights.items():
        if not tensor.isfinite().all() or (name.endswith("running_var") and tensor.min() < -info.bn_epsilon):
            raise ModelFileError(
                f"{path}: {name} holds numbers that are infinite, not a number, or a variance below 0"
            )
    network = build(info)
    network.load_state_dict(weights)
    return network, info


def load_weights(path: Path) -> tuple[dict[str, Tensor], ModelInfo]:
    """Read the weights of a model file, by name, and its description.

    Raises:
        ModelFileError: the file is no lookonce model, or is truncated.
    """
    return _read(path, training=False)


def load_info(path: Path) -> ModelInfo:
    """Read only the description of a model file.

    Raises:
        ModelFileError: the file is no lookonce model, or is truncated.
    """
    return _read(path, training=None)[1]


def load_training(path: Path) -> dict[str, Tensor]:
    """Read the training state of a checkpoint, by name; empty for a model without one.

    Raises:
        ModelFileError: the file is no lookonce model, or is truncated.
    """
    return _read(path, training=True)[0]


def mismatches(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """Describe each tensor that is missing, has a different shape, or is unknown."""
    lines = []
    for name, tensor in expected.items():
        if name not in found:
            lines.append(f"{name} is missing")
        elif found[name].shape != tensor.shape:
            lines.append(f"{name}: expected {tuple(tensor.shape)}, found {tuple(found[name].shape)}")
    return lines + [f"{name} belongs nowhere" for name in found if name not in expected]


def _read(path: Path, *, training: bool | None) -> tuple[dict[str, Tensor], ModelInfo]:
    check_file(path, ModelFileError)
    try:
        with safe_open(path, framework="pt") as file:
            described = (file.metadata() or {}).get(METADATA_KEY)
            if described is None:
                raise ModelFileError(
                    f"{path}: expected a lookonce model, found safetensors without its description"
                )
            info = ModelInfo.from_json(described, str(path))
            tensors = {
                name.removeprefix(TRAINING_PREFIX): file.get_tensor(name)
                for name in file.keys()  # noqa: SIM118 - not a dict
                if name.startswith(TRAINING_PREFIX) == training
            }
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{path}: expected a lookonce model (.safetensors): {error}") from error
    return tensors, info
