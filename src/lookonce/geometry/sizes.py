"""Sizes as text."""


def size_text(size: tuple[int, int]) -> str:
    """Format a (height, width) as in every option and message: `height x width`, such as `320x416`."""
    return f"{size[0]}x{size[1]}"
