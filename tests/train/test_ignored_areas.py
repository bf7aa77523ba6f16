"""Test that no term of the loss has a gradient in ignored areas, wherever augmentation moves them.

Areas are painted red on black, so that the pixels of each batch show where they are.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from lookonce.config import AugmentSettings, LossSettings
from lookonce.data.dataset import Dataset
from lookonce.data.loader import Batch, Loader
from lookonce.geometry.polygons import contains
from lookonce.images import write_image
from lookonce.samples import Area, Sample
from lookonce.train.loss import Losses, compute_losses
from tests.data.drawn_samples import INFO

RED = (255, 0, 0)
OFF = {"flip": 0, "crop": 0, "translate": 0}
AUGMENTATIONS: dict[str, AugmentSettings | None] = {
    "letterbox": None,
    "flip": AugmentSettings(**OFF | {"flip": 1}),
    "turn": AugmentSettings(**OFF, orientation="free", rectangles=True),
    "crop": AugmentSettings(**OFF | {"crop": 1}),
    "translate": AugmentSettings(**OFF | {"translate": 1}),
    "zoom": AugmentSettings(**OFF, zoom=(0.5, 2)),
    "mosaic": AugmentSettings(flip=0.5, mosaic=1, zoom=(0.6, 1.6)),
    "mixup": AugmentSettings(mixup=1, zoom=(0.6, 1.6)),
    "all": AugmentSettings(mosaic=0.5, mixup=0.5, zoom=(0.6, 1.6), multi_scale=0.5, rectangles=True),
}


def painted(folder: Path, *, boxes: bool = True) -> list[Sample]:
    """Draw six images with up to three objects and two ignored areas: polygons and a crowd box."""
    rng = np.random.default_rng(5)
    samples = []
    for number in range(6):
        height, width = rng.integers(50, 150, 2).tolist()
        low = rng.uniform(0, 0.6, (number % 4 if boxes else 0, 2))
        high = low + rng.uniform(0.1, 0.4, low.shape)
        found = (np.hstack([low, high]) * [width, height, width, height]).astype(np.float32)
        pixels = np.zeros((height, width, 3), np.uint8)
        corners = (rng.uniform(0, 1, (3 + number % 3, 2)) * [width, height]).round().astype(np.float32)
        crowd = np.array([[2, 3, width // 3, height // 2]], np.float32)
        if number % 3 != 2:
            y, x = np.indices((height, width)) + 0.5
            inside = contains(corners, np.stack([x.ravel(), y.ravel()], axis=1))
            pixels[inside.reshape(height, width)] = RED
        pixels[3 : height // 2, 2 : width // 3] = RED
        write_image(path := folder / f"{number}.png", pixels)
        samples.append(
            Sample(
                path,
                np.concatenate([found, crowd]),
                rng.integers(0, 3, len(found) + 1),
                crowd=np.arange(len(found) + 1) == len(found),
                ignored=(Area(corners),) if number % 3 != 2 else (),
            )
        )
    return samples


def batches(dataset: Dataset, epochs: int = 4) -> Iterator[Batch]:
    with Loader(dataset, 3, 0) as loader:
        for epoch in range(epochs):
            yield from chain.from_iterable(loader.steps(epoch))


def gradients(batch: Batch, seed: int = 0) -> tuple[list[Tensor], Losses]:
    """Return the gradient of random raw maps, (B, S, T, A, 5+C) per scale."""
    raw = random_maps(batch, seed)
    losses = compute_losses(
        raw, batch.positives, batch.truth, INFO.anchors, INFO.strides, LossSettings(), batch.ignored
    )
    losses.total().backward()
    found = [each.grad for each in raw if each.grad is not None]
    assert len(found) == len(raw)
    return [by_anchor(each) for each in found], losses


def by_anchor(maps: Tensor) -> Tensor:
    """Reshape (B, A*(5+C), S, T) to (B, S, T, A, 5+C)."""
    return maps.unflatten(1, (3, -1)).permute(0, 3, 4, 1, 2)


def random_maps(batch: Batch, seed: int = 0) -> list[Tensor]:
    height, width = batch.images.shape[2:]
    generator = torch.Generator().manual_seed(seed)
    channels = 3 * (5 + len(INFO.names))
    raw = [
        torch.randn((len(batch.images), channels, height // s, width // s), generator=generator)
        for s in INFO.strides
    ]
    for each in raw:
        each.requires_grad_()
    return raw


def red_by(batch: Batch) -> Tensor:
    """Return how much more red than green each pixel is: (B, H, W)."""
    return batch.images[:, 0].int() - batch.images[:, 1]


def red_pixels(batch: Batch, stride: int, name: str) -> Tensor:
    """Return the pixels of each cell that show an ignored area: (B, S, T, stride * stride)."""
    least = 40 if name in ("mixup", "all") else 128  # a part may be another image's
    red = red_by(batch) > least
    return red.unfold(1, stride, stride).unfold(2, stride, stride).flatten(3)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_ignored_areas_have_no_gradient(tmp_path: Path, name: str) -> None:
    dataset = Dataset(painted(tmp_path), INFO, AUGMENTATIONS[name], seed=3)
    seen = trained = 0
    for batch in batches(dataset):
        grads, _ = gradients(batch)
        for scale, (grad, stride) in enumerate(zip(grads, INFO.strides, strict=True)):
            red = red_pixels(batch, stride, name)
            mine = batch.positives.on_scale(scale)
            without = torch.ones(red.shape[:3], dtype=torch.bool)
            without[mine.image, mine.row, mine.column] = False
            zero = (grad == 0).flatten(3).all(dim=3)
            assert zero[red.all(dim=3)].all()
            if name not in ("mixup", "all"):  # a faint red at a border may be interpolation's
                assert zero[red.any(dim=3) & without].all()
                near = max_pool2d((red_by(batch) > 12).float(), 9, 1, 4)  # the tip of a corner is not painted
                shown = max_pool2d(near, stride).bool()
                assert not (batch.ignored[scale][..., 0] & ~shown).any()
            seen += int(red.any(dim=3).sum())
            trained += int((~zero).sum())
    assert seen > 100
    assert trained > 100


@pytest.mark.parametrize("name", ["letterbox", "mosaic"])
def test_outside_ignored_areas_training_is_unchanged(tmp_path: Path, name: str) -> None:
    """Outside all areas, the gradient equals that of the same images without areas, bit by bit."""
    samples = painted(tmp_path)
    plain = [replace(sample.pick(~sample.crowd), ignored=()) for sample in samples]
    both = (Dataset(each, INFO, AUGMENTATIONS[name], seed=3) for each in (samples, plain))
    compared = 0
    for batch, other in zip(*map(batches, both), strict=True):
        assert not other.ignored
        assert torch.equal(batch.images, other.images)
        for mine, theirs, cells in zip(gradients(batch)[0], gradients(other)[0], batch.ignored, strict=True):
            free = ~cells.any(dim=-1)
            assert torch.equal(mine[free], theirs[free])
            compared += int((theirs[free] != 0).sum())
            assert (theirs[~free] != 0).any()
    assert compared > 100


def test_an_object_in_an_ignored_area_is_not_trained_on(tmp_path: Path) -> None:
    write_image(path := tmp_path / "x.png", np.zeros((64, 96, 3), np.uint8))
    boxes = np.array([[10, 10, 40, 40], [60, 10, 90, 40]], np.float32)
    area = Area(np.array([[50, 0], [96, 0], [96, 64], [50, 64]], np.float32))
    sample = Sample(path, boxes, np.array([0, 1]), ignored=(area,))
    (batch,) = batches(Dataset([sample], INFO, None), epochs=1)
    assert batch.positives.label.unique().tolist() == [0]
    assert batch.truth.shape == (1, 2, 4)  # a prediction on it is not background either


def test_difficult_objects_are_ignored_if_so_set(tmp_path: Path) -> None:
    write_image(path := tmp_path / "x.png", np.zeros((64, 96, 3), np.uint8))
    boxes = np.array([[0, 0, 32, 32], [64, 32, 96, 64]], np.float32)
    sample = Sample(path, boxes, np.array([0, 1]), difficult=np.array([False, True]))
    (trained,) = batches(Dataset([sample], INFO, None), epochs=1)
    assert trained.positives.label.unique().tolist() == [0, 1]
    assert not trained.ignored
    (batch,) = batches(Dataset([sample], INFO, None, difficult="ignore"), epochs=1)
    assert batch.positives.label.unique().tolist() == [0]
    assert batch.ignored[1][0, ..., 0].tolist() == [[False, False, False], [False, False, True]]


# ---- classes that may lack boxes


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_unannotated_classes_get_no_gradient(tmp_path: Path, name: str) -> None:
    """Class 1 is not annotated: its logits get no gradient, nor does objectness where it may be shown.

    Positions to which the network gives it a score below 0.1 are background, and so is padding, which belongs
    to no image.
    """
    samples = []
    for sample in painted(tmp_path):
        height, width = sample.image_size
        whole = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
        write_image(sample.path, np.full((height, width, 3), RED, np.uint8))
        samples.append(
            replace(sample, labels=2 * (sample.labels % 2), crowd=np.zeros(len(sample.labels), bool),
                    ignored=(Area(whole, (1,)),))
        )  # fmt: skip
    known = called_background = 0
    for batch in batches(Dataset(samples, INFO, AUGMENTATIONS[name], seed=3)):
        grads, losses = gradients(batch)
        assert torch.isfinite(losses.per_image()).all()
        values = [torch.sigmoid(by_anchor(each.detach())) for each in random_maps(batch)]
        for scale, (grad, stride) in enumerate(zip(grads, INFO.strides, strict=True)):
            shown = red_pixels(batch, stride, name).any(dim=3)
            mine = batch.positives.on_scale(scale)
            background = grad.clone()
            background[mine.image, mine.row, mine.column, mine.anchor] = 0
            objectness = background[..., 4]
            likely = values[scale][..., 4] * values[scale][..., 6] >= 0.1
            assert (objectness[shown][likely[shown]] == 0).all()
            assert (objectness[shown] >= 0).all()
            assert (background[..., 6][shown] == 0).all()
            known += int((background[..., 5][shown] > 0).sum())
            called_background += int((objectness[shown] > 0).sum())
    assert known > 100  # the absence of class 0 is taught
    assert called_background > 20


def test_an_annotated_object_of_a_partly_annotated_class_is_trained_on(tmp_path: Path) -> None:
    write_image(path := tmp_path / "x.png", np.zeros((64, 96, 3), np.uint8))
    whole = np.array([[0, 0], [96, 0], [96, 64], [0, 64]], np.float32)
    box = np.array([[10, 10, 40, 40]], np.float32)
    sample = Sample(path, box, np.array([1]), ignored=(Area(whole, (1, 2)),))
    (batch,) = batches(Dataset([sample], INFO, None), epochs=1)
    grads, _ = gradients(batch)
    mine = batch.positives
    at = [
        grads[s][
            tuple(column[mine.scale == s] for column in (mine.image, mine.row, mine.column, mine.anchor))
        ]
        for s in (0, 1)
    ]
    each = torch.cat(at)  # (P, 5+C)
    assert len(each)
    assert (each[:, 4] < 0).all()  # objectness rises
    assert (each[:, 5] > 0).all()  # the annotated class 0 falls
    assert (each[:, 6] < 0).all()  # its own rises
    assert (each[:, 7] > 0).all()  # and so does class 2, as this object is of another class
