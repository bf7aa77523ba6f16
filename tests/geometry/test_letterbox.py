"""Test the mapping in both directions, and compare geometry and pixels with the reference."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookonce.geometry.letterbox import GRAY, Letterbox

# Reference cases whose image is a pixel too short because of float rounding (fault 6), with the (rows,
# columns) that integer arithmetic adds.
SHORT = {"5_416x416": (0, 1)}

sizes = st.tuples(st.integers(1, 2000), st.integers(1, 2000))
targets = st.tuples(st.integers(1, 20), st.integers(1, 20)).map(lambda t: (32 * t[0], 32 * t[1]))


@pytest.mark.parametrize(
    ("source", "target", "resized", "top", "left"),
    [
        ((150, 200), (416, 416), (312, 416), 52, 0),
        ((200, 131), (320, 416), (320, 209), 0, 103),  # 207 columns of padding: the odd one goes right
        ((1, 1000), (416, 416), (1, 416), 207, 0),  # the short side is never 0
        ((416, 416), (416, 416), (416, 416), 0, 0),
    ],
)
def test_fit_matches_hand_computed_letterboxes(
    source: tuple[int, int], target: tuple[int, int], resized: tuple[int, int], top: int, left: int
) -> None:
    assert Letterbox.fit(source, target) == Letterbox(source, target, resized, top, left)


@given(sizes, targets)
def test_fit_fills_one_side_and_keeps_the_shape(source: tuple[int, int], target: tuple[int, int]) -> None:
    letterbox = Letterbox.fit(source, target)
    (rows, columns), (height, width) = letterbox.resized, target

    assert rows == height or columns == width
    assert 1 <= rows <= height
    assert 1 <= columns <= width
    scale = min(height / source[0], width / source[1])
    assert rows == 1 or abs(rows - scale * source[0]) <= 1
    assert columns == 1 or abs(columns - scale * source[1]) <= 1


@given(sizes, targets, st.data(), st.booleans())
def test_boxes_survive_the_way_in_and_out(
    source: tuple[int, int], target: tuple[int, int], data: st.DataObject, stretch: bool
) -> None:
    letterbox = (Letterbox.stretch if stretch else Letterbox.fit)(source, target)
    height, width = source
    x, y = (sorted(data.draw(st.tuples(st.floats(0, side), st.floats(0, side)))) for side in (width, height))
    box = np.array([[x[0], y[0], x[1], y[1]]], np.float32)

    back = letterbox.boxes_out(letterbox.boxes_in(box))

    # Input pixels are float32: if the image was shrunk, rounding errors grow on the way back.
    last_bit = 1e-6 * np.array([width, height, width, height]) + 1e-6 * max(target) / min(letterbox.scale)
    assert (np.abs(back - box) <= last_bit).all()
    assert back.dtype == np.float32


@pytest.mark.parametrize(
    ("source", "target", "shape", "top", "left"),
    [
        ((720, 1280), (416, 416), (256, 416), 11, 0),  # 234 rows: 22 of padding instead of 182
        ((1280, 720), (416, 416), (416, 256), 0, 11),
        ((100, 100), (320, 416), (320, 320), 0, 0),
        ((416, 416), (416, 416), (416, 416), 0, 0),
        ((1, 1000), (416, 416), (32, 416), 15, 0),  # 31 rows of padding: the odd one goes below
    ],
)
def test_rectangle_matches_hand_computed_letterboxes(
    source: tuple[int, int], target: tuple[int, int], shape: tuple[int, int], top: int, left: int
) -> None:
    letterbox = Letterbox.rectangle(source, target, 32)

    assert (letterbox.target, letterbox.top, letterbox.left) == (shape, top, left)
    assert letterbox.image(np.zeros((*source, 3), np.uint8)).shape == (*shape, 3)


@given(sizes, targets)
def test_rectangle_only_leaves_out_padding(source: tuple[int, int], target: tuple[int, int]) -> None:
    whole, tight = Letterbox.fit(source, target), Letterbox.rectangle(source, target, 32)

    assert tight.resized == whole.resized
    for side, most, image in zip(tight.target, target, tight.resized, strict=True):
        assert side % 32 == 0
        assert image <= side <= most
        assert side - image < 32


def test_boxes_outside_are_clipped_at_the_border() -> None:
    letterbox = Letterbox.fit((100, 200), (416, 416))  # scale 2.08, 104 rows of padding

    assert letterbox.boxes_out(np.array([[-9, 0, 500, 416]], np.float32)).tolist() == [[0, 0, 200, 100]]
    assert letterbox.boxes_out(np.zeros((0, 4), np.float32)).shape == (0, 4)


def test_image_fills_a_given_canvas_and_refuses_another_size() -> None:
    image = np.full((30, 60, 3), 7, np.uint8)
    letterbox = Letterbox.fit((30, 60), (64, 64))
    canvas = np.zeros((64, 64, 3), np.uint8)

    assert letterbox.image(image, out=canvas) is canvas
    assert (canvas[16:48] == 7).all()
    assert (canvas[:16] == GRAY).all()
    assert (canvas[48:] == GRAY).all()
    with pytest.raises(ValueError, match=r"expected an image of \(30, 60\), found \(60, 30\)"):
        letterbox.image(np.zeros((60, 30, 3), np.uint8))


def test_letterboxes_equal_the_reference(reference: Path) -> None:
    with np.load(reference / "letterbox.npz") as stored:
        tags = [str(tag) for tag in stored["cases"]]
        for tag in tags:
            number, _, size = tag.partition("_")
            height, width = (int(side) for side in size.split("x"))
            image = stored[f"image{number}"]
            letterbox = Letterbox.fit(image.shape[:2], (height, width))
            columns, rows, left, top = (int(value) for value in stored[f"geom_{tag}"])
            more_rows, more_columns = SHORT.get(tag, (0, 0))
            assert letterbox.resized == (rows + more_rows, columns + more_columns), tag
            if tag in SHORT:
                continue  # one more column: all pixels and boxes differ slightly
            assert (letterbox.top, letterbox.left) == (top, left), tag
            canvas = letterbox.image(image)
            pixels = stored[f"pix_{tag}"]
            np.testing.assert_array_equal(canvas[pixels[:, 0], pixels[:, 1]], stored[f"val_{tag}"])
            np.testing.assert_array_equal(canvas.sum(axis=(0, 1), dtype=np.int64), stored[f"sum_{tag}"])
            # The reference has one scale for both axes, lookonce one per axis: they differ by rounding only.
            boxes = letterbox.boxes_in(stored[f"boxes{number}"][:, :4].astype(np.float32))
            assert np.abs(boxes - stored[f"boxes_float_{tag}"][:, :4]).max() <= 1, tag
    assert len(tags) >= 9


def test_stretch_matches_hand_computed_boxes() -> None:
    letterbox = Letterbox.stretch((10, 20), (30, 40))
    assert letterbox == Letterbox((10, 20), (30, 40), (30, 40), 0, 0)
    boxes = np.array([[0, 0, 20, 10], [5, 2, 10, 4]], np.float32)
    inside = letterbox.boxes_in(boxes)
    assert inside.dtype == np.float32
    np.testing.assert_array_equal(inside, [[0, 0, 40, 30], [10, 6, 20, 12]])
    np.testing.assert_array_equal(letterbox.boxes_out(inside), boxes)
    np.testing.assert_array_equal(letterbox.image(np.full((10, 20, 3), 7, np.uint8)), np.full((30, 40, 3), 7))


@pytest.mark.parametrize(("policy", "resized"), [("letterbox", (20, 40)), ("stretch", (30, 40))])
def test_the_policy_chooses_letterbox_or_stretch(policy: str, resized: tuple[int, int]) -> None:
    found = Letterbox.for_policy(policy, (10, 20), (30, 40))
    assert (found.source, found.target, found.resized) == ((10, 20), (30, 40), resized)
