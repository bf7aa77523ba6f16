"""Feature maps as small grey tiles.

Legend: **n** channels shown, **h**, **w** height and width of a tile.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce.explain.records import Features

# 8 tiles of 52 x 52 for each of yolov3's 98 layers that compute something: 2 MB before compression
CHANNELS = 8
LARGEST_TILE = 52  # pixels a side: route_1 at 416, unshrunk


def tiles_of(layer: int, output: NDArray[np.float32]) -> Features:
    """The channels of an output (C, H, W) that vary most, each stretched from black to white."""
    variation = output.std(axis=(1, 2))
    channels = np.sort(np.argsort(-variation, kind="stable")[:CHANNELS])
    chosen = output[channels]
    low, high = chosen.min(axis=(1, 2)), chosen.max(axis=(1, 2))
    span = np.maximum(high - low, np.finfo(np.float32).tiny)
    grey = ((chosen - low[:, None, None]) / span[:, None, None] * 255).round().astype(np.uint8)
    tiles = np.stack([_shrunk(each) for each in grey])
    return Features(layer, tuple(channels.tolist()), low, high, tiles)


def _shrunk(tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W) -> (h, w), at most `LARGEST_TILE` a side, by averaging."""
    height, width = tile.shape
    factor = LARGEST_TILE / max(height, width)
    if factor >= 1:
        return tile
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return cv2.resize(tile, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
