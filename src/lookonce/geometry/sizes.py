"""Sizes as text."""

from collections.abc import Sequence


def size_text(size: tuple[int, int]) -> str:
    """Format a (height, width) as in every option and message: `height x width`, such as `320x416`."""
    return f"{size[0]}x{size[1]}"


def size_advice(sides: Sequence[int], multiple: int) -> str:
    """Return "; use 384 or 416" for a side of 400, or for (400, 333) "; use 384x320 or 416x352".

    Args:
        sides: (height, width), or one side of a square; one of them no positive multiple.
        multiple: number that both must be multiples of.
    """
    below = [max(side // multiple, 1) * multiple for side in sides]
    above = [max(-(-side // multiple), 1) * multiple for side in sides]
    texts = ("x".join(map(str, each[:1] if len(set(sides)) == 1 else each)) for each in (below, above))
    return f"; use {' or '.join(dict.fromkeys(texts))}"


def to_multiple(side: float, stride: int = 32) -> int:
    """Return the nearest multiple of a stride, at least one."""
    return max(stride, stride * round(side / stride))
