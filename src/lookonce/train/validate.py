"""Validation during training, measured as `lookonce evaluate` measures.

Of several processes each detects on its part of the images; the first one matches all detections with the
ground truth.
"""

from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from torch import nn

from lookonce.config import TrainSettings
from lookonce.detections import Detections
from lookonce.draw.grid import compare, grid
from lookonce.evaluate.coco import evaluate
from lookonce.evaluate.inputs import objects_that_count
from lookonce.images import Values, read_image
from lookonce.metadata import ModelInfo
from lookonce.model.backend import TorchBackend
from lookonce.runtime.detector import Detector
from lookonce.runtime.options import CONF, EVALUATION_CONF, DetectOptions
from lookonce.runtime.pipeline import each_image
from lookonce.samples import Problem, Sample
from lookonce.train.parallel import ALONE, Group

SHOWN, CELL = 9, (320, 320)  # images of predictions, and their size


class Validator:
    """Evaluates a network on the validation images when it is due.

    Attributes:
        samples: the images that can be read; empty if they show no object.
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
        self._network, self._names, self._settings, self._group = network, info.names, settings, group
        self._console = console
        self._detector = Detector(TorchBackend(network, info), DetectOptions(conf=EVALUATION_CONF))
        self.samples = self._with_objects(readable(samples, console, group))

    def after(self, epoch: int, show: Callable[[NDArray[np.uint8]], None] | None = None) -> dict[str, float]:
        """Return AP and AP50 after an epoch, counted from 1; empty if no evaluation is due or possible.

        Every process of the group must call it, and the first one gets the result. `show` receives a sheet
        (H, W, 3) of images with their detections.
        """
        due = epoch % self._settings.evaluate_every == 0 or epoch == self._settings.epochs
        if not due or not self.samples:
            return {}
        parts = self._group.gather(self._detect())
        found, gone = (dict(ChainMap(*each)) for each in zip(*parts, strict=True))
        if gone:
            self.samples = self._with_objects(without(self.samples, gone, self._console))
        if not self.samples or not self._group.is_first:
            return {}
        detections = [found[number] for number in sorted(found)]
        metrics = evaluate(self.samples, detections, self._names)
        if show is not None:
            show(prediction_sheet(self.samples, detections, self._names, self._detector.info.values))
        return {"ap": metrics.ap, "ap50": metrics.ap50}

    def _with_objects(self, samples: list[Sample]) -> list[Sample]:
        """The samples, or none if they show no object: then AP is not defined."""
        if not samples or objects_that_count(samples, len(self._names)).any():
            return samples
        say(
            self._console,
            "no object in the validation part: AP cannot be measured, the last model is kept as best",
        )
        return []

    def _detect(self) -> tuple[dict[int, Detections], dict[int, str]]:
        """Detect on this process's part of the images, with the statistics that get saved.

        Returns:
            Detections by the number of the image; and the reason for each image that cannot be read any more.
        """
        mine = range(self._group.rank, len(self.samples), self._group.size)
        skipped: list[Problem] = []
        read: list[int] = []

        def images() -> Iterator[NDArray[np.uint8]]:
            paths = [self.samples[number].path for number in mine]
            for place, image in each_image(
                paths, lambda image: image, skipped, values=self._detector.info.values
            ):
                read.append(mine[place])
                yield image

        self._group.share_statistics(self._network)
        self._network.eval()
        batch = -(-self._settings.batch_size // self._group.size)  # fits into memory, as in training
        found = list(self._detector.detect_many(images(), batch=batch))
        self._network.train()
        gone = dict(zip(sorted({*mine} - {*read}), map(str, skipped), strict=True))
        return dict(zip(read, found, strict=True)), gone


def readable(samples: Sequence[Sample], console: Console, group: Group = ALONE) -> list[Sample]:
    """Select the samples with a readable image, and report the others, so that none ends a run later."""
    mine = range(group.rank, len(samples), group.size)
    skipped: list[Problem] = []
    results = each_image([samples[number].path for number in mine], lambda image: None, skipped)
    read = {mine[place] for place, _ in results}
    problems = dict(zip(sorted({*mine} - read), map(str, skipped), strict=True))
    return without(samples, dict(ChainMap(*group.gather(problems))), console)


def without(samples: Sequence[Sample], problems: Mapping[int, str], console: Console) -> list[Sample]:
    """The samples except those with a problem, which is printed."""
    for number in sorted(problems):
        say(console, f"skipped: {problems[number]}")
    return [sample for number, sample in enumerate(samples) if number not in problems]


def say(console: Console, text: str) -> None:
    """Print a line verbatim."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def prediction_sheet(
    samples: Sequence[Sample],
    detections: Sequence[Detections],
    names: Sequence[str],
    values: Values | None = None,
) -> NDArray[np.uint8]:
    """Ground truth and detections of high score on the first images, as one image (H, W, 3)."""
    return grid(
        [
            compare(read_image(sample.path, values), found[found.scores > CONF], sample, names, CELL)
            for sample, found in zip(samples[:SHOWN], detections, strict=False)
        ],
        CELL,
    )
