"""The official networks with random weights: as fast as trained ones, and nothing to download."""

from pathlib import Path

import numpy as np

from lookonce.darknet.cfg import parse_cfg
from lookonce.darknet.classic import classic_cfg
from lookonce.darknet.network import ConvSpec, resolve
from lookonce.darknet.weights import BatchNorm, ConvWeights
from lookonce.darknet.write import write_darknet
from lookonce.geometry.anchors import OFFICIAL, STRIDES
from lookonce.metadata import ModelInfo

CLASSES = 80
RARE = -5.0  # objectness before the sigmoid: leaves about as many candidates as a trained model does


def write_random(architecture: str, folder: Path, size: int = 416) -> Path:
    """Write `<architecture>.cfg`, `.weights` and `.names`; returns the `.cfg`."""
    info = ModelInfo(
        architecture,
        names=tuple(f"class-{number}" for number in range(CLASSES)),
        anchors=OFFICIAL[architecture],
        strides=STRIDES[architecture],
        input_size=(size, size),
    )
    rng = np.random.default_rng(0)
    convolutions = resolve(parse_cfg(classic_cfg(info), architecture)).convolutions
    cfg = folder / f"{architecture}.cfg"
    write_darknet(cfg, info, [_random(rng, spec) for spec in convolutions])
    return cfg


def _random(rng: np.random.Generator, spec: ConvSpec) -> ConvWeights:
    """Scaled by fan-in, so that activations neither die nor explode; a head rarely sees an object."""
    fan_in = int(np.prod(spec.kernel_shape[1:]))
    kernel = rng.standard_normal(spec.kernel_shape, np.float32) * np.float32(np.sqrt(1.4 / fan_in))
    zeros, ones = np.zeros(spec.filters, np.float32), np.ones(spec.filters, np.float32)
    if spec.batch_normalize:
        return ConvWeights(kernel, zeros, BatchNorm(ones, zeros, ones))
    bias = zeros.copy()
    bias[4 :: 5 + CLASSES] = RARE
    return ConvWeights(kernel, bias)
