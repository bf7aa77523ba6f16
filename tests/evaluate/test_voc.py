"""Compare VOC's AP with values computed by hand, with a slow implementation, and on sample images."""

import math

import numpy as np
import pytest

from lookonce.evaluate.matching import match
from lookonce.evaluate.voc import average_precision, average_precisions, mean_average_precision
from lookonce.samples import Sample

from .conftest import Case, random_case


def slow_ap(case: Case, label: int) -> float:
    """Compute AP as the devkit's VOCevaldet.m does, with loops over lists and no shared code."""
    truth, detections, _ = case
    ranked = [
        (float(score), i, [float(x) for x in box])
        for i, result in enumerate(detections)
        for box, score, own in zip(result.boxes, result.scores, result.labels, strict=True)
        if own == label
    ]
    ranked.sort(key=lambda row: -row[0])
    objects = sum(
        1 for s in truth for own, hard in zip(s.labels, s.difficult, strict=True) if own == label and not hard
    )
    if not objects:
        return math.nan
    taken, points, right, wrong = set(), [], 0, 0
    for _, i, (ax, ay, bx, by) in ranked:
        best, which = -1.0, -1
        for j, (cx, cy, dx, dy) in enumerate(truth[i].boxes.tolist()):
            if truth[i].labels[j] == label:
                shared = max(0, min(bx, dx) - max(ax, cx)) * max(0, min(by, dy) - max(ay, cy))
                iou = shared / ((bx - ax) * (by - ay) + (dx - cx) * (dy - cy) - shared)
                if iou > best:
                    best, which = iou, j
        if best >= 0.5 and truth[i].difficult[which]:
            continue
        if best >= 0.5 and (i, which) not in taken:
            taken.add((i, which))
            right += 1
        else:
            wrong += 1
        points.append((right / objects, right / (right + wrong)))
    total, recall = 0.0, 0.0
    for r in sorted({r for r, _ in points}):
        total += (r - recall) * max(p for at, p in points if at >= r)
        recall = r
    return total


@pytest.mark.parametrize(
    ("correct", "objects", "expected"),
    [
        ([], 0, math.nan),
        ([False], 0, math.nan),
        ([], 3, 0),
        ([True], 1, 1),
        ([False, True], 1, 0.5),
        ([True, False, True], 4, 1 / 4 + 2 / 3 / 4),
        ([False, True, True], 2, 2 / 3),  # the first step takes the better precision that follows
    ],
)
def test_average_precision_matches_hand_computed_values(
    correct: list[bool], objects: int, expected: float
) -> None:
    assert average_precision(np.array(correct, bool), objects) == pytest.approx(expected, nan_ok=True)


def test_the_mean_leaves_out_absent_classes() -> None:
    assert mean_average_precision((0.5, math.nan, 1.0)) == 0.75
    assert math.isnan(mean_average_precision((math.nan,)))


def assert_equal_to_slow(case: Case) -> tuple[float, ...]:
    fast = average_precisions(match(*case))
    assert fast == pytest.approx([slow_ap(case, c) for c in range(len(case[2]))], abs=1e-9, nan_ok=True)
    return fast


@pytest.mark.parametrize("seed", range(3))
def test_random_sets_match_a_slow_implementation(seed: int) -> None:
    truth, detections, names = random_case(seed, 15, 3, 12)
    without_crowds = [sample_without_crowds(sample) for sample in truth]
    fast = assert_equal_to_slow((without_crowds, detections, names))
    assert min(fast) > 0


def sample_without_crowds(sample: Sample) -> Sample:
    keep = ~sample.crowd
    return Sample(sample.path, sample.boxes[keep], sample.labels[keep], sample.difficult[keep])


def test_voc_sample_matches_a_slow_implementation(voc_sample: Case) -> None:
    fast = assert_equal_to_slow(voc_sample)
    assert mean_average_precision(fast) == pytest.approx(0.6109, abs=5e-5)
