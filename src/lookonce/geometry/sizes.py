"""Sizes as people read them."""


def size_text(size: tuple[int, int]) -> str:
    """Write a (height, width) as every option and message has it: `height x width`, such as `320x416`."""
    return f"{size[0]}x{size[1]}"
