"""Images prepared for the network.

    read -> augment -> compose with others, or letterbox into the input -> color; then `assign`

The random numbers of an image depend only on (seed, epoch, visit), so neither the number of workers nor an
interruption changes the training data.
"""

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from lookonce.config import AssignSettings, AugmentSettings, Difficult
from lookonce.data.assign import WRITE_UP, Column, Positives, assign, ignored_cells, outside_ignored
from lookonce.data.augment import AnnotatedImage, Image, augment, random_turn
from lookonce.data.cache import ImageCache
from lookonce.data.compose import fit_scale, letterboxed, mixup, mosaic, random_color, random_zoom
from lookonce.errors import AnnotationError, ImageError
from lookonce.geometry.boxes import clip, is_empty
from lookonce.geometry.letterbox import GRAY, Letterbox
from lookonce.geometry.polygons import rectangle
from lookonce.geometry.sizes import size_text, to_multiple
from lookonce.metadata import ModelInfo
from lookonce.samples import Area, Problem, Sample

ORDER, IMAGE, SIZE, SHAPE = 0, 1, 2, 3  # keys of independent streams of random numbers
ASPECT_BLUR = 0.05  # standard deviation of the noise on log(width / height), which varies the batches


class Dataset:
    """Annotated images, prepared for the input size, anchors and strides of a network."""

    def __init__(
        self,
        samples: Sequence[Sample],
        info: ModelInfo,
        augmentation: AugmentSettings | None,
        seed: int = 0,
        *,
        assignment: AssignSettings = WRITE_UP,
        repeat_rare: float = 0.0,
        difficult: Difficult = "train",
    ) -> None:
        """Check the class numbers without opening any image.

        Args:
            samples: annotated images.
            info: input size, anchors, strides, classes and fit of the network.
            augmentation: augmentation of the images; None for none.
            seed: seed of order and augmentation.
            assignment: rule that assigns boxes to cells and anchors.
            repeat_rare: see `TrainSettings`.
            difficult: see `TrainSettings`.

        Raises:
            AnnotationError: the network lacks a class number; the message names the image.
        """
        for sample in samples:
            bad = sample.labels[(sample.labels < 0) | (sample.labels >= len(info.names))]
            if len(bad):
                raise AnnotationError(
                    f"{sample.path}: expected class numbers from 0 to {len(info.names) - 1}, found {bad[0]}"
                )
        self.samples = samples
        self.info = info
        self.augmentation = augmentation
        self.seed = seed
        self.assignment = assignment
        self.images = ImageCache(values=info.values)
        self.difficult = difficult
        self._repeats = repeat_factors(samples, len(info.names), repeat_rare)
        self._marks = self._repeats.cumsum()

    def __len__(self) -> int:
        """Return the number of images per epoch, repetitions included."""
        return math.ceil(float(self._repeats.sum()))

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Return the visits of an epoch, (len,), shuffled: one per image, or several if it is repeated.

        A visit is one use of an image in an epoch. Visit n uses sample n modulo the number of samples, so
        each repetition of an image has its own number and hence its own augmentation.
        """
        rng = np.random.default_rng((ORDER, self.seed, epoch))
        if (self._repeats == 1).all():
            return rng.permutation(len(self))
        # Systematic sampling: marks at equal distances of at most 1 along the cumulative factors. Each image
        # occurs at least once and about as often as its factor, and every epoch has the same length.
        marks = (np.arange(len(self)) + rng.random()) * (self._repeats.sum() / len(self))
        indices = np.searchsorted(self._marks, marks, side="right")
        _, first = np.unique(indices, return_index=True)
        earlier = np.arange(len(indices)) - first[np.searchsorted(indices[first], indices)]
        return rng.permutation(indices + len(self.samples) * earlier)

    def batches(self, epoch: int, batch: int) -> list[NDArray[np.int64]]:
        """Return the visits of each batch of an epoch; with `rectangles`, similar shapes share a batch."""
        order = self.order(epoch)
        starts = range(0, len(order), batch)
        if not self.groups_by_shape:
            return [order[start : start + batch] for start in starts]
        rng = np.random.default_rng((SHAPE, self.seed, epoch))
        blurred = np.log(self._aspects[order % len(self.samples)]) + rng.normal(0, ASPECT_BLUR, len(order))
        sizes = [len(order[start : start + batch]) for start in starts]
        # a smaller last batch must not always contain the widest images
        cuts = np.cumsum(rng.permutation(sizes))[:-1]
        by_shape = np.split(order[np.argsort(blurred)], cuts)
        return [by_shape[number] for number in rng.permutation(len(by_shape))]

    def input_size(self, epoch: int, number: int, visits: NDArray[np.int64]) -> tuple[int, int]:
        """Return (height, width) of a batch: the network's, varied by `multi_scale` and `rectangles`."""
        height, width = self.info.input_size
        if self.augmentation is None:
            return height, width
        spread = self.augmentation.multi_scale
        rng = np.random.default_rng((SIZE, self.seed, epoch, number))
        factor = rng.uniform(1 - spread, 1 + spread)
        aspect = width / height
        if self.groups_by_shape:
            aspect = np.exp(np.log(self._aspects[visits % len(self.samples)]).mean())
        if self.augmentation.orientation == "free" and rng.random() < 0.5:
            height, width, aspect = width, height, 1 / aspect
        return (
            to_multiple(factor * min(height, width / aspect), self.info.side_multiple),
            to_multiple(factor * min(width, height * aspect), self.info.side_multiple),
        )

    def sample(self, visit: int) -> Sample:
        """Return the sample of a visit."""
        return self.samples[visit % len(self.samples)]

    def load(self, visit: int, epoch: int, out: Image) -> tuple[AnnotatedImage, tuple[Problem, ...]]:
        """Prepare the image of one visit.

        Args:
            visit: number of the visit; see `order`.
            epoch: epoch, which determines the augmentation.
            out: (height, width, 3) uint8 array that receives the pixels.

        Returns:
            Network input, with boxes in its pixels, and the boxes that were skipped.

        Raises:
            ImageError: the image cannot be read.
        """
        sample = self.sample(visit)
        image, problems = trainable(sample, self.images.read(sample.path), self.difficult)
        if self.augmentation is None:
            return self._letterboxed(image, out), problems
        rng = np.random.default_rng((IMAGE, self.seed, epoch, visit))
        image = random_turn(image, self.augmentation, rng, (out.shape[0], out.shape[1]))
        image = self._into_input(augment(image, self.augmentation, rng), self.augmentation, rng, out)
        random_color(out, self.augmentation, rng)
        return image, problems

    def assign(self, image: AnnotatedImage) -> Positives[Column]:
        """Return the cells and anchors that must predict the objects of a prepared image."""
        kept = outside_ignored(image.boxes, image.ignored)
        boxes, labels = image.boxes[kept], image.labels[kept]
        return assign(boxes, labels, self.info.anchors, self.info.strides, image.size, self.assignment)

    def ignored_cells(self, image: AnnotatedImage) -> tuple[NDArray[np.bool_], ...]:
        """Return the cells of a prepared image in which objects may lack a box; see `Batch.ignored`."""
        return ignored_cells(image.ignored, self.info.strides, image.size, len(self.info.names))

    def _into_input(
        self, image: AnnotatedImage, settings: AugmentSettings, rng: Generator, out: Image
    ) -> AnnotatedImage:
        """Draw an image into the input: in a mosaic, zoomed, blended with another one, or letterboxed."""
        whole, scale = self.info.input_size, fit_scale(image, (out.shape[0], out.shape[1]))
        # scale objects of the other images as if the input had the shape of those images
        shrunk = scale / fit_scale(image, whole)
        if rng.random() < settings.mosaic:
            others = [self._other(settings, rng) for _ in range(3)]
            scales = [scale, *(shrunk * fit_scale(other, whole) for other in others)]
            return mosaic([image, *others], scales, out, settings.zoom, rng)
        mixed = rng.random() < settings.mixup
        if settings.zoom == (1.0, 1.0) and not mixed:
            return self._letterboxed(image, out)
        image = random_zoom(image, scale, out, settings.zoom, rng)
        if not mixed:
            return image
        other = self._other(settings, rng)
        canvas = np.empty_like(out)
        return mixup(
            image, random_zoom(other, shrunk * fit_scale(other, whole), canvas, settings.zoom, rng), rng
        )

    def _letterboxed(self, image: AnnotatedImage, out: Image) -> AnnotatedImage:
        size = out.shape[0], out.shape[1]
        return letterboxed(image, Letterbox.for_policy(self.info.fit, image.size, size), out)

    def _other(self, settings: AugmentSettings, rng: Generator) -> AnnotatedImage:
        """Draw another image, as often as `order` repeats it, and augment it.

        An unreadable image is replaced by a gray pixel here, and reported at its own visit.
        """
        mark = rng.random() * self._marks[-1]
        sample = self.samples[int(np.searchsorted(self._marks, mark, side="right"))]
        try:
            image, _ = trainable(sample, self.images.read(sample.path), self.difficult)
        except ImageError:
            return AnnotatedImage(
                np.full((1, 1, 3), GRAY, np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
            )
        return augment(random_turn(image, settings, rng), settings, rng)

    @property
    def groups_by_shape(self) -> bool:
        """Return whether batches hold images of similar shape, in an input of that shape."""
        return self.augmentation is not None and self.augmentation.rectangles

    @cached_property
    def _aspects(self) -> NDArray[np.float64]:
        """Return width / height of each image, (samples,); longer / shorter side if images may be rotated."""
        # an unreadable image counts as a square here and is reported at its visit
        sizes = [sample.image_size if sample.is_readable else (1, 1) for sample in self.samples]
        aspects = np.array([width / height for height, width in sizes])
        turned = self.augmentation is not None and self.augmentation.orientation == "free"
        return np.maximum(aspects, 1 / aspects) if turned else aspects


def trainable(
    sample: Sample, image: Image, difficult: Difficult = "train"
) -> tuple[AnnotatedImage, tuple[Problem, ...]]:
    """Select the boxes to train on, clipped to the image, and report those that were skipped.

    Crowd boxes become ignored areas; so do difficult boxes if `difficult` is `ignore`. A box outside the
    image is a problem, because its annotation belongs to another image or another size.
    """
    height, width = image.shape[:2]
    boxes = clip(sample.boxes, height, width)
    outside = is_empty(boxes)
    problems = tuple(
        Problem(
            f"{sample.path}: box {number + 1}",
            f"expected a box inside the image of {size_text((height, width))}, "
            f"found {sample.boxes[number].tolist()}",
        )
        for number in np.flatnonzero(outside)
    )
    flagged = sample.crowd | sample.difficult if difficult == "ignore" else sample.crowd
    kept = ~outside & ~flagged
    areas = [Area(rectangle(box)) for box in boxes[~outside & flagged]]
    return AnnotatedImage(image, boxes[kept], sample.labels[kept], (*sample.ignored, *areas)), problems


def repeat_factors(samples: Sequence[Sample], num_classes: int, threshold: float) -> NDArray[np.float64]:
    """Return how often each image should occur in an epoch: (images,), 1 or more.

    A class present in a share f of the images has the factor max(1, sqrt(threshold / f)); an image has the
    largest factor of its classes (Gupta et al. 2019, section 4).
    """
    shows = np.zeros((len(samples), num_classes), bool)
    for row, sample in zip(shows, samples, strict=True):
        row[sample.labels[~sample.crowd]] = True
    share = np.maximum(shows.mean(axis=0), 1e-12) if len(samples) else np.ones(num_classes)
    needed = np.maximum(1.0, np.sqrt(threshold / share))
    factors: NDArray[np.float64] = np.where(shows, needed, 1.0).max(axis=1, initial=1.0)
    return factors
