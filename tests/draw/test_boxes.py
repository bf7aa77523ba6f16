"""Boxes on images: the pixels that are painted, and those that are not."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from lookonce.detections import Detections
from lookonce.draw.boxes import annotate
from lookonce.draw.palette import PALETTE
from lookonce.samples import Sample

GROUND = 200


def ground(height: int = 240, width: int = 320) -> np.ndarray:
    return np.full((height, width, 3), GROUND, np.uint8)


def found(boxes: list, scores: list[float], labels: list[int], names: tuple[str, ...] = ()) -> Detections:
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(labels, np.int64),
        names,
    )


def real(boxes: list, labels: list[int]) -> Sample:
    return Sample(Path("a.jpg"), np.array(boxes, np.float32), np.array(labels, np.int64))


def painted(image: np.ndarray) -> tuple[slice, slice]:
    """Return the rows and columns that differ from the background."""
    rows, columns = np.nonzero((image != GROUND).any(axis=2))
    return slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)


def shows(image: np.ndarray, label: int) -> np.ndarray:
    return (image == PALETTE[label]).all(axis=2)


def test_in_place_draws_on_the_image_unless_it_is_read_only() -> None:
    detections = found([[20, 30, 200, 180]], [0.9], [1], ("cat", "dog"))
    image, expected = ground(), annotate(ground(), detections)
    assert annotate(image, detections, in_place=True) is image
    np.testing.assert_array_equal(image, expected)
    locked = ground()
    locked.flags.writeable = False
    np.testing.assert_array_equal(annotate(locked, detections, in_place=True), expected)
    np.testing.assert_array_equal(locked, ground())


def test_no_detections_leave_the_image_unchanged() -> None:
    image = ground()
    drawn = annotate(image, Detections.none())
    np.testing.assert_array_equal(drawn, image)
    assert drawn is not image


def test_the_input_image_is_not_changed() -> None:
    image = ground()
    annotate(image, found([[50, 50, 150, 150]], [0.9], [0]))
    assert (image == GROUND).all()


def test_a_solid_box_covers_its_border_with_the_label_above() -> None:
    drawn = annotate(ground(), found([[50, 60, 150, 160]], [0.9], [1], ("cat", "dog")))
    color = shows(drawn, 1)
    assert color[159, 50:150].all()
    assert color[60:160, 50].all()
    assert color[60:160, 149].all()
    assert not color[160:].any()
    assert not color[60:, 150:].any()
    assert color[45:60].any()  # the label
    assert not color[70:150, 60:140].any()  # the content of the box stays visible


def test_ground_truth_is_dashed() -> None:
    drawn = annotate(ground(), truth=real([[50, 60, 150, 160]], [1]), names=("cat", "dog"))
    bottom = shows(drawn, 1)[159, 50:150]
    assert bottom.any()
    assert not bottom.all()


@pytest.mark.parametrize(
    "box", [[-40, -30, 90, 70], [250, 200, 400, 300], [0, 0, 320, 240], [300, 0, 320, 8], [5, 235, 6, 236]]
)
def test_labels_stay_inside_the_image(box: list[float]) -> None:
    names = ("ein recht langer Name",)
    drawn = annotate(ground(), found([box], [0.9], [0], names))
    rows, columns = painted(drawn)
    assert rows.stop <= 240
    assert columns.stop <= 320
    assert shows(drawn, 0).sum() > 1000  # the label was placed


@pytest.mark.parametrize("name", ["2", "dog", "犬", "a name too long " * 9])
@pytest.mark.parametrize("side", [120, 320, 1600])
def test_class_and_score_are_separated(name: str, side: int) -> None:
    """Class "2" with 0.91 used to look like 20.91; the score now has a background of its own."""
    drawn = annotate(ground(side, side), found([[20, side // 2, side - 20, side - 4]], [0.91], [4], (name,)))
    label = drawn[: side // 2]
    on_color, on_black = shows(label, 4), (label == 0).all(axis=2)
    row = np.flatnonzero(on_color.any(axis=1))[0] + 1  # above the letters
    colored, black = np.flatnonzero(on_color[row]), np.flatnonzero(on_black[row])
    assert colored.max() < black.min()
    assert len(black) > len("0.91") * side / 100
    assert label[row:, black.min() : black.max() + 1].min(axis=2).max() > 220  # white letters


def test_a_name_longer_than_the_image_is_cut_before_the_border() -> None:
    drawn = annotate(ground(), found([[0, 100, 320, 200]], [0.9], [0], ("word " * 40,)))
    ink = (drawn[80:99] == 0).all(axis=2)
    assert ink.any()
    assert not ink[:, -2:].any()


def test_lines_and_letters_grow_with_the_image() -> None:
    small = annotate(ground(500, 800), found([[60, 60, 240, 180]], [0.9], [0], ("cat",)))
    large = annotate(ground(2500, 4000), found([[300, 300, 1200, 900]], [0.9], [0], ("cat",)))
    assert shows(large, 0).mean() == pytest.approx(shows(small, 0).mean(), rel=0.3)
    label_rows = [
        shows(image, 0)[: 60 * factor].any(axis=1).sum() for image, factor in ((small, 1), (large, 5))
    ]
    assert label_rows[1] == pytest.approx(5 * label_rows[0], rel=0.3)


def test_the_best_detection_is_drawn_on_top() -> None:
    same = [[50, 60, 250, 220]] * 2
    drawn = annotate(ground(), found(same, [0.9, 0.3], [2, 5]))
    assert shows(drawn, 2)[219, 50:250].all()


def test_in_a_crowd_no_label_hides_a_box() -> None:
    boxes = [[x, y, x + 12, y + 12] for y in range(40, 200, 16) for x in range(20, 300, 16)]
    drawn = annotate(ground(), found(boxes, [0.5] * len(boxes), [0] * len(boxes), ("head",)))
    inside = [drawn[y0 + 4 : y1 - 4, x0 + 4 : x1 - 4] for x0, y0, x1, y1 in boxes]
    hidden = sum((patch != GROUND).any(axis=2).mean() > 0.5 for patch in inside)
    assert hidden == 0
    assert shows(drawn, 0)[:38].any()  # labels were placed above the crowd


def test_cyrillic_names_are_drawn_on_a_real_image(data: Path) -> None:
    image = cv2.imread(str(data / "photos/dog.jpg"))[..., ::-1]
    detections = found(
        [[130, 220, 310, 540], [470, 75, 690, 170]], [0.98, 0.91], [0, 1], ("собака", "машина")
    )
    drawn = annotate(image, detections)
    assert drawn.shape == image.shape
    assert 0.002 < (drawn != image).any(axis=2).mean() < 0.1
