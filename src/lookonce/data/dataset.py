"""One image made ready for the network.

    read -> augment -> compose with others, or letterbox into the input -> assign boxes to cells and anchors

Everything random about an image is drawn from (seed, epoch, turn) alone, so neither the number of workers
nor an interruption changes what is learnt.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from lookonce.config import AssignSettings, AugmentSettings, to_multiple
from lookonce.data.assign import WRITE_UP, Column, Positives, assign
from lookonce.data.augment import AnnotatedImage, augment
from lookonce.data.cache import ImageCache
from lookonce.data.compose import fitting, mixup, mosaic, random_colour, random_zoom
from lookonce.errors import AnnotationError, ImageError
from lookonce.geometry.boxes import clip, is_empty
from lookonce.geometry.letterbox import GREY, Letterbox
from lookonce.metadata import ModelInfo
from lookonce.samples import Problem, Sample

ORDER, IMAGE, SIZE, SHAPE = 0, 1, 2, 3  # streams of random numbers that never meet
ASPECT_BLUR = 0.05  # of log(width / height): neighbours in shape change from epoch to epoch


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """What one image teaches; its pixels are in the batch.

    Attributes:
        sample: as annotated, in pixels of the original.
        letterbox: from the image, as it is after augmentation, to the input.
        boxes: (N, 4) float32 xyxy, pixels of the input.
        labels: (N,) int64 class numbers.
        positives: the cells and anchors that must find these boxes.
        problems: boxes that had to be skipped.
    """

    sample: Sample
    letterbox: Letterbox
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    positives: Positives[Column]
    problems: tuple[Problem, ...]


class Dataset:
    """Annotated images as a network of the given layout wants them."""

    def __init__(
        self,
        samples: Sequence[Sample],
        info: ModelInfo,
        augmentation: AugmentSettings | None,
        seed: int = 0,
        *,
        epochs: int | None = None,
        assignment: AssignSettings = WRITE_UP,
        repeat_rare: float = 0.0,
    ) -> None:
        """Check the class numbers; no image is opened yet.

        Args:
            samples: annotated images.
            info: input size, anchors, strides, classes and fit of the network.
            augmentation: how images are changed; None leaves them as they are, for evaluation.
            seed: of order and augmentation.
            epochs: of the run, the last of which may be plain ones.
            assignment: the rule that gives boxes to cells and anchors.
            repeat_rare: see `TrainSettings`.

        Raises:
            AnnotationError: a class number that the network does not have; the image is named.
        """
        for sample in samples:
            _check_labels(sample, len(info.names))
        self.samples = samples
        self.info = info
        self.augmentation = augmentation
        self.seed = seed
        self.epochs = epochs
        self.assignment = assignment
        self.images = ImageCache()
        self._repeats = repeat_factors(samples, len(info.names), repeat_rare)
        self._marks = self._repeats.cumsum()

    def __len__(self) -> int:
        """Images an epoch, repeated ones counted each time."""
        return math.ceil(float(self._repeats.sum()))

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The turns of an epoch, (len,), shuffled.

        Turn n is of the sample n modulo their count: a repeated image's second turn has a number of its
        own, and so an augmentation of its own.
        """
        rng = np.random.default_rng((ORDER, self.seed, epoch))
        if (self._repeats == 1).all():
            return rng.permutation(len(self))
        # evenly spaced marks, at most 1 apart, on the line of all factors: each image comes at least once,
        # as often as its factor says, rounded up or down, and every epoch has the same length
        marks = (np.arange(len(self)) + rng.random()) * (self._repeats.sum() / len(self))
        indices = np.searchsorted(self._marks, marks, side="right")
        _, first = np.unique(indices, return_index=True)
        earlier = np.arange(len(indices)) - first[np.searchsorted(indices[first], indices)]
        return rng.permutation(indices + len(self.samples) * earlier)

    def batches(self, epoch: int, batch: int) -> list[NDArray[np.int64]]:
        """The turns of each batch of an epoch; images of a like shape together where that is wanted."""
        order = self.order(epoch)
        starts = range(0, len(order), batch)
        if not self._shapes_vary(epoch):
            return [order[start : start + batch] for start in starts]
        rng = np.random.default_rng((SHAPE, self.seed, epoch))
        blurred = np.log(self._aspects[order % len(self.samples)]) + rng.normal(0, ASPECT_BLUR, len(order))
        sizes = [len(order[start : start + batch]) for start in starts]
        # a last batch that is smaller must not always be that of the widest images
        cuts = np.cumsum(rng.permutation(sizes))[:-1]
        by_shape = np.split(order[np.argsort(blurred)], cuts)
        return [by_shape[number] for number in rng.permutation(len(by_shape))]

    def input_size(self, epoch: int, number: int, turns: NDArray[np.int64]) -> tuple[int, int]:
        """(height, width) of a numbered batch: the network's, or around it where scales and shapes vary."""
        height, width = self.info.input_size
        if self.augmentation is None or self._is_plain(epoch):
            return height, width
        spread = self.augmentation.multi_scale
        factor = np.random.default_rng((SIZE, self.seed, epoch, number)).uniform(1 - spread, 1 + spread)
        aspect = (
            np.exp(np.log(self._aspects[turns % len(self.samples)]).mean())
            if self._shapes_vary(epoch)
            else width / height
        )
        return (
            to_multiple(factor * min(height, width / aspect)),
            to_multiple(factor * min(width, height * aspect)),
        )

    def sample(self, turn: int) -> Sample:
        """The sample whose turn it is."""
        return self.samples[turn % len(self.samples)]

    def load(self, turn: int, epoch: int, out: NDArray[np.uint8]) -> Example:
        """Prepare one image.

        Args:
            turn: number of the sample, or of a further turn of it; see `order`.
            epoch: another epoch, another augmentation.
            out: (height, width, 3) uint8, receives the pixels.

        Raises:
            ImageError: the image cannot be read.
        """
        size = out.shape[0], out.shape[1]
        sample = self.sample(turn)
        image, problems = trainable(sample, self.images.read(sample.path))
        rng = np.random.default_rng((IMAGE, self.seed, epoch, turn))
        if self.augmentation is not None:
            image = self._augment(image, self.augmentation, epoch, size, rng)
        letterbox = Letterbox.for_policy(self.info.fit, image.size, size)
        letterbox.image(image.image, out)
        if self.augmentation is not None:
            random_colour(out, self.augmentation, rng)
        boxes = letterbox.boxes_in(image.boxes)
        positives = assign(
            boxes,
            image.labels,
            self.info.anchors,
            self.info.strides,
            size,
            self.assignment,
        )
        return Example(sample, letterbox, boxes, image.labels, positives, problems)

    def _augment(
        self,
        image: AnnotatedImage,
        settings: AugmentSettings,
        epoch: int,
        size: tuple[int, int],
        rng: Generator,
    ) -> AnnotatedImage:
        """Change an image, and compose it with others where the settings say so."""
        image = augment(image, settings, rng)
        mixes, whole, fit = not self._is_plain(epoch), self.info.input_size, fitting(image, size)
        # the others' objects get the size they would have in inputs of their own shape, not in this one's
        scale = fit / fitting(image, whole)
        if mixes and rng.random() < settings.mosaic:
            others = [self._other(settings, rng) for _ in range(3)]
            fits = [fit, *(scale * fitting(other, whole) for other in others)]
            return mosaic([image, *others], fits, size, settings.zoom, rng)
        mixed = mixes and rng.random() < settings.mixup
        if settings.zoom == (1.0, 1.0) and not mixed:
            return image
        image = random_zoom(image, fit, size, settings.zoom, rng)
        if mixed:
            other = self._other(settings, rng)
            return mixup(
                image, random_zoom(other, scale * fitting(other, whole), size, settings.zoom, rng), rng
            )
        return image

    def _other(self, settings: AugmentSettings, rng: Generator) -> AnnotatedImage:
        """Another image, changed in its own way; rare classes come as often as in their own turns.

        One that cannot be read is empty here: it is reported when its own turn comes.
        """
        mark = rng.random() * self._marks[-1]
        sample = self.samples[int(np.searchsorted(self._marks, mark, side="right"))]
        try:
            image, _ = trainable(sample, self.images.read(sample.path))
        except ImageError:
            return AnnotatedImage(
                np.full((1, 1, 3), GREY, np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
            )
        return augment(image, settings, rng)

    @cached_property
    def _aspects(self) -> NDArray[np.float64]:
        """Width over height of each image, (samples,)."""
        return np.array([aspect_of(sample) for sample in self.samples])

    def _shapes_vary(self, epoch: int) -> bool:
        return self.augmentation is not None and self.augmentation.rectangles and not self._is_plain(epoch)

    def _is_plain(self, epoch: int) -> bool:
        plain = self.augmentation.plain_epochs if self.augmentation else 0
        return self.epochs is not None and epoch >= self.epochs - plain


def trainable(sample: Sample, image: NDArray[np.uint8]) -> tuple[AnnotatedImage, tuple[Problem, ...]]:
    """The image with the boxes to learn from, and what was skipped.

    Boxes are cut to the image. Those of crowds are left out; difficult ones are not. A box that lies
    outside is a problem: the annotation is another image's, or another size's.
    """
    height, width = image.shape[:2]
    boxes = clip(sample.boxes, height, width)
    outside = is_empty(boxes)
    problems = tuple(
        Problem(
            f"{sample.path}: box {number + 1}",
            f"expected a box inside the image of {width} x {height}, found {sample.boxes[number].tolist()}",
        )
        for number in np.flatnonzero(outside)
    )
    kept = ~outside & ~sample.crowd
    return AnnotatedImage(image, boxes[kept], sample.labels[kept]), problems


def repeat_factors(samples: Sequence[Sample], num_classes: int, threshold: float) -> NDArray[np.float64]:
    """How often each image should come in an epoch: (images,), 1 or more.

    A class that a share f of the images shows asks for max(1, sqrt(threshold / f)); an image follows the
    class that asks for most (Gupta et al. 2019, section 4).
    """
    shows = np.zeros((len(samples), num_classes), bool)
    for row, sample in zip(shows, samples, strict=True):
        row[sample.labels[~sample.crowd]] = True
    share = np.maximum(shows.mean(axis=0), 1e-12) if len(samples) else np.ones(num_classes)
    asked = np.maximum(1.0, np.sqrt(threshold / share))
    factors: NDArray[np.float64] = np.where(shows, asked, 1.0).max(axis=1, initial=1.0)
    return factors


def aspect_of(sample: Sample) -> float:
    """Width over height; 1 where the image cannot be read, which is reported when its turn comes."""
    try:
        height, width = sample.image_size
    except ImageError:
        return 1.0
    return width / height


def _check_labels(sample: Sample, num_classes: int) -> None:
    bad = sample.labels[(sample.labels < 0) | (sample.labels >= num_classes)]
    if len(bad):
        raise AnnotationError(
            f"{sample.path}: expected class numbers from 0 to {num_classes - 1}, found {bad[0]}"
        )
