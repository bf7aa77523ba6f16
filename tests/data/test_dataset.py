"""Test the preparation of images, from file to network input."""

from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lookonce.config import AssignSettings, AugmentSettings
from lookonce.data.augment import AnnotatedImage
from lookonce.data.cache import ImageCache
from lookonce.data.dataset import Dataset, repeat_factors, trainable
from lookonce.data.loader import Batch, Loader
from lookonce.errors import AnnotationError, ImageError
from lookonce.geometry.letterbox import Letterbox
from lookonce.images import read_image
from lookonce.samples import Sample
from tests.data.drawn_samples import INFO, draw_samples

ALWAYS = AugmentSettings(flip=1, crop=1, translate=1)
VISITS = np.arange(4)  # of a batch; they decide its size only where shapes vary


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return draw_samples(tmp_path_factory.mktemp("drawn"))


def load(dataset: Dataset, index: int, epoch: int = 0) -> AnnotatedImage:
    pixels = np.empty((*INFO.input_size, 3), np.uint8)
    image, problems = dataset.load(index, epoch, pixels)
    assert image.pixels is pixels
    assert problems == ()
    return image


@pytest.mark.parametrize("index", range(7))
def test_without_augmentation_images_are_only_letterboxed(samples: list[Sample], index: int) -> None:
    found = load(Dataset(samples, INFO, None), index)
    image = read_image(samples[index].path)
    box = Letterbox.fit(image.shape[:2], (64, 96))
    np.testing.assert_array_equal(found.pixels, box.image(image))
    np.testing.assert_allclose(found.boxes, box.boxes_in(samples[index].boxes), atol=1e-4)
    np.testing.assert_array_equal(found.labels, samples[index].labels)
    np.testing.assert_allclose(box.boxes_out(found.boxes), samples[index].boxes, atol=1e-3)


def test_with_augmentation_boxes_stay_on_their_objects(tmp_path: Path) -> None:
    """White objects on black stay in their boxes under all augmentations."""
    pixels = np.zeros((80, 120, 3), np.uint8)
    boxes = np.array([[20, 16, 52, 40], [70, 48, 102, 72]], np.float32)
    for left, top, right, bottom in boxes.astype(int):
        pixels[top:bottom, left:right] = 255
    Image.fromarray(pixels).save(tmp_path / "objects.png")
    dataset = Dataset([Sample(tmp_path / "objects.png", boxes, np.array([0, 2]))], INFO, ALWAYS)
    seen = set()
    for epoch in range(30):
        found = load(dataset, 0, epoch)
        white = (found.pixels > 250).all(axis=2)
        inside = np.zeros(white.shape, bool)
        for left, top, right, bottom in np.rint(found.boxes).astype(int):
            inside[top:bottom, left:right] = True
            middle = white[top + 2 : bottom - 2, left + 2 : right - 2]
            assert middle.size > 0
            assert middle.all()
        assert (white & ~inside).sum() < 0.15 * white.sum(), "only the rim, by rounding"
        seen.add(tuple(np.rint(found.boxes).ravel()))
    assert len(seen) > 20


def test_only_boxes_in_the_input_are_assigned(samples: list[Sample]) -> None:
    dataset = Dataset(samples, INFO, ALWAYS, assignment=AssignSettings(rule="best"))
    for index in range(7):
        found = load(dataset, index, epoch=2)
        assigned = dataset.assign(found)
        assert len(assigned.label) + assigned.lost == len(samples[index].labels)
        pairs = set(zip(map(tuple, found.boxes.tolist()), found.labels.tolist(), strict=True))
        assert set(zip(map(tuple, assigned.box.tolist()), assigned.label.tolist(), strict=True)) <= pairs


def test_augmentation_follows_seed_epoch_and_index(samples: list[Sample]) -> None:
    twice = [samples[3], samples[3]]
    pixels = load(Dataset(twice, INFO, ALWAYS, seed=1), 0, epoch=4).pixels
    again = load(Dataset(twice, INFO, ALWAYS, seed=1), 0, epoch=4).pixels
    np.testing.assert_array_equal(pixels, again)
    others = [
        load(Dataset(twice, INFO, ALWAYS, seed=2), 0, epoch=4),
        load(Dataset(twice, INFO, ALWAYS, seed=1), 0, epoch=5),
        load(Dataset(twice, INFO, ALWAYS, seed=1), 1, epoch=4),
    ]
    for other in others:
        assert not np.array_equal(pixels, other.pixels)


def test_order_is_a_permutation_that_follows_seed_and_epoch(samples: list[Sample]) -> None:
    many = samples * 10
    orders = [Dataset(many, INFO, None, seed).order(epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(70))
    assert len({tuple(order.tolist()) for order in orders}) == 3
    np.testing.assert_array_equal(orders[1], Dataset(many, INFO, None, 0).order(1))


def test_stretch_scales_each_axis_without_padding(samples: list[Sample]) -> None:
    found = load(Dataset(samples, replace(INFO, fit="stretch"), None), 3)
    height, width = read_image(samples[3].path).shape[:2]
    factor = np.array([96 / width, 64 / height] * 2, np.float32)
    np.testing.assert_allclose(found.boxes, samples[3].boxes * factor, rtol=1e-5)
    assert not (found.pixels == 128).all(axis=(0, 2)).any()


def test_crowds_are_not_learned_and_difficult_ones_are() -> None:
    boxes = np.array([[1, 1, 9, 9], [2, 2, 8, 8], [3, 3, 7, 7]], np.float32)
    sample = Sample(
        Path("x.png"),
        boxes,
        np.array([0, 1, 2]),
        difficult=np.array([True, False, False]),
        crowd=np.array([False, True, False]),
    )
    image, problems = trainable(sample, np.zeros((10, 20, 3), np.uint8))
    np.testing.assert_array_equal(image.labels, [0, 2])
    np.testing.assert_array_equal(image.boxes, boxes[[0, 2]])
    assert problems == ()


def test_boxes_are_clipped_to_the_image_and_those_outside_named() -> None:
    boxes = np.array([[-5, 2, 6, 30], [25, 1, 30, 5], [0, 0, 20, 10], [4, 4, 4, 8]], np.float32)
    image, problems = trainable(Sample(Path("x.png"), boxes, np.arange(4)), np.zeros((10, 20, 3), np.uint8))
    np.testing.assert_array_equal(image.boxes, [[0, 2, 6, 10], [0, 0, 20, 10]])
    np.testing.assert_array_equal(image.labels, [0, 2])
    assert [problem.place for problem in problems] == ["x.png: box 2", "x.png: box 4"]
    assert "image of 10x20, found [25.0, 1.0, 30.0, 5.0]" in problems[0].what


@pytest.mark.parametrize("label", [-1, 3])
def test_unknown_class_names_the_image(label: int) -> None:
    sample = Sample(Path("x.png"), np.array([[1, 1, 9, 9]], np.float32), np.array([label]))
    with pytest.raises(AnnotationError, match=rf"x\.png: expected class numbers from 0 to 2, found {label}"):
        Dataset([sample], INFO, None)


def test_an_unreadable_image_is_an_error(tmp_path: Path) -> None:
    sample = Sample(tmp_path / "gone.jpg", np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    with pytest.raises(ImageError, match=r"gone\.jpg: .* [Nn]o such file"):
        load(Dataset([sample], INFO, None), 0)


EVERYTHING = AugmentSettings(
    mosaic=0.5, mixup=0.4, zoom=(0.6, 1.6), hue=0.05, saturation=1.5, exposure=1.5, multi_scale=0.5
)


def drawn(dataset: Dataset, epoch: int, workers: int) -> list[Batch]:
    with Loader(dataset, 3, workers) as loader:
        return list(chain.from_iterable(loader.steps(epoch)))


def test_compositions_follow_seed_epoch_and_index_for_any_number_of_workers(samples: list[Sample]) -> None:
    one = drawn(Dataset(samples, INFO, EVERYTHING, seed=4), 1, workers=0)
    for workers in (1, 3):
        other = drawn(Dataset(samples, INFO, EVERYTHING, seed=4), 1, workers)
        for mine, theirs in zip(one, other, strict=True):
            assert torch.equal(mine.images, theirs.images)
            assert torch.equal(mine.truth, theirs.truth)
    for seed, epoch in ((5, 1), (4, 2)):
        for mine, theirs in zip(
            one, drawn(Dataset(samples, INFO, EVERYTHING, seed=seed), epoch, 0), strict=True
        ):
            assert mine.images.shape != theirs.images.shape or not torch.equal(mine.images, theirs.images)


@pytest.mark.parametrize(
    "wanted", [{"mosaic": 1}, {"mixup": 1}, {"mosaic": 0.5, "mixup": 1, "zoom": (0.5, 2)}]
)
def test_composed_boxes_lie_in_the_input(samples: list[Sample], wanted: dict[str, float]) -> None:
    dataset = Dataset(samples, INFO, AugmentSettings(**wanted))
    counts = []
    for epoch in range(12):
        found = load(dataset, 5, epoch)
        assert (found.boxes >= 0).all()
        assert (found.boxes <= [96, 64, 96, 64]).all()
        assert len(found.boxes) == len(found.labels)
        counts.append(len(found.labels))
    assert max(counts) > len(samples[5].labels), "others came along"


def test_unmixed_images_are_the_same_as_without_mixup(samples: list[Sample]) -> None:
    sometimes, never = (
        Dataset(samples, INFO, AugmentSettings(mixup=0.5)),
        Dataset(samples, INFO, AugmentSettings()),
    )
    same = [
        np.array_equal(load(sometimes, i, epoch).pixels, load(never, i, epoch).pixels)
        for i in range(7)
        for epoch in range(10)
    ]
    assert 20 < sum(same) < 50


def test_an_unreadable_partner_is_gray_and_reported_only_at_its_own_visit(
    samples: list[Sample], tmp_path: Path
) -> None:
    page = tmp_path / "page.jpg"
    page.write_text("<html></html>")
    bad = replace(samples[3], path=page)
    dataset = Dataset([samples[0], *[bad] * 30], INFO, AugmentSettings(mosaic=1))  # the first has no box
    grays = 0
    for epoch in range(10):
        found = load(dataset, 0, epoch)
        grays += bool((found.pixels[-16:, -24:] == 128).all())
        assert len(found.boxes) == 0
    assert grays >= 8
    for wanted in ({"mosaic": 1}, {"mixup": 1}):
        with Loader(Dataset([*samples, bad], INFO, AugmentSettings(**wanted)), 4, 2) as loader:
            seen = [
                sum(len(batch.paths) for step in loader.steps(epoch) for batch in step) for epoch in range(3)
            ]
        assert seen == [7, 7, 7]
        assert [problem.place for problem in loader.problems] == [str(page)]


def test_varied_scales_are_multiples_of_32_that_follow_seed_epoch_and_batch(samples: list[Sample]) -> None:
    info = replace(INFO, input_size=(320, 416))
    wanted = AugmentSettings(multi_scale=0.25)
    dataset = Dataset(samples, info, wanted, seed=2)
    sizes = [dataset.input_size(epoch, batch, VISITS) for epoch in range(20) for batch in range(1, 21)]
    heights, widths = zip(*sizes, strict=True)
    assert set(heights) == set(range(256, 416, 32)), "240 to 400, rounded"
    assert set(widths) == set(range(320, 544, 32)), "312 to 520, rounded"
    ratios = np.array(widths) / np.array(heights)
    assert np.abs(ratios - 1.3).max() < 0.25, "both sides by one factor"
    assert len(set(sizes[:20])) > 3, "also within an epoch"
    again = Dataset(samples, info, wanted, seed=2)
    assert [again.input_size(epoch, batch, VISITS) for epoch in range(20) for batch in range(1, 21)] == sizes
    other = Dataset(samples, info, wanted, seed=3)
    assert [other.input_size(epoch, batch, VISITS) for epoch in range(20) for batch in range(1, 21)] != sizes
    assert Dataset(samples, info, None).input_size(0, 1, VISITS) == (320, 416)


def test_batches_of_varied_scales_hold_images_of_one_size(samples: list[Sample]) -> None:
    dataset = Dataset(samples, INFO, AugmentSettings(multi_scale=0.9), seed=1)
    shapes = set()
    for epoch in range(6):
        for batch in drawn(dataset, epoch, workers=1):
            shape = tuple(batch.images.shape[-2:])
            assert shape == dataset.input_size(epoch, batch.number, VISITS)
            assert (batch.truth <= torch.tensor([*shape[::-1], *shape[::-1]])).all()
            cells = torch.tensor(shape)[:, None] // torch.tensor(INFO.strides)[batch.positives.scale]
            assert (torch.stack([batch.positives.row, batch.positives.column]) < cells).all()
            shapes.add(shape)
    assert len(shapes) > 3


def showing(*labels: list[int]) -> list[Sample]:
    return [
        Sample(
            Path("x.png"), np.tile(np.array([[0, 0, 9, 9]], np.float32), (len(each), 1)), np.array(each, int)
        )
        for each in labels
    ]


def test_repeat_factors_by_hand() -> None:
    """Classes on 8, 2 and 1 of 10 images have the factors 1, sqrt(2) and 2 at a threshold of 0.4."""
    samples = showing([0], [0], [0, 0], [0], [0], [0], [0, 1], [0, 1, 2], [], [])
    found = repeat_factors(samples, 3, 0.4)
    np.testing.assert_allclose(found, [1] * 6 + [2**0.5, 2, 1, 1])
    assert (repeat_factors(samples, 3, 0) == 1).all()
    assert repeat_factors([], 3, 0.4).shape == (0,)
    assert len(Dataset(samples, INFO, None, repeat_rare=0.4)) == 12  # 11.4, rounded up


@pytest.mark.parametrize("threshold", [0.01, 0.15, 0.3, 0.5, 1.0])
def test_each_image_is_visited_as_often_as_its_factor(threshold: float) -> None:
    samples = showing(*[[0]] * 20, *[[0, 1]] * 3, [2], [], [1])
    dataset = Dataset(samples, INFO, None, seed=1, repeat_rare=threshold)
    factors = repeat_factors(samples, 3, threshold)
    orders = [dataset.order(epoch) for epoch in range(400)]
    assert all(len(np.unique(visits)) == len(dataset) for visits in orders), "each visit is drawn anew"
    counts = np.array([np.bincount(visits % len(samples), minlength=len(samples)) for visits in orders])
    assert (counts.sum(axis=1) == len(dataset)).all(), "every epoch is of one length"
    assert 0 <= len(dataset) - factors.sum() < 1
    assert counts.min() == 1
    wanted = factors * len(dataset) / factors.sum()
    assert (np.abs(counts - wanted) < 1 + 1e-9).all()
    np.testing.assert_allclose(counts.mean(axis=0), wanted, atol=0.12)
    np.testing.assert_array_equal(
        dataset.order(3), Dataset(samples, INFO, None, seed=1, repeat_rare=threshold).order(3)
    )


def test_a_mosaic_draws_rare_images_as_often_as_they_are_visited(
    samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Class 0 on two of four images has the factor 1, class 1 on one of them sqrt(2)."""
    read: list[Path] = []
    monkeypatch.setattr(
        ImageCache, "read", lambda _, path: read.append(path) or np.zeros((8, 8, 3), np.uint8)
    )
    box = np.array([[1, 1, 7, 7]], np.float32)
    rare = [Sample(Path(f"{n}"), box, np.array([label])) for n, label in enumerate((0, 0, 1, 2))]
    wanted = AugmentSettings(mosaic=1, flip=0, crop=0, translate=0)
    dataset = Dataset(rare, INFO, wanted, repeat_rare=0.5)
    for epoch in range(150):
        load(dataset, 0, epoch)
    others = [path.name for path in read if path.name != "0"]
    shares = np.array([others.count(name) for name in ("1", "2", "3")]) / len(others)
    np.testing.assert_allclose(shares, np.array([1, 2**0.5, 2**0.5]) / (1 + 2 * 2**0.5), atol=0.06)


def test_colors_change_the_padding_too(samples: list[Sample]) -> None:
    darker = AugmentSettings(flip=0, crop=0, translate=0, exposure=1.5)
    plain = load(Dataset(samples, INFO, None), 3).pixels
    changed = load(Dataset(samples, INFO, darker), 3).pixels
    grays = {tuple(pixel) for pixel in changed[(plain == 128).all(axis=2)].tolist()}
    assert len(grays) == 1, "the padding with it"
    assert grays != {(128, 128, 128)}


def test_repeats_do_not_change_the_order_if_no_class_is_rare() -> None:
    samples = showing(*[[0, 1, 2]] * 9)
    one, other = Dataset(samples, INFO, None), Dataset(samples, INFO, None, repeat_rare=0.9)
    np.testing.assert_array_equal(one.order(2), other.order(2))


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """Make wide, square and tall images alternately, twelve each, except that the last one is missing."""
    folder = tmp_path_factory.mktemp("shapes")
    samples = []
    for number in range(36):
        width, height = ((200, 92), (100, 100), (92, 200))[number % 3]
        path = folder / f"{number}.png"
        Image.fromarray(np.full((height, width, 3), 7 * number, np.uint8)).save(path)
        samples.append(Sample(path, np.array([[10, 10, 60, 60]], np.float32), np.array([0]), size=None))
    samples[-1].path.unlink()
    return samples


def test_rectangles_group_images_of_similar_shape(shapes: list[Sample]) -> None:
    wanted = AugmentSettings(flip=0, crop=0, translate=0, rectangles=True)
    info = replace(INFO, input_size=(416, 416))
    dataset = Dataset(shapes, info, wanted)
    orders = []
    for epoch in range(3):
        batches = dataset.batches(epoch, 6)
        assert sorted(np.concatenate(batches).tolist()) == list(range(36))
        sizes = [dataset.input_size(epoch, number, visits) for number, visits in enumerate(batches, start=1)]
        assert sizes.count((192, 416)) == 2, "191.4, rounded"
        assert sizes.count((416, 192)) >= 1, "one batch also holds the image whose shape nobody knows"
        orders.append([batch.tolist() for batch in batches])
    assert orders[0] != orders[1] != orders[2]
    assert orders[0] == [batch.tolist() for batch in Dataset(shapes, info, wanted).batches(0, 6)]


def test_free_images_share_batches_in_any_orientation(shapes: list[Sample]) -> None:
    """Wide and tall images share batches, in inputs of both orientations, and fill them."""
    wanted = AugmentSettings(flip=0, crop=0, translate=0, rectangles=True, orientation="free")
    info = replace(INFO, input_size=(416, 416))
    dataset = Dataset(shapes[:-1], info, wanted)
    sizes: list[tuple[int, int]] = []
    for epoch in range(6):
        for number, visits in enumerate(dataset.batches(epoch, 5), start=1):
            size = dataset.input_size(epoch, number, visits)
            sizes.append(size)
            for visit in visits.tolist():
                loaded, _ = dataset.load(visit, epoch, np.empty((*size, 3), np.uint8))
                if size in ((192, 416), (416, 192)) and visit % 3 != 1:
                    sides = (loaded.boxes[:, 2:] - loaded.boxes[:, :2])[0]
                    np.testing.assert_allclose(sides, 50 * 416 / 200, rtol=0.02)
    assert {(192, 416), (416, 192), (416, 416)} <= set(sizes)
    assert dataset.input_size(3, 1, np.array([0])) == dataset.input_size(3, 1, np.array([0]))


def test_neither_the_small_nor_the_first_batch_is_always_the_widest(shapes: list[Sample]) -> None:
    dataset = Dataset(shapes, INFO, AugmentSettings(rectangles=True))
    alone, firsts = set(), set()
    for epoch in range(20):
        batches = dataset.batches(epoch, 7)
        assert sorted(len(batch) for batch in batches) == [1, 7, 7, 7, 7, 7]
        alone |= {int(batch[0]) for batch in batches if len(batch) == 1}
        firsts.add(dataset.input_size(epoch, 1, batches[0]))
    assert len(alone) > 6, "sorted by shape and then cut, it would be one of the last few"
    assert len(firsts) > 1


def test_objects_in_a_rectangular_mosaic_keep_their_size(shapes: list[Sample]) -> None:
    """Tall images in a mosaic with a wide one would be half as large if scaled to the input's height."""
    wanted = AugmentSettings(flip=0, crop=0, translate=0, mosaic=1, rectangles=True)
    small = [replace(sample, boxes=np.array([[40, 40, 60, 60]], np.float32)) for sample in shapes[:-1]]
    dataset = Dataset(small, replace(INFO, input_size=(416, 416)), wanted)
    out = np.empty((192, 416, 3), np.uint8)
    sides: list[int] = []
    for epoch in range(60):
        boxes = dataset.load(0, epoch, out)[0].boxes
        sides += np.rint(boxes[:, 2:] - boxes[:, :2]).max(axis=1).astype(int).tolist()
    long_ones, square_ones = round(20 * 416 / 200), round(20 * 416 / 100)
    assert max(sides) == square_ones
    assert sides.count(long_ones) > 20
    assert sides.count(long_ones) + sides.count(square_ones) > 0.8 * len(sides), "the rest is cut at a window"
