"""A few small images with boxes, written to disk."""

from pathlib import Path

import numpy as np

from lookonce.images import write_image
from lookonce.metadata import ModelInfo
from lookonce.samples import Sample

INFO = ModelInfo(
    architecture="yolov3-tiny",
    names=("disc", "bar", "ring"),
    anchors=(((10, 14), (23, 27), (37, 58)), ((81, 82), (135, 169), (344, 319))),
    strides=(16, 32),
    input_size=(64, 96),  # rectangular, so that swapped axes show
)


def draw_samples(folder: Path, count: int = 7) -> list[Sample]:
    """Noise images of different sizes; the i-th holds i % 4 boxes, so some are background."""
    rng = np.random.default_rng(7)
    samples = []
    for i in range(count):
        height, width, n = 50 + 7 * i, 90 - 3 * i, i % 4
        path = folder / f"image {i}.png"
        write_image(path, rng.integers(0, 256, (height, width, 3), np.uint8))
        low = rng.uniform(0, 0.5, (n, 2))
        boxes = np.hstack([low, low + rng.uniform(0.1, 0.5, (n, 2))]) * [width, height, width, height]
        samples.append(Sample(path, boxes.astype(np.float32), rng.integers(0, 3, n)))
    return samples
