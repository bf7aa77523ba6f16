import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lookonce.geometry import anchors as anchors
from lookonce.geometry.anchors import (
    best_possible_recall,
    fit_anchors,
    flatten,
    kmeans_anchors,
    mean_best_iou,
    shape_iou,
)
from lookonce.geometry.boxes import iou
from lookonce.networks import NETWORKS

NONE = np.zeros((0, 2))


def shapes(least: int = 1, most: int = 40) -> Any:
    sides = st.floats(0.5, 2000, allow_nan=False).map(lambda side: round(side, 2))
    return st.integers(least, most).flatmap(lambda n: arrays(np.float64, (n, 2), elements=sides))


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_official_anchors_match_the_cfg(data: Path, name: str) -> None:
    file = "zoo/yolov3-tiny_3l" if name == "yolov3-tiny-3l" else name
    text = (data / "darknet" / f"{file}.cfg").read_text()
    masks = [[int(i) for i in mask.split(",")] for mask in re.findall(r"^mask\s*=\s*(.+)$", text, re.M)]
    sides = np.array(re.findall(r"^anchors\s*=\s*(.+)$", text, re.M)[0].split(","), float).reshape(-1, 2)
    coarse_to_fine = [sides[mask].tolist() for mask in masks]
    assert [[list(anchor) for anchor in scale] for scale in NETWORKS[name].anchors] == coarse_to_fine[::-1]


def test_shape_iou_of_no_boxes_is_empty() -> None:
    assert shape_iou(NONE, np.ones((3, 2))).shape == (0, 3)


def test_shape_iou_matches_hand_computed_values() -> None:
    found = shape_iou(np.array([[10.0, 10], [20, 5], [10, 20]]), np.array([[10.0, 10], [40, 1]]))
    # 10x10 and 20x5 share 10x5 of 150; 10x10 and 10x20 share 100 of 200
    assert found == pytest.approx(np.array([[1, 10 / 130], [1 / 3, 20 / 120], [1 / 2, 10 / 230]]))


@settings(deadline=None, max_examples=50)
@given(shapes(), shapes())
def test_shape_iou_is_the_iou_of_boxes_with_a_common_corner(a: np.ndarray, b: np.ndarray) -> None:
    found = shape_iou(a, b)
    assert found.shape == (len(a), len(b))
    assert found == pytest.approx(shape_iou(b, a).T)
    assert ((found > 0) & (found <= 1 + 1e-12)).all()
    corner = np.array([7.0, 9.0])
    box_a, box_b = (np.concatenate([corner, corner + each[0]]) for each in (a, b))
    assert found[0, 0] == pytest.approx(float(iou(box_a, box_b)))


def test_the_fit_of_no_boxes_is_nan() -> None:
    assert np.isnan(best_possible_recall(NONE, np.ones((3, 2))))
    assert np.isnan(mean_best_iou(NONE, np.ones((3, 2))))


def test_the_fit_matches_hand_computed_values() -> None:
    boxes, wanted = np.array([[10.0, 10], [20, 5], [10, 20], [100, 100]]), np.array([[10.0, 10]])
    assert best_possible_recall(boxes, wanted) == 0.5  # 1 and exactly 1/2, but not 1/3 and 1/100
    assert best_possible_recall(boxes, wanted, iou=0.3) == 0.75
    assert mean_best_iou(boxes, wanted) == pytest.approx((1 + 1 / 3 + 1 / 2 + 1 / 100) / 4)


@settings(deadline=None, max_examples=50)
@given(shapes(least=4), st.integers(0, 5))
def test_kmeans_gives_sorted_anchors_within_the_boxes(boxes: np.ndarray, seed: int) -> None:
    k = min(4, len(np.unique(boxes, axis=0)))
    found = kmeans_anchors(boxes, k, seed)
    assert found.shape == (k, 2)
    assert (np.diff(found.prod(axis=1)) >= 0).all()
    assert (found == kmeans_anchors(boxes, k, seed)).all()
    assert (found >= boxes.min(axis=0)).all()
    assert (found <= boxes.max(axis=0)).all()


@settings(deadline=None, max_examples=50)
@given(shapes(least=1, most=6))
def test_as_many_anchors_as_shapes_fit_every_box(boxes: np.ndarray) -> None:
    distinct = np.unique(boxes, axis=0)
    assert mean_best_iou(boxes, kmeans_anchors(boxes, len(distinct))) == pytest.approx(1)


def test_kmeans_finds_the_clusters() -> None:
    rng = np.random.default_rng(3)
    heaps = np.array([[20.0, 20], [60, 30], [30, 90], [200, 200]])
    boxes = np.concatenate([heap * rng.uniform(0.95, 1.05, (50, 2)) for heap in heaps])
    assert kmeans_anchors(boxes, 4) == pytest.approx(heaps, rel=0.03)


def test_fewer_shapes_than_anchors_are_an_error() -> None:
    with pytest.raises(ValueError, match="expected at least 3 different box shapes, found 2"):
        kmeans_anchors(np.array([[10.0, 10], [10, 10], [20, 20]]), 3)
    with pytest.raises(ValueError, match="found 0"):
        kmeans_anchors(NONE, 1)


def test_a_center_without_boxes_stays() -> None:
    shapes, centers = np.array([[10.0, 10], [12, 12]]), np.array([[30.0, 30], [400, 400]])
    assert anchors._refine(shapes, centers).tolist() == [[11, 11], [400, 400]]
    assert anchors._refine(shapes, centers[::-1]).tolist() == [[400, 400], [11, 11]]


def test_refining_never_makes_the_fit_worse() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        shapes = rng.uniform(1, 200, (15, 2))
        refined = anchors._refine(shapes, shapes[:4])
        assert mean_best_iou(shapes, refined) >= mean_best_iou(shapes, shapes[:4])


def test_first_centers_are_drawn_by_squared_distance() -> None:
    """From the frequent 10 x 10, the distance is 1/2 to 10 x 20 and 3/4 to 10 x 40: weights 4 and 9.

    The third center is the remaining shape, because the distance of the drawn ones is 0.
    """
    shapes = np.array([[10.0, 10]] * 98 + [[10, 20], [10, 40]])
    rng = np.random.default_rng(0)
    drawn = [anchors._spread_out(shapes, 3, rng).tolist() for _ in range(1000)]
    assert all(sorted(each) == [[10, 10], [10, 20], [10, 40]] for each in drawn)
    seconds = [each[1] for each in drawn if each[0] == [10, 10]]
    assert seconds.count([10, 20]) / len(seconds) == pytest.approx(4 / 13, abs=0.04)


def test_a_large_set_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anchors, "MOST_SHAPES", 50)
    boxes = np.random.default_rng(0).uniform(10, 100, (1000, 2))
    sampled = kmeans_anchors(boxes, 6)
    assert mean_best_iou(boxes, sampled) > 0.6
    monkeypatch.setattr(anchors, "MOST_SHAPES", 1000)  # not more than all
    whole = kmeans_anchors(boxes, 6).tolist()
    assert whole != sampled.tolist()
    monkeypatch.setattr(anchors, "MOST_SHAPES", 1001)
    assert kmeans_anchors(boxes, 6).tolist() == whole
    monkeypatch.setattr(anchors, "MOST_SHAPES", 50)
    rare = np.concatenate([np.full((1000, 2), 50.0), [[10, 10], [90, 20]]])  # a sample may miss these
    assert kmeans_anchors(rare, 3).tolist() == [[10, 10], [90, 20], [50, 50]]


def test_each_scale_gets_anchors_from_boxes_of_its_size() -> None:
    published = NETWORKS["yolov3-tiny"].anchors
    rng = np.random.default_rng(3)
    small = np.array([[12.0, 12], [20, 25], [30, 40]])  # nearer to 37x58 than to 81x82
    large = np.array([[120.0, 180], [170, 210], [300, 300]])
    boxes = np.concatenate([size * rng.uniform(0.97, 1.03, (100, 2)) for size in (*small, *large)])
    crowd = np.concatenate([boxes, rng.uniform(9, 45, (5000, 2))])  # however many small ones there are

    fine, coarse = fit_anchors(boxes, published)

    assert np.array(fine) == pytest.approx(small, rel=0.03)
    assert np.array(coarse) == pytest.approx(large, rel=0.03)
    assert fit_anchors(crowd, published)[1] == coarse


@pytest.mark.parametrize("few", [NONE, np.array([[10.0, 10], [20, 20]]), np.array([[9.0, 9]] * 50)])
def test_a_scale_with_too_few_shapes_keeps_the_published_anchors(few: np.ndarray) -> None:
    large = np.array([[120.0, 180], [170, 210], [300, 300]])
    for published in (each.anchors for each in NETWORKS.values()):
        assert fit_anchors(few, published) == published
        fitted = fit_anchors(np.concatenate([few, large]), published)
        assert fitted[:-1] == published[:-1]
        assert np.array(fitted[-1]) == pytest.approx(large)


def test_flattened_anchors_begin_with_the_finest() -> None:
    assert flatten(NETWORKS["yolov3-tiny"].anchors)[0].tolist() == [10, 14]


def test_anchors_are_flattened_to_floats() -> None:
    found = flatten((((10, 13), (16, 30)), ((33, 23), (1, 2))))
    assert found.dtype == np.float64
    assert found.tolist() == [[10, 13], [16, 30], [33, 23], [1, 2]]


def test_a_sample_holds_each_box_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a sample of six different boxes, these are the six anchors."""
    monkeypatch.setattr(anchors, "MOST_SHAPES", 6)
    boxes = np.random.default_rng(0).uniform(10, 100, (100, 2)).round(2)
    known = {tuple(box) for box in boxes.tolist()}
    for seed in range(6):
        assert {tuple(found) for found in kmeans_anchors(boxes, 6, seed).tolist()} <= known


def test_the_seed_decides_and_is_0_by_default() -> None:
    boxes = np.random.default_rng(1).uniform(10, 40, (60, 2))  # without clusters, so that the start matters
    by_seed = [kmeans_anchors(boxes, 6, seed).tolist() for seed in range(8)]
    assert by_seed[0] != by_seed[1]
    assert kmeans_anchors(boxes, 6).tolist() == by_seed[0]
    published = ((((10.0, 10.0),) * 6),)  # a single scale, which all boxes belong to
    for seed in range(8):
        assert np.array(fit_anchors(boxes, published, seed)[0]).tolist() == by_seed[seed]
    assert fit_anchors(boxes, published) == fit_anchors(boxes, published, 0)
