"""Compare augmentation with the reference and with values computed by hand, and test properties."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from lookonce.config import AugmentSettings
from lookonce.data.augment import (
    PIPELINE,
    AnnotatedImage,
    Augmentation,
    augment,
    crop,
    crop_rect,
    flip,
    margins_around,
    random_crop,
    random_flip,
    random_translate,
    random_turn,
    translate,
    turn,
    union_of_boxes,
)

ALWAYS = AugmentSettings(flip=1, crop=1, translate=1)
FREE = AugmentSettings(flip=0, orientation="free")


def image_of(height: int, width: int, boxes: object) -> AnnotatedImage:
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return AnnotatedImage(np.zeros((height, width, 3), np.uint8), boxes, np.arange(len(boxes)))


# ---- the reference's 160 cases


@pytest.fixture(scope="module")
def cases(reference: Path) -> dict[str, NDArray[np.float64]]:
    with np.load(reference / "augment.npz") as file:
        return dict(file)


def blank(size_wh: NDArray[np.int64]) -> NDArray[np.uint8]:
    return np.zeros((size_wh[1], size_wh[0], 3), np.uint8)


def boxes_of(cases: dict[str, NDArray[np.float64]], key: str, k: int) -> NDArray[np.float32]:
    return cases[key][k, : cases["n"][k], :4].astype(np.float32)


def test_flip_equals_the_reference(cases: dict[str, NDArray[np.float64]]) -> None:
    flipped = np.flatnonzero(cases["u_flip"] < 0.5)
    assert len(flipped) > 50
    for k in flipped:
        _, boxes = flip(blank(cases["size_wh"][k]), boxes_of(cases, "boxes_in", k))
        np.testing.assert_array_equal(boxes, boxes_of(cases, "boxes_flip", k))


def test_crop_equals_the_reference_on_its_rectangle(cases: dict[str, NDArray[np.float64]]) -> None:
    cropped = np.flatnonzero(cases["u_crop"] < 0.5)
    assert len(cropped) > 50
    for k in cropped:
        rect = tuple(cases["crop_rect"][k].tolist())
        image, boxes = crop(blank(cases["size_wh"][k]), boxes_of(cases, "boxes_flip", k), rect)
        np.testing.assert_array_equal(boxes, boxes_of(cases, "boxes_crop", k))
        assert image.shape[1::-1] == tuple(cases["size_wh_after_crop"][k])


def test_crop_rectangle_equals_the_reference_at_left_and_top(cases: dict[str, NDArray[np.float64]]) -> None:
    """Right and bottom differ deliberately: the reference never crops there."""
    cut_right_or_bottom = 0
    for k in np.flatnonzero(cases["u_crop"] < 0.5):
        width, height = cases["size_wh"][k]
        boxes = boxes_of(cases, "boxes_flip", k)
        left, top, right, bottom = crop_rect(image_of(height, width, boxes), cases["crop_draws"][k])
        assert (left, top) == tuple(cases["crop_rect"][k][:2])
        assert right == min(width, np.ceil(boxes[:, 2].max() + cases["crop_draws"][k][2]))
        assert bottom == min(height, np.ceil(boxes[:, 3].max() + cases["crop_draws"][k][3]))
        cut_right_or_bottom += right < width or bottom < height
    assert cut_right_or_bottom > 40


def test_translate_equals_the_reference_before_truncation(cases: dict[str, NDArray[np.float64]]) -> None:
    moved = np.flatnonzero(cases["u_translate"] < 0.5)
    assert len(moved) > 50
    for k in moved:
        x, y = cases["t_xy"][k]
        _, boxes = translate(blank(cases["size_wh_after_crop"][k]), boxes_of(cases, "boxes_crop", k), x, y)
        np.testing.assert_array_equal(np.trunc(boxes), boxes_of(cases, "boxes_out", k))


def test_pixels_equal_the_reference(cases: dict[str, NDArray[np.float64]]) -> None:
    for k in cases["image_cases"]:
        image, boxes = cases[f"image_in_{k}"], boxes_of(cases, "boxes_in", k)
        if cases["u_flip"][k] < 0.5:
            image, boxes = flip(image, boxes)
        if cases["u_crop"][k] < 0.5:
            image, boxes = crop(image, boxes, tuple(cases["crop_rect"][k]))
        np.testing.assert_array_equal(image, cases[f"image_crop_{k}"])
        if cases["u_translate"][k] < 0.5:
            image, boxes = translate(image, boxes, *cases["t_xy"][k])
            difference = np.abs(image.astype(int) - cases[f"image_warp_{k}"])
            assert difference.max() <= 3
            assert difference.mean() < 0.1


# ---- by hand


def test_no_boxes_remain_no_boxes() -> None:
    image = image_of(40, 60, [])
    assert augment(image, ALWAYS, np.random.default_rng(0)).boxes.shape == (0, 4)


def test_union_and_margins_surround_all_boxes() -> None:
    image = image_of(40, 60, [[10.5, 4, 20, 30], [15, 8, 50.25, 12]])
    np.testing.assert_array_equal(union_of_boxes(image), [10.5, 4, 50.25, 30])
    np.testing.assert_array_equal(margins_around(image), [10.5, 4, 9.75, 10])
    np.testing.assert_array_equal(union_of_boxes(image_of(40, 60, [])), [15, 10, 45, 30])


@pytest.mark.parametrize(
    ("margins", "expected"),
    [
        ((0, 0, 0, 0), (10, 4, 51, 30)),  # whole pixels around the fractions
        ((10.5, 4, 9.75, 10), (0, 0, 60, 40)),
        ((0.25, 0.5, 0.5, 0.5), (10, 3, 51, 31)),
    ],
)
def test_the_crop_rectangle_keeps_its_margins(margins: tuple[float, ...], expected: tuple[int, ...]) -> None:
    image = image_of(40, 60, [[10.5, 4, 50.25, 30]])
    assert crop_rect(image, np.array(margins)) == expected


def test_fractional_coordinates_are_kept() -> None:
    image, boxes = np.zeros((40, 60, 3), np.uint8), np.array([[10.5, 4.25, 50.25, 30]], np.float32)
    np.testing.assert_array_equal(flip(image, boxes)[1], [[9.75, 4.25, 49.5, 30]])
    np.testing.assert_array_equal(crop(image, boxes, (10, 3, 51, 31))[1], [[0.5, 1.25, 40.25, 27]])
    np.testing.assert_array_equal(translate(image, boxes, 0.5, -0.25)[1], [[11, 4, 50.75, 29.75]])


def test_translate_leaves_black_behind() -> None:
    image = np.full((4, 5, 3), 200, np.uint8)
    moved, _ = translate(image, np.zeros((0, 4), np.float32), 2, -1)
    expected = np.zeros((4, 5, 3), np.uint8)
    expected[:3, 2:] = 200
    np.testing.assert_array_equal(moved, expected)


def test_boxes_on_two_opposite_borders_leave_nothing_to_move() -> None:
    """The reference draws from [-1, 1] in this case and may move a box across the border."""
    image = image_of(40, 60, [[0, 10, 5, 20], [50, 10, 60, 20]])
    for seed in range(20):
        moved = random_translate(image, ALWAYS, np.random.default_rng(seed))
        np.testing.assert_array_equal(moved.boxes[:, 0::2], image.boxes[:, 0::2])


def test_translate_reaches_the_whole_interval() -> None:
    """A box on the left border may stay there or move to the right border at most."""
    image = image_of(40, 60, [[0, 10, 20, 30]])
    x = [random_translate(image, ALWAYS, np.random.default_rng(s)).boxes[0, 0] for s in range(400)]
    assert 0 <= min(x) < 0.5  # the reference starts at 1
    assert 39.5 < max(x) <= 40


def test_crop_cuts_all_four_sides() -> None:
    image = image_of(40, 60, [[20, 15, 30, 25]])
    cuts = []
    for seed in range(200):
        cropped = random_crop(image, ALWAYS, np.random.default_rng(seed))
        left, top = image.boxes[0, :2] - cropped.boxes[0, :2]
        cuts.append((left, top, 60 - left - cropped.size[1], 40 - top - cropped.size[0]))
    np.testing.assert_array_equal(np.min(cuts, axis=0), 0)
    np.testing.assert_allclose(np.max(cuts, axis=0), [20, 15, 30, 15], atol=1)


@pytest.mark.parametrize("name", ["flip", "crop", "translate"])
def test_each_change_happens_with_its_own_probability(name: str) -> None:
    image = image_of(40, 60, [[20, 15, 30, 20]])
    (step,) = (step for step in PIPELINE if step.__name__ == f"random_{name}")
    rng = np.random.default_rng(0)
    for share, low, high in ((0, 0, 0), (0.5, 900, 1100), (1, 2000, 2000)):
        chosen = AugmentSettings(**{"flip": 0.9, "crop": 0.9, "translate": 0.9} | {name: share})
        assert low <= sum(step(image, chosen, rng) is not image for _ in range(2000)) <= high


def test_the_same_seed_gives_the_same_result() -> None:
    rng = np.random.default_rng(3)
    image = AnnotatedImage(
        rng.integers(0, 256, (40, 60, 3), np.uint8), np.array([[20, 15, 30, 20]], np.float32), np.array([2])
    )
    first, again, other = (augment(image, ALWAYS, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.pixels, again.pixels)
    np.testing.assert_array_equal(first.boxes, again.boxes)
    assert not np.array_equal(first.boxes, other.boxes)


# ---- by property


@st.composite
def images(draw: st.DrawFn) -> AnnotatedImage:
    """Draw an image size and 0 to 5 boxes inside, some on the border."""
    height, width = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    n = draw(st.integers(0, 5))
    unit = draw(arrays(np.float32, (n, 4), elements=st.floats(0, 1, width=32)))
    low, high = np.minimum(unit[:, :2], unit[:, 2:]), np.maximum(unit[:, :2], unit[:, 2:])
    boxes = np.hstack([low, high]) * np.array([width, height, width, height], np.float32)
    boxes = boxes[((boxes[:, 2:] - boxes[:, :2]) > 0.01).all(axis=1)]
    return image_of(height, width, boxes)


@given(image=images(), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=150)
@pytest.mark.parametrize("step", [random_flip, random_crop, random_translate, augment])
def test_boxes_stay_inside_and_keep_their_size(step: Augmentation, image: AnnotatedImage, seed: int) -> None:
    changed = step(image, ALWAYS, np.random.default_rng(seed))
    height, width = changed.size
    assert changed.pixels.dtype == np.uint8
    assert changed.boxes.dtype == np.float32
    assert min(height, width) >= 1
    assert (changed.boxes >= -1e-4).all()
    assert (changed.boxes <= np.array([width, height, width, height]) + 1e-4).all()
    sides, before = (b[:, 2:] - b[:, :2] for b in (changed.boxes, image.boxes))
    np.testing.assert_allclose(sides, before, atol=1e-4)
    np.testing.assert_array_equal(changed.labels, image.labels)


@given(image=images())
@settings(deadline=None, max_examples=50)
def test_flipping_twice_changes_nothing(image: AnnotatedImage) -> None:
    pixels, boxes = flip(*flip(image.pixels, image.boxes))
    np.testing.assert_array_equal(pixels, image.pixels)
    np.testing.assert_allclose(boxes, image.boxes, atol=1e-5)


@given(image=images())
@settings(deadline=None, max_examples=50)
def test_four_turns_change_nothing(image: AnnotatedImage) -> None:
    pixels, boxes = image.pixels, image.boxes
    for _ in range(4):
        pixels, boxes = turn(pixels, boxes)
    np.testing.assert_array_equal(pixels, image.pixels)
    np.testing.assert_allclose(boxes, image.boxes, atol=1e-4)


@given(
    size=st.tuples(st.integers(8, 40), st.integers(8, 40)),
    corner=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    sides=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    quarters=st.integers(0, 3),
    mirrored=st.booleans(),
)
def test_a_rotated_box_surrounds_its_rotated_pixels(
    size: tuple[int, int], corner: tuple[int, int], sides: tuple[int, int], quarters: int, mirrored: bool
) -> None:
    """Compare pixels and boxes exactly in all orientations."""
    (x, y), (width, height) = corner, sides
    pixels, boxes = np.zeros((*size, 3), np.uint8), np.array([[x, y, x + width, y + height]], np.float32)
    pixels[y : y + height, x : x + width] = 200
    for _ in range(quarters):
        pixels, boxes = turn(pixels, boxes)
    if mirrored:
        pixels, boxes = flip(pixels, boxes)
    rows, columns = pixels[..., 0].nonzero()

    assert boxes.tolist() == [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]


def test_a_turn_matches_hand_computed_boxes() -> None:
    pixels, boxes = turn(np.zeros((40, 60, 3), np.uint8), np.array([[10.5, 4, 20, 30]], np.float32))

    assert pixels.shape == (60, 40, 3)
    assert boxes.tolist() == [[4, 40, 30, 49.5]]


def test_only_free_images_are_rotated() -> None:
    corner = image_of(20, 20, [[0, 0, 5, 5]])
    turned = [random_turn(corner, FREE, np.random.default_rng(seed)) for seed in range(100)]
    places = [tuple(each.boxes[0].tolist()) for each in turned]
    assert {(0, 0, 5, 5), (0, 15, 5, 20), (15, 15, 20, 20), (15, 0, 20, 5)} == set(places)
    assert min(places.count(each) for each in set(places)) > 10

    assert random_turn(corner, ALWAYS, np.random.default_rng(0)) is corner


@pytest.mark.parametrize("shape", [(30, 50), (50, 30)])
def test_an_image_is_rotated_to_fill_its_input(shape: tuple[int, int]) -> None:
    for height, width in ((20, 60), (60, 20)):
        wide = image_of(height, width, [[0, 0, 5, 9]])
        found = [random_turn(wide, FREE, np.random.default_rng(seed), shape) for seed in range(40)]
        assert {each.size for each in found} == {(20, 60) if shape[0] < shape[1] else (60, 20)}
        assert len({tuple(each.boxes[0].tolist()) for each in found}) == 2  # upright and upside down


@pytest.mark.parametrize("seed", range(30))
def test_boxes_follow_their_pixels(seed: int) -> None:
    """Paint each box in its own color, augment the image, and find the colors in the boxes again."""
    image = image_of(80, 120, [[20, 10, 45, 40], [60, 30, 90, 70]])
    for box, label in zip(image.boxes.astype(int), image.labels, strict=True):
        image.pixels[box[1] : box[3], box[0] : box[2]] = 100 + 50 * label
    changed = augment(image, ALWAYS, np.random.default_rng(seed))
    for box, label in zip(changed.boxes, changed.labels, strict=True):
        left, top = np.ceil(box[:2]).astype(int)
        right, bottom = np.floor(box[2:]).astype(int)
        inside = changed.pixels[top + 1 : bottom - 1, left + 1 : right - 1]
        assert (inside == 100 + 50 * label).all()
        around = changed.pixels[max(0, top - 3) : bottom + 3, max(0, left - 3) : right + 3]
        outside = around.size - np.count_nonzero(around)
        assert outside > 0 or box.min() < 3
