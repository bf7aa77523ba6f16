"""Compare box arithmetic, in numpy and torch, with values computed by hand and with the reference."""

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
        ([0, 0, 0.5, 0.5], [0, 0, 0.5, 0.5], 1, 1),  # far smaller than a pixel, but still a box
        ([0, 0, 0.02, 0.01], [0.01, 0, 0.03, 0.01], 1 / 3, 1 / 3),
        ([1, 1, 1, 1], [1, 1, 1, 1], 0, 0),
        ([1, 1, 1, 1], [5, 1, 5, 1], 0, 0),
    ],
)
def test_iou_and_giou_match_hand_computed_values(
    of: Callable[[Any], Any], a: list[float], b: list[float], iou: float, giou: float
) -> None:
    a_box, b_box = of(np.array([a], np.float32)), of(np.array([b], np.float32))

    assert float(box_ops.iou(a_box, b_box)[0]) == pytest.approx(iou, abs=1e-6)
    assert float(box_ops.giou(a_box, b_box)[0]) == pytest.approx(giou, abs=1e-6)


@pytest.mark.parametrize("measure", [box_ops.iou, box_ops.giou, box_ops.diou, box_ops.ciou])
def test_arrays_of_two_libraries_are_refused(measure: Callable[[Any, Any], Any]) -> None:
    array = np.array([[0, 0, 4, 2]], np.float32)

    for a, b in ((array, torch.as_tensor(array)), (torch.as_tensor(array), array)):
        with pytest.raises(TypeError, match="Multiple namespaces"):
            measure(a, b)


@pytest.mark.parametrize("of", LIBRARIES)
@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (3, 0), (2, 3)])
def test_pairwise_iou_compares_every_a_with_every_b(of: Callable[[Any], Any], n: int, m: int) -> None:
    rng = np.random.default_rng(0)
    a, b = (of(np.cumsum(rng.random((count, 2, 2)), 1).reshape(count, 4)) for count in (n, m))

    matrix = box_ops.pairwise_iou(a, b)
    assert tuple(matrix.shape) == (n, m)
    for i in range(n):
        for j in range(m):
            assert float(matrix[i, j]) == float(box_ops.iou(a[i], b[j]))


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
def test_boxes_survive_the_center_form(of: Callable[[Any], Any]) -> None:
    corners = of(np.array([[[1.0, 2.0, 5.0, 10.0]], [[-3.0, 0.0, 3.0, 1.0]]]))

    centers = box_ops.xyxy_to_cxcywh(corners)

    assert centers.tolist() == [[[3, 6, 4, 8]], [[0, 0.5, 6, 1]]]
    assert box_ops.cxcywh_to_xyxy(centers).tolist() == corners.tolist()


@pytest.mark.parametrize("of", LIBRARIES)
def test_clip_limits_boxes_to_height_and_width(of: Callable[[Any], Any]) -> None:
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
def test_boxes_without_area_or_with_nan_are_empty(box: list[float], empty: bool) -> None:
    assert box_ops.is_empty(np.array([box])).tolist() == [empty]


def test_boxes_intersect_if_their_iou_is_above_zero() -> None:
    rng = np.random.default_rng(0)
    a, b = (np.cumsum(rng.integers(0, 4, (n, 2, 2)), 1).reshape(n, 4).astype(float) for n in (40, 50))
    real = a[~box_ops.is_empty(a)], b[~box_ops.is_empty(b)]

    shared = box_ops.pairwise_intersects(*real)

    assert (shared == (box_ops.pairwise_iou(*real) > 0)).all()
    assert shared.any()
    assert not shared.all()


def shape_term(w: float, h: float, v: float, t: float, iou: float) -> float:
    difference = 4 / np.pi**2 * (np.arctan(w / h) - np.arctan(v / t)) ** 2
    return difference**2 / (1 - iou + difference)


@pytest.mark.parametrize("of", LIBRARIES)
@pytest.mark.parametrize(
    ("a", "b", "diou", "less"),
    [
        ([0, 0, 4, 2], [0, 0, 4, 2], 1, 0),
        ([0, 0, 4, 2], [2, 0, 6, 2], 1 / 3 - 4 / 40, 0),  # centers 2 apart, 6 x 2 around both
        ([0, 0, 2, 2], [4, 4, 6, 6], -32 / 72, 0),
        ([0, 0, 8, 4], [2, 1, 4, 3], 1 / 8 - 1 / 80, shape_term(8, 4, 2, 2, 1 / 8)),
        ([0, 0, 2, 8], [0, 0, 8, 2], 4 / 28 - 18 / 128, shape_term(2, 8, 8, 2, 1 / 7)),
        ([1, 1, 1, 1], [1, 1, 1, 1], 0, 0),
    ],
)
def test_diou_and_ciou_match_hand_computed_values(
    of: Callable[[Any], Any], a: list[int], b: list[int], diou: float, less: float
) -> None:
    for first, second in ((a, b), (b, a)):
        boxes = of(np.array([first], np.float32)), of(np.array([second], np.float32))
        assert float(box_ops.diou(*boxes)[0]) == pytest.approx(diou, abs=1e-6)
        assert float(box_ops.ciou(*boxes)[0]) == pytest.approx(diou - less, abs=1e-6)


def random_pairs(count: int, dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray]:
    """Draw boxes with sides from 5 to 60, some of which overlap."""
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 60, (2, count, 2))
    return tuple(np.concatenate([low, low + rng.uniform(5, 60, low.shape)], axis=-1).astype(dtype))


@pytest.mark.parametrize("name", ["giou", "diou", "ciou"])
def test_the_gradient_of_a_point_is_bounded(name: str) -> None:
    box = torch.tensor([[5.0, 5.0, 5.0, 5.0]], requires_grad=True)
    getattr(box_ops, name)(box, torch.tensor([[0.0, 0.0, 10.0, 20.0]])).sum().backward()
    assert box.grad is not None
    assert box.grad.abs().max() < 100


@pytest.mark.parametrize("name", ["diou", "ciou"])
def test_diou_and_ciou_agree_in_both_libraries_and_keep_their_range(name: str) -> None:
    measure = getattr(box_ops, name)
    for dtype, tolerance in ((np.float32, 1e-6), (np.float64, 1e-14)):
        a, b = random_pairs(500, dtype)
        found = measure(a, b)
        assert found.dtype == dtype
        assert found.shape == (500,)
        np.testing.assert_allclose(measure(torch.as_tensor(a), torch.as_tensor(b)), found, atol=tolerance)
        assert (found <= box_ops.iou(a, b) + 1e-6).all()
        assert (found > (-1 if name == "diou" else -2)).all()
        np.testing.assert_allclose(measure(a, a), 1, atol=1e-6)
        assert measure(a[:0], b[:0]).shape == (0,)
        assert measure(a[:7, None], b[None, :5]).shape == (7, 5)


@pytest.mark.parametrize("name", ["diou", "ciou"])
def test_gradients_treat_alpha_as_a_constant(name: str) -> None:
    a, b = random_pairs(100)
    tensor = torch.tensor(a, requires_grad=True)
    getattr(box_ops, name)(tensor, torch.tensor(b)).sum().backward()
    assert tensor.grad is not None

    def shapes(boxes: np.ndarray) -> np.ndarray:
        w, h = (boxes[:, 2:] - boxes[:, :2]).T
        v, t = (b[:, 2:] - b[:, :2]).T
        return 4 / np.pi**2 * (np.arctan2(w, h) - np.arctan2(v, t)) ** 2

    alpha = shapes(a) / (1 - box_ops.iou(a, b) + shapes(a)) if name == "ciou" else 0

    def value(boxes: np.ndarray) -> np.ndarray:
        return box_ops.diou(boxes, b) - alpha * shapes(boxes)

    step = 1e-5
    for side in range(4):
        moved = np.zeros_like(a)
        moved[:, side] = step
        numerical = (value(a + moved) - value(a - moved)) / (2 * step)
        np.testing.assert_allclose(tensor.grad[:, side].numpy(), numerical, atol=1e-8)


@pytest.mark.parametrize("name", ["diou", "ciou"])
@pytest.mark.parametrize(
    "box",
    [[5, 5, 5, 5], [5, 5, 9, 5], [5, 5, 5, 9], [9, 9, 5, 5], [0, 0, 1e6, 1e-6], [5, 5, 9, 9]],
    ids=["point", "flat", "thin", "inverted", "strip", "equal"],
)
def test_gradients_of_strange_boxes_are_finite(name: str, box: list[float]) -> None:
    strange = torch.tensor([box], dtype=torch.float32, requires_grad=True)
    for other in (torch.tensor([[5.0, 5.0, 9.0, 9.0]]), strange.detach()):
        value = getattr(box_ops, name)(strange, other)
        (gradient,) = torch.autograd.grad(value.sum(), strange)
        assert torch.isfinite(value).all()
        assert torch.isfinite(gradient).all()


def test_shift_moves_right_and_down() -> None:
    moved = box_ops.shift(np.array([[1, 2, 3, 4]], np.float32), 10, 20)
    assert moved.dtype == np.float32
    np.testing.assert_array_equal(moved, [[11, 22, 13, 24]])
    assert box_ops.shift(np.zeros((0, 4), np.float32), 1, 1).shape == (0, 4)


@pytest.mark.parametrize("of", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_clip_takes_any_leading_axes(of: Callable[[Any], Any]) -> None:
    boxes = np.array([[[-1, 2, 30, 40], [1, 2, 3, 4]], [[5, 6, 7, 8], [9, -9, 99, 9]]], np.float32)
    expected = [[[0, 2, 20, 10], [1, 2, 3, 4]], [[5, 6, 7, 8], [9, 0, 20, 9]]]
    np.testing.assert_array_equal(np.asarray(box_ops.clip(of(boxes), 10, 20)), expected)


@pytest.mark.parametrize("measure", [box_ops.iou, *box_ops.BOX_MEASURES.values()])
def test_overlap_does_not_depend_on_the_position_of_the_boxes(measure: Callable[[Any, Any], Any]) -> None:
    a, b = random_pairs(50)
    away = np.array([1000, -500, 1000, -500])
    np.testing.assert_allclose(measure(a + away, b + away), measure(a, b), atol=1e-9)
