"""Box arithmetic against hand-computed values and the reference, for numpy and torch alike."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lookonce.geometry import boxes as box_ops

POINTS, SAME_POINT, INVERTED = 9, 10, 11  # kinds of reference pairs: see its README
TOLERANCE = 5e-7  # the reference's own agreement is 2e-7

LIBRARIES: list[Callable[[Any], Any]] = [np.asarray, torch.as_tensor]


@pytest.fixture(scope="module")
def pairs(reference: Path) -> dict[str, np.ndarray]:
    with np.load(reference / "boxes.npz") as stored:
        return dict(stored)


@pytest.mark.parametrize("of", LIBRARIES)
@pytest.mark.parametrize(
    ("a", "b", "iou", "giou"),
    [
        ([0, 0, 4, 2], [0, 0, 4, 2], 1, 1),
        ([0, 0, 4, 2], [2, 0, 6, 2], 4 / 12, 4 / 12),
        ([0, 0, 4, 2], [4, 0, 6, 2], 0, 0),  # touching: the enclosing box is their union
        ([0, 0, 2, 2], [4, 4, 6, 6], 0, -28 / 36),
        ([0, 0, 8, 4], [2, 1, 4, 3], 4 / 32, 4 / 32),
        ([1, 1, 1, 1], [1, 1, 1, 1], 0, 0),
        ([1, 1, 1, 1], [5, 1, 5, 1], 0, 0),
    ],
)
def test_iou_and_giou_by_hand(
    of: Callable[[Any], Any], a: list[int], b: list[int], iou: float, giou: float
) -> None:
    a_box, b_box = of(np.array([a], np.float32)), of(np.array([b], np.float32))

    assert float(box_ops.iou(a_box, b_box)[0]) == pytest.approx(iou, abs=1e-6)
    assert float(box_ops.giou(a_box, b_box)[0]) == pytest.approx(giou, abs=1e-6)


@pytest.mark.parametrize("of", LIBRARIES)
@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (3, 0), (2, 3)])
def test_pairwise_is_every_a_with_every_b(of: Callable[[Any], Any], n: int, m: int) -> None:
    rng = np.random.default_rng(0)
    a, b = (of(np.cumsum(rng.random((count, 2, 2)), 1).reshape(count, 4)) for count in (n, m))

    for pairwise, single in (
        (box_ops.pairwise_iou, box_ops.iou),
        (box_ops.pairwise_giou, box_ops.giou),
    ):
        matrix = pairwise(a, b)
        assert tuple(matrix.shape) == (n, m)
        for i in range(n):
            for j in range(m):
                assert float(matrix[i, j]) == float(single(a[i], b[j]))


@pytest.mark.parametrize("of", LIBRARIES)
def test_iou_equals_the_reference(pairs: dict[str, np.ndarray], of: Callable[[Any], Any]) -> None:
    a, b = (of(box_ops.cxcywh_to_xyxy(pairs[name])) for name in ("boxes1", "boxes2"))
    degenerate = np.isin(pairs["kind"], (POINTS, SAME_POINT))

    found = np.asarray(box_ops.iou(a, b))

    np.testing.assert_allclose(found[~degenerate], pairs["iou_float64"][~degenerate], atol=TOLERANCE, rtol=0)
    assert np.isnan(pairs["iou_float64"][degenerate]).all()  # 0/0 there (fault 2)
    assert (found[degenerate] == 0).all()


@pytest.mark.parametrize("of", LIBRARIES)
def test_giou_equals_the_reference(pairs: dict[str, np.ndarray], of: Callable[[Any], Any]) -> None:
    a, b = (of(box_ops.cxcywh_to_xyxy(pairs[name])) for name in ("boxes1", "boxes2"))
    guarded = np.isin(pairs["kind"], (POINTS, SAME_POINT))
    comparable = ~guarded & (pairs["kind"] != INVERTED)  # the reference mirrors an inverted box

    found = np.asarray(box_ops.giou(a, b))

    np.testing.assert_allclose(found[comparable], pairs["giou_float32"][comparable], atol=TOLERANCE, rtol=0)
    assert np.isfinite(found).all()
    assert (found[pairs["kind"] == SAME_POINT] == 0).all()


def test_pairwise_iou_equals_the_reference(pairs: dict[str, np.ndarray]) -> None:
    a, b = (box_ops.cxcywh_to_xyxy(pairs[name]) for name in ("boxes1", "boxes2"))

    np.testing.assert_allclose(
        box_ops.pairwise_iou(a[:17], b[200:223]), pairs["iou_matrix_17x23"], atol=TOLERANCE, rtol=0
    )


def test_giou_gradient_equals_the_reference(pairs: dict[str, np.ndarray]) -> None:
    first = torch.tensor(pairs["boxes1"], requires_grad=True)
    second = torch.tensor(pairs["boxes2"])

    giou = box_ops.giou(box_ops.cxcywh_to_xyxy(first), box_ops.cxcywh_to_xyxy(second))
    giou.sum().backward()

    assert first.grad is not None
    generic = pairs["generic"].astype(bool)
    np.testing.assert_allclose(
        first.grad.numpy()[generic], pairs["giou_grad1"][generic], atol=2e-6, rtol=1e-5
    )
    assert torch.isfinite(first.grad).all()  # empty boxes and points included


@pytest.mark.parametrize("of", LIBRARIES)
def test_centre_form_and_back(of: Callable[[Any], Any]) -> None:
    corners = of(np.array([[[1.0, 2.0, 5.0, 10.0]], [[-3.0, 0.0, 3.0, 1.0]]]))

    centres = box_ops.xyxy_to_cxcywh(corners)

    assert centres.tolist() == [[[3, 6, 4, 8]], [[0, 0.5, 6, 1]]]
    assert box_ops.cxcywh_to_xyxy(centres).tolist() == corners.tolist()


@pytest.mark.parametrize("of", LIBRARIES)
def test_clip_cuts_at_height_and_width(of: Callable[[Any], Any]) -> None:
    outside = of(np.array([[-5.0, -6.0, 50.0, 60.0], [30.0, 1.0, 40.0, 2.0], [1.0, 2.0, 3.0, 4.0]]))

    assert box_ops.clip(outside, 10, 20).tolist() == [[0, 0, 20, 10], [20, 1, 20, 2], [1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("box", "empty"),
    [
        ([0, 0, 1, 1], False),
        ([0, 0, 0, 1], True),
        ([0, 0, 1, 0], True),
        ([3, 0, 1, 1], True),
        ([0, np.nan, 1, 1], True),
    ],
)
def test_is_empty(box: list[float], empty: bool) -> None:
    assert box_ops.is_empty(np.array([box])).tolist() == [empty]


def test_intersects_where_iou_is_above_zero() -> None:
    rng = np.random.default_rng(0)
    a, b = (np.cumsum(rng.integers(0, 4, (n, 2, 2)), 1).reshape(n, 4).astype(float) for n in (40, 50))
    real = a[~box_ops.is_empty(a)], b[~box_ops.is_empty(b)]

    shared = box_ops.pairwise_intersects(*real)

    assert (shared == (box_ops.pairwise_iou(*real) > 0)).all()
    assert shared.any()
    assert not shared.all()
