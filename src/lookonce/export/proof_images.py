"""Provide images for verifying an export: the user's, or rendered ones."""

from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookonce.data.synthetic import scene
from lookonce.errors import SourceError
from lookonce.inputs import as_pixels
from lookonce.metadata import ModelInfo
from lookonce.runtime.sources import Reading, Sources

RENDERED = 2
MOST = 8  # images of the user; each is run through two networks


def proof_images(given: Path | None, info: ModelInfo) -> list[NDArray[np.uint8]]:
    """Read the first images of a file or folder, or render some; add one of noise, which tests all weights.

    Raises:
        SourceError: no image can be read.
    """
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (*info.input_size, 3), np.uint8)
    if given is None:
        return [*(scene(rng).image for _ in range(RENDERED)), noise]
    frames = Sources([str(given)]).read(Reading(info.values))
    images = [as_pixels(frame.image) for frame in islice(frames, MOST)]
    if not images:
        raise SourceError(f"{given}: expected images to compare on, found none that can be read")
    return [*images, noise]
