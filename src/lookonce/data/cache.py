"""Decoded images kept in memory: a mosaic needs four images, and every epoch reads all images again."""

from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from lookonce.eight_bits import Values
from lookonce.images import read_image

MOST_BYTES = 512 * 2**20  # in each process: about 580 images of 640 x 480


class ImageCache:
    """Reads images, and keeps them until a memory limit is reached.

    The first images stay. Each epoch reads all images once, in another order, so no other image is more
    likely to be needed than those already kept. A file that changes in the meantime is not read again.
    """

    def __init__(self, most_bytes: int = MOST_BYTES, values: Values | None = None) -> None:
        """Create an empty cache; `values` as in `read_image`."""
        self._values = values
        self._free = most_bytes
        self._kept: dict[Path, NDArray[np.uint8]] = {}
        self._lock = Lock()

    def read(self, path: Path) -> NDArray[np.uint8]:
        """Read an image as `read_image` does; kept pixels are read-only. May be called from several threads.

        Raises:
            ImageError: the image cannot be read; it is tried again each time.
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
