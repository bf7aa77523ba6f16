"""Sizes as text, and the nearest ones that a network takes."""

import pytest

from lookonce.geometry.sizes import size_advice, size_text


def test_height_comes_first() -> None:
    assert size_text((320, 416)) == "320x416"


@pytest.mark.parametrize(
    ("sides", "multiple", "advice"),
    [
        ((400, 400), 32, "; use 384 or 416"),
        ((400, 333), 32, "; use 384x320 or 416x352"),
        ((416, 400), 32, "; use 416x384 or 416x416"),
        ((400, 400), 64, "; use 384 or 448"),
        ((5, 5), 32, "; use 32"),
        ((0, -3), 32, "; use 32x32"),
    ],
)
def test_the_nearest_sizes(sides: tuple[int, int], multiple: int, advice: str) -> None:
    assert size_advice(sides, multiple) == advice
