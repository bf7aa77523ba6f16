"""Write one of lookonce's networks as `.cfg`, `.weights` and `.names`, for Darknet and OpenCV."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lookonce._files import write_text
from lookonce.darknet.cfg import parse_cfg
from lookonce.darknet.classic import classic_cfg
from lookonce.darknet.network import resolve
from lookonce.darknet.weights import ConvWeights, write_weights
from lookonce.errors import ModelFileError
from lookonce.metadata import BN_EPSILON, ModelInfo
from lookonce.networks import NETWORKS


def write_darknet(cfg: Path, info: ModelInfo, convolutions: Sequence[ConvWeights]) -> None:
    """Write `<model>.weights`, `<model>.names` and, last, `<model>.cfg`.

    Darknet files do not store the epsilon of batch normalization. If a model's epsilon differs from the one
    used on reading, the variances are adjusted so that the network computes the same:
    variance + model's epsilon - `BN_EPSILON`.

    Args:
        cfg: the `.cfg` to write; the other two get its name.
        info: a yolov3, yolov3-spp or yolov3-tiny.
        convolutions: in file order.

    Raises:
        ModelFileError: a different architecture, or class names that contain line breaks.
    """
    if info.architecture not in NETWORKS:
        raise ModelFileError(
            f"{cfg}: expected one of {', '.join(NETWORKS)} to write as a .cfg, found {info.architecture}"
        )
    text = classic_cfg(info)
    expected = [spec.kernel_shape for spec in resolve(parse_cfg(text, str(cfg))).convolutions]
    found = [convolution.kernel.shape for convolution in convolutions]
    if found != expected:
        raise ValueError(f"expected kernels {expected}, found {found}")
    names = names_text(cfg.with_suffix(".names"), info.names)
    write_weights(
        cfg.with_suffix(".weights"), [_with_epsilon(each, info.bn_epsilon) for each in convolutions]
    )
    write_text(cfg.with_suffix(".names"), names)
    write_text(cfg, text)


def _with_epsilon(convolution: ConvWeights, epsilon: float) -> ConvWeights:
    """Return the same normalization for a reader that adds `BN_EPSILON`."""
    if convolution.batch_norm is None or epsilon == BN_EPSILON:
        return convolution
    variance = convolution.batch_norm.variance.astype(np.float64) + (epsilon - BN_EPSILON)
    return replace(
        convolution, batch_norm=replace(convolution.batch_norm, variance=variance.astype(np.float32))
    )


def names_text(file: Path, names: Sequence[str]) -> str:
    """Return class names as the text of a `.names` file.

    Raises:
        ModelFileError: a name that does not fit on a line.
    """
    for name in names:
        if not name or name != name.strip() or len(name.splitlines()) != 1:
            raise ModelFileError(f"{file}: expected class names that fit one to a line, found {name!r}")
    return "".join(f"{name}\n" for name in names)
