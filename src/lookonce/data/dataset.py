"""One picture made ready for the network.

    read -> augment -> letterbox into the input -> assign its boxes to cells and priors

Everything random about a picture is drawn from (seed, epoch, index) alone, so neither the number of workers
nor an interruption changes what is learnt.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from lookonce.config import AugmentSettings
from lookonce.data.assign import Positives, assign
from lookonce.data.augment import Picture, augment
from lookonce.errors import AnnotationError
from lookonce.geometry.boxes import clip, is_empty
from lookonce.geometry.letterbox import Letterbox
from lookonce.images import read_image
from lookonce.metadata import ModelInfo
from lookonce.samples import Problem, Sample

ORDER, PICTURE = 0, 1  # two streams of random numbers that never meet


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """What one picture teaches; its pixels are in the batch.

    Attributes:
        sample: as annotated, in pixels of the original.
        letterbox: from the picture, as it is after augmentation, to the input.
        boxes: (N, 4) float32 xyxy, pixels of the input.
        labels: (N,) int64 class numbers.
        positives: the cells and priors that must find these boxes.
        problems: boxes that had to be set aside.
    """

    sample: Sample
    letterbox: Letterbox
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    positives: Positives
    problems: tuple[Problem, ...]


class Dataset:
    """Annotated pictures as a network of the given layout wants them."""

    def __init__(
        self, samples: Sequence[Sample], info: ModelInfo, augmentation: AugmentSettings | None, seed: int = 0
    ) -> None:
        """Check the class numbers; no picture is opened yet.

        Args:
            samples: annotated pictures.
            info: input size, priors, strides, classes and fit of the network.
            augmentation: how pictures are changed; None leaves them as they are, for evaluation.
            seed: of order and augmentation.

        Raises:
            AnnotationError: a class number that the network does not have; the picture is named.
        """
        for sample in samples:
            _check_labels(sample, len(info.names))
        self.samples = samples
        self.info = info
        self.augmentation = augmentation
        self.seed = seed

    def __len__(self) -> int:
        return len(self.samples)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The indices of an epoch, (len,), shuffled."""
        return np.random.default_rng((ORDER, self.seed, epoch)).permutation(len(self))

    def load(self, index: int, epoch: int, out: NDArray[np.uint8]) -> Example:
        """Prepare one picture.

        Args:
            index: of the sample.
            epoch: another epoch, another augmentation.
            out: (height, width, 3) uint8, receives the pixels.

        Raises:
            ImageError: the picture cannot be read.
        """
        sample = self.samples[index]
        picture, problems = trainable(sample, read_image(sample.path))
        if self.augmentation is not None:
            picture = augment(picture, self.augmentation, self._generator(epoch, index))
        fit = Letterbox.stretch if self.info.fit == "stretch" else Letterbox.fit
        letterbox = fit(picture.size, self.info.input_size)
        letterbox.image(picture.image, out)
        boxes = letterbox.boxes_in(picture.boxes)
        positives = assign(
            boxes,
            picture.labels,
            self.info.anchors,
            self.info.strides,
            self.info.input_size,
            len(self.info.names),
        )
        return Example(sample, letterbox, boxes, picture.labels, positives, problems)

    def _generator(self, epoch: int, index: int) -> Generator:
        return np.random.default_rng((PICTURE, self.seed, epoch, index))


def trainable(sample: Sample, image: NDArray[np.uint8]) -> tuple[Picture, tuple[Problem, ...]]:
    """The picture with the boxes to learn from, and what was set aside.

    Boxes are cut to the picture. Those of crowds are left out; difficult ones are not. A box that lies
    outside is a problem: the annotation is another picture's, or another size's.
    """
    height, width = image.shape[:2]
    boxes = clip(sample.boxes, height, width)
    outside = is_empty(boxes)
    problems = tuple(
        Problem(
            f"{sample.path}: box {number + 1}",
            f"expected a box inside the picture of {width} x {height}, found {sample.boxes[number].tolist()}",
        )
        for number in np.flatnonzero(outside)
    )
    kept = ~outside & ~sample.crowd
    return Picture(image, boxes[kept], sample.labels[kept]), problems


def _check_labels(sample: Sample, num_classes: int) -> None:
    bad = sample.labels[(sample.labels < 0) | (sample.labels >= num_classes)]
    if len(bad):
        raise AnnotationError(
            f"{sample.path}: expected class numbers from 0 to {num_classes - 1}, found {bad[0]}"
        )
