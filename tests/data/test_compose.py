"""Test that boxes stay on their objects, found by their colors, when images are drawn into the input."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from lookonce.config import AugmentSettings
from lookonce.data.augment import AnnotatedImage
from lookonce.data.compose import draw, fit_scale, in_sight, mixup, mosaic, random_color, random_zoom
from lookonce.geometry.letterbox import GRAY

SIZE = 64, 96  # rectangular, so that swapped axes show
PURE = 255 * np.eye(3, dtype=np.uint8)  # red, green, blue
ZOOM = 0.7, 2.0


def canvas() -> NDArray[np.uint8]:
    return np.empty((*SIZE, 3), np.uint8)


def rectangles(rng: np.random.Generator, labels: Sequence[int]) -> AnnotatedImage:
    """Draw a black image with rectangles, each in the color of its label, in up to four quarters.

    Rectangles cover whole pixels, are at least 6 pixels wide and high, and 6 pixels apart.
    """
    height, width = rng.integers(60, 160, 2).tolist()
    image, boxes = np.zeros((height, width, 3), np.uint8), []
    for number, label in enumerate(labels):
        quarter = np.array([number % 2 * width, number // 2 * height]) // 2
        low = quarter + rng.integers(0, 9, 2)
        high = np.minimum(low + rng.integers(6, 60, 2), quarter + np.array([width, height]) // 2 - 6)
        image[low[1] : high[1], low[0] : high[0]] = PURE[label]
        boxes.append([*low, *high])
    return AnnotatedImage(image, np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64))


def assert_boxes_fit_their_colors(image: AnnotatedImage) -> None:
    """Check that, along its center row and column, each box begins and ends within a pixel of its color.

    A pixel has the color if its channel exceeds the others by half, on black as well as on gray.
    """
    height, width = image.size
    assert (image.boxes >= 0).all()
    assert (image.boxes <= [width, height, width, height]).all()
    for box, label in zip(image.boxes, image.labels, strict=True):
        channels = image.pixels.astype(int)
        others = np.delete(channels, label, axis=2).max(axis=2)
        colored = channels[..., label] - others > 127
        middle_x, middle_y = int(box[0::2].mean()), int(box[1::2].mean())
        for line, low, high in (
            (colored[middle_y], box[0], box[2]),
            (colored[:, middle_x], box[1], box[3]),
        ):
            centers = np.arange(len(line)) + 0.5
            assert line[(centers > low + 1) & (centers < high - 1)].all()
            assert not line[(centers < low - 1) & (centers > low - 2)].any()
            assert not line[(centers > high + 1) & (centers < high + 2)].any()


@pytest.mark.parametrize("seed", range(60))
def test_zoom_keeps_boxes_on_their_objects(seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = rectangles(rng, [0, 1, 2, 0][: seed % 5])
    zoomed = random_zoom(image, fit_scale(image, SIZE), canvas(), ZOOM, rng)
    assert zoomed.pixels.shape == (*SIZE, 3)
    assert zoomed.boxes.dtype == np.float32
    assert_boxes_fit_their_colors(zoomed)


def test_zoom_reaches_its_limits_and_keeps_most_objects() -> None:
    image = AnnotatedImage(
        np.full((64, 96, 3), 255, np.uint8), np.array([[0, 0, 96, 64]], np.float32), np.zeros(1, np.int64)
    )
    widths = [
        (np.ptp(np.flatnonzero((zoomed.pixels == 255).all(axis=2).any(axis=0))) + 1) / 96
        for zoomed in (
            random_zoom(image, fit_scale(image, SIZE), canvas(), (0.5, 0.8), np.random.default_rng(k))
            for k in range(200)
        )
    ]
    assert min(widths) == pytest.approx(0.5, abs=0.04)
    assert max(widths) == pytest.approx(0.8, abs=0.04)
    drawn = [
        random_zoom(image, fit_scale(image, SIZE), canvas(), (1.0, 1.0), np.random.default_rng(k))
        for k in range(3)
    ]
    for each in drawn:
        np.testing.assert_array_equal(each.pixels, image.pixels)
        np.testing.assert_array_equal(each.boxes, image.boxes)


@pytest.mark.parametrize("seed", range(60))
def test_mosaic_keeps_boxes_on_their_objects(seed: int) -> None:
    """Neighboring images have different colors, so that a box that crosses its window would fail."""
    rng = np.random.default_rng(seed)
    images = [
        rectangles(rng, [label] * (seed + label) if seed < 4 else [label] * 3) for label in (0, 1, 2, 0)
    ]
    whole = mosaic(images, [fit_scale(each, SIZE) for each in images], canvas(), ZOOM, rng)
    assert whole.pixels.shape == (*SIZE, 3)
    assert len(whole.boxes) == len(whole.labels)
    assert_boxes_fit_their_colors(whole)


def test_mosaic_shows_all_four_images_around_one_point() -> None:
    """Each image fills its window, and the point where they meet is never near the border."""
    no_boxes = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    images = [
        AnnotatedImage(np.full((64, 96, 3), level, np.uint8), *no_boxes) for level in (10, 60, 180, 250)
    ]
    points = set()
    for seed in range(50):
        image = mosaic(
            images,
            [fit_scale(each, SIZE) for each in images],
            canvas(),
            (1.0, 1.0),
            np.random.default_rng(seed),
        ).pixels
        left, top = (image[0, :, 0] == 10).sum(), (image[:, 0, 0] == 10).sum()
        assert 24 <= left <= 72
        assert 16 <= top <= 48
        for level, window in (
            (10, image[:top, :left]),
            (60, image[:top, left:]),
            (180, image[top:, :left]),
            (250, image[top:, left:]),
        ):
            assert (window == level).all()
        points.add((left, top))
    assert len(points) > 40


def test_a_small_image_touches_the_meeting_point_of_a_mosaic() -> None:
    small = AnnotatedImage(
        np.full((64, 96, 3), 9, np.uint8), np.array([[0, 0, 96, 64]], np.float32), np.zeros(1, int)
    )
    for seed in range(20):
        drawn = mosaic(
            [small] * 4, [fit_scale(small, SIZE)] * 4, canvas(), (0.2, 0.2), np.random.default_rng(seed)
        )
        left, top = drawn.boxes[0, 2:]
        assert left == round(left)
        assert top == round(top)
        width, height = 0.2 * 96, 0.2 * 64
        np.testing.assert_allclose(
            drawn.boxes,
            [
                [left - width, top - height, left, top],
                [left, top - height, left + width, top],
                [left - width, top, left, top + height],
                [left, top, left + width, top + height],
            ],
            rtol=1e-5,
        )


@pytest.mark.parametrize("sides", [(1, 1), (1, 40), (40, 1), (3, 2)])
def test_tiny_images_are_composed(sides: tuple[int, int]) -> None:
    height, width = sides
    whole = np.array([[0, 0, width, height]], np.float32)
    tiny = AnnotatedImage(np.full((height, width, 3), PURE[1]), whole, np.array([1]))
    for seed in range(10):
        rng = np.random.default_rng(seed)
        for drawn in (
            random_zoom(tiny, fit_scale(tiny, SIZE), canvas(), (1, 1), rng),
            mosaic([tiny] * 4, [fit_scale(tiny, SIZE)] * 4, canvas(), (1, 1), rng),
        ):
            assert len(drawn.boxes) >= (min(SIZE[0] / height, SIZE[1] / width) >= 8)
            for box in drawn.boxes:
                x, y = ((box[:2] + box[2:]) / 2).astype(int)
                assert drawn.pixels[y, x, 1] > drawn.pixels[y, x, 0]
                assert (box[2:] > box[:2]).all()


def test_a_small_object_is_kept_unless_it_is_cut() -> None:
    """An uncut small object is trained on without mosaic too."""
    image = np.zeros((64, 96, 3), np.uint8)
    whole, at_the_border = [40, 30, 41, 31], [-0.5, 30, 1, 31.5]
    small = AnnotatedImage(image, np.array([whole, at_the_border], np.float32), np.array([0, 1]))
    target = np.zeros((64, 96, 3), np.uint8)
    assert draw(small, target, (0, 0, 96, 64), 1.0, 0, 0).labels.tolist() == [0]
    assert draw(small, target, (0, 0, 96, 64), 1.0, 1, 0).labels.tolist() == [0, 1]


def test_images_without_boxes_are_composed() -> None:
    rng = np.random.default_rng(0)
    empty = rectangles(rng, [])
    for drawn in (
        random_zoom(empty, fit_scale(empty, SIZE), canvas(), ZOOM, rng),
        mosaic([empty] * 4, [fit_scale(empty, SIZE)] * 4, canvas(), ZOOM, rng),
        mixup(
            random_zoom(empty, fit_scale(empty, SIZE), canvas(), ZOOM, rng),
            random_zoom(empty, fit_scale(empty, SIZE), canvas(), ZOOM, rng),
            rng,
        ),
    ):
        assert drawn.boxes.shape == (0, 4)
        assert drawn.labels.shape == (0,)


def test_boxes_are_clipped_to_the_window_and_mostly_hidden_ones_dropped() -> None:
    boxes = np.array(
        [
            [0, 0, 10, 10],  # whole
            [13, 0, 23, 10],  # 7 of 10 columns in sight
            [16.9, 0, 26.9, 10],  # 3.1 of 10: just enough
            [17.2, 0, 27.2, 10],  # 2.8 of 10
            [20, 0, 30, 10],  # outside
            [19.1, 0, 20.9, 10],  # half of it, but only 1.8 pixels of the canvas
        ],
        np.float32,
    )
    image = AnnotatedImage(np.full((10, 30, 3), 9, np.uint8), boxes, np.arange(6))
    target = np.full((50, 80, 3), 77, np.uint8)
    drawn = draw(image, target, (20, 10, 60, 45), scale=2, x=20, y=12)
    assert drawn.labels.tolist() == [0, 1, 2]
    np.testing.assert_allclose(drawn.boxes, [[20, 12, 40, 32], [46, 12, 60, 32], [53.8, 12, 60, 32]])
    inside = np.zeros((50, 80), bool)
    inside[10:45, 20:60] = True
    assert drawn.pixels is target
    assert (target[~inside] == 77).all()
    assert (target[13:31, 21:60] == 9).all()
    assert (target[33:45, 20:60] == GRAY).all()


@pytest.mark.parametrize(
    ("cut", "kept"),
    [([0, 0, 3.1, 10], True), ([0, 0, 2.9, 10], False), ([0, 0, 10, 3.1], True), ([8, 8, 8, 8], False)],
)
def test_a_box_is_kept_if_enough_of_it_is_in_sight(cut: list[float], kept: bool) -> None:
    whole = np.array([[0, 0, 10, 10]], np.float32)
    assert in_sight(np.array([cut], np.float32), whole).tolist() == [kept]


def test_pixel_centers_are_at_halves() -> None:
    """After threefold enlargement, the center of each 3 x 3 block has the original color."""
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    image = AnnotatedImage(pixels, np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    enlarged = draw(image, np.zeros((20, 30, 3), np.uint8), (0, 0, 30, 20), scale=3, x=4, y=2).pixels
    np.testing.assert_array_equal(enlarged[3:17:3, 5:25:3], pixels)


def test_no_boxes_are_in_sight_of_none() -> None:
    assert in_sight(np.zeros((0, 4), np.float32), np.zeros((0, 4), np.float32)).shape == (0,)


def test_mixup_keeps_the_boxes_of_both_images() -> None:
    one, other = rectangles(np.random.default_rng(1), [0, 1]), rectangles(np.random.default_rng(2), [2])
    one = random_zoom(one, fit_scale(one, SIZE), canvas(), (1, 1), np.random.default_rng(3))
    other = random_zoom(other, fit_scale(other, SIZE), canvas(), (1, 1), np.random.default_rng(4))
    shares = []
    for seed in range(50):
        first = replace(one, pixels=one.pixels.copy())  # is blended in place
        mixed = mixup(first, other, np.random.default_rng(seed))
        np.testing.assert_array_equal(mixed.boxes, np.concatenate([one.boxes, other.boxes]))
        assert mixed.labels.tolist() == [0, 1, 2]
        top, bottom = one.pixels.astype(float), other.pixels.astype(float)
        share = ((mixed.pixels - bottom) * (top - bottom)).sum() / ((top - bottom) ** 2).sum()
        np.testing.assert_allclose(mixed.pixels, share * top + (1 - share) * bottom, atol=2)
        shares.append(share)
    assert 0.1 < min(shares) < 0.4 < np.mean(shares) < 0.6 < max(shares) < 0.9


def colored(color: Sequence[int], seed: int, **settings: float) -> NDArray[np.uint8]:
    image = np.full((2, 3, 3), color, np.uint8)
    random_color(image, AugmentSettings(**settings), np.random.default_rng(seed))
    assert (image == image[0, 0]).all()
    return image[0, 0]


def test_without_color_changes_every_bit_stays() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    before, rng = image.copy(), np.random.default_rng(1)
    random_color(image, AugmentSettings(), rng)
    np.testing.assert_array_equal(image, before)
    assert rng.random() == np.random.default_rng(1).random(), "nothing was drawn"


@pytest.mark.parametrize("seed", range(20))
def test_hue_rotates_red_by_the_drawn_angle(seed: int) -> None:
    degrees = 360 * np.random.default_rng(seed).uniform(-0.15, 0.15)  # the first number drawn; up to 54
    red, green, blue = colored([255, 0, 0], seed, hue=0.15).tolist()
    assert red == 255
    rises, stays = (green, blue) if degrees > 0 else (blue, green)
    assert rises == pytest.approx(255 * abs(degrees) / 60, abs=1.5 * 255 / 60)  # OpenCV's steps: 2 degrees
    assert stays == 0


def test_hue_does_not_change_grays() -> None:
    for seed in range(10):
        assert colored([90, 90, 90], seed, hue=0.5).tolist() == [90, 90, 90]


def test_exposure_is_a_factor_either_way() -> None:
    levels = np.array([colored([100, 100, 100], seed, exposure=2)[0] for seed in range(300)]) / 100
    assert levels.min() == pytest.approx(0.5, abs=0.02)
    assert levels.max() == pytest.approx(2, abs=0.04)
    assert np.median(levels) == pytest.approx(1, abs=0.1)
    bright = [colored([250, 250, 250], seed, exposure=2)[0] for seed in range(30)]
    assert max(bright) == 255, "no overflow into black"
    assert min(bright) >= 125


def test_saturation_scales_the_distance_from_gray() -> None:
    found = np.array([colored([200, 150, 150], seed, saturation=2) for seed in range(300)]).astype(int)
    assert (found[:, 0] == 200).all()
    np.testing.assert_array_equal(found[:, 1], found[:, 2])
    assert found[:, 1].min() == pytest.approx(100, abs=2)
    assert found[:, 1].max() == pytest.approx(175, abs=2)


def test_colors_are_rounded_not_truncated() -> None:
    """A factor close to 1 changes nothing; truncation would darken half of the levels."""
    image = np.arange(256, dtype=np.uint8)[:, None, None].repeat(3, axis=2)
    before = image.copy()
    random_color(image, AugmentSettings(exposure=1.0001), np.random.default_rng(0))
    np.testing.assert_array_equal(image, before)
