"""Choose the range of pixel values for images of more than 8 bits: microscopes, thermal cameras, X-rays.

Networks have 8-bit inputs. The pixel values of a 16-bit file may fill all 16 bits, the lower 12, or a narrow
range; if only the upper 8 bits were used, a 12-bit image would keep 16 gray levels. So one range is chosen
for the whole data set and stored in the model, and wherever the model is used, that range is mapped to 0 to
255. Without a range in a model, it is measured (see `eight_bits.in_use`).
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookonce.eight_bits import Values, in_use
from lookonce.errors import ImageError
from lookonce.images import read_image_header, read_native
from lookonce.tiff import LargeImage, decode_tiff_page, is_large_tiff, tiff_pages

LOOKED_AT = 100  # images to measure, evenly spaced in the set
PAGES = 10  # pages of a TIFF to measure, evenly spaced
SAMPLED = 10_000  # approximate number of pixel values to take from a page


def measure_values(paths: Sequence[Path], model: Values | None = None) -> tuple[Values | None, str]:
    """Return the range for a set of images: that of the model, else that in use in the images.

    Args:
        paths: image files; unreadable ones are ignored.
        model: range that a model was trained with; None to measure the range.

    Returns:
        The values that become 0 and 255, and a line for the user; None and "" if all images have 8 bits.
    """
    numbers = np.linspace(0, len(paths) - 1, min(len(paths), LOOKED_AT)).round().astype(int)
    deep: list[NDArray[np.generic]] = []
    measured = 0
    for path in (paths[number] for number in numbers.tolist()):
        try:
            large = LargeImage(path, values=(0, 1)) if is_large_tiff(path) else None
            if not (large or read_image_header(path)).is_deep:
                continue
            if model is None:
                deep.append(large.sample() if large else _sample(path))
        except ImageError:
            continue
        measured += 1
    if not measured:
        return None, ""
    values = in_use(np.concatenate(deep)) if model is None else model
    origin = f"measured on {measured} of them" if model is None else "the model's range"
    return values, f"images of more than 8 bits: {values[0]:g} to {values[1]:g} become 0 to 255 ({origin})"


def _sample(path: Path) -> NDArray[np.generic]:
    """Return the extremes of an image's pages, and enough other pixel values for percentiles, (N,)."""
    pages = [at for at in tiff_pages(path) if at >= 0] or [0]
    parts = []
    for at in pages[:: -(-len(pages) // PAGES)]:
        pixels = decode_tiff_page(path, at, str(path)) if at else read_native(path)
        step = 1 + math.isqrt(pixels.size // SAMPLED)  # for rows and columns, so that few values are copied
        few = pixels[::step, ::step].reshape(-1)
        parts.append(np.concatenate([few, [pixels.min(), pixels.max()]]))
    return np.concatenate(parts)
