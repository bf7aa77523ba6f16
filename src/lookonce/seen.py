"""Record in the model file which images a model was trained on, by the first bytes of each file's hash.

Only the bytes of an image file count, not its path or the format of its annotations, so a re-encoded image is
a different one. Each image takes 8 characters in the description, which is 1 MB for COCO's 118,000 images.
With a million images in the record, the probability of mistaking a new image for one of them is 1 in 280
million.
"""

import os
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b, file_digest
from io import BufferedReader
from pathlib import Path
from typing import Self

from lookonce._files import IMAGE_LIMIT, open_input
from lookonce.errors import ImageError
from lookonce.metadata import SeenRecord, Training

BYTES = 6  # bytes of a fingerprint, which are 8 characters in base64
MOST = 1_000_000  # images to record; for more, the description would become too long


def digest(stream: BufferedReader) -> bytes:
    """Return the 16-byte hash of an open file's content."""
    return file_digest(stream, lambda: blake2b(digest_size=16)).digest()


def fingerprints(
    paths: Sequence[Path], done: Callable[[], None] = lambda: None, threads: int = 0
) -> dict[Path, bytes]:
    """Return the fingerprint of each file, of `BYTES` bytes; files that cannot be read are left out.

    Args:
        paths: image files.
        done: function called after each file, in order.
        threads: number of threads, which mostly wait for the disk; 0 for one per core.
    """

    def read(path: Path) -> bytes:
        try:
            with open_input(path, ImageError, limit=IMAGE_LIMIT) as stream:
                return digest(stream)[:BYTES]
        except (ImageError, OSError):
            return b""

    found = {}
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        for path, each in zip(paths, pool.map(read, paths), strict=True):
            if each:
                found[path] = each
            done()
    return found


@dataclass(frozen=True, slots=True)
class Seen:
    """The fingerprints of the images of a training run.

    Attributes:
        learned: fingerprints of the images trained on, in this run and in those before it.
        held_out: fingerprints of the validation images, on which the best epoch and thresholds were chosen.
    """

    learned: frozenset[bytes] = frozenset()
    held_out: frozenset[bytes] = frozenset()

    @classmethod
    def of_images(
        cls, prints: Mapping[Path, bytes], learned: Iterable[Path], held_out: Iterable[Path]
    ) -> Self:
        """Collect the fingerprints of images; images without a fingerprint are left out."""
        parts = ([prints[path] for path in part if path in prints] for part in (learned, held_out))
        return cls(*map(frozenset, parts))

    @classmethod
    def of(cls, training: Training) -> Self:
        """Read the record in a model's description; empty if there is none."""
        record = training.get("seen")
        if record is None:
            return cls()
        parts = (b64decode(record["learned"]), b64decode(record["held_out"]))
        return cls(*(frozenset(part[i : i + BYTES] for i in range(0, len(part), BYTES)) for part in parts))

    def record(self) -> SeenRecord | None:
        """Return the record for a model's description; None for more than `MOST` images."""
        if len(self.learned) + len(self.held_out) > MOST:
            return None
        learned, held_out = (
            b64encode(b"".join(sorted(prints))).decode() for prints in (self.learned, self.held_out)
        )
        return {"learned": learned, "held_out": held_out}

    def after(self, earlier: "Seen") -> "Seen":
        """Return the record for weights that an earlier run trained on the images of `earlier`."""
        return Seen(self.learned | earlier.learned, self.held_out - earlier.learned)
