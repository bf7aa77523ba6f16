"""Compare the AP of resampled images with faster-coco-eval on these images."""

import numpy as np
import pytest

from lookonce.detections import Detections
from lookonce.evaluate.coco import evaluate
from lookonce.evaluate.ranking import IOUS, best_of_each_class, rank

from .conftest import Case, found, random_case, sample


def precisions(case: Case, weights: list[int]) -> np.ndarray:
    """Return the AP of one resample by faster-coco-eval: (C, T)."""
    return np.stack([each.average_precisions(np.array([weights]))[0] for each in rank(*case)])


@pytest.mark.parametrize("seed", range(4))
def test_weights_of_one_give_cocos_ap(seed: int) -> None:
    case = random_case(seed, images=25, classes=3, objects=9)
    own, expected = precisions(case, [1] * 25), evaluate(*case)
    for ap, row in zip(own, expected.classes, strict=True):
        assert (ap.mean(), ap[0], ap[5]) == pytest.approx((row.ap, row.ap50, row.ap75), abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_a_resample_gives_the_ap_of_its_images(seed: int) -> None:
    truth, detections, names = random_case(seed, images=12, classes=2, objects=9)
    rng = np.random.default_rng(seed)
    detections = [  # different scores, as a resample cannot keep the order of equal ones
        Detections(each.boxes, rng.random(len(each)).astype(np.float32), each.labels) for each in detections
    ]
    drawn = np.sort(rng.integers(0, 12, 12))
    expected = evaluate([truth[i] for i in drawn], [detections[i] for i in drawn], names)
    own = precisions((truth, detections, names), np.bincount(drawn, minlength=12).tolist())
    for ap, row in zip(own, expected.classes, strict=True):
        assert (ap.mean(), ap[0]) == pytest.approx((row.ap, row.ap50), abs=1e-9)


def test_no_images_or_objects_give_nan() -> None:
    assert precisions(([], [], ("cat",)), []).shape == (1, len(IOUS))
    empty = [sample([])], [found([[0, 0, 9, 9]], [0.9])], ("cat", "dog")
    assert np.isnan(precisions(empty, [1])).all()
    missed = [sample([[0, 0, 9, 9]])], [Detections.none()], ("cat",)
    assert (precisions(missed, [1]) == 0).all()
    assert np.isnan(precisions(missed, [0])).all()  # the image was not drawn


def test_only_the_best_hundred_of_each_class_count() -> None:
    scores, labels = np.linspace(0, 1, 250), [0] * 120 + [1] * 130
    kept = best_of_each_class(found([[0, 0, 9, 9]] * 250, scores.tolist(), labels))
    assert np.bincount(kept.labels).tolist() == [100, 100]
    assert kept.scores[kept.labels == 0].min() == pytest.approx(scores[20], abs=1e-6)
