"""The networks to choose from, and the time each takes on this machine: `lookonce advise`, `train --for`.

```
boxes ──► input size ──► each of `CHOICES` at that size ──► ms per image; images per second in training
```

The accuracy of a network on given images is only known after training. `CHOICES` has the AP that each
network reached on other images after the same time.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, count
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console

from lookonce._counted import counted
from lookonce._terminal import progress_bar
from lookonce.config import TrainSettings
from lookonce.darknet.described import network_of
from lookonce.data.loader import Loader
from lookonce.doctor.advice import SIZES, SizeFit, advised_size
from lookonce.errors import AnnotationError
from lookonce.export.files import write_onnx
from lookonce.export.graph import export_graph
from lookonce.export.source import FloatModel
from lookonce.gate import time_in_turn
from lookonce.model.darknet_io import arrays_of
from lookonce.networks import BUILT_IN, model_path
from lookonce.recipe import FROM_DETECTOR, load_settings
from lookonce.samples import Sample
from lookonce.train.learner import Learner
from lookonce.train.setup import TrainData, describe, make_dataset, make_network

ROUNDS = 10  # runs of each network, in turn
STEPS = 2  # training steps to time, after a warm-up step


@dataclass(frozen=True, slots=True)
class NetworkChoice:
    """A network that `lookonce train` can train.

    Attributes:
        model: name of a network, or of built-in weights to start from.
        width: factor for the numbers of channels.
        ap: AP on blood cells after two minutes of training (`benchmarks/start.md`).
        ap_small: AP on heads, many of which are smaller than 16 pixels, after the same training.
    """

    model: str
    width: float
    ap: float
    ap_small: float

    @property
    def options(self) -> tuple[str, ...]:
        """Return the options of `lookonce train` that select this network."""
        if self.model in BUILT_IN:
            return ("--weights", self.model)
        return ("--model", self.model, *(() if self.width == 1 else ("--set", f"width={self.width:g}")))

    def settings(self, size: tuple[int, int]) -> TrainSettings:
        """Return the settings for training it with the default recipe."""
        own = FROM_DETECTOR if self.model in BUILT_IN else ()
        return load_settings(None, own, model=str(model_path(self.model)), width=self.width, size=size)


CHOICES = (
    NetworkChoice("yolov3-tiny-3l", 0.5, 0.522, 0.236),
    NetworkChoice("coco", 1, 0.511, 0.251),
    NetworkChoice("yolov3-tiny", 0.5, 0.424, 0.194),
    NetworkChoice("yolov3-tiny", 0.25, 0.401, 0.205),
    NetworkChoice("yolov3-tiny", 1, 0.338, 0.083),
)


def time_networks(
    choices: Sequence[NetworkChoice], names: tuple[str, ...], size: tuple[int, int], console: Console
) -> dict[NetworkChoice, float]:
    """Return the milliseconds per image of each network, exported to ONNX with initial weights.

    The networks run in turn on all cores, from pixels at the input size to candidates, without NMS. The
    result is the lower quartile, because other work on the machine only adds to a time.

    Args:
        choices: networks to time.
        names: class names.
        size: (height, width) of the input.
        console: console for the progress bar.

    Raises:
        ConfigError: a network does not accept this size.
    """
    image = np.random.default_rng(0).integers(0, 256, (1, *size, 3), np.uint8)
    with TemporaryDirectory() as folder, progress_bar(console, transient=True) as progress:
        bar = progress.add_task("running each network", total=len(choices) * (1 + ROUNDS))
        files = []
        for number, choice in enumerate(choices):
            settings = choice.settings(size)
            info = describe(TrainData(names, (), ()), settings)
            source = FloatModel(network_of(info), arrays_of(make_network(info, settings)), info)
            files.append(Path(folder) / f"{number}.onnx")
            write_onnx(export_graph(source), files[-1])
        inputs = [image] * len(files)
        times = time_in_turn(files, inputs, rounds=ROUNDS, done=partial(progress.advance, bar))
    return dict(zip(choices, times, strict=True))


def training_speed(
    choice: NetworkChoice,
    data: TrainData,
    size: tuple[int, int],
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Return the images per second of a few training steps, including reading and augmentation.

    Args:
        choice: network to train, from random weights.
        data: training images.
        size: (height, width) of the input.
        clock: function that returns seconds; `time.process_time` does not count the machine's other work.
    """
    settings = choice.settings(size)
    info = describe(data, settings)
    learner = Learner(make_network(info, settings), info, settings)
    learner.start_epoch()
    images, seconds = 0, 0.0
    with Loader(make_dataset(data, info, settings), settings.batch_size, 0) as loader:
        steps = chain.from_iterable(map(loader.steps, count()))  # over several epochs, as one may be short
        for number, step in enumerate(steps):
            start = clock()
            for batch in step:
                losses = learner.losses(batch)
                learner.backward(losses.total(batch.image_count))
                images += batch.image_count if number else 0
            learner.step(settings.optimizer.rate)
            seconds += clock() - start if number else 0
            if number >= STEPS and images:  # a batch may have no readable image
                break
    return images / seconds


def sizes_for(samples: Sequence[Sample], size: tuple[int, int] | None = None) -> list[SizeFit]:
    """Return the input sizes to consider, largest first: the one that suits the boxes, and smaller ones.

    Args:
        samples: annotated images.
        size: (height, width) to return alone; None to choose.

    Raises:
        AnnotationError: there are no boxes.
    """
    if all(sample.crowd.all() for sample in samples):
        raise AnnotationError(f"expected boxes to train on, found none in {counted(len(samples), 'image')}")
    if size is not None:
        return [SizeFit.measure(samples, size)]
    fits = [SizeFit.measure(samples, (side, side)) for side in SIZES]
    best = advised_size(fits)
    return [fit for fit in reversed(fits) if fit.side <= best.side]


def by_accuracy(choices: Iterable[NetworkChoice], *, small: bool) -> list[NetworkChoice]:
    """Return networks by descending AP on the data set with objects of similar size.

    Args:
        choices: networks to sort.
        small: whether many objects are smaller than a cell of 16 pixels, so that `ap_small` counts.
    """
    return sorted(choices, key=lambda choice: choice.ap_small if small else choice.ap, reverse=True)


def most_accurate(
    milliseconds: Mapping[NetworkChoice, float], limit: float, *, small: bool
) -> NetworkChoice | None:
    """Return the network with the highest AP among those that are fast enough; None if there is none.

    Args:
        milliseconds: time of each network per image.
        limit: longest accepted time per image, in milliseconds.
        small: whether many objects are small, as in `by_accuracy`.
    """
    fast = [choice for choice, time in milliseconds.items() if time <= limit]
    return next(iter(by_accuracy(fast, small=small)), None)
