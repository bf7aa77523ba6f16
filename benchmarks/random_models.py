"""Write the official networks with random weights, which are as fast as trained ones, without a download."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from lookonce.bench.contenders import image
from lookonce.darknet.cfg import parse_cfg
from lookonce.darknet.classic import classic_cfg
from lookonce.darknet.network import ConvSpec, Network
from lookonce.darknet.onnx_graph import build_onnx
from lookonce.darknet.resolve import resolve
from lookonce.darknet.weights import BatchNorm, ConvWeights
from lookonce.darknet.write import write_darknet
from lookonce.geometry.letterbox import Letterbox
from lookonce.metadata import ModelInfo
from lookonce.networks import NETWORKS

CLASSES = 80
IMAGES = 8
SEEN = float(np.log(0.25 / 0.75))  # logit of the default threshold of `lookonce detect`, 0.25
OBJECTS = 100  # cells and anchors with an object, about as many as for a trained model on a full image


def write_random(architecture: str, folder: Path, size: int = 416, spread: float = 1.0) -> Path:
    """Write `<architecture>.cfg`, `.weights` and `.names`; return the path of the `.cfg`.

    `spread` is the standard deviation of each raw map. Without this scaling, the shortcuts of Darknet-53
    would double the activations again and again, up to raw maps of several hundred, unlike in any trained
    network.
    """
    info = ModelInfo(
        architecture,
        names=tuple(f"class-{number}" for number in range(CLASSES)),
        anchors=NETWORKS[architecture].anchors,
        strides=NETWORKS[architecture].strides,
        input_size=(size, size),
    )
    rng = np.random.default_rng(0)
    network = resolve(parse_cfg(classic_cfg(info), architecture))
    weights = [_random(rng, spec) for spec in network.convolutions]
    heads = [
        convolution
        for spec, convolution in zip(network.convolutions, weights, strict=True)
        if not spec.batch_normalize
    ]
    maps = _raw_maps(network, weights, info)
    for head, raw in zip(heads, zip(*maps, strict=True), strict=True):
        head.kernel[:] *= np.float32(spread / np.std(raw))
    shift = np.float32(_surest(_raw_maps(network, weights, info)))
    for head in heads:
        head.bias[4 :: 5 + CLASSES] -= shift
    cfg = folder / f"{architecture}.cfg"
    write_darknet(cfg, info, weights)
    return cfg


def _raw_maps(
    network: Network, weights: Sequence[ConvWeights], info: ModelInfo
) -> list[list[NDArray[np.float32]]]:
    """Return the raw maps of each image, in the order of the heads in the network."""
    graph = build_onnx(network, weights, info, raw_maps=True).SerializeToString()
    session, found = ort.InferenceSession(graph), []
    for seed in range(IMAGES):
        seen = image(seed)
        fitted = Letterbox.fit(seen.shape[:2], info.input_size).image(seen)
        _, *maps = session.run(None, {"images": fitted[None]})
        found.append(sorted(maps, key=lambda raw: raw.shape[-1]))  # coarsest scale first in Darknet
    return found


def _surest(maps: Sequence[Sequence[NDArray[np.float32]]]) -> float:
    """Return what to subtract from objectness logits, so that at most `OBJECTS` per image exceed 0.25."""
    surest = []
    for of_image in maps:
        objectness = np.concatenate([raw[:, 4 :: 5 + CLASSES].ravel() for raw in of_image])
        surest.append(np.sort(objectness)[-OBJECTS])
    return float(max(surest)) - SEEN


def _random(rng: np.random.Generator, spec: ConvSpec) -> ConvWeights:
    """Return random weights, scaled by fan-in so that activations neither vanish nor explode."""
    fan_in = int(np.prod(spec.kernel_shape[1:]))
    kernel = rng.standard_normal(spec.kernel_shape, np.float32) * np.float32(np.sqrt(1.4 / fan_in))
    zeros, ones = np.zeros(spec.filters, np.float32), np.ones(spec.filters, np.float32)
    if spec.batch_normalize:
        return ConvWeights(kernel, zeros, BatchNorm(ones, zeros, ones))
    return ConvWeights(kernel, zeros)
