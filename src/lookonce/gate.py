"""The accuracy gate: compare the AP and the times of two detectors on the same images."""

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from lookonce._counted import counted
from lookonce.detections import Detections
from lookonce.eight_bits import Values
from lookonce.errors import AnnotationError
from lookonce.evaluate.coco import Metrics, evaluate
from lookonce.images import Size
from lookonce.runtime.backends import load_engine
from lookonce.runtime.detector import Detector
from lookonce.runtime.options import EVALUATION_CONF
from lookonce.runtime.pipeline import Parallel, each_image
from lookonce.samples import Problem, Sample
from lookonce.values import measure_values

R = TypeVar("R")

MAX_DROP = 0.005  # AP, about twice the largest loss measured so far (benchmarks/int8.md)
TIMED = 20  # timed runs per file
SESSIONS, TIMED_PER_SESSION = 5, 8  # for two files, whose ratio differs between sessions by a tenth and more


@dataclass(frozen=True, slots=True)
class Comparison:
    """The metrics of two detectors on the same images.

    Attributes:
        before: metrics of the reference model, such as a float model.
        after: metrics of the changed model, such as an int8 model.
        unreadable: problems of the images that could not be read.
    """

    before: Metrics
    after: Metrics
    unreadable: list[Problem]

    @property
    def drop(self) -> float:
        """Return the loss of AP; negative for a gain."""
        return self.before.ap - self.after.ap


def unseen(samples: Sequence[Sample], calibrated: Collection[Path]) -> list[Sample]:
    """Return the samples whose images were not used for calibration."""
    seen = {path.absolute() for path in calibrated}
    return [sample for sample in samples if sample.path.absolute() not in seen]


@dataclass(frozen=True, slots=True)
class Detected(Generic[R]):
    """The results on annotated images.

    Attributes:
        samples: annotated images that could be read.
        found: result for each of these, in the same order.
        unreadable: problems of the images that could not be read.
    """

    samples: list[Sample]
    found: list[R]
    unreadable: list[Problem]


def detect_samples(
    detect: Callable[[Any], R],
    samples: Sequence[Sample],
    values: Values | None,
    parallel: Parallel | None = None,
    done: Callable[[], None] = lambda: None,
    *,
    least: Callable[[Size], Size] | None = None,
    strict: bool = False,
) -> Detected[R]:
    """Detect on annotated images, without those that cannot be read.

    Args:
        detect: function called in several threads with RGB pixels (H, W, 3), or with a `ReducedImage`.
        samples: annotated images.
        values: range of pixel values in images of more than 8 bits; see `own_values`.
        parallel: number of workers; None for one.
        done: function called after each image.
        least: function for decoding JPEGs at a reduced size, as in `each_image`; None for full size.
        strict: whether to stop at the first image that cannot be read.

    Raises:
        ImageError: with `strict`, an image cannot be read.
    """
    detected: Detected[R] = Detected([], [], [])
    paths, skipped, parallel = (
        [sample.path for sample in samples],
        detected.unreadable,
        parallel or Parallel(1, 1),
    )
    results = each_image(paths, detect, skipped, parallel, values=values, least=least, strict=strict)
    with closing(results):
        for number, found in results:
            detected.samples.append(samples[number])
            detected.found.append(found)
            done()
    return detected


def own_values(detector: Detector, samples: Iterable[Sample]) -> Values | None:
    """Return the range of pixel values of the model, or else of the images; None if all have 8 bits."""
    return measure_values([sample.path for sample in samples], detector.info.values)[0]


def detect_both(
    first: Detector,
    second: Detector,
    samples: Sequence[Sample],
    parallel: Parallel | None = None,
    done: Callable[[], None] = lambda: None,
    *,
    strict: bool = False,
) -> Detected[tuple[Detections, Detections]]:
    """Detect with two models; each image is read once, or twice if their ranges of pixel values differ.

    Args:
        first: one detector.
        second: another detector.
        samples: annotated images.
        parallel: number of workers; None for one.
        done: function called after each image.
        strict: whether to stop at the first image that cannot be read.

    Raises:
        ImageError: with `strict`, an image cannot be read.
    """

    def both(image: Any) -> tuple[Detections, Detections]:
        return first(image), second(image)

    values, other_values = (own_values(each, samples) for each in (first, second))
    if values == other_values:
        return detect_samples(both, samples, values, parallel, done, strict=strict)
    one = detect_samples(first, samples, values, parallel, strict=strict)
    other = detect_samples(second, samples, other_values, parallel, done, strict=strict)
    return Detected(one.samples, list(zip(one.found, other.found, strict=True)), one.unreadable)


def compare(before: Detector, after: Detector, samples: Iterable[Sample]) -> Comparison:
    """Detect with two models and measure their AP.

    Args:
        before: detector with the reference model and a low score threshold.
        after: detector with the changed model and the same threshold.
        samples: annotated images, with the class numbers of the models.

    Raises:
        AnnotationError: the images have no objects to measure AP on.
        MissingExtraError: the evaluation package is not installed.
    """
    both = detect_both(before, after, list(samples))
    first, second = (
        evaluate(both.samples, [pair[side] for pair in both.found], before.names) for side in (0, 1)
    )
    if math.isnan(first.ap):
        raise AnnotationError(
            f"expected objects to measure AP on, found none in {counted(len(both.samples), 'image')}"
        )
    return Comparison(first, second, both.unreadable)


def compare_files(
    before: Path, after: Path, samples: Iterable[Sample], backend: str | None = None
) -> Comparison:
    """Detect with two model files in one engine and measure their AP.

    Args:
        before: file of the reference model.
        after: file of the changed model.
        samples: annotated images, with the class numbers of the models.
        backend: name of the engine; None for the first that reads the files.

    Raises:
        AnnotationError: the images have no objects to measure AP on.
        ModelFileError: a file cannot be read, or no engine runs it.
        ConfigError: the named engine does not run the files.
        MissingExtraError: the evaluation package or the engine is not installed.
    """
    with (
        Detector.open(before, conf=EVALUATION_CONF, backend=backend) as first,
        Detector.open(after, conf=EVALUATION_CONF, backend=backend) as second,
    ):
        return compare(first, second, samples)


@dataclass(frozen=True, slots=True)
class Times:
    """The times of two files in the same engine, measured in turn.

    Attributes:
        before: milliseconds per image of the first file.
        after: milliseconds per image of the second file.
    """

    before: float
    after: float

    @property
    def speed_up(self) -> float:
        """Return the time of the first file divided by that of the second."""
        return self.before / self.after


def time_in_turn(
    files: Sequence[Path],
    inputs: Sequence[NDArray[np.uint8]],
    engine: str | None = None,
    *,
    rounds: int = TIMED,
    done: Callable[[], object] = lambda: None,
) -> list[float]:
    """Return the milliseconds per image of each file, run in turn so that a slow moment affects all of them.

    The result is the lower quartile of a file's times, because other work on the machine only adds to them.

    Args:
        files: files that the engine runs.
        inputs: for each file (P, H, W, 3) uint8 RGB images at its input size; each round uses the next one.
        engine: name of the engine; None for the first that reads the files.
        rounds: number of timed runs per file, after a first run that triggers lazy initialization.
        done: function called after each run.
    """
    seconds: list[list[float]] = [[] for _ in files]
    with ExitStack() as stack:
        runs = [stack.enter_context(closing(load_engine(each, engine))) for each in files]
        for number in range(1 + rounds):
            for run, images, durations in zip(runs, inputs, seconds, strict=True):
                image = images[number % len(images)][None]
                start = perf_counter()
                run(image)
                durations.append(perf_counter() - start)
                done()
    return [1000 * float(np.percentile(durations[1:], 25)) for durations in seconds]


def time_both(before: Path, after: Path, inputs: NDArray[np.uint8], engine: str | None = None) -> Times:
    """Time two files on the same images; see `time_in_turn`.

    The engine is loaded several times, and the result is the session with the median speed-up, because the
    ratio of two files differs more between sessions than within one.
    """
    sessions = [
        Times(*time_in_turn((before, after), (inputs, inputs), engine, rounds=TIMED_PER_SESSION))
        for _ in range(SESSIONS)
    ]
    return sorted(sessions, key=lambda times: times.speed_up)[SESSIONS // 2]
