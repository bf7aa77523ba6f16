"""The Darknet importer of OpenCV, and random weights for comparisons with it."""

from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
import pytest

from lookonce.darknet.described import describe
from lookonce.darknet.network import Network
from lookonce.darknet.onnx_graph import build_onnx
from lookonce.darknet.sections import Shortcut
from lookonce.darknet.weights import BatchNorm, ConvWeights

needs_opencv_importer = pytest.mark.skipif(
    not hasattr(cv2.dnn, "readNetFromDarknet"), reason="OpenCV 5 has no Darknet importer; needs OpenCV 4"
)

Found = list[tuple[int, float, np.ndarray]]


def random_weights(network: Network, seed: int = 0) -> list[ConvWeights]:
    """Return random weights that keep activations bounded: scaled by fan-in, halved in residual branches."""
    rng = np.random.default_rng(seed)
    made = []
    for spec in network.convolutions:
        fan_in = int(np.prod(spec.kernel_shape[1:]))
        gain = np.sqrt((1.4 if spec.batch_normalize else 1.0) / fan_in)
        kernel = rng.standard_normal(spec.kernel_shape, dtype=np.float32) * np.float32(gain)
        bias, mean = (0.1 * rng.standard_normal((2, spec.filters), dtype=np.float32)).astype(np.float32)
        norm = None
        if spec.batch_normalize:
            after = network.layers[spec.layer + 1].section
            gamma = rng.uniform(0.8, 1.2, spec.filters) * (0.5 if isinstance(after, Shortcut) else 1)
            variance = rng.uniform(0.6, 1.4, spec.filters)
            norm = BatchNorm(gamma.astype(np.float32), mean, variance.astype(np.float32))
        made.append(ConvWeights(kernel, bias, norm))
    return made


def unshared(network: Network, weights: list[ConvWeights]) -> list[ConvWeights]:
    """Return one entry per convolution, because OpenCV does not support shared weights."""
    own = {spec.layer: each for spec, each in zip(network.convolutions, weights, strict=True)}
    return [
        own[owner] for _, owner in sorted({layer: layer for layer in own}.items() | network.shared.items())
    ]


def in_memory(cfg_text: str, weights: list[ConvWeights]) -> cv2.dnn.Net:
    """Read a network into OpenCV from the text of a `.cfg` and weights in memory."""
    arrays = [array.ravel() for convolution in weights for array in convolution.in_file_order()]
    header = np.array([0, 2, 0, 0, 0], np.int32).view(np.float32)
    content = np.concatenate([header, *arrays]).view(np.uint8)
    return cv2.dnn.readNetFromDarknet(np.frombuffer(cfg_text.encode(), np.uint8), content)


def in_files(cfg: Path) -> cv2.dnn.Net:
    """Read a network into OpenCV from a `.cfg` and the `.weights` beside it."""
    return cv2.dnn.readNetFromDarknet(str(cfg), str(cfg.with_suffix(".weights")))


def opencv_raw_maps(imported: cv2.dnn.Net, network: Network, images: np.ndarray) -> list[np.ndarray]:
    """Return the inputs of the [yolo] layers, finest first, for RGB images (B, H, W, 3) uint8."""
    imported.setInput(cv2.dnn.blobFromImages(list(images), 1 / 255.0))
    imported.enableFusion(False)  # a fused layer has no output of its own
    outputs = [
        f"logistic_{scale.source + 1}" if scale.section.form == "new_coords" else f"conv_{scale.source}"
        for scale in network.scales
    ]
    return list(imported.forward(outputs))


def lookonce_outputs(
    network: Network, weights: list[ConvWeights], images: np.ndarray, *, planes: bool = False
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return candidates (B, K, 5+C) and the raw maps, finest first, after the logistic of `new_coords`.

    With `planes`, the graph in the layout for other programs gets only the first image.
    """
    info = describe(network, tuple(str(number) for number in range(network.classes)))
    model = build_onnx(network, weights, info, raw_maps=True, planes=planes)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    if planes:
        images = (images[:1].transpose(0, 3, 1, 2) / 255).astype(np.float32)
    candidates, *raw_maps = session.run(None, {"images": images})
    for number, scale in enumerate(network.scales):
        if scale.section.form == "new_coords" and not scale.activated:
            raw_maps[number] = 1 / (1 + np.exp(-raw_maps[number]))
    return candidates, raw_maps


def opencv_detections(
    imported: cv2.dnn.Net,
    image: np.ndarray,
    size: tuple[int, int],
    fit: str,
    confidence: float,
    iou: float,
) -> Found:
    """Return the detections (class, score, xyxy) in an RGB image of a detector that uses only OpenCV."""
    height, width = image.shape[:2]
    scale = np.array([size[1] / width, size[0] / height])
    if fit == "letterbox":
        scale[:] = scale.min()
    inside = np.floor(scale * (width, height) + 1e-6).astype(int)
    left, top = (np.array(size[::-1]) - inside) // 2
    canvas = np.full((*size, 3), 128, np.uint8)
    canvas[top : top + inside[1], left : left + inside[0]] = cv2.resize(image, inside.tolist())
    imported.setInput(cv2.dnn.blobFromImage(canvas, 1 / 255.0))
    rows = np.concatenate(imported.forward(imported.getUnconnectedOutLayersNames()))
    labels, scores = rows[:, 5:].argmax(1), rows[:, 5:].max(1)
    center, sides = rows[:, :2] * size[::-1], rows[:, 2:4] * size[::-1]
    low, high = ((center + sign * sides / 2 - (left, top)) / (inside / (width, height)) for sign in (-1, 1))
    low, high = np.clip(low, 0, (width, height)), np.clip(high, 0, (width, height))
    kept = cv2.dnn.NMSBoxesBatched(np.hstack([low, high - low]), scores, labels, confidence, iou)
    return [(int(labels[i]), float(scores[i]), np.hstack([low[i], high[i]])) for i in kept]


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference, relative to the largest value."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())
