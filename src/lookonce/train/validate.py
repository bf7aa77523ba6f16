"""Validate during training with the same metrics as `lookonce evaluate`.

Each of several processes detects on its share of the images, and the first one matches all detections with
the ground truth.
"""

from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from torch import nn

from lookonce._terminal import say
from lookonce.config import TrainSettings
from lookonce.detections import Detections
from lookonce.draw.grid import compare, grid
from lookonce.eight_bits import Values
from lookonce.evaluate.coco import evaluate
from lookonce.evaluate.counting import choose_thresholds
from lookonce.evaluate.inputs import objects_that_count
from lookonce.evaluate.matching import match
from lookonce.images import read_image
from lookonce.metadata import ModelInfo
from lookonce.model.backend import TorchBackend
from lookonce.runtime.detector import Detector
from lookonce.runtime.options import CONF, EVALUATION_CONF, DetectOptions
from lookonce.runtime.pipeline import each_image
from lookonce.samples import Problem, Sample
from lookonce.train.parallel import ALONE, Group

T = TypeVar("T")

SHOWN, CELL = 9, (320, 320)  # number of images on the sheet of predictions, and their (height, width)


class Validator:
    """Evaluates a network on the validation images.

    Attributes:
        samples: validation images that can be read; empty if none of them has an object that counts.
        thresholds: score threshold of each class, chosen by the last evaluation; only in the first process.
    """

    def __init__(
        self,
        network: nn.Module,
        info: ModelInfo,
        samples: Sequence[Sample],
        settings: TrainSettings,
        console: Console,
        group: Group = ALONE,
    ) -> None:
        self._network, self._names, self._group, self._console = network, info.names, group, console
        self.thresholds: tuple[float, ...] = ()
        self._batch = -(-settings.batch_size // group.size)  # as in training, so that it fits into memory
        self._detector = Detector(TorchBackend(network, info), DetectOptions(conf=EVALUATION_CONF))
        self.samples = list(samples)
        self._read(lambda images: [None for _ in images])

    def evaluate(self, show: Callable[[NDArray[np.uint8]], None] | None = None) -> dict[str, float]:
        """Return `ap` and `ap50`; empty if there is nothing to evaluate.

        Every process of the group must call it; only the first one gets the result. `show` is called with an
        (H, W, 3) sheet of images with their detections.
        """
        if not self.samples:
            return {}
        self._group.share_statistics(self._network)  # evaluate with the statistics that are saved
        found = self._read(self._detect)
        if not self.samples or not self._group.is_first:
            return {}
        metrics = evaluate(self.samples, found, self._names)
        self.thresholds = choose_thresholds(match(self.samples, found, self._names))
        if show is not None:
            show(prediction_sheet(self.samples, found, self._names, self._detector.info.values))
        return {"ap": metrics.ap, "ap50": metrics.ap50}

    def expected_seconds(self, now: Callable[[], float]) -> float:
        """Estimate the seconds that an evaluation takes from the time of a few images."""
        own = self.samples[self._group.rank :: self._group.size]
        some, values = [sample.path for sample in own[: 2 * self._batch]], self._detector.info.values
        started = now()
        with closing(each_image(some, lambda image: image, [], values=values)) as images:
            done = len(self._detect(image for _, image in images))
        return (now() - started) * len(own) / max(done, 1)

    def _detect(self, images: Iterable[NDArray[np.uint8]]) -> list[Detections]:
        """Detect with the network in its current state."""
        training = [part for part in self._network.modules() if part.training]  # frozen ones are not
        self._network.eval()
        found = list(self._detector.detect_many(images, batch=self._batch))
        for part in training:
            part.training = True
        return found

    def _read(self, work: Callable[[Iterable[NDArray[np.uint8]]], list[T]]) -> list[T]:
        """Apply a function to this process's share of the images, and drop unreadable ones from `samples`.

        Args:
            work: function that returns one result per image, (H, W, 3).

        Returns:
            Results of all processes, one per readable image. If these images have no object that counts,
            `samples` becomes empty.
        """
        rank, size = self._group.rank, self._group.size
        numbers: list[int] = []
        problems: list[Problem] = []

        def images() -> Iterator[NDArray[np.uint8]]:
            paths, values = [sample.path for sample in self.samples[rank::size]], self._detector.info.values
            with closing(each_image(paths, lambda image: image, problems, values=values)) as read:
                for number, image in read:
                    numbers.append(rank + number * size)
                    yield image

        results = work(images())
        parts = self._group.gather((dict(zip(numbers, results, strict=True)), problems))
        by_number = dict(ChainMap(*(found for found, _ in parts)))
        for problem in sorted(chain(*(skipped for _, skipped in parts)), key=str):
            say(f"skipped: {problem}", self._console)
        self.samples = [self.samples[number] for number in sorted(by_number)]
        if self.samples and not objects_that_count(self.samples, len(self._names)).any():
            say(
                "no object in the validation split: AP cannot be measured, the last model is kept as best",
                self._console,
            )
            self.samples = []
        return [by_number[number] for number in sorted(by_number)]


def prediction_sheet(
    samples: Sequence[Sample],
    detections: Sequence[Detections],
    names: Sequence[str],
    values: Values | None = None,
) -> NDArray[np.uint8]:
    """Draw the ground truth and the detections of the first images side by side: (H, W, 3)."""
    return grid(
        [
            compare(read_image(sample.path, values), found[found.scores > CONF], sample, names, CELL)
            for sample, found in zip(samples[:SHOWN], detections, strict=False)
        ],
        CELL,
    )
