"""Test that cached images are unchanged, read-only, and within the memory limit."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookonce.data import cache
from lookonce.data.cache import ImageCache
from lookonce.data.dataset import Dataset
from lookonce.errors import ImageError
from lookonce.images import read_image
from lookonce.recipe import load_settings
from tests.data.drawn_samples import INFO, draw_samples

BYTES = 20 * 30 * 3


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    for number in range(4):
        Image.fromarray(np.full((20, 30, 3), number, np.uint8)).save(tmp_path / f"{number}.png")
    return [tmp_path / f"{number}.png" for number in range(4)]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    counted: Counter[str] = Counter()
    monkeypatch.setattr(cache, "read_image", lambda path, *_: counted.update([path.name]) or read_image(path))
    return counted


def test_images_that_fit_are_read_once_and_the_rest_each_time(paths: list[Path], reads: Counter[str]) -> None:
    images = ImageCache(2 * BYTES + 1)
    for _ in range(3):
        for number, path in enumerate(paths):
            assert (images.read(path) == number).all()
    assert reads == {"0.png": 1, "1.png": 1, "2.png": 3, "3.png": 3}


def test_a_cached_image_is_read_only(paths: list[Path]) -> None:
    images = ImageCache()
    with pytest.raises(ValueError, match="read-only"):
        images.read(paths[1])[0, 0] = 9
    assert (images.read(paths[1]) == 1).all()


def test_threads_count_each_image_once(paths: list[Path], reads: Counter[str]) -> None:
    images = ImageCache(4 * BYTES)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(images.read, paths[:3] * 50))
    before = reads["3.png"]
    images.read(paths[3])
    images.read(paths[3])
    assert reads["3.png"] == before + 1, "there was room left for the fourth"


def test_an_unreadable_image_is_tried_again(paths: list[Path]) -> None:
    images, content = ImageCache(), paths[0].read_bytes()
    paths[0].write_bytes(b"<html>")
    with pytest.raises(ImageError):
        images.read(paths[0])
    paths[0].write_bytes(content)
    assert (images.read(paths[0]) == 0).all()


def test_an_epoch_is_the_same_with_and_without_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All augmentations are on."""
    samples = draw_samples(tmp_path, 5)
    changes = ["augment.mosaic=0.5", "augment.mixup=0.5", "augment.hue=0.1", "augment.exposure=1.5"]
    wanted = load_settings(None, changes).augment
    epochs = []
    for most_bytes in (0, 2**30):
        monkeypatch.setattr(
            "lookonce.data.dataset.ImageCache", lambda size=most_bytes, **more: ImageCache(size, **more)
        )
        dataset, out = Dataset(samples, INFO, wanted), np.empty((64, 96, 3), np.uint8)
        pixels = []
        for visit in [*range(5)] * 3:
            dataset.load(visit, 1, out)
            pixels.append(out.copy())
        epochs.append(np.stack(pixels))
    np.testing.assert_array_equal(*epochs)
