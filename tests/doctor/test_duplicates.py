from pathlib import Path

import cv2
import numpy as np
import pytest

from lookonce.doctor import duplicates
from lookonce.doctor.duplicates import Groups, alike, correlations, hashes, same_boxes
from lookonce.samples import Sample


def thumbnails(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 5, 5), np.uint8)
    return np.stack([cv2.resize(each, (32, 32), interpolation=cv2.INTER_CUBIC) for each in coarse])


def sample(boxes: list[list[float]], labels: list[int]) -> Sample:
    return Sample(Path("a.jpg"), np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64))


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(correlations(a[None], b[None])[0, 0])


def members(groups: Groups) -> list[list[int]]:
    return [each for each, _ in groups.groups()]


def test_no_images_have_no_duplicates() -> None:
    copies, similar = alike(np.zeros((0, 32, 32), np.uint8))
    assert copies.groups() == similar.groups() == []


@pytest.mark.parametrize("block", [3, 512])
def test_copies_are_found_for_any_block_size(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(duplicates, "BLOCK", block)
    many = thumbnails(40)
    many[7] = np.clip(many[31].astype(int) + 6, 0, 255)  # the later one is brighter
    many[39] = many[0]
    copies, similar = alike(many)
    assert members(copies) == members(similar) == [[0, 39], [7, 31]]


@pytest.mark.parametrize("block", [5, 512])
def test_frames_of_a_fixed_camera_are_one_group(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(duplicates, "BLOCK", block)
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 8, (60, 32, 32))
    frames = np.clip(thumbnails(1)[0] + noise, 0, 255).astype(np.uint8)
    frames[59] = frames[58]
    both = np.concatenate([frames, thumbnails(3, seed=9)])
    expected = correlations(both, both)
    assert 0.975 < expected[0, 1:59].max() < 0.995
    copies, similar = alike(both)
    assert members(copies) == [[58, 59]]
    ((group, likeness),) = similar.groups()
    assert set(group) <= set(range(60))
    assert len(group) == 60
    assert likeness == pytest.approx(expected[:60, :60][expected[:60, :60] >= 0.975].min(), abs=1e-6)


def test_a_hash_compares_neighboring_pixels() -> None:
    slope = np.tile(np.arange(32, dtype=np.uint8) * 8, (32, 1))
    assert hashes(np.stack([slope, slope[:, ::-1]])).sum(axis=1).tolist() == [64, 0]


def test_correlation_ignores_brightness_but_not_content() -> None:
    first, second = thumbnails(2)
    assert correlation(first, (first * 0.7 + 20).astype(np.uint8)) > 0.999
    assert correlation(first, second) < 0.9


def test_a_similar_hash_is_not_enough() -> None:
    """Both images get brighter to the right, one of them abruptly."""
    slope = np.linspace(0, 1, 32)
    images = np.stack([np.tile(255 * slope**power, (32, 1)) for power in (1, 6)]).astype(np.uint8)
    images[1] += np.arange(32, dtype=np.uint8)[None] // 4
    first, second = hashes(images)
    assert (first != second).sum() <= duplicates.HASH_DISTANCE
    assert members(alike(images)[1]) == []


def test_flat_images_correlate_only_with_equal_ones() -> None:
    black, gray = np.zeros((32, 32), np.uint8), np.full((32, 32), 90, np.uint8)
    assert correlation(black, black) == 1
    assert correlation(black, gray) == 0
    assert correlation(black, thumbnails(1)[0]) == 0


def test_groups_join_chains_and_keep_their_weakest_edge() -> None:
    groups = Groups(7)
    groups.join(np.array([4, 3]), np.array([1, 5]), np.array([0.9, 0.7]))
    groups.join(np.array([1]), np.array([2]), np.array([0.8]))
    groups.join(np.array([2]), np.array([4]), np.array([0.95]))
    assert groups.groups() == [([1, 2, 4], 0.8), ([3, 5], 0.7)]
    groups.join(np.array([5, 4, 3]), np.array([6, 6, 5]), np.array([0.6, 0.65, 0.5]))
    assert groups.groups() == [([1, 2, 3, 4, 5, 6], 0.5)]


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (sample([], []), sample([], []), True),
        (sample([[0, 0, 10, 10]], [0]), sample([], []), False),
        (sample([[0, 0, 10, 10]], [0]), sample([[1, 0, 11, 10]], [0]), True),
        (sample([[0, 0, 10, 10]], [0]), sample([[1, 0, 11, 10]], [1]), False),
        (sample([[0, 0, 10, 10]], [0]), sample([[6, 0, 16, 10]], [0]), False),
        (
            sample([[0, 0, 9, 9], [50, 0, 60, 9]], [0, 1]),
            sample([[50, 0, 60, 9], [0, 0, 9, 9]], [1, 0]),
            True,
        ),
        # two boxes may not share one counterpart
        (sample([[0, 0, 9, 9], [0, 0, 9, 9]], [0, 0]), sample([[0, 0, 9, 9], [50, 0, 60, 9]], [0, 0]), False),
    ],
)
def test_boxes_are_compared_with_a_tolerance(a: Sample, b: Sample, same: bool) -> None:
    assert same_boxes(a, b) == same_boxes(b, a) == same
