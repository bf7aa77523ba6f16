"""Which backend opens which file: one table, one row each, imported only when used."""

from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lookonce._optional import require
from lookonce.errors import ModelFileError
from lookonce.metadata import ModelInfo

InputShape = tuple[int | None, int | None, int | None]


class Backend(Protocol):
    """A network and its decoding as one function, on pictures that already have the network's size.

    Legend: **B** batch, **K** candidates of all scales (10,647 at 416), **C** classes.

    Attributes:
        info: what the model file says of itself.
        input_shape: (B, H, W) that the file is fixed to; None where any will do.
    """

    info: ModelInfo
    input_shape: InputShape

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(B, H, W, 3) uint8 RGB -> (B, K, 5+C) float32.

        Columns: xyxy in input pixels, objectness, class probabilities. K runs over the scales from fine
        to coarse, within a scale over rows, columns, priors, in that order.
        """

    def close(self) -> None:
        """Give back what the engine holds.

        Closing twice is closing once. A call that another thread is in the middle of ends in its result or
        in an error, as one that comes later does.
        """


# File suffix -> "module:function". The function takes the path and keyword options, and returns a Backend,
# or the path of a file to open in its place (a converter).
OPENERS = {
    ".safetensors": "lookonce.model.backend:open_model",
    ".onnx": "lookonce.runtime.onnx_backend:OnnxBackend",
    ".cfg": "lookonce.darknet.cache:cached_onnx",
}

# File suffix -> the package it needs, and the extra that has it. What is not here runs in a base install.
NEEDS = {".safetensors": ("torch", "train")}


def open_backend(path: Path, **options: Any) -> Backend:
    """Open a model file with the backend its suffix names.

    Raises:
        ModelFileError: no such file, or a suffix that no backend reads.
        MissingExtraError: the backend's package is not installed.
    """
    if not path.exists():
        raise ModelFileError(f"{path}: no such file")
    try:
        module, _, name = OPENERS[path.suffix.lower()].partition(":")
    except KeyError:
        raise ModelFileError(
            f"{path}: expected a model file ({', '.join(OPENERS)}), found suffix {path.suffix!r}"
        ) from None
    if needed := NEEDS.get(path.suffix.lower()):
        require(*needed)
    opened = getattr(import_module(module), name)(path, **options)
    return open_backend(opened, **options) if isinstance(opened, Path) else opened
