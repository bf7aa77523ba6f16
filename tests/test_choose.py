"""The choice of images to label: doubt, distance and near-duplicates."""

from pathlib import Path

import numpy as np
import pytest

from lookonce.choose import FLOOR, Looked, choose, doubts, false_alarms
from lookonce.detections import Detections

HALF = np.array([0.5], np.float32)


def found(*objects: tuple[float, int]) -> Detections:
    """Return detections with the given (score, label)."""
    scores = np.array([score for score, _ in objects], np.float32)
    labels = np.array([label for _, label in objects], np.int64)
    boxes = np.tile(np.array([[0, 0, 9, 9]], np.float32), (len(objects), 1))
    return Detections(boxes, scores, labels, ("cat", "dog"))


def looked(*images: tuple[Detections, list[float]], alike: tuple[int, ...] = ()) -> list[Looked]:
    """Return images that look different, except those with numbers in `alike`."""
    noise = np.random.default_rng(0).integers(0, 256, (len(images), 32, 32), np.uint8)
    noise[list(alike)] = noise[alike[0]] if alike else 0
    return [
        Looked(
            Path(f"{number}.jpg"),
            detections,
            np.array(features, np.float32),
            thumbnail,
            thumbnail[None].repeat(len(detections), 0),
        )
        for number, ((detections, features), thumbnail) in enumerate(zip(images, noise, strict=True))
    ]


@pytest.mark.parametrize(
    ("images", "thresholds", "expected"),
    [
        ([], HALF, []),
        ([found(), found()], HALF, [0, 0]),
        # 1 at the threshold, half way to 0 and half way to 1: 0.5
        ([found((0.5, 0)), found((0.25, 0)), found((0.75, 0))], HALF, [1.5, 0.75, 0.75]),
        # a class that occurs four times has half the weight of a class that occurs once
        ([found((0.5, 1)), found((0.5, 0)), found(*[(0.5, 0)] * 3)], HALF, [1.0, 0.5, 1.5]),
        # each class with its own threshold: 0.2/0.8, and 1
        ([found((0.2, 0)), found((0.2, 1))], np.array([0.8, 0.2], np.float32), [0.4, 1.6]),
    ],
)
def test_doubts_match_hand_computed_values(
    images: list[Detections], thresholds: np.ndarray, expected: list[float]
) -> None:
    np.testing.assert_allclose(doubts(images, thresholds), expected, rtol=1e-5)


def test_doubt_decides_between_equal_distances() -> None:
    images = looked((found((0.9, 0)), [0, 1]), (found((0.5, 0)), [1, 0]), (found((0.7, 0)), [-1, -1]))
    chosen = choose(images, 3, HALF)
    assert [each.path.name for each in chosen] == ["1.jpg", "2.jpg", "0.jpg"]
    assert chosen[0].distance == 1
    assert chosen[0].doubt == pytest.approx(1 / (1.8 / 3))


def test_distance_decides_between_equal_doubts() -> None:
    """With two clusters, the second choice is from the other cluster."""
    equal = found((0.5, 0))
    images = looked((equal, [5, 5]), (equal, [5, 6]), (equal, [-5, -5]), (equal, [-5, -6]))
    first, second, *_ = choose(images, 4, HALF)
    assert {int(first.path.stem) // 2, int(second.path.stem) // 2} == {0, 1}
    assert second.distance > 1


def test_images_near_labeled_ones_are_chosen_last() -> None:
    equal = found((0.5, 0))
    images = looked((equal, [5, 5]), (equal, [5, 6]), (equal, [-5, -5]))
    assert [each.path.name for each in choose(images, 1, HALF, [True, False, False])] == ["2.jpg"]
    assert [each.path.name for each in choose(images, 9, HALF, [True, False, False])] == ["2.jpg", "1.jpg"]


def test_near_duplicates_are_chosen_once() -> None:
    equal = found((0.5, 0))
    images = looked((equal, [1, 0]), (equal, [0, 1]), (equal, [-1, 0]), alike=(0, 2))
    assert len(choose(images, 3, HALF)) == 2
    assert [each.path.name for each in choose(images, 3, HALF, [True, False, False])] == ["1.jpg"]


def test_an_image_without_detections_has_a_chance() -> None:
    images = looked((found((0.5, 0)), [1, 0]), (found((0.45, 0)), [1, 0]), (found(), [-1, 0]))
    assert FLOOR > 0
    assert [each.path.name for each in choose(images, 2, HALF)] == ["0.jpg", "2.jpg"]


def test_no_images_give_no_choice() -> None:
    assert choose([], 5, HALF) == []
    assert false_alarms([], 5) == []


def test_false_alarms_are_sorted_by_score() -> None:
    images = looked(
        (found((0.6, 0)), []),
        (found(), []),
        (found((0.3, 0), (0.9, 1)), []),
        (found((0.8, 0)), []),
        alike=(2, 3),
    )
    assert [each.path.name for each in false_alarms(images, 9)] == ["2.jpg", "0.jpg"]
    assert [each.path.name for each in false_alarms(images, 1)] == ["2.jpg"]


def test_frames_of_a_fixed_camera_differ_by_their_objects() -> None:
    """All frames look alike; of those with the same objects at the same places, only one is chosen."""
    places = np.array([[0, 0], [40, 0], [0, 40], [41, 1], [0, 0], [0, 0]])
    labels = [0, 0, 0, 0, 1, 0]
    images = [
        (
            Detections(
                np.float32([[x, y, x + 20, y + 20]]), np.float32([0.5]), np.array([label]), ("a", "b")
            ),
            [i],
        )
        for i, ((x, y), label) in enumerate(zip(places.tolist(), labels, strict=True))
    ]
    frames = looked(*images, (found(), [7]), (found(), [8]), alike=tuple(range(8)))
    # 3 is like 1, 5 like 0, and 7 like 6
    assert len(choose(frames, 9, HALF)) == 5
    one_labeled = choose(frames, 9, HALF, [True] + [False] * 7)
    assert {"4.jpg", "2.jpg"} <= {each.path.name for each in one_labeled} <= {f"{i}.jpg" for i in range(1, 8)}
    assert "5.jpg" not in {each.path.name for each in one_labeled}
    assert len(one_labeled) == 4


def test_a_box_without_area_is_chosen_once() -> None:
    flat = Detections(np.zeros((1, 4), np.float32), np.float32([0.5]), np.array([0]), ("a",))
    assert len(choose(looked((flat, [1]), (found(), [2])), 9, HALF)) == 2


def test_false_alarms_of_one_view_differ_by_their_crops() -> None:
    """An image is left out only if all of its false alarms occurred before, not only the first one."""
    views = looked(*[(found((0.9 - i / 10, 0), (0.2, 0)), []) for i in range(3)], alike=(0, 1, 2))
    noise = np.random.default_rng(1).integers(0, 256, (3, 32, 32), np.uint8)
    for each, crops in zip(views, ([0, 1], [0, 2], [2, 1]), strict=True):
        each.crops[:] = noise[crops]
    assert [each.path.name for each in false_alarms(views, 9)] == ["0.jpg", "1.jpg"]


def test_a_new_object_among_surer_ones_makes_a_frame_distinct() -> None:
    boxes = np.float32([[i * 30, 0, i * 30 + 20, 20] for i in range(6)])
    scores = np.float32([0.9, 0.9, 0.9, 0.9, 0.3, 0.1])
    frames = [
        (Detections(boxes[rows], scores[rows], np.zeros(len(rows), np.int64), ("a",)), [i])
        for i, rows in enumerate(([0, 1, 2, 3], [0, 1, 2, 3, 4], [0, 1, 2, 3, 5], [0, 1, 2]))
    ]
    chosen = choose(looked(*frames, alike=(0, 1, 2, 3)), 9, HALF)
    assert len(chosen) == 3
    assert {"1.jpg", "3.jpg"} < {each.path.name for each in chosen}


def test_one_false_alarm_in_two_views_is_chosen_once() -> None:
    """The case of a poster in two rooms."""
    rooms = looked((found((0.9, 0)), []), (found((0.8, 0)), []))
    rooms[1].crops[:] = rooms[0].crops
    assert [each.path.name for each in false_alarms(rooms, 9)] == ["0.jpg"]
