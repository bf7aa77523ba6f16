"""Test batches: independent of the number of workers, complete, resumable, and without leftover threads."""

import gc
import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lookonce.config import AugmentSettings
from lookonce.data import loader as loader_module
from lookonce.data.dataset import Dataset
from lookonce.data.loader import Batch, Loader
from lookonce.errors import AnnotationError, ImageError
from lookonce.samples import Problem, Sample
from tests.data.drawn_samples import INFO, draw_samples

WORKERS = [0, 1, 3]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return draw_samples(tmp_path_factory.mktemp("drawn"))


@pytest.fixture
def dataset(samples: list[Sample]) -> Dataset:
    return Dataset(samples, INFO, AugmentSettings(), seed=3)


class InOrder(Dataset):
    """Data set that yields the images in their given order."""

    def order(self, epoch: int) -> NDArray[np.int64]:
        return np.arange(len(self))


def batches_of(loader: Loader, epoch: int, skip: int = 0) -> list[Batch]:
    return list(chain.from_iterable(loader.steps(epoch, skip)))


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    gc.collect()
    for thread in threading.enumerate():
        if thread.name.startswith("lookonce-loader"):
            thread.join(timeout=10)
    assert threading.active_count() == before


def with_bad_images(samples: list[Sample], folder: Path) -> list[Sample]:
    """Make the images of the second and the last sample unreadable."""
    cut, page = folder / "cut.png", folder / "page.jpg"
    cut.write_bytes(samples[1].path.read_bytes()[:100])
    page.write_text("<html></html>")
    return [samples[0], replace(samples[1], path=cut), *samples[2:-1], replace(samples[-1], path=page)]


def assert_equal(first: Batch, second: Batch) -> None:
    assert first.paths == second.paths
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.truth, second.truth)
    for name in ("image", "scale", "row", "column", "anchor", "box", "label"):
        assert torch.equal(getattr(first.positives, name), getattr(second.positives, name))
    assert first.positives.lost == second.positives.lost


# ---- content of batches


def test_no_samples_give_no_batches() -> None:
    with Loader(Dataset([], INFO, None), 4, 1) as loader:
        assert len(loader) == 0
        assert batches_of(loader, 0) == []


def test_batches_hold_images_and_paths_in_order(dataset: Dataset, samples: list[Sample]) -> None:
    with Loader(InOrder(samples, INFO, None), 3, 1) as loader:
        batches = batches_of(loader, 0)
    assert len(loader) == 3
    assert [len(batch.images) for batch in batches] == [3, 3, 1]  # the last one is partial
    assert [path for batch in batches for path in batch.paths] == [sample.path for sample in samples]
    batch = batches[1]
    assert batch.images.shape == (3, 3, 64, 96)
    assert batch.images.dtype == torch.uint8
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.truth.shape == (3, 3, 4)  # images 3, 4, 5 hold 3, 0, 1 boxes
    assert batch.truth[1].count_nonzero() == 0
    for sample, truth, image in zip(samples[3:6], batch.truth, batch.images, strict=True):
        expected = np.empty((64, 96, 3), np.uint8)
        found, _ = loader.dataset.load(samples.index(sample), 0, expected)
        np.testing.assert_array_equal(truth[: len(sample.boxes)], found.boxes)
        np.testing.assert_array_equal(image.permute(1, 2, 0), expected)


def test_positives_carry_their_image(dataset: Dataset) -> None:
    with Loader(dataset, 7, 0) as loader:
        (batch,) = batches_of(loader, 0)
    positives = batch.positives
    for number, path in enumerate(batch.paths):
        mine = positives.box[positives.image == number]
        boxes = {tuple(box) for box in batch.truth[number].tolist() if any(box)}
        assert {tuple(box) for box in mine.tolist()} <= boxes
        assert (len(mine) > 0) == (len(boxes) > 0), path
    assert positives.box.dtype == torch.float32
    assert {c.dtype for c in (positives.image, positives.row, positives.label)} == {torch.int64}


def test_positives_can_be_selected_by_scale(dataset: Dataset) -> None:
    with Loader(dataset, 7, 0) as loader:
        (batch,) = batches_of(loader, 0)
    parts = [batch.positives.on_scale(scale) for scale in (0, 1)]
    assert all(len(part.label) > 0 for part in parts)
    assert sum(len(part.label) for part in parts) == len(batch.positives.label)
    for scale, part in enumerate(parts):
        assert (part.scale == scale).all()
        assert part.box.shape == (len(part.label), 4)


def test_a_batch_may_hold_only_background(samples: list[Sample]) -> None:
    with Loader(Dataset([samples[0], samples[4]], INFO, AugmentSettings()), 2, 0) as loader:
        (batch,) = batches_of(loader, 0)
    assert batch.truth.shape == (2, 0, 4)
    assert batch.positives.box.shape == (0, 4)


# ---- reproducible


def test_batches_do_not_depend_on_the_number_of_workers(dataset: Dataset) -> None:
    runs = []
    for workers in WORKERS:
        with Loader(dataset, 2, workers) as loader:
            runs.append([*batches_of(loader, 0), *batches_of(loader, 1)])
    for run in runs[1:]:
        for first, second in zip(runs[0], run, strict=True):
            assert_equal(first, second)
    first_epoch, second_epoch = runs[0][:4], runs[0][4:]
    assert [batch.paths for batch in first_epoch] != [batch.paths for batch in second_epoch]


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("skip", [0, 1, 3, 4])
def test_resume_gives_the_remaining_batches(dataset: Dataset, workers: int, skip: int) -> None:
    with Loader(dataset, 2, workers) as loader:
        whole, rest = batches_of(loader, 5), batches_of(loader, 5, skip=skip)
    assert len(rest) == 4 - skip
    for first, second in zip(whole[skip:], rest, strict=True):
        assert_equal(first, second)


def test_skipped_batches_are_not_read(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    load = Dataset.load
    monkeypatch.setattr(
        Dataset, "load", lambda self, index, *rest, **k: read.append(index) or load(self, index, *rest, **k)
    )
    with Loader(dataset, 2, 0) as loader:
        assert len(batches_of(loader, 0, skip=3)) == 1
    assert read == [dataset.order(0)[6]]


# ---- steps


@pytest.mark.parametrize("workers", WORKERS)
def test_a_step_holds_accumulate_batches_and_the_last_one_the_rest(dataset: Dataset, workers: int) -> None:
    """Seven images in batches of 2, with three batches per step, make steps of 3 and 1 batches."""
    with Loader(dataset, 2, workers, accumulate=3) as loader:
        assert (len(loader), loader.steps_per_epoch) == (4, 2)
        steps = [(step.number, len(step), [batch.number for batch in step]) for step in loader.steps(0)]
        assert steps == [(1, 3, [1, 2, 3]), (2, 1, [4])]
        rest = [
            (step.number, len(step), [batch.number for batch in step]) for step in loader.steps(0, skip=1)
        ]
        assert rest == steps[1:]


def test_a_batch_without_a_readable_image_is_left_out_of_its_step(
    samples: list[Sample], tmp_path: Path
) -> None:
    gone = replace(samples[2], path=tmp_path / "gone.png")
    dataset = InOrder([*samples[:2], gone, gone, *samples[4:]], INFO, None)
    with Loader(dataset, 2, 0, accumulate=2) as loader:
        steps = [(len(step), [batch.number for batch in step]) for step in loader.steps(0)]
    assert steps == [(2, [1]), (2, [3, 4])]


# ---- bad images


@pytest.mark.parametrize("workers", WORKERS)
def test_bad_images_are_skipped_and_named_once(samples: list[Sample], tmp_path: Path, workers: int) -> None:
    bad = with_bad_images(samples, tmp_path)
    reported: list[Problem] = []
    with Loader(InOrder(bad, INFO, None), 3, workers, report=reported.append) as loader:
        batches = [*batches_of(loader, 0), *batches_of(loader, 1)]
    assert [len(batch.images) for batch in batches] == [2, 3, 2, 3]  # the last batch had one image
    assert batches[0].paths == (samples[0].path, samples[2].path)
    assert batches[0].images.is_contiguous(memory_format=torch.channels_last)
    assert reported == loader.problems
    assert [problem.place for problem in reported] == [str(bad[1].path), str(bad[-1].path)]
    assert "cut short" in reported[0].what
    assert "HTML" in reported[1].what


def test_a_box_outside_is_named_once(samples: list[Sample]) -> None:
    outside = replace(samples[1], boxes=np.array([[500, 500, 510, 510]], np.float32))
    with Loader(Dataset([outside], INFO, None), 1, 0) as loader:
        batches = [*batches_of(loader, 0), *batches_of(loader, 1)]
    assert [batch.truth.shape for batch in batches] == [(1, 0, 4)] * 2
    assert [problem.place for problem in loader.problems] == [f"{outside.path}: box 1"]


@pytest.mark.parametrize("workers", WORKERS)
def test_strict_stops_at_the_first_bad_image(samples: list[Sample], tmp_path: Path, workers: int) -> None:
    bad = with_bad_images(samples, tmp_path)
    with (
        Loader(InOrder(bad, INFO, None), 1, workers, strict=True) as loader,
        pytest.raises(ImageError, match=r"cut\.png: .*cut short"),
    ):
        batches_of(loader, 0)


def test_strict_stops_at_a_box_outside(samples: list[Sample]) -> None:
    outside = replace(samples[1], boxes=np.array([[500, 500, 510, 510]], np.float32))
    with (
        Loader(Dataset([outside], INFO, None), 1, 0, strict=True) as loader,
        pytest.raises(AnnotationError, match="box 1: expected a box inside"),
    ):
        batches_of(loader, 0)


def test_a_resumed_epoch_ends_if_nothing_left_can_be_read(samples: list[Sample], tmp_path: Path) -> None:
    """Without a resume, such an epoch ends normally too."""
    html = tmp_path / "page.jpg"
    html.write_bytes(b"<html>not an image</html>")
    dataset = InOrder([*samples[:4], replace(samples[0], path=html)], INFO, None)
    with Loader(dataset, 2, 0) as loader:
        assert len(batches_of(loader, 0)) == 2
        assert batches_of(loader, 0, skip=2) == []
        assert len(loader.problems) == 1


def test_an_epoch_without_readable_images_is_an_error(tmp_path: Path, samples: list[Sample]) -> None:
    gone = [replace(sample, path=tmp_path / "gone.png") for sample in samples[:3]]
    with (
        Loader(Dataset(gone, INFO, None), 2, 1) as loader,
        pytest.raises(ImageError, match=r"none of 3 images can be used; the first: .*gone\.png"),
    ):
        batches_of(loader, 0)


# ---- clean ends


@pytest.mark.parametrize("workers", WORKERS)
def test_a_fault_in_a_worker_names_the_image(
    dataset: Dataset, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(*_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr("lookonce.data.dataset.augment", out_of_memory)
    with Loader(dataset, 2, workers) as loader, pytest.raises(MemoryError) as caught:
        batches_of(loader, 0)
    first = dataset.samples[dataset.order(0)[0]].path
    assert caught.value.__notes__ == [f"while loading {first}"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupt_ends_the_threads(samples: list[Sample], error: type[BaseException]) -> None:
    class Counting(Dataset):
        loaded = 0

        def load(self, *given):  # type: ignore[no-untyped-def]
            Counting.loaded += 1
            return super().load(*given)

    def interrupted_run() -> None:
        with Loader(Counting(samples * 50, INFO, None), 1, 2) as loader:
            for _ in chain.from_iterable(loader.steps(0)):
                raise error

    with pytest.raises(error):
        interrupted_run()
    assert Counting.loaded <= 1 + 2 + loader_module.BATCHES_AHEAD
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lookonce-loader")]


def test_an_abandoned_epoch_can_be_followed_by_another(dataset: Dataset) -> None:
    with Loader(dataset, 2, 2) as loader:
        for _ in chain.from_iterable(loader.steps(0)):
            break
        assert len(batches_of(loader, 1)) == 4


def test_waiting_is_counted_per_epoch(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that advances by 1 per reading, each batch takes 1."""
    ticks = iter(range(1000))
    monkeypatch.setattr("lookonce.data.loader.time.perf_counter", lambda: float(next(ticks)))
    with Loader(dataset, 2, 0) as loader:
        for epoch in range(2):
            batches_of(loader, epoch)
            assert loader.waited == 4


def test_real_images_are_loaded_without_problems(data: Path) -> None:
    paths = sorted((data / "bccd" / "JPEGImages").glob("*.jpg"))[:12]
    one_box = np.array([[100, 80, 300, 250]], np.float32)
    samples = [Sample(path, one_box, np.array([1])) for path in paths]
    info = replace(INFO, input_size=(320, 320))
    with Loader(Dataset(samples, info, AugmentSettings()), 5, 2) as loader:
        batches = batches_of(loader, 0)
    assert loader.problems == []
    assert sorted(path for batch in batches for path in batch.paths) == paths
    for batch in batches:
        assert batch.images.shape[1:] == (3, 320, 320)
        assert (batch.truth[..., 2:] - batch.truth[..., :2] > 50).all()
        assert set(batch.positives.image.tolist()) == set(range(len(batch.images)))
