"""Compare polygons with values computed by hand and with a fine grid of points."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lookonce.geometry.polygons import contains, rectangle, touched_cells

NOTCHED = np.array([[0, 0], [60, 0], [60, 40], [30, 10], [0, 40]], np.float32)  # concave, from below


def centers(height: int, width: int, step: float = 1) -> NDArray[np.float64]:
    """Return the centers of squares of `step` pixels, row by row: (height * width / step², 2)."""
    x, y = np.meshgrid(np.arange(step / 2, width, step), np.arange(step / 2, height, step))
    return np.stack([x.ravel(), y.ravel()], axis=1)


def test_a_box_has_four_corners_clockwise() -> None:
    corners = rectangle(np.array([1, 2, 5, 9]))
    assert corners.tolist() == [[1, 2], [5, 2], [5, 9], [1, 9]]
    assert corners.dtype == np.float32


def test_a_concave_polygon_does_not_contain_its_notch() -> None:
    assert contains(NOTCHED, np.array([[30, 5], [5, 30], [55, 30], [30, 30], [70, 5]])).tolist() == [
        True,
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0, 0, 32, 32), [(0, 0)]),  # a border that is only shared is not an area
        ((0, 0, 32.5, 32), [(0, 0), (0, 1)]),
        ((40, 70, 41, 71), [(2, 1)]),  # smaller than a cell, and between the centers
        ((-50, -50, 500, 1), [(0, 0), (0, 1), (0, 2), (0, 3)]),
        ((-50, -50, -1, 500), []),
        ((0, 0, 0, 0), []),
    ],
)
def test_a_box_touches_the_cells_it_overlaps(box: tuple[float, ...], expected: list[tuple[int, int]]) -> None:
    found = touched_cells(rectangle(np.array(box)), (3, 4), 32)
    assert found.shape == (3, 4)
    assert [tuple(each) for each in np.argwhere(found).tolist()] == expected


@pytest.mark.parametrize("seed", range(40))
def test_touched_cells_are_those_with_a_point_inside(seed: int) -> None:
    """Cells with a point of a fine grid inside the polygon are touched, and cells far from them are not."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-20, 110, (rng.integers(3, 8), 2)).astype(np.float32)
    found = touched_cells(corners, (4, 6), 16)
    inside = contains(corners, centers(64, 96, 0.5)).reshape(4, 32, 6, 32).any(axis=(1, 3))
    assert not (inside & ~found).any()
    assert (found & ~inside).sum() <= 2  # slivers between the points


@pytest.mark.parametrize("seed", range(40))
def test_a_window_limits_a_polygon(seed: int) -> None:
    """This includes concave or crossed polygons of which several parts are in the window."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-20, 110, (rng.integers(3, 8), 2)).astype(np.float32)
    window = 10.0, 5.0, 55.0, 35.0
    found = touched_cells(corners, (4, 6), 16, window)
    points = centers(64, 96, 0.5)
    x, y = points.T
    seen = contains(corners, points) & (x > 10) & (x < 55) & (y > 5) & (y < 35)
    inside = seen.reshape(4, 32, 6, 32).any(axis=(1, 3))
    assert not (inside & ~found).any()
    assert (found & ~inside).sum() <= 2  # slivers between the points


def test_a_polygon_outside_the_window_touches_nothing() -> None:
    assert not touched_cells(NOTCHED, (4, 6), 16, (100, 100, 200, 200)).any()


def test_a_point_on_the_border_belongs_to_the_polygon_on_its_right_or_below() -> None:
    """Adjacent polygons thus share no point."""
    box = rectangle(np.array([0, 0, 4, 2]))
    points = np.array([[2, 0], [0, 1], [0, 0], [2, 2], [4, 1], [4, 2], [0, 2], [4, 0]])
    assert contains(box, points).tolist() == [True, True, True, False, False, False, False, False]


def test_a_point_level_with_a_corner_is_classified_correctly() -> None:
    diamond = np.array([[2, 0], [4, 2], [2, 4], [0, 2]])
    assert contains(diamond, np.array([[2, 2], [-1, 2], [5, 2], [1, 0], [1, 4]])).tolist() == [
        True,
        False,
        False,
        False,
        False,
    ]


def test_a_cell_met_only_in_a_point_is_not_touched() -> None:
    below_diagonal = np.array([[0, 0], [96, 96], [96, 0]], np.float32)
    assert touched_cells(below_diagonal, (3, 3), 32).tolist() == [
        [True, True, True],
        [False, True, True],
        [False, False, True],
    ]


def test_a_polygon_around_a_window_touches_all_its_cells() -> None:
    around = rectangle(np.array([-500, -500, 500, 500]))
    found = touched_cells(around, (3, 4), 32, (33, 32, 65, 95))
    assert [tuple(each) for each in np.argwhere(found).tolist()] == [(1, 1), (1, 2), (2, 1), (2, 2)]
