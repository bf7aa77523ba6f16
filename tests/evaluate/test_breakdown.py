"""Test which objects and detections belong to which bin of size, shape and crowding."""

import numpy as np
import pytest

from lookonce._optional import require
from lookonce.evaluate.breakdown import Breakdown, breakdown, even_edges
from lookonce.evaluate.coco import ALL, IOU_50, LARGE, _accumulated
from lookonce.evaluate.errors import find_outcomes

from .conftest import Case, found, random_case, sample


def cut(case: Case, threshold: float = 0) -> Breakdown:
    truth, detections, _ = case
    return breakdown(find_outcomes(*case), truth, detections, threshold)


def box(left: float, width: float, height: float) -> list[float]:
    return [left, 0, left + width, height]


def test_edges_part_values_into_equal_shares() -> None:
    values = np.random.default_rng(0).permutation(np.arange(103.0))

    edges = even_edges(values, bins=4, fewest=10)

    assert np.bincount(np.digitize(values, edges)).tolist() == [26, 25, 26, 26]


@pytest.mark.parametrize(
    ("counts", "fewest", "sizes"),
    [
        ({}, 1, [0]),
        ({0: 9}, 1, [9]),
        ({0: 95, 1: 5}, 6, [100]),  # five are too few for a bin
        ({0: 95, 1: 5}, 5, [95, 5]),
        ({0: 60, 1: 15, 2: 15, 3: 10}, 10, [60, 15, 25]),  # equal values stay together
        ({0: 4, 1: 4, 2: 4}, 5, [12]),
    ],
)
def test_edges_keep_equal_values_together_and_bins_filled(
    counts: dict[int, int], fewest: int, sizes: list[int]
) -> None:
    values = np.repeat(np.array(list(counts), float), list(counts.values()))

    edges = even_edges(values, bins=5, fewest=fewest)

    assert np.bincount(np.digitize(values, edges), minlength=1).tolist() == sizes


def test_a_false_detection_belongs_to_the_bin_of_its_own_box() -> None:
    small, large = box(0, 20, 20), box(100, 100, 100)
    stray = box(400, 100, 100)
    case = [sample([small, large])], [found([stray, small, large], [0.9, 0.8, 0.7])], ("cat",)

    bins = cut(case).coco_size

    assert [each.objects for each in bins] == [1, 0, 1]
    assert [each.ap50 for each in bins] == pytest.approx([1, np.nan, 0.5], nan_ok=True)


def test_a_right_detection_belongs_to_the_bin_of_its_object() -> None:
    just_small, just_medium = box(0, 31, 31), box(0, 34, 34)
    case = [sample([just_small])], [found([just_medium], [0.9])], ("cat",)

    bins = cut(case).coco_size

    assert [each.ap50 for each in bins] == pytest.approx([1, np.nan, np.nan], nan_ok=True)
    assert (bins[0].low, bins[0].high) == (31, 31)


def test_recall_counts_only_scores_above_the_threshold() -> None:
    boxes = [box(0, 20, 20), box(50, 20, 20)]
    case = [sample(boxes)], [found(boxes, [0.9, 0.3])], ("cat",)

    assert cut(case, 0.2).coco_size[0].recall == 1
    assert cut(case, 0.3).coco_size[0].recall == 0.5
    assert cut(case, 0.3).coco_size[0].ap50 == 1


def test_shapes_go_from_upright_to_flat() -> None:
    upright, flat = box(0, 10, 40), box(100, 40, 10)
    truth = sample([upright] * 30 + [flat] * 30)

    bins = cut(([truth], [found([upright], [0.9])], ("cat",))).shape

    assert [(each.low, each.high, each.objects) for each in bins] == [(0.25, 0.25, 30), (4, 4, 30)]
    assert bins[0].recall == pytest.approx(1 / 30)
    assert bins[1].ap50 == 0


def test_crowding_counts_neighbors_of_any_class() -> None:
    alone, pair, beyond = box(0, 10, 10), [box(100, 10, 10), box(114, 10, 10)], box(130, 10, 10)
    truth = sample([alone, *pair, beyond], [0, 0, 1, 1])

    case = [truth] * 30, [found([], [])] * 30, ("cat", "dog")

    # grown boxes reach 5 pixels further: 114 is near 110, 130 is 6 pixels from 124
    assert [(each.low, each.high, each.objects) for each in cut(case).crowding] == [(0, 0, 60), (1, 1, 60)]


def test_a_detection_in_a_crowd_does_not_count_its_own_object() -> None:
    alone, pair = box(0, 10, 10), [box(100, 10, 10), box(112, 10, 10)]
    truth = [sample([alone, *pair])] * 30
    boxes = [alone, alone, *pair]
    sure, unsure = found(boxes, [0.9, 0.8, 0.9, 0.9]), found(boxes, [0.7, 0.6, 0.7, 0.7])

    lonely, crowded = cut((truth, [sure] * 15 + [unsure] * 15, ("cat",))).crowding

    assert lonely.ap50 < 1  # the duplicate is where its object is
    assert crowded.ap50 == 1


def test_coco_size_matches_cocos_ap_by_area() -> None:
    case = random_case(5, 200, 1, 12, flags=False)
    require("faster_coco_eval", "train")

    bins = cut(case).coco_size

    precision, _ = _accumulated(*case)
    expected = [precision[IOU_50, :, 0, part, -1].mean() for part in range(ALL + 1, LARGE + 1)]
    # COCO matches each range anew, so that a detection may match another object: not exactly the same
    assert [each.ap50 for each in bins] == pytest.approx(expected, abs=0.01)
    assert max(expected) - min(expected) > 0.05
    assert sum(each.objects for each in bins) == sum(len(each.labels) for each in case[0])


def test_difficult_objects_are_in_no_bin() -> None:
    truth = sample([box(0, 10, 10), box(50, 10, 10)], difficult=[True, False])

    assert [each.objects for each in cut(([truth], [found([], [])], ("cat",))).size] == [1]


def test_no_images_give_an_empty_bin() -> None:
    (only,) = cut(([], [], ("cat",))).shape

    assert only.objects == 0
    assert np.isnan([only.low, only.high, only.ap50, only.recall]).all()
