"""Numbers with nouns in singular or plural."""

import pytest

from lookonce._counted import counted


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "image", "0 images"),
        (1, "image", "1 image"),
        (2, "box", "2 boxes"),
        (1, "class", "1 class"),
        (3, "other class", "3 other classes"),
        (1, "batch", "1 batch"),
        (12, "batch", "12 batches"),
        (3, "epoch", "3 epochs"),
    ],
)
def test_nouns_follow_their_number(number: int, noun: str, text: str) -> None:
    assert counted(number, noun) == text
