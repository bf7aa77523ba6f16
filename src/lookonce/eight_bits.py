"""Images of more than 8 bits: the range of pixel values in use, and scaling to 8 bits."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = tuple[float, float]  # pixel values that become 0 and 255

MARKED = 5  # a lone extreme is a no-data mark if it lies this many times the others' range away from them
MOST_LOOKED_AT = 1 << 24  # numbers read to find the range, about


def in_use(pixels: NDArray[Any]) -> Values:
    """Return the range of values that an image uses: the values that become 0 and 255.

    For whole numbers: 0 to the largest number of 8, 10, 12, 14 or 16 bits, the first that holds them all; for
    fractions: 0 to 1. If the values fill less than an eighth of that, as the temperatures of a thermal camera
    do, or exceed it: their own range without the lowest and the highest thousandth. A single value far from
    all others, in float or signed images, marks pixels without data and does not count. Of a large image,
    every n-th row is used.
    """
    pixels = pixels[:: 1 + pixels.size // MOST_LOOKED_AT]
    finite = pixels[np.isfinite(pixels)] if pixels.dtype.kind == "f" else pixels
    if not finite.size:
        return 0.0, 1.0
    if pixels.dtype.kind in "fi":
        # maps mark pixels without data by a number far from the others, such as -9999
        for mark in (finite.min(), finite.max()):
            rest = finite[finite != mark].astype(np.float64)
            if rest.size and np.abs(rest - float(mark)).min() > MARKED * np.ptp(rest) > 0:
                finite = finite[finite != mark]
    low, high = (float(each) for each in np.quantile(finite, (0.001, 0.999)))
    least, most = float(finite.min()), float(finite.max())
    tops = (1.0,) if pixels.dtype.kind == "f" else (255.0, 1023.0, 4095.0, 16383.0, 65535.0)
    top = next((each for each in tops if most <= each), 0.0)
    if least >= 0 and (high - low) * 8 >= top > 0:
        return 0.0, top
    return (low, high) if high > low else (least, max(most, least + 1))


def as_eight_bits(pixels: NDArray[Any], values: Values | None = None) -> NDArray[np.uint8]:
    """Scale pixels of any depth to uint8, same shape; 8-bit pixels stay as they are, and NaN becomes 0.

    Args:
        pixels: an image of any integer or float type.
        values: the values that become 0 and 255; None: the range in use.
    """
    if pixels.dtype == np.uint8:
        return np.require(pixels, np.uint8, ["C", "W"])
    low, high = in_use(pixels) if values is None else values
    table = _scaled(np.arange(65_536, dtype=np.float64), low, high) if pixels.dtype == np.uint16 else None
    rows = np.empty(pixels.shape, np.uint8)
    for number, row in enumerate(pixels):  # one by one, without an intermediate image of floats
        rows[number] = _scaled(row.astype(np.float64), low, high) if table is None else table[row]
    return rows


def _scaled(numbers: NDArray[np.float64], low: float, high: float) -> NDArray[np.uint8]:
    kept = np.clip(np.where(np.isnan(numbers), low, numbers), low, high)
    return np.round((kept - low) * (255 / (high - low))).astype(np.uint8)
