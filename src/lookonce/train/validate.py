"""How good the network is right now, measured as `lookonce evaluate` measures it.

Of several processes each looks at its part of the pictures; the first matches all detections with the truth.
"""

from collections import ChainMap
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from torch import nn

from lookonce.config import TrainSettings
from lookonce.detections import Detections
from lookonce.draw.grid import compare, grid
from lookonce.errors import ImageError
from lookonce.evaluate.coco import evaluate
from lookonce.evaluate.inputs import objects_that_count
from lookonce.images import read_image
from lookonce.metadata import ModelInfo
from lookonce.model.backend import TorchBackend
from lookonce.runtime.detector import Detector
from lookonce.samples import Sample
from lookonce.train.parallel import ALONE, Group

CONFIDENCE = 0.001  # low enough for the whole precision-recall curve
SHOWN_CONFIDENCE = 0.25
SHOWN, CELL = 9, (320, 320)  # pictures of predictions, and their size


class Judge:
    """Evaluates the network on the validation pictures when it is due."""

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
        self._detector = Detector(TorchBackend(network, info), confidence=CONFIDENCE)
        self._samples = readable(samples, console, group)
        if self._samples and not objects_that_count(self._samples, len(info.names)).any():
            self._samples = []
            _say(
                console,
                "no object in the validation part: AP cannot be measured, the last model is kept as best",
            )

    def after(self, epoch: int, show: Callable[[NDArray[np.uint8]], None] | None = None) -> dict[str, float]:
        """AP and AP50 after an epoch, counted from 1; empty where no evaluation is due or possible.

        All processes of the group must ask, and the first one is told. `show` receives a sheet (H, W, 3) of
        pictures with what was found on them.
        """
        due = epoch % self._settings.evaluate_every == 0 or epoch == self._settings.epochs
        if not due or not self._samples:
            return {}
        parts = self._group.gather(self._detect())
        if not self._group.is_first:
            return {}
        detections = [parts[i % len(parts)][i // len(parts)] for i in range(len(self._samples))]
        metrics = evaluate(self._samples, detections, self._names)
        if show is not None:
            show(prediction_sheet(self._samples, detections, self._names))
        return {"ap": metrics.ap, "ap50": metrics.ap50}

    def _detect(self) -> list[Detections]:
        """On this process's part of the pictures, with the statistics that get saved."""
        samples = self._samples[self._group.rank :: self._group.size]
        self._group.share_statistics(self._network)
        self._network.eval()
        found: list[Detections] = []
        for start in range(0, len(samples), self._settings.batch_size):
            batch = samples[start : start + self._settings.batch_size]
            found += self._detector.detect_many([sample.path for sample in batch])
        self._network.train()
        return found


def readable(samples: Sequence[Sample], console: Console, group: Group = ALONE) -> list[Sample]:
    """The samples whose picture can be read; the others are named, so that none of them ends a run later."""
    problems: dict[int, str] = {}
    for number in range(group.rank, len(samples), group.size):
        try:
            read_image(samples[number].path)
        except ImageError as error:
            problems[number] = str(error)
    problems = dict(ChainMap(*group.gather(problems)))
    for number in sorted(problems):
        _say(console, f"set aside: {problems[number]}")
    return [sample for number, sample in enumerate(samples) if number not in problems]


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def prediction_sheet(
    samples: Sequence[Sample], detections: Sequence[Detections], names: Sequence[str]
) -> NDArray[np.uint8]:
    """Truth and confident detections on the first pictures, as one picture (H, W, 3)."""
    return grid(
        [
            compare(read_image(sample.path), found[found.scores > SHOWN_CONFIDENCE], sample, names, CELL)
            for sample, found in zip(samples[:SHOWN], detections, strict=False)
        ],
        CELL,
    )
