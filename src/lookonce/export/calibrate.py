"""Choose images for the calibration of int8, and prepare them for the network.

Legend: **P** images, **H**, **W** input height and width.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookonce.geometry.letterbox import Letterbox
from lookonce.metadata import ModelInfo
from lookonce.runtime.pipeline import each_image
from lookonce.samples import Problem
from lookonce.values import measure_values

# With 10 images or more, AP on bccd and heads changes by only 0.001 (docs/int8.md). More images are for less
# uniform data.
IMAGES = 100


def spread(paths: Sequence[Path], count: int) -> list[Path]:
    """Return at most `count` paths, evenly spaced among all, so that the choice is reproducible."""
    if len(paths) <= count:
        return list(paths)
    return [paths[number] for number in np.linspace(0, len(paths) - 1, count).round().astype(int)]


def read_inputs(paths: Iterable[Path], info: ModelInfo) -> tuple[NDArray[np.uint8], list[Problem]]:
    """Read images and fit them to the input size, as the Detector does.

    They are kept in memory, with H*W*3 bytes each, because the tools iterate over them more than once.

    Returns:
        (P, H, W, 3) uint8 RGB, and the problems of unreadable images.
    """
    unreadable: list[Problem] = []
    paths = list(paths)
    values, _ = measure_values(paths, info.values)

    def fitted(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return Letterbox.for_policy(info.fit, image.shape[:2], info.input_size).image(image)

    inputs = [pixels for _, pixels in each_image(paths, fitted, unreadable, values=values)]
    return np.array(inputs, np.uint8).reshape(-1, *info.input_size, 3), unreadable
