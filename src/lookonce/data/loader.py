"""Batches of prepared images, made ahead of time by threads.

Legend: **B** images of a batch, **H**, **W** input size, **P** positives, **N** boxes of the fullest one.

Threads rather than processes: reading, decoding, warping and resizing all happen in OpenCV, outside Python's
lock, so two threads fill two cores, nothing is imported twice, and a batch needs no copy to get here
(`benchmarks/loader.md` has the figures).

The order of an epoch and every augmentation depend on (seed, epoch, turn) only: the same batches come with
any number of workers, and after a resume. Of several processes each makes its part of every batch, so they
also come with any number of processes.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lookonce.data.assign import Positives, join
from lookonce.data.dataset import Dataset, Example
from lookonce.errors import AnnotationError, ImageError
from lookonce.samples import Problem

BATCHES_AHEAD = 2  # beside those being made: enough to bridge a slow one, little memory


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Images and what they teach.

    Attributes:
        images: (B, 3, H, W) uint8 RGB, channels last in memory.
        positives: of all images.
        truth: (B, N, 4) float32 xyxy in input pixels; images with fewer boxes are filled up with zeros.
        examples: (B,) what each image is, and the way back from input to image.
        number: of this batch in its epoch, from 1; one of which nothing could be read leaves a gap.
        image_count: of all processes; B of them are here, which may be none.
    """

    images: Tensor
    positives: Positives[Tensor]
    truth: Tensor
    examples: tuple[Example, ...]
    number: int = 1
    image_count: int = 0

    @classmethod
    def of(cls, images: NDArray[np.uint8], examples: Sequence[Example], number: int = 1) -> Self:
        """(B, H, W, 3) pixels and their examples -> a batch; the pixels are not copied."""
        most = max((len(example.boxes) for example in examples), default=0)
        truth = np.zeros((len(examples), most, 4), np.float32)
        for row, example in zip(truth, examples, strict=True):
            row[: len(example.boxes)] = example.boxes
        channels_last = torch.from_numpy(images).permute(0, 3, 1, 2)
        return cls(
            channels_last,
            join([example.positives for example in examples]).each(torch.from_numpy),
            torch.from_numpy(truth),
            tuple(examples),
            number,
            len(examples),
        )

    @property
    def paths(self) -> tuple[Path, ...]:
        """The image files, in the order of the batch."""
        return tuple(example.sample.path for example in self.examples)


_Made = tuple[Batch, list[Problem]]


class Loader:
    """Batches of an epoch, each made before it is asked for.

    Use it in a `with` block: leaving the block ends the threads.

    An image that cannot be read is left out of its batch, which is then smaller, and named once; the run
    goes on. A batch of which nothing is left is skipped.

    Attributes:
        waited: seconds that the consumer of the running epoch stood idle for want of a batch.
        problems: images and boxes skipped so far, each once, in the order of their discovery.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch: int,
        workers: int,
        *,
        shuffle: bool = True,
        strict: bool = False,
        report: Callable[[Problem], None] = lambda problem: None,
        part: slice = slice(None),
        gather: Callable[[Any], list[Any]] = lambda mine: [mine],
    ) -> None:
        """Nothing is read yet.

        Args:
            dataset: images, layout of the network, augmentation and seed.
            batch: images a batch; the last batch of an epoch may hold fewer.
            workers: threads; 0 makes each batch when it is asked for.
            shuffle: a new order each epoch; else that of the dataset.
            strict: a problem is an error.
            report: called once for each problem, in the consumer's thread.
            part: of the images of each batch, those that this process makes.
            gather: gives what each of the processes has, asked once a batch.
        """
        self.dataset = dataset
        self.batch = batch
        self.shuffle = shuffle
        self.strict = strict
        self.waited = 0.0
        self.problems: list[Problem] = []
        self._known: set[Problem] = set()
        self._report, self._part, self._gather = report, part, gather
        self._workers = workers
        self._pool = ThreadPoolExecutor(workers, "lookonce-loader") if workers else None

    def __len__(self) -> int:
        """Batches an epoch."""
        return -(-len(self.dataset) // self.batch)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, counted from 0.

        Args:
            epoch: decides order and augmentation.
            skip: leave out so many batches at the start, unread: for a resume in mid-epoch.

        Raises:
            ImageError: no image can be read; or one cannot, and the loader is strict.
            AnnotationError: a box had to be skipped, and the loader is strict.
        """
        self.waited, empty = 0.0, skip == 0  # what was skipped had images in it
        made = self._made_ahead(epoch, list(enumerate(self._batches(epoch), start=1))[skip:])
        while ready := self._wait_for(made):
            batch, problems = ready
            parts = self._gather((batch.image_count, problems))
            self._note([problem for _, theirs in parts for problem in theirs])
            image_count = sum(count for count, _ in parts)
            if image_count:
                empty = False
                yield replace(batch, image_count=image_count)
        if empty and self.problems:
            raise ImageError(f"none of {len(self.dataset)} images can be used; the first: {self.problems[0]}")

    def _batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """The indices of each batch of an epoch, over all processes."""
        if self.shuffle:
            return self.dataset.batches(epoch, self.batch)
        indices = np.arange(len(self.dataset))
        return [indices[start : start + self.batch] for start in range(0, len(indices), self.batch)]

    def _made_ahead(self, epoch: int, batches: Sequence[tuple[int, NDArray[np.int64]]]) -> Iterator[_Made]:
        """Make numbered batches in order, some ahead of the consumer."""
        if self._pool is None:
            yield from (self._make(epoch, *batch) for batch in batches)
            return
        waiting = iter(batches)
        ahead = deque(
            self._pool.submit(self._make, epoch, *batch)
            for batch in islice(waiting, self._workers + BATCHES_AHEAD)
        )
        while ahead:
            made = ahead.popleft().result()
            ahead.extend(self._pool.submit(self._make, epoch, *batch) for batch in islice(waiting, 1))
            yield made

    def _wait_for(self, made: Iterator[_Made]) -> _Made | None:
        started = time.perf_counter()
        ready = next(made, None)
        self.waited += time.perf_counter() - started
        return ready

    def _make(self, epoch: int, number: int, turns: NDArray[np.int64]) -> _Made:
        """This process's part of a batch, and what had to be skipped for it. Runs in a worker."""
        size = self.dataset.input_size(epoch, number, turns)
        turns = turns[self._part]
        images = np.empty((len(turns), *size, 3), np.uint8)
        examples: list[Example] = []
        problems: list[Problem] = []
        for turn in turns.tolist():
            path = self.dataset.sample(turn).path
            try:
                example = self.dataset.load(turn, epoch, out=images[len(examples)])
            except ImageError as error:
                if self.strict:
                    raise
                problems.append(Problem(str(path), str(error).removeprefix(f"{path}: ")))
            except Exception as error:  # a fault of ours, or memory: say where
                error.add_note(f"while loading {path}")
                raise
            else:
                examples.append(example)
                problems.extend(example.problems)
        return Batch.of(images[: len(examples)], examples, number), problems

    def _note(self, problems: Sequence[Problem]) -> None:
        """Report what was not reported before."""
        for problem in problems:
            if self.strict:
                raise AnnotationError(str(problem))
            if problem not in self._known:
                self._known.add(problem)
                self.problems.append(problem)
                self._report(problem)
