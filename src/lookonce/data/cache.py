"""Decoded images that stay in memory: a mosaic reads four for one, and every epoch reads all again."""

from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from lookonce.images import read_image

MOST_BYTES = 512 * 2**20  # in each process: about 580 images of 640 x 480


class ImageCache:
    """Reads images, and keeps them until they fill the memory given.

    What came first stays. Each epoch reads all images once, in another order, so there is none that is more
    likely to be wanted than those already here. A file that changes meanwhile is not read again.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        """Nothing is read yet."""
        self._free = most_bytes
        self._kept: dict[Path, NDArray[np.uint8]] = {}
        self._lock = Lock()

    def read(self, path: Path) -> NDArray[np.uint8]:
        """As `read_image`, but what is kept cannot be written to. May be called from several threads.

        Raises:
            ImageError: the image cannot be read; that is found out anew each time.
        """
        if (kept := self._kept.get(path)) is not None:
            return kept
        image = read_image(path)
        with self._lock:
            if image.nbytes <= self._free and path not in self._kept:
                image.setflags(write=False)
                self._kept[path] = image
                self._free -= image.nbytes
        return image
