"""Colors are distinguishable, and text on them is legible."""

import itertools

import numpy as np
import pytest

from lookonce.draw.palette import BLACK, PALETTE, WHITE, class_color, ink_on


def test_a_class_keeps_its_color_and_the_palette_starts_again() -> None:
    assert class_color(3) == PALETTE[3] == class_color(3 + len(PALETTE))


def test_no_two_colors_of_the_palette_are_similar() -> None:
    distances = [np.linalg.norm(np.subtract(a, b)) for a, b in itertools.combinations(PALETTE, 2)]
    assert min(distances) > 50  # black and white differ by 441


@pytest.mark.parametrize(
    ("paper", "ink"), [(WHITE, BLACK), (BLACK, WHITE), ((240, 228, 66), BLACK), ((40, 64, 248), WHITE)]
)
def test_ink_contrasts_with_its_paper(paper: tuple[int, int, int], ink: tuple[int, int, int]) -> None:
    assert ink_on(paper) == ink
