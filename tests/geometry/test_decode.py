"""Compare decoding, in numpy and torch, with values computed by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from lookonce.geometry.decode import LARGEST_LOG_SIDE, cell_corners, center_of, sides_of, sigmoid, softmax

both = pytest.mark.parametrize("array", [np.asarray, torch.tensor], ids=["numpy", "torch"])


@both
def test_a_center_is_in_its_cell(array: Callable[..., Any]) -> None:
    inside, corner = array([[0.25, 0.5], [0.0, 1.0]]), array([[3.0, 5.0], [0.0, 7.0]])
    found = center_of(inside, corner, 16)
    assert found.tolist() == [[52, 88], [0, 128]]  # (3 + 0.25) * 16, (5 + 0.5) * 16


@both
def test_a_scale_lets_a_center_leave_its_cell_equally_on_both_sides(array: Callable[..., Any]) -> None:
    inside, corner = array([[0.5, 0.0], [1.0, 0.25]]), array([[3.0, 5.0], [3.0, 5.0]])
    found = center_of(inside, corner, 8, 1.5)
    # 0.5 * 1.5 - 0.25 = 0.5: the center stays; 0 -> -0.25, 1 -> 1.25, 0.25 -> 0.125
    assert found.tolist() == [[28, 38], [34, 41]]
    assert center_of(inside, corner, 8, 2).tolist() == [[28, 36], [36, 40]]


@both
def test_sides_are_the_anchor_times_the_exponential(array: Callable[..., Any]) -> None:
    raw = array(
        [[0.0, float(np.log(2))], [-float(np.log(4)), 0.0]],
        dtype=torch.float64 if array is torch.tensor else float,
    )
    found = sides_of(raw, array([10.0, 30.0]))
    np.testing.assert_allclose(found, [[10, 60], [2.5, 30]], rtol=1e-7)


@both
def test_sides_stay_finite_and_above_zero(array: Callable[..., Any]) -> None:
    raw, anchor = array([[1000.0, -1000.0], [10.0, -10.0]]), array([1.0, 2.0])
    limits = [np.exp(LARGEST_LOG_SIDE), 2 * np.exp(-LARGEST_LOG_SIDE)]
    np.testing.assert_allclose(sides_of(raw, anchor), [limits, limits], rtol=1e-6)


@both
def test_sides_of_new_coords_are_the_anchor_times_a_square(array: Callable[..., Any]) -> None:
    """(2 σ(t))² is 1 at 0, 0.64 at ln 2/3, 2.25 at ln 3, and never above 4."""
    raw = array([[0.0, float(np.log(2 / 3))], [float(np.log(3)), 1000.0]])
    found = sides_of(raw, array([10.0, 30.0]), "new_coords")
    np.testing.assert_allclose(found, [[10, 19.2], [22.5, 120]], rtol=1e-6)


def test_corners_go_row_by_row() -> None:
    assert cell_corners(2, 3).tolist() == [[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1]]


def test_sigmoid_and_softmax_do_not_overflow() -> None:
    numbers = np.array([[-1000, 0, 1000], [np.log(1), np.log(2), np.log(5)]], np.float32)
    assert sigmoid(numbers[0]).tolist() == [0, 0.5, 1]
    np.testing.assert_allclose(softmax(numbers), [[0, 0, 1], [1 / 8, 2 / 8, 5 / 8]], rtol=1e-6)


def test_results_are_float32() -> None:
    numbers = np.array([-2, 0, 2], np.float32)
    assert cell_corners(2, 3).dtype == sigmoid(numbers).dtype == softmax(numbers).dtype == np.float32
    assert sigmoid(numbers.astype(float)).dtype == np.float32


def test_softmax_runs_over_the_last_axis() -> None:
    numbers = np.log(np.array([[[1, 3], [2, 2]], [[4, 1], [9, 1]]], np.float32))
    np.testing.assert_allclose(
        softmax(numbers), [[[0.25, 0.75], [0.5, 0.5]], [[0.8, 0.2], [0.9, 0.1]]], rtol=1e-6
    )
