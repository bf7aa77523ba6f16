"""Memory cache of decoded images: every epoch reads all images again, and a mosaic four per image."""

from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from lookonce.eight_bits import Values
from lookonce.images import read_image

MOST_BYTES = 512 * 2**20  # in each process: about 580 images of 640 x 480


class ImageCache:
    """Cache of decoded images with a memory limit.

    Images are added until the limit is reached and never evicted: each epoch reads all images in a new order,
    so replacing one would gain nothing. A cached file that changes on disk is not read again.
    """

    def __init__(self, most_bytes: int = MOST_BYTES, values: Values | None = None) -> None:
        """Create an empty cache; `values` as in `read_image`."""
        self._values = values
        self._free = most_bytes
        self._kept: dict[Path, NDArray[np.uint8]] = {}
        self._lock = Lock()

    def read(self, path: Path) -> NDArray[np.uint8]:
        """Read an image as `read_image` does. Cached pixels are read-only; threads may share the cache.

        Raises:
            ImageError: the image cannot be read; the next call tries again.
        """
        if (kept := self._kept.get(path)) is not None:
            return kept
        image = read_image(path, self._values)
        with self._lock:
            if image.nbytes <= self._free and path not in self._kept:
                image.setflags(write=False)
                self._kept[path] = image
                self._free -= image.nbytes
        return image
