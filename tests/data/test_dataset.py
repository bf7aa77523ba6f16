"""One picture, from file to network input."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lookonce.config import AugmentSettings
from lookonce.data.assign import assign
from lookonce.data.augment import Picture, augment
from lookonce.data.dataset import Dataset, Example, trainable
from lookonce.errors import AnnotationError, ImageError
from lookonce.geometry.letterbox import Letterbox
from lookonce.images import read_image
from lookonce.samples import Sample
from tests.data.drawn_samples import INFO, draw_samples

ALWAYS = AugmentSettings(flip=1, crop=1, translate=1)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return draw_samples(tmp_path_factory.mktemp("drawn"))


def load(dataset: Dataset, index: int, epoch: int = 0) -> tuple[NDArray[np.uint8], Example]:
    pixels = np.empty((*INFO.input_size, 3), np.uint8)
    return pixels, dataset.load(index, epoch, pixels)


@pytest.mark.parametrize("index", range(7))
def test_without_augmentation(samples: list[Sample], index: int) -> None:
    pixels, example = load(Dataset(samples, INFO, None), index)
    picture = read_image(samples[index].path)
    box = Letterbox.fit(picture.shape[:2], (64, 96))
    assert example.letterbox == box
    np.testing.assert_array_equal(pixels, box.image(picture))
    np.testing.assert_allclose(example.boxes, box.boxes_in(samples[index].boxes), atol=1e-4)
    np.testing.assert_array_equal(example.labels, samples[index].labels)
    np.testing.assert_allclose(box.boxes_out(example.boxes), samples[index].boxes, atol=1e-3)
    assert example.sample is samples[index]
    assert example.problems == ()


@pytest.mark.parametrize("index", range(7))
def test_with_augmentation(samples: list[Sample], index: int) -> None:
    """The steps one after the other, with the same generator, give the same."""
    pixels, example = load(Dataset(samples, INFO, ALWAYS, seed=5), index, epoch=2)
    sample = samples[index]
    changed = augment(
        Picture(read_image(sample.path), sample.boxes, sample.labels),
        ALWAYS,
        np.random.default_rng((1, 5, 2, index)),
    )
    box = Letterbox.fit(changed.size, (64, 96))
    np.testing.assert_array_equal(pixels, box.image(changed.image))
    np.testing.assert_allclose(example.boxes, box.boxes_in(changed.boxes), atol=1e-4)
    expected = assign(example.boxes, example.labels, INFO.anchors, INFO.strides, INFO.input_size, 3)
    for name in ("scale", "row", "column", "prior", "box", "label"):
        np.testing.assert_array_equal(getattr(example.positives, name), getattr(expected, name))
    assert (len(expected.label) > 0) == (len(sample.labels) > 0)


def test_augmentation_follows_seed_epoch_and_index(samples: list[Sample]) -> None:
    twice = [samples[3], samples[3]]
    pixels, _ = load(Dataset(twice, INFO, ALWAYS, seed=1), 0, epoch=4)
    again, _ = load(Dataset(twice, INFO, ALWAYS, seed=1), 0, epoch=4)
    np.testing.assert_array_equal(pixels, again)
    others = [
        load(Dataset(twice, INFO, ALWAYS, seed=2), 0, epoch=4),
        load(Dataset(twice, INFO, ALWAYS, seed=1), 0, epoch=5),
        load(Dataset(twice, INFO, ALWAYS, seed=1), 1, epoch=4),
    ]
    for other, _ in others:
        assert not np.array_equal(pixels, other)


def test_order_is_a_permutation_that_follows_seed_and_epoch(samples: list[Sample]) -> None:
    many = samples * 10
    orders = [Dataset(many, INFO, None, seed).order(epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(70))
    assert len({tuple(order.tolist()) for order in orders}) == 3
    np.testing.assert_array_equal(orders[1], Dataset(many, INFO, None, 0).order(1))


def test_stretch(samples: list[Sample]) -> None:
    pixels, example = load(Dataset(samples, replace(INFO, fit="stretch"), None), 3)
    assert example.letterbox.resized == (64, 96)
    height, width = read_image(samples[3].path).shape[:2]
    factor = np.array([96 / width, 64 / height] * 2, np.float32)
    np.testing.assert_allclose(example.boxes, samples[3].boxes * factor, rtol=1e-5)
    assert not (pixels == 128).all(axis=(0, 2)).any()


def test_crowds_are_not_learnt_and_difficult_ones_are() -> None:
    boxes = np.array([[1, 1, 9, 9], [2, 2, 8, 8], [3, 3, 7, 7]], np.float32)
    sample = Sample(
        Path("x.png"),
        boxes,
        np.array([0, 1, 2]),
        difficult=np.array([True, False, False]),
        crowd=np.array([False, True, False]),
    )
    picture, problems = trainable(sample, np.zeros((10, 20, 3), np.uint8))
    np.testing.assert_array_equal(picture.labels, [0, 2])
    np.testing.assert_array_equal(picture.boxes, boxes[[0, 2]])
    assert problems == ()


def test_boxes_are_cut_to_the_picture_and_those_outside_are_named() -> None:
    boxes = np.array([[-5, 2, 6, 30], [25, 1, 30, 5], [0, 0, 20, 10], [4, 4, 4, 8]], np.float32)
    picture, problems = trainable(Sample(Path("x.png"), boxes, np.arange(4)), np.zeros((10, 20, 3), np.uint8))
    np.testing.assert_array_equal(picture.boxes, [[0, 2, 6, 10], [0, 0, 20, 10]])
    np.testing.assert_array_equal(picture.labels, [0, 2])
    assert [problem.place for problem in problems] == ["x.png: box 2", "x.png: box 4"]
    assert "picture of 20 x 10, found [25.0, 1.0, 30.0, 5.0]" in problems[0].what


@pytest.mark.parametrize("label", [-1, 3])
def test_unknown_class_names_the_picture(label: int) -> None:
    sample = Sample(Path("x.png"), np.array([[1, 1, 9, 9]], np.float32), np.array([label]))
    with pytest.raises(AnnotationError, match=rf"x\.png: expected class numbers from 0 to 2, found {label}"):
        Dataset([sample], INFO, None)


def test_unreadable_picture(tmp_path: Path) -> None:
    sample = Sample(tmp_path / "gone.jpg", np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    with pytest.raises(ImageError, match=r"gone\.jpg: .* no such file"):
        load(Dataset([sample], INFO, None), 0)
