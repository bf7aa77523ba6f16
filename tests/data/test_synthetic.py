"""Test that rendered images are reproducible and their boxes fit the letters."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.random import Generator

from lookonce.annotations import load_samples, load_splits
from lookonce.data.grounds import Floats, ground
from lookonce.data.synthetic import (
    CLASSES,
    MOST_OBJECTS,
    SIDES,
    SIZES,
    Scene,
    glyph,
    render,
    render_unseen,
    scene,
)
from lookonce.errors import AnnotationError
from lookonce.geometry.boxes import pairwise_iou
from lookonce.images import list_images, read_image

SOME = [scene(np.random.default_rng(seed)) for seed in range(24)]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder, seed in (("a", 5), ("b", 5), ("c", 6)):
        render(tmp_path / folder, {"train": 3, "val": 2}, seed)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert files(tmp_path / "a") != files(tmp_path / "c")


def test_more_images_do_not_change_the_others(tmp_path: Path) -> None:
    render(tmp_path / "few", {"train": 2})
    render(tmp_path / "many", {"train": 4, "test": 1})
    few, many = files(tmp_path / "few"), files(tmp_path / "many")
    images = [name for name in few if name.endswith(".jpg")]
    assert len(images) == 2
    assert all(few[name] == many[name] for name in images)


def test_no_image_is_in_two_splits(tmp_path: Path) -> None:
    render(tmp_path, {"train": 4, "val": 4, "test": 4})
    images = [content for name, content in files(tmp_path).items() if name.endswith(".jpg")]
    assert len(set(images)) == len(images) == 12


def test_a_written_set_reads_back_without_problems(tmp_path: Path) -> None:
    data = render(tmp_path / "made", {"train": 5, "val": 2}, seed=1)
    sets = load_splits(data)
    assert {split: len(found.samples) for split, found in sets.items()} == {"train": 5, "val": 2}
    assert all(problem.outcome == "noted" for found in sets.values() for problem in found.problems)
    found = load_samples(data, "train")
    assert found.names == CLASSES
    for number, sample in enumerate(found.samples):
        drawn = scene(np.random.default_rng((1, 1, number)))
        np.testing.assert_array_equal(sample.boxes, drawn.boxes)
        np.testing.assert_array_equal(sample.labels, drawn.labels)
        image = read_image(sample.path)
        assert image.shape == drawn.image.shape
        assert np.abs(image.astype(int) - drawn.image).mean() < 12  # JPEG


def test_an_existing_set_is_not_overwritten(tmp_path: Path) -> None:
    render(tmp_path, {"val": 1})
    with pytest.raises(AnnotationError, match="new or empty folder"):
        render(tmp_path, {"val": 1})


@pytest.mark.parametrize("drawn", SOME[:8])
def test_boxes_are_inside_the_image_and_of_sensible_size(drawn: Scene) -> None:
    height, width = drawn.image.shape[:2]
    assert (height, width) in SIZES
    assert drawn.boxes.shape == (len(drawn.labels), 4)
    assert (drawn.boxes >= 0).all()
    assert (drawn.boxes <= (width, height, width, height)).all()
    sides = drawn.boxes[:, 2:] - drawn.boxes[:, :2]
    assert (sides >= 0.25 * SIDES[0]).all()
    assert (sides <= 2 * SIDES[1]).all()
    overlaps = pairwise_iou(drawn.boxes, drawn.boxes)
    assert all(overlaps[a, b] == 0 for a, b in combinations(range(len(drawn.boxes)), 2))


def test_every_class_and_empty_images_occur() -> None:
    drawn = [*SOME, *(scene(np.random.default_rng(seed)) for seed in range(100, 130))]
    assert set(np.concatenate([each.labels for each in drawn])) == set(range(len(CLASSES)))
    counts = {len(each.labels) for each in drawn}
    assert 0 in counts
    assert max(counts) <= MOST_OBJECTS


def test_a_box_holds_its_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a plain background without light and grain, all pixels in the color of a letter are in its box."""
    module = "lookonce.data.synthetic"
    gray = 128.0
    monkeypatch.setattr(f"{module}.ground", lambda rng, h, w: np.full((h, w, 3), gray, np.float32))
    monkeypatch.setattr(f"{module}._photographed", lambda rng, canvas: canvas.round().astype(np.uint8))
    for seed in range(8):
        drawn = scene(np.random.default_rng(seed))
        # a shadow darkens all channels equally; a letter changes their ratio or is brighter
        channels = drawn.image.astype(int)
        lettered = (np.ptp(channels, axis=2) > 60) | (channels.max(axis=2) > gray + 60)
        inside = np.zeros(lettered.shape, bool)
        for x0, y0, x1, y1 in drawn.boxes.astype(int):
            inside[max(y0 - 1, 0) : y1 + 1, max(x0 - 1, 0) : x1 + 1] = True
            assert lettered[y0:y1, x0:x1].any() or channels[y0:y1, x0:x1].min() < gray - 60
        assert not (lettered & ~inside).any()


def test_boxes_are_tight(monkeypatch: pytest.MonkeyPatch) -> None:
    """For white letters on black, every side of a box touches its letter, and nothing is outside."""
    module = "lookonce.data.synthetic"

    def paint_white(rng: Generator, canvas: Floats, mask: Floats, left: int, top: int) -> None:
        height, width = mask.shape
        canvas[top : top + height, left : left + width] += 255 * mask[..., None]

    monkeypatch.setattr(f"{module}.ground", lambda rng, h, w: np.zeros((h, w, 3), np.float32))
    monkeypatch.setattr(f"{module}._photographed", lambda rng, canvas: canvas.clip(0, 255).astype(np.uint8))
    monkeypatch.setattr(f"{module}._paint", paint_white)
    for seed in range(12):
        drawn = scene(np.random.default_rng(seed))
        lettered = drawn.image[..., 0] > 127
        for x0, y0, x1, y1 in drawn.boxes.astype(int):
            inside = lettered[y0:y1, x0:x1]
            assert all(side.any() for side in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))
            lettered[y0:y1, x0:x1] = False
        assert not lettered.any()


@pytest.mark.parametrize("letter", CLASSES)
def test_a_glyph_fits_its_mask(letter: str) -> None:
    for seed in range(6):
        mask = glyph(np.random.default_rng(seed), letter)
        assert mask.dtype == np.float32
        assert 0 <= mask.min() < 0.01
        assert 0.99 < mask.max() <= 1
        border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
        assert border.max() == 0, "cut off"


def test_backgrounds_are_textured_and_of_the_requested_size() -> None:
    for seed in range(20):
        canvas = ground(np.random.default_rng(seed), 60, 90)
        assert canvas.shape == (60, 90, 3)
        assert canvas.dtype == np.float32
        assert canvas.min() >= 0
        assert canvas.max() <= 255
        assert canvas.std(axis=(0, 1)).max() > 2


def test_unseen_images_differ_from_all_splits(tmp_path: Path) -> None:
    render(tmp_path, {"train": 3, "val": 3, "test": 3})
    render_unseen(tmp_path / "unseen", 3)
    unseen = [read_image(path) for path in list_images(tmp_path / "unseen")]
    assert len(unseen) == 3
    for path in (tmp_path / "images").rglob("*.jpg"):
        assert all(
            image.shape != new.shape or np.abs(image.astype(int) - new).mean() > 12
            for image in [read_image(path)]
            for new in unseen
        )
