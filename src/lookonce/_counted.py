"""Numbers with nouns: `1 image`, `2 boxes`."""


def counted(number: int, noun: str) -> str:
    """Return a number with its noun in the singular or plural: `1 image`, `2 boxes`."""
    if number == 1:
        return f"{number} {noun}"
    hisses = noun.endswith(("s", "x", "ch")) and not noun.endswith("epoch")
    return f"{number} {noun}{'es' if hisses else 's'}"
