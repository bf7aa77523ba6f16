"""Find the images with the most and the fewest errors."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lookonce.evaluate.errors import ERRORS, FALSE, Outcome, Outcomes


@dataclass(frozen=True, slots=True)
class ImageErrors:
    """Errors of one image.

    Attributes:
        image: index of the image.
        errors: number of errors by type; types that do not occur are left out.
    """

    image: int
    errors: dict[Outcome, int]

    @classmethod
    def of(cls, image: int, counts: NDArray[np.int64]) -> Self:
        """Select the errors of one image from `counts`, (images, 6), in the order of `ERRORS`."""
        return cls(image, {error: int(n) for error, n in zip(ERRORS, counts[image], strict=True) if n})

    @property
    def total(self) -> int:
        """Return the number of errors of all types."""
        return sum(self.errors.values())


def worst_images(outcomes: Outcomes, images: int, most: int) -> tuple[ImageErrors, ...]:
    """Return the images with the most errors, false detections and missed objects together.

    Images with the same number of errors are sorted by the sum of the scores of their false detections, the
    highest first.
    Images without errors are left out.

    Args:
        outcomes: outcomes of the detections in use, which are those above a threshold.
        images: number of images.
        most: maximum number of images returned.
    """
    counts = np.stack([outcomes.per_image(error, images) for error in ERRORS], axis=1)  # (images, 6)
    false = outcomes.has(*FALSE)
    certainty = np.bincount(outcomes.image[false], outcomes.scores[false], minlength=images)
    total = counts.sum(axis=1)
    order = np.lexsort((-certainty, -total))[:most]
    return tuple(ImageErrors.of(i, counts) for i in order[total[order] > 0].tolist())


def best_images(outcomes: Outcomes, images: int, most: int) -> tuple[ImageErrors, ...]:
    """Return the images with the fewest errors; of equal ones, those with more correct detections come first.

    Images without a correct detection are left out.

    Args:
        outcomes: outcomes of the detections in use, which are those above a threshold.
        images: number of images.
        most: maximum number of images returned.
    """
    counts = np.stack([outcomes.per_image(error, images) for error in ERRORS], axis=1)
    correct = outcomes.per_image(Outcome.CORRECT, images)
    order = np.lexsort((-correct, counts.sum(axis=1)))
    return tuple(ImageErrors.of(i, counts) for i in order[correct[order] > 0][:most].tolist())
