"""Batches of prepared images, made ahead of time by threads.

Legend: **B** images per batch, **H**, **W** input size, **P** positives, **N** most boxes per image.

The workers are threads, not processes: OpenCV decodes, warps and resizes without holding Python's global
interpreter lock, so two threads keep two cores busy, nothing is imported twice, and batches reach the network
without a copy (figures in `benchmarks/loader.md`).

The order of an epoch and every augmentation depend only on (seed, epoch, visit), so the batches are the same
with any number of workers and after a resume.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lookonce.data.assign import Column, Positives, join
from lookonce.data.augment import AnnotatedImage
from lookonce.data.dataset import Dataset
from lookonce.errors import AnnotationError, ImageError
from lookonce.samples import Problem

BATCHES_AHEAD = 2  # finished batches beyond one per worker: enough to bridge a slow batch in little memory


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """Plan of a batch, made before any image is read.

    Attributes:
        number: number of the batch in its epoch, from 1.
        visits: (B,) visits of the images, see `Dataset.order`.
        size: (height, width) of the input.
    """

    number: int
    visits: NDArray[np.int64]
    size: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Images and their ground truth.

    Attributes:
        images: (B, 3, H, W) uint8 RGB, channels last in memory.
        positives: positives of all images.
        truth: (B, N, 4) float32 xyxy in input pixels; images with fewer boxes are padded with zeros.
        paths: image files, B of them.
        number: number of the batch in its epoch, from 1.
        image_count: images of the whole batch if this is a part of one; otherwise B.
        ignored: (B, S, T, 1 + C) bool per scale: cells ignored altogether, then, for each class, cells in
            which objects of that class may lack a box; empty if no image has an ignored area.
    """

    images: Tensor
    positives: Positives[Tensor]
    truth: Tensor
    paths: tuple[Path, ...]
    number: int = 1
    image_count: int = 0
    ignored: tuple[Tensor, ...] = ()

    @classmethod
    def of(
        cls,
        pixels: NDArray[np.uint8],
        images: Sequence[AnnotatedImage],
        positives: Sequence[Positives[Column]],
        paths: Sequence[Path],
        number: int = 1,
        ignored: Sequence[tuple[NDArray[np.bool_], ...]] = (),
    ) -> Self:
        """Make a batch of (B, H, W, 3) pixels and their annotations, without copying the pixels."""
        truth = np.zeros((len(images), max((len(image.boxes) for image in images), default=0), 4), np.float32)
        for row, image in zip(truth, images, strict=True):
            row[: len(image.boxes)] = image.boxes
        return cls(
            torch.from_numpy(pixels).permute(0, 3, 1, 2),
            join(positives).each(torch.from_numpy),
            torch.from_numpy(truth),
            tuple(paths),
            number,
            len(images),
            tuple(torch.from_numpy(np.stack(maps)) for maps in zip(*ignored, strict=True)),
        )


class Step:
    """Batches of one optimizer step; can be iterated once.

    Attributes:
        number: number of the step in its epoch, from 1.
    """

    def __init__(self, number: int, planned: int, batches: Iterator[Batch]) -> None:
        self.number = number
        self._planned, self._batches = planned, batches

    def __len__(self) -> int:
        """Return the number of planned batches; a batch without a readable image is skipped."""
        return self._planned

    def __iter__(self) -> Iterator[Batch]:
        return self._batches


class Loader:
    """Loader that makes the batches of an epoch ahead of time; use it in a `with` block to end its threads.

    An unreadable image is reported once and left out of its batch, which is then smaller. An empty batch is
    skipped.

    Attributes:
        waited: seconds for which the consumer has waited for batches of the current epoch.
        problems: images and boxes skipped so far, each once, in the order of discovery.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch: int,
        workers: int,
        *,
        accumulate: int = 1,
        strict: bool = False,
        report: Callable[[Problem], None] = lambda problem: None,
    ) -> None:
        """Start the threads, without reading anything yet.

        Args:
            dataset: prepared images.
            batch: images per batch; the last batch of an epoch may hold fewer.
            workers: number of threads; 0 makes each batch when it is needed.
            accumulate: batches per step; the last step of an epoch may hold fewer.
            strict: whether to raise an error at the first problem.
            report: function called once per problem, in the consumer's thread.
        """
        self.dataset = dataset
        self.batch = batch
        self.accumulate = accumulate
        self.strict = strict
        self.report = report
        self.waited = 0.0
        self.problems: list[Problem] = []
        self._known: set[Problem] = set()
        self._workers = workers
        self._pool = ThreadPoolExecutor(workers, "lookonce-loader") if workers else None

    def __len__(self) -> int:
        """Return the number of batches per epoch."""
        return -(-len(self.dataset) // self.batch)

    @property
    def steps_per_epoch(self) -> int:
        """Return the number of optimizer steps per epoch."""
        return -(-len(self) // self.accumulate)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def steps(self, epoch: int, skip: int = 0) -> Iterator[Step]:
        """Yield the steps of an epoch, each with its batches.

        Args:
            epoch: epoch, counted from 0; determines order and augmentation.
            skip: steps to skip at the start without reading them, to resume within the epoch.

        Raises:
            ImageError: no image can be read or, if the loader is strict, one image cannot.
            AnnotationError: the loader is strict and a box is unusable.
        """
        self.waited, found = 0.0, skip > 0  # assume that the skipped steps had images

        def take(count: int) -> Iterator[Batch]:
            nonlocal found
            for _ in range(count):
                started = time.perf_counter()
                batch, problems = next(made)
                self.waited += time.perf_counter() - started
                batch = self.settle(batch, problems)
                if batch.image_count:
                    found = True
                    yield batch

        planned = self.plan(epoch)[skip * self.accumulate :]
        made = self._make_ahead(epoch, planned)
        for first in range(0, len(planned), self.accumulate):
            count = min(self.accumulate, len(planned) - first)
            yield Step(skip + first // self.accumulate + 1, count, take(count))
        if not found and self.problems:
            total = len(self.dataset)
            none = "the only image cannot" if total == 1 else f"none of {total} images can"
            raise ImageError(f"{none} be used; the first: {self.problems[0]}")

    def plan(self, epoch: int) -> list[PlannedBatch]:
        """Plan the batches of an epoch without reading any image."""
        return [
            PlannedBatch(number, visits, self.dataset.input_size(epoch, number, visits))
            for number, visits in enumerate(self.dataset.batches(epoch, self.batch), start=1)
        ]

    def settle(self, batch: Batch, problems: Sequence[Problem]) -> Batch:
        """Report the new problems of a finished batch and return the batch.

        Raises:
            AnnotationError: the loader is strict and there is a problem.
        """
        for problem in problems:
            if self.strict:
                raise AnnotationError(str(problem))
            if problem not in self._known:
                self._known.add(problem)
                self.problems.append(problem)
                self.report(problem)
        return batch

    def _make_ahead(
        self, epoch: int, planned: Sequence[PlannedBatch]
    ) -> Iterator[tuple[Batch, list[Problem]]]:
        """Make batches in order, some ahead of the consumer."""
        if self._pool is None:
            yield from (self._make(epoch, each) for each in planned)
            return
        waiting = iter(planned)
        ahead = deque(
            self._pool.submit(self._make, epoch, each)
            for each in islice(waiting, self._workers + BATCHES_AHEAD)
        )
        while ahead:
            made = ahead.popleft().result()
            ahead.extend(self._pool.submit(self._make, epoch, each) for each in islice(waiting, 1))
            yield made

    def _make(self, epoch: int, planned: PlannedBatch) -> tuple[Batch, list[Problem]]:
        """Make a batch and list its skipped images and boxes; runs in a worker thread."""
        pixels = np.empty((len(planned.visits), *planned.size, 3), np.uint8)
        images: list[AnnotatedImage] = []
        positives: list[Positives[Column]] = []
        paths: list[Path] = []
        problems: list[Problem] = []
        for visit in planned.visits.tolist():
            path = self.dataset.sample(visit).path
            try:
                image, skipped = self.dataset.load(visit, epoch, pixels[len(images)])
            except ImageError as error:
                if self.strict:
                    raise
                problems.append(Problem(str(path), str(error).removeprefix(f"{path}: ")))
            except Exception as error:  # a bug, or out of memory: add the place
                error.add_note(f"while loading {path}")
                raise
            else:
                images.append(image)
                positives.append(self.dataset.assign(image))
                paths.append(path)
                problems.extend(skipped)
        some = any(image.ignored for image in images)
        ignored = [self.dataset.ignored_cells(image) for image in images] if some else []
        return Batch.of(pixels[: len(images)], images, positives, paths, planned.number, ignored), problems
