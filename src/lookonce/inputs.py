"""Convert every kind of image that a `Detector` accepts to RGB pixels."""

import sys
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lookonce._files import IMAGE_LIMIT
from lookonce.eight_bits import Values, as_eight_bits
from lookonce.errors import ImageError
from lookonce.images import ReducedImage, Size, decode_image, read_image, reduced_image
from lookonce.tiff import LargeImage


class Readable(Protocol):
    """A file opened as bytes, or a `BytesIO`."""

    def read(self, count: int, /) -> bytes:
        """Return at most `count` bytes."""


class ArrayLike(Protocol):
    """A Pillow image, a torch tensor, or anything else that NumPy can convert."""

    def __array__(self, *args: Any, **options: Any) -> NDArray[Any]:
        """Return the values as an array."""


# RGB pixels (H, W, 3), a path, the content of an image file as bytes, an open file, a Pillow image, or a
# tensor (3, H, W); for a Detector with tiles also a TIFF that is read in windows.
Image = (
    NDArray[Any]
    | LargeImage
    | ReducedImage
    | str
    | PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | Readable
    | ArrayLike
)


def as_reduced(image: Image, least: Callable[[Size], Size]) -> ReducedImage | None:
    """Decode a large JPEG, given as a path or as bytes, at a reduced size; see `images.reduced_image`.

    Returns:
        The reduced image; None for any other image, which `as_pixels` converts.

    Raises:
        ImageError: the image cannot be read.
    """
    if isinstance(image, ReducedImage):
        return image
    if isinstance(image, bytes | bytearray | memoryview):
        return reduced_image(bytes(image), f"image of {len(image)} bytes", least)
    if isinstance(image, str | PathLike):
        return reduced_image(Path(image), str(image), least)
    return None


def as_pixels(image: Image, values: Values | None = None) -> NDArray[np.uint8]:
    """Convert an image in any form to (H, W, 3) uint8 RGB.

    Arrays and tensors have rows, columns and 1, 3 or 4 channels (first or last), or are gray without a
    channel axis. They are uint8, floats from 0 to 1, or uint16 or int16, which are scaled by `values`. Alpha
    is dropped. A Pillow image is rotated by its EXIF orientation.

    Args:
        image: image in any form.
        values: values that become 0 and 255 in an image of more than 8 bits; None for the range in use.

    Raises:
        ImageError: the input is not an image, or cannot be read.
    """
    if isinstance(image, bytes | bytearray | memoryview):
        return decode_image(bytes(image), f"image of {len(image)} bytes", values)
    if isinstance(image, str | PathLike):
        return read_image(Path(image), values)
    if isinstance(image, LargeImage):
        raise ImageError(
            f"{image.name}: expected a Detector with tiles, such as tiles=640, for an image that is read by "
            "windows; found one without"
        )
    # a Pillow image exists only if Pillow is loaded; `getattr`, because another thread may be loading it now
    pillow = getattr(sys.modules.get("PIL.Image"), "Image", None)
    if pillow is not None and isinstance(image, pillow):
        from PIL import ImageOps

        try:
            upright = ImageOps.exif_transpose(image)
            if upright.mode in ("I", "F") or upright.mode.startswith("I;16"):  # more than 8 bits
                deep = np.asarray(upright)  # "I;16B" is big-endian
                pixels = as_eight_bits(deep if upright.mode in ("I", "F") else deep.astype(np.uint16), values)
            else:
                pixels = np.asarray(upright.convert("RGB"))
        except (OSError, ValueError, SyntaxError) as error:  # Pillow reads the file only now
            raise ImageError(f"expected a Pillow image that can be read, found {error}") from error
        return _from_array(pixels, values)
    if hasattr(image, "read"):
        data = image.read(IMAGE_LIMIT + 1)
        if not isinstance(data, bytes) or len(data) > IMAGE_LIMIT:
            raise ImageError(f"expected a file opened as bytes, of at most {IMAGE_LIMIT:,}; found another")
        return decode_image(data, str(getattr(image, "name", f"image of {len(data)} bytes")), values)
    if hasattr(image, "detach"):  # a torch tensor, on any device
        image = image.detach().cpu()
    if not hasattr(image, "__array__"):
        raise ImageError(
            "expected an image: an array, a path, bytes, an open file, a Pillow image or a tensor; "
            f"found {type(image).__name__}"
        )
    return _from_array(np.asarray(image), values)


def _from_array(array: NDArray[Any], values: Values | None) -> NDArray[np.uint8]:
    found = f"{array.shape} of {array.dtype}"
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.size == 0:
        raise ImageError(
            f"expected an RGB array (H, W, 3) of uint8, found {found}; a batch is a list of images"
        )
    if array.shape[2] not in (1, 3, 4):
        array = array.transpose(1, 2, 0)
    if array.shape[2] not in (1, 3, 4):
        raise ImageError(f"expected an RGB array (H, W, 3) of uint8, found {found}")
    if array.dtype in (np.uint16, np.int16):
        array = as_eight_bits(array, values)
    if array.dtype.kind == "f":
        if not (array.min() >= 0 and array.max() <= 1):
            raise ImageError(f"expected floats from 0 to 1, found {array.min():g} to {array.max():g}")
        array = (array * 255).round().astype(np.uint8)
    if array.dtype != np.uint8:
        raise ImageError(f"expected an RGB array (H, W, 3) of uint8 or of floats from 0 to 1, found {found}")
    return np.ascontiguousarray(array[:, :, :3] if array.shape[2] > 1 else array.repeat(3, axis=2))
