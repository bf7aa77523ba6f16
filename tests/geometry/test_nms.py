"""Compare NMS with the obvious slow implementation and with the reference."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookonce.geometry import nms as nms_module
from lookonce.geometry.boxes import iou
from lookonce.geometry.nms import SIGMA, nms, soft_nms


def obvious_nms(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray | None, iou_threshold: float
) -> list[int]:
    """Take the best box, drop those that overlap it, and repeat."""
    waiting = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    kept = []
    while waiting:
        best, *rest = waiting
        kept.append(best)
        waiting = [
            i
            for i in rest
            if (labels is not None and labels[i] != labels[best])
            or not iou(boxes[best], boxes[i]) > iou_threshold
        ]
    return kept


def crowd(seed: int, count: int, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw boxes on a coarse grid with few different scores, so that many are equal or tie exactly."""
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 12, (count, 2))
    boxes = np.concatenate([low, low + rng.integers(0, 6, (count, 2))], axis=1).astype(np.float32)
    scores = (rng.integers(1, 8, count) / 8).astype(np.float32)
    return boxes, scores, rng.integers(0, classes, count)


def test_no_boxes_give_no_boxes() -> None:
    kept = nms(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), 0.5)

    assert kept.shape == (0,)
    assert kept.dtype == np.int64


def test_an_iou_above_the_threshold_drops_a_box_and_one_at_it_does_not() -> None:
    boxes = np.array([[0, 0, 4, 2], [2, 0, 6, 2]], np.float32)  # IoU 4 / 12
    scores = np.array([0.5, 0.9], np.float32)
    exactly = float(iou(boxes[0], boxes[1]))

    assert nms(boxes, scores, None, exactly).tolist() == [1, 0]
    assert nms(boxes, scores, None, np.nextafter(exactly, 0)).tolist() == [1]


def test_a_dropped_box_drops_no_other() -> None:
    row = np.array([[x, 0, x + 10, 10] for x in (0, 4, 8)], np.float32)  # each overlaps its neighbor only

    assert nms(row, np.array([0.9, 0.8, 0.7], np.float32), None, 0.3).tolist() == [0, 2]


@pytest.mark.parametrize("most_pairs", [-1, nms_module.MOST_PAIRS])
def test_in_a_chain_every_second_box_from_the_best_is_kept(
    monkeypatch: pytest.MonkeyPatch, most_pairs: int
) -> None:
    monkeypatch.setattr(nms_module, "MOST_PAIRS", most_pairs)
    chain = np.array([[x, 0, x + 10, 10] for x in range(0, 120, 6)], np.float32)  # IoU of neighbors: 0.25
    rising = np.linspace(0.1, 0.9, len(chain), dtype=np.float32)

    # the best is the last; every second box before it overlaps one that is kept
    assert nms(chain, rising, None, 0.2).tolist() == list(range(19, -1, -2))
    assert nms(chain, rising[::-1], None, 0.2).tolist() == list(range(0, 20, 2))


@pytest.mark.parametrize("most_pairs", [-1, nms_module.MOST_PAIRS])
def test_boxes_are_compared_across_blocks(monkeypatch: pytest.MonkeyPatch, most_pairs: int) -> None:
    monkeypatch.setattr(nms_module, "BLOCK", 2)
    monkeypatch.setattr(nms_module, "MOST_PAIRS", most_pairs)
    boxes = np.array([[50, 0, 54, 4], [0, 0, 4, 2], [2, 0, 6, 2]], np.float32)  # the last two: IoU 1/3
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    exactly = float(iou(boxes[1], boxes[2]))

    assert nms(boxes, scores, None, 0.3).tolist() == [0, 1]
    assert nms(boxes, scores, None, exactly).tolist() == [0, 1, 2]


def test_with_a_threshold_of_0_the_smallest_overlap_drops_a_box() -> None:
    boxes = np.array([[0, 0, 5e-9, 1], [4e-9, 0, 9e-9, 1], [1, 0, 2, 1]], np.float32)

    assert nms(boxes, np.array([0.9, 0.8, 0.7], np.float32), None, 0.0).tolist() == [0, 2]


def test_classes_suppress_each_other_only_without_labels() -> None:
    boxes = np.array([[0, 0, 4, 4], [0, 0, 4, 4]], np.float32)
    scores = np.array([0.5, 0.6], np.float32)

    assert nms(boxes, scores, np.array([0, 1]), 0.5).tolist() == [1, 0]
    assert nms(boxes, scores, None, 0.5).tolist() == [1]


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(0, 60),
    classes=st.integers(1, 4),
    agnostic=st.booleans(),
    iou_threshold=st.sampled_from([0.0, 0.25, 0.45, 0.5, 1.0]),
    block=st.integers(1, 80),
    most_pairs=st.sampled_from([-1, nms_module.MOST_PAIRS]),  # always by blocks, or never
)
def test_nms_equals_the_obvious_implementation(
    seed: int, count: int, classes: int, agnostic: bool, iou_threshold: float, block: int, most_pairs: int
) -> None:
    boxes, scores, labels = crowd(seed, count, classes)
    groups = None if agnostic else labels

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nms_module, "BLOCK", block)
        patch.setattr(nms_module, "MOST_PAIRS", most_pairs)
        kept = nms(boxes, scores, groups, iou_threshold)

    assert kept.tolist() == obvious_nms(boxes, scores, groups, iou_threshold)


def obvious_soft_nms(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray | None, floor: float
) -> list[tuple[int, float]]:
    """Compute Soft-NMS box by box, as in Bodla et al. 2017, figure 2."""
    left = {i: float(score) for i, score in enumerate(scores) if score > floor}
    kept = []
    while left:
        best = max(left, key=lambda i: (left[i], -i))
        kept.append((best, left.pop(best)))
        for i in left:
            if labels is None or labels[i] == labels[best]:
                left[i] *= np.exp(-(float(iou(boxes[best], boxes[i])) ** 2) / SIGMA)
        left = {i: score for i, score in left.items() if score > floor}
    return kept


def test_soft_nms_of_no_boxes_gives_no_boxes() -> None:
    kept, scores = soft_nms(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), None, 0.1)

    assert (kept.shape, kept.dtype) == ((0,), np.int64)
    assert (scores.shape, scores.dtype) == ((0,), np.float32)


def test_soft_nms_matches_hand_computed_scores() -> None:
    # IoU of the first two is 1/3: exp(-1/9 / 0.5) = 0.8007; the third lies apart.
    boxes = np.array([[0, 0, 4, 2], [2, 0, 6, 2], [9, 0, 10, 1]], np.float32)
    scores = np.array([0.9, 0.75, 0.7], np.float32)

    kept, left = soft_nms(boxes, scores, None, 0.1)
    assert kept.tolist() == [0, 2, 1]
    np.testing.assert_allclose(left, [0.9, 0.7, 0.6006], atol=1e-4)
    assert soft_nms(boxes, scores, None, 0.65)[0].tolist() == [0, 2]
    assert soft_nms(boxes, scores, None, float(scores[0]))[0].tolist() == []  # above the floor, not at it
    assert soft_nms(boxes, scores, np.array([0, 1, 0]), 0.1)[1].tolist() == scores.tolist()


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 40), agnostic=st.booleans())
def test_soft_nms_equals_the_obvious_implementation(seed: int, count: int, agnostic: bool) -> None:
    boxes, _, labels = crowd(seed, count, 3)
    scores = np.random.default_rng(seed).uniform(0, 1, count).astype(np.float32)
    groups = None if agnostic else labels

    kept, left = soft_nms(boxes, scores, groups, 0.05)
    expected = obvious_soft_nms(boxes, scores, groups, 0.05)

    assert kept.tolist() == [i for i, _ in expected]
    np.testing.assert_allclose(left, [score for _, score in expected], rtol=1e-5)
    assert (np.diff(left) <= 0).all()


def test_nms_equals_the_reference(reference: Path) -> None:
    cases = json.loads((reference / "postprocess.json").read_text())
    with np.load(reference / "postprocess.npz") as stored:
        for case in cases:
            before, after = (stored[f"{when}_nms{case['case']}"] for when in ("before", "after"))
            kept = before[
                nms(before[:, :4], before[:, 4], before[:, 5].astype(np.int64), case["nms_iou_threshold"])
            ]
            by_class = kept[np.argsort(kept[:, 5], kind="stable")]
            np.testing.assert_array_equal(by_class, after)
    assert len(cases) == 8


def test_soft_nms_drops_a_score_at_the_floor() -> None:
    boxes = np.array([[0, 0, 10, 10], [50, 50, 60, 60], [90, 90, 99, 99]], np.float32)
    kept, scores = soft_nms(boxes, np.array([0.75, 0.5, 0.25], np.float32), None, floor=0.5)
    assert kept.tolist() == [0]
    assert scores.tolist() == [0.75]
    kept, scores = soft_nms(boxes, np.array([0.75, 0.5, 0.25], np.float32), None, floor=0.25)
    assert kept.tolist() == [0, 1]
    assert scores.dtype == np.float32


def test_soft_nms_drops_a_lowered_score_at_the_floor() -> None:
    apart = np.array([[0, 0, 10, 10], [20, 0, 30, 10]], np.float32)
    kept, _ = soft_nms(apart, np.array([0.5, 0.25], np.float32), None, 0.25)
    assert kept.tolist() == [0]  # a score at the floor is not above it

    same = np.array([[0, 0, 10, 10], [0, 0, 10, 10]], np.float32)
    lowered = np.float32(0.5) * np.exp(np.float32(-2))  # IoU 1, sigma 0.5
    for floor, expected in ((float(lowered), [0]), (float(np.nextafter(lowered, np.float32(0))), [0, 1])):
        kept, _ = soft_nms(same, np.array([0.75, 0.5], np.float32), None, floor)
        assert kept.tolist() == expected


@pytest.mark.parametrize("classes", [1, 80])
@pytest.mark.parametrize("spread", [30, 300])
def test_both_ways_of_comparing_give_the_same(
    monkeypatch: pytest.MonkeyPatch, classes: int, spread: int
) -> None:
    rng = np.random.default_rng(spread)
    corners = rng.uniform(-spread, spread, (700, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(-2, 60, (700, 2))], axis=1).astype(np.float32)
    scores, labels = rng.uniform(0, 1, 700).astype(np.float32), rng.integers(0, classes, 700)

    results = []
    for most in (0, 10**9):
        monkeypatch.setattr(nms_module, "MOST_PAIRS", most)
        results.append(nms(boxes, scores, labels, 0.3).tolist())

    assert results[0] == results[1]
    assert 3 < len(results[0]) < 700


def test_in_a_chain_every_second_box_from_the_best_end_is_kept() -> None:
    boxes = np.array([[4 * x, 0, 4 * x + 10, 10] for x in range(50)], np.float32)
    scores = np.linspace(0.9, 0.1, 50, dtype=np.float32)

    assert nms(boxes, scores, None, 0.4).tolist() == list(range(0, 50, 2))


def test_a_chain_across_65536_boxes_is_resolved() -> None:
    before, chain = (1 << 16) - 19, 40
    left = np.concatenate([1000 + 20.0 * np.arange(before), 4.0 * np.arange(chain)])
    boxes = np.stack([left, 0 * left, left + 10, 0 * left + 10], axis=1).astype(np.float32)
    kept = nms(boxes, np.linspace(1, 0.1, len(boxes), dtype=np.float32), None, 0.3)
    # each link drops the next, which would have dropped the one after it
    assert kept.tolist() == [*range(before), *range(before, before + chain, 2)]


@pytest.mark.parametrize("at", [0, -1e6, 3e8])
def test_equal_boxes_of_two_classes_are_both_kept_at_any_position(at: float) -> None:
    """The boxes span all others. At 3e8, float32 has steps of 32."""
    boxes = np.array([[at, 0, at + 64, 64]] * 3, np.float32)
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    assert nms(boxes, scores, np.array([0, 1, 0]), 0.5).tolist() == [0, 1]
    assert nms(boxes, scores, np.array([1, 2, 2]), 0.5).tolist() == [0, 1]


def test_equal_scores_keep_the_order_of_the_input() -> None:
    """There are more boxes than an unstable sort would leave in order by chance."""
    rng = np.random.default_rng(0)
    left = 20.0 * np.arange(500)
    boxes = np.stack([left, 0 * left, left + 10, 0 * left + 10], axis=1).astype(np.float32)
    scores = (rng.integers(1, 4, 500) / 4).astype(np.float32)
    assert nms(boxes, scores, None, 0.5).tolist() == sorted(range(500), key=lambda i: (-scores[i], i))
