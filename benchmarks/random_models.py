"""The official networks with random weights: as fast as trained ones, and nothing to download."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort

from lookonce.darknet.cfg import parse_cfg
from lookonce.darknet.classic import classic_cfg
from lookonce.darknet.network import ConvSpec, Network, resolve
from lookonce.darknet.onnx_graph import build_onnx
from lookonce.darknet.weights import BatchNorm, ConvWeights
from lookonce.darknet.write import write_darknet
from lookonce.data.synthetic import scene
from lookonce.geometry.anchors import OFFICIAL, STRIDES
from lookonce.metadata import ModelInfo

CLASSES = 80
OBJECTS = 100  # cells and priors that see an object, about as many as with a trained model and a full picture


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
    network = resolve(parse_cfg(classic_cfg(info), architecture))
    weights = [_random(rng, spec) for spec in network.convolutions]
    shift = np.float32(_surest(network, weights, info))
    for spec, convolution in zip(network.convolutions, weights, strict=True):
        if not spec.batch_normalize:  # a head
            convolution.bias[4 :: 5 + CLASSES] -= shift
    cfg = folder / f"{architecture}.cfg"
    write_darknet(cfg, info, weights)
    return cfg


def _surest(network: Network, weights: Sequence[ConvWeights], info: ModelInfo) -> float:
    """The objectness, before the sigmoid, that just `OBJECTS` cells and priors of a picture exceed."""
    graph = build_onnx(network, weights, info, raw_maps=True).SerializeToString()
    picture = cv2.resize(scene(np.random.default_rng(0)).picture, info.input_size[::-1])
    _, *maps = ort.InferenceSession(graph).run(None, {"images": picture[None]})
    objectness = np.concatenate([raw[:, 4 :: 5 + CLASSES].ravel() for raw in maps])
    return float(np.sort(objectness)[-OBJECTS])


def _random(rng: np.random.Generator, spec: ConvSpec) -> ConvWeights:
    """Scaled by fan-in, so that activations neither die nor explode."""
    fan_in = int(np.prod(spec.kernel_shape[1:]))
    kernel = rng.standard_normal(spec.kernel_shape, np.float32) * np.float32(np.sqrt(1.4 / fan_in))
    zeros, ones = np.zeros(spec.filters, np.float32), np.ones(spec.filters, np.float32)
    if spec.batch_normalize:
        return ConvWeights(kernel, zeros, BatchNorm(ones, zeros, ones))
    return ConvWeights(kernel, zeros)
