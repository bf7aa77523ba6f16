"""Image and input sizes: their text form, and rounding to multiples."""

from collections.abc import Sequence


def size_text(size: tuple[int, int]) -> str:
    """Format (height, width) as every option and message does, such as `320x416`."""
    return f"{size[0]}x{size[1]}"


def size_advice(sides: Sequence[int], multiple: int) -> str:
    """Suggest valid sizes: "; use 384 or 416" for a side of 400, "; use 384x320 or 416x352" for (400, 333).

    Args:
        sides: (height, width), or the side of a square; at least one is not a positive multiple.
        multiple: number whose positive multiples are valid sides.
    """
    below = [max(side // multiple, 1) * multiple for side in sides]
    above = [max(-(-side // multiple), 1) * multiple for side in sides]
    texts = ("x".join(map(str, each[:1] if len(set(sides)) == 1 else each)) for each in (below, above))
    return f"; use {' or '.join(dict.fromkeys(texts))}"


def to_multiple(side: float, stride: int = 32) -> int:
    """Return the multiple of `stride` nearest to `side`, at least `stride`."""
    return max(stride, stride * round(side / stride))
