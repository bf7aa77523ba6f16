"""Reduce feature maps to small gray tiles.

Legend: **n** channels shown, **h**, **w** height and width of a tile.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce.explain.records import Features

# Tiles per layer. 8 tiles of 52x52 for the 98 layers of yolov3 that compute something are 2 MB uncompressed.
CHANNELS = 8
LARGEST_TILE = 52  # pixels per side, the full size of route_1 at 416


def tiles_of(layer: int, output: NDArray[np.float32]) -> Features:
    """Return tiles of the channels of an output (C, H, W) that vary most, each scaled from black to white."""
    variation = output.std(axis=(1, 2))
    channels = np.sort(np.argsort(-variation, kind="stable")[:CHANNELS])
    chosen = output[channels]
    low, high = chosen.min(axis=(1, 2)), chosen.max(axis=(1, 2))
    span = np.maximum(high - low, np.finfo(np.float32).tiny)
    gray = ((chosen - low[:, None, None]) / span[:, None, None] * 255).round().astype(np.uint8)
    tiles = np.stack([shrunk(each, LARGEST_TILE) for each in gray])
    return Features(layer, tuple(channels.tolist()), low, high, tiles)


def shrunk(image: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """Shrink an image (H, W) or (H, W, 3) by averaging, so that no side exceeds `longest` pixels."""
    height, width = image.shape[:2]
    factor = longest / max(height, width)
    if factor >= 1:
        return image
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
