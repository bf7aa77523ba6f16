"""Write a network as `.cfg`, `.weights` and `.names`, for Darknet and OpenCV."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lookonce._counted import counted
from lookonce._files import write_text
from lookonce.darknet.classic import EPSILON_REMARK, classic_cfg
from lookonce.darknet.described import network_of
from lookonce.darknet.weights import ConvWeights, write_weights
from lookonce.errors import ModelFileError
from lookonce.metadata import BN_EPSILON, ModelInfo
from lookonce.networks import NETWORKS


def write_darknet(cfg: Path, info: ModelInfo, convolutions: Sequence[ConvWeights]) -> None:
    """Write `<model>.weights`, `<model>.names` and, last, `<model>.cfg`.

    Darknet files do not store the epsilon of batch normalization. If the model's epsilon is not the one that
    readers add, the variances are adjusted so that the network computes the same: variance + model's
    epsilon - `BN_EPSILON`.

    Args:
        cfg: `.cfg` to write; the other files get the same name.
        info: description of the model.
        convolutions: weights of the convolutions, in file order.

    Raises:
        ModelFileError: a class name does not fit on a line of its own.
        ValueError: the convolutions are not those of the network.
    """
    network = network_of(info)
    expected = [(spec.kernel_shape, spec.batch_normalize) for spec in network.convolutions]
    found = [(each.kernel.shape, each.batch_norm is not None) for each in convolutions]
    if found != expected:
        raise ValueError(f"expected kernels and normalization {expected}, found {found}")
    names = names_text(cfg.with_suffix(".names"), info.names)
    write_weights(cfg.with_suffix(".weights"), [with_epsilon(each, info.bn_epsilon) for each in convolutions])
    write_text(cfg.with_suffix(".names"), names)
    if info.architecture in NETWORKS:
        text = classic_cfg(info)
    else:
        classes = counted(len(info.names), "class")
        text = f"# Written by lookonce: {classes}\n{EPSILON_REMARK}\n{network.cfg.text}"
    write_text(cfg, text)


def with_epsilon(convolution: ConvWeights, epsilon: float) -> ConvWeights:
    """Return a convolution that computes the same with `BN_EPSILON` in place of `epsilon`."""
    if convolution.batch_norm is None or epsilon == BN_EPSILON:
        return convolution
    variance = convolution.batch_norm.variance.astype(np.float64) + (epsilon - BN_EPSILON)
    return replace(
        convolution, batch_norm=replace(convolution.batch_norm, variance=variance.astype(np.float32))
    )


def names_text(file: Path, names: Sequence[str]) -> str:
    """Return class names as the text of a `.names` file.

    Raises:
        ModelFileError: a name is empty, or has a line break, or a blank at its start or end.
    """
    for name in names:
        if not name or name != name.strip() or len(name.splitlines()) != 1:
            raise ModelFileError(f"{file}: expected class names that fit one to a line, found {name!r}")
    return "".join(f"{name}\n" for name in names)
