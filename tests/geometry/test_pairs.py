"""Compare pairs of overlapping boxes with the matrix of all pairs."""

import numpy as np
import pytest

from lookonce.geometry.boxes import pairwise_intersects, pairwise_iou
from lookonce.geometry.pairs import COLUMNS, ROWS, count_overlaps, overlapping_pairs


def boxes(rng: np.random.Generator, count: int, largest: float) -> np.ndarray:
    low = rng.uniform(0, 100, (count, 2))
    return np.concatenate([low, low + rng.uniform(0, largest, (count, 2))], axis=1).astype(np.float32)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 3), (3, 0)])
def test_no_boxes_have_no_pairs(first: int, second: int) -> None:
    rng = np.random.default_rng(0)
    pairs = overlapping_pairs(boxes(rng, first, 9), boxes(rng, second, 9))
    assert [len(each) for each in pairs] == [0, 0, 0]
    assert count_overlaps(boxes(rng, first, 9), boxes(rng, second, 9)).tolist() == [0] * first


@pytest.mark.parametrize(("largest", "least"), [(3, 0.0), (60, 0.0), (60, 0.3)])
def test_pairs_equal_those_of_the_matrix_in_order(largest: float, least: float) -> None:
    rng = np.random.default_rng(1)
    a, b = boxes(rng, ROWS + 50, largest), boxes(rng, COLUMNS + 30, largest)
    b[7] = a[9] + [0, 0, 0.5, 0]  # more than one pair of equal IoU
    b[5] = b[7]
    matrix = pairwise_iou(a.astype(float), b.astype(float))
    expected = np.argwhere((matrix > 0) & (matrix >= least))

    pairs = overlapping_pairs(a, b, least)

    found = sorted(np.stack([pairs.first, pairs.second], axis=1).tolist())
    assert found == expected.tolist()
    np.testing.assert_array_equal(pairs.iou, matrix[pairs.first, pairs.second])
    counts = count_overlaps(a, b)
    assert counts.tolist() == pairwise_intersects(a, b).sum(axis=1).tolist()
    assert [each.dtype for each in (counts, *pairs)] == [np.int64, np.int64, np.int64, np.float64]
    keys = list(zip(pairs.first.tolist(), (-pairs.iou).tolist(), pairs.second.tolist(), strict=True))
    assert keys == sorted(keys)


def test_an_iou_at_the_threshold_is_enough_and_touching_is_no_overlap() -> None:
    pairs = overlapping_pairs(
        np.array([[0, 0, 4, 4]]), np.array([[0, 0, 4, 2], [4, 0, 8, 4], [0, 0, 4, 3]]), 0.5
    )
    assert pairs.second.tolist() == [2, 0]
    assert pairs.iou.tolist() == [0.75, 0.5]


def test_of_equally_good_pairs_the_first_is_the_best() -> None:
    b = np.array([[2, 0, 6, 4], [0, 0, 4, 4], [0, 0, 4, 4]])
    best = overlapping_pairs(np.array([[100, 0, 104, 4], [0, 0, 4, 4], [2, 0, 6, 4]]), b).best()
    assert best.first.tolist() == [1, 2]
    assert best.second.tolist() == [1, 0]
    assert best.iou.tolist() == [1, 1]


def test_boxes_with_nan_overlap_nothing() -> None:
    a = np.array([[np.nan, 0, 4, 4], [0, 0, 4, 4], [0, 0, np.nan, 4]])
    assert overlapping_pairs(a, a).first.tolist() == [1]


def test_memory_does_not_grow_with_the_matrix() -> None:
    """A matrix of 100,000 boxes side by side would have ten billion entries."""
    left = np.arange(100_000) * 5.0
    row = np.stack([left, 0 * left, left + 4, 0 * left + 4], axis=1)
    assert len(overlapping_pairs(row, row).first) == 100_000
    assert (count_overlaps(row, row) == 1).all()


def test_boxes_without_area_overlap_nothing() -> None:
    """This includes an empty box inside another box."""
    empty = np.array([[2, 0, 2, 4], [0, 2, 4, 2], [3, 0, 1, 4]])  # a line, a line, inverted
    for pairs in (overlapping_pairs(empty, WHOLE), overlapping_pairs(WHOLE, empty)):
        assert pairs.first.tolist() == []


WHOLE = np.array([[0, 0, 4, 4]])


def test_any_overlap_is_enough_by_default() -> None:
    assert overlapping_pairs(WHOLE, np.array([[3, 3, 9, 9]])).iou.tolist() == [1 / 51]


def test_ious_are_computed_in_float64() -> None:
    """In float32, the two boxes would be equal."""
    a = np.array([[0, 0, 1, 1]])
    assert overlapping_pairs(a, np.array([[0, 0, 1, 1 + 1e-9]])).iou[0] == 1 / (1 + 1e-9)
    assert overlapping_pairs(a.astype(np.float32), np.array([[0, 0, 3, 1]], np.float32)).iou[0] == 1 / 3


@pytest.mark.parametrize("seed", range(3))
def test_every_pair_at_the_edge_of_a_block_is_found(seed: int) -> None:
    """More boxes than fit into a block are in columns with equal edges, in which neighbors only touch."""
    rng = np.random.default_rng(seed)
    a, b = (10.0 * rng.integers(0, 4, n) for n in (2 * ROWS + 1, COLUMNS + 1))
    boxes_a, boxes_b = (np.stack([each, 0 * each, each + 10, 0 * each + 1], axis=1) for each in (a, b))
    pairs = overlapping_pairs(boxes_a, boxes_b)
    assert len(pairs.first) == (a[:, None] == b).sum()
    assert count_overlaps(boxes_a, boxes_b).tolist() == (a[:, None] == b).sum(axis=1).tolist()
