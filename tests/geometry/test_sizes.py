"""Test sizes as text, and the suggested nearest valid sizes."""

import pytest

from lookonce.geometry.sizes import size_advice, size_text, to_multiple


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
def test_the_nearest_sizes_are_suggested(sides: tuple[int, int], multiple: int, advice: str) -> None:
    assert size_advice(sides, multiple) == advice


@pytest.mark.parametrize(
    ("side", "nearest"), [(1, 32), (47, 32), (49, 64), (90.5, 96), (416, 416), (431, 416), (433, 448)]
)
def test_sides_round_to_the_nearest_multiple_of_32(side: float, nearest: int) -> None:
    assert to_multiple(side) == nearest


def test_sides_round_to_the_nearest_multiple_of_another_stride() -> None:
    assert [to_multiple(side, 64) for side in (20, 90, 100)] == [64, 64, 128]
