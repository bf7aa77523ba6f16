"""Scale images of more than 8 bits to 8 bits, with the range of pixel values in use."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = tuple[float, float]  # pixel values that become 0 and 255

MARKED = 5  # distance from all other values, in multiples of their range, of a value that marks missing data
MOST_LOOKED_AT = 1 << 24  # approximate number of values to read for the range


def in_use(pixels: NDArray[Any]) -> Values:
    """Return the range of pixel values in use, whose ends become 0 and 255.

    For integers, the range is 0 to the largest number of 8, 10, 12, 14 or 16 bits, whichever is the first to
    contain all values; for floats, it is 0 to 1. If the values exceed that range or fill less than an eighth
    of it, as those of a thermal camera do, it is their own range without the lowest and highest thousandth.
    In float and signed images, a single value far from all others marks missing data and is ignored. In a
    large image, only every n-th row is read.
    """
    pixels = pixels[:: 1 + pixels.size // MOST_LOOKED_AT]
    finite = pixels[np.isfinite(pixels)] if pixels.dtype.kind == "f" else pixels
    if not finite.size:
        return 0.0, 1.0
    if pixels.dtype.kind in "fi":
        # maps mark missing data with a value far from all others, such as -9999
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
    """Scale pixels of any depth to uint8 of the same shape; uint8 is returned unchanged, and NaN becomes 0.

    Args:
        pixels: image of any integer or float type.
        values: values that become 0 and 255; None for the range in use.
    """
    if pixels.dtype == np.uint8:
        return np.require(pixels, np.uint8, ["C", "W"])
    low, high = in_use(pixels) if values is None else values
    table = _scaled(np.arange(65_536, dtype=np.float64), low, high) if pixels.dtype == np.uint16 else None
    rows = np.empty(pixels.shape, np.uint8)
    for number, row in enumerate(pixels):  # row by row, to avoid an intermediate image of floats
        rows[number] = _scaled(row.astype(np.float64), low, high) if table is None else table[row]
    return rows


def _scaled(numbers: NDArray[np.float64], low: float, high: float) -> NDArray[np.uint8]:
    kept = np.clip(np.where(np.isnan(numbers), low, numbers), low, high)
    return np.round((kept - low) * (255 / (high - low))).astype(np.uint8)
