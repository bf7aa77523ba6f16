"""Compute the boxes around COCO's run-length masks.

A mask has `size` [height, width] and `counts`, the lengths of alternating runs of background and object,
column by column from the left. `counts` is a list, or text that packs each length into characters of five
bits; from the fourth on, a length is stored as its difference from the length two before it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lookonce.annotations.records import Box

LONGEST = 1 << 24  # limit on the number of runs in a mask
FIRST = 48  # code of the character "0", which encodes 0
MORE, SIGN, FIVE_BITS = 0x20, 0x10, 0x1F


def box_around(mask: Mapping[str, Any], size: tuple[int, int] | None) -> Box:
    """Return the smallest box, xyxy in pixels, around the object of a mask.

    Args:
        mask: `size` and `counts`, as in a COCO file.
        size: (height, width) of the image; None if it is not declared.

    Raises:
        ValueError: this is not a mask, the mask is empty, or its size differs from that of the image.
        KeyError: `size` or `counts` is missing.
        TypeError: a value has the wrong type.
    """
    height, width = (int(side) for side in mask["size"])
    if size is not None and all(size) and (height, width) != size:
        raise ValueError(f"expected a mask of {size}, found {(height, width)}")
    counts = mask["counts"]
    runs = np.array(_unpacked(counts) if isinstance(counts, str) else counts, np.int64)
    if runs.ndim != 1 or runs.size > LONGEST or (runs < 0).any() or runs.sum() != height * width:
        raise ValueError("expected runs that fill the mask")
    ends = np.cumsum(runs)
    starts, ends = ends[0::2][: len(runs) // 2], ends[1::2]  # start and end of each run of object pixels
    starts, ends = starts[ends > starts], ends[ends > starts]
    if not len(starts):
        raise ValueError("expected an object in the mask, found none")
    first, last = starts // height, (ends - 1) // height  # columns
    whole = first != last  # a run over several columns reaches the bottom of one and the top of the next
    top = np.where(whole, 0, starts % height)
    bottom = np.where(whole, height - 1, (ends - 1) % height)
    return float(first.min()), float(top.min()), float(last.max() + 1), float(bottom.max() + 1)


def _unpacked(text: str) -> Sequence[int]:
    """Unpack the text form of `counts`.

    Raises:
        ValueError: the text is damaged or truncated.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - FIRST
        if not 0 <= code < 2 * MORE or shift > 60:
            raise ValueError(f"expected a packed mask, found the character {character!r}")
        value |= (code & FIVE_BITS) << shift
        shift += 5
        if code & MORE:
            continue
        if code & SIGN:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("expected a packed mask, found it cut short")
    return runs
