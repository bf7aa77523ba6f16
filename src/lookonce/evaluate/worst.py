"""Find the images with the most errors, and those with the fewest."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lookonce.evaluate.errors import ERRORS, FALSE, Outcome, Outcomes


@dataclass(frozen=True, slots=True)
class ImageErrors:
    """Errors of one image.

    Attributes:
        image: number of the image.
        errors: number of errors of each type that occurs.
    """

    image: int
    errors: dict[Outcome, int]

    @classmethod
    def of(cls, image: int, counts: NDArray[np.int64]) -> Self:
        """Pick the errors of one image from `counts`, (images, 6), by type."""
        return cls(image, {error: int(n) for error, n in zip(ERRORS, counts[image], strict=True) if n})

    @property
    def total(self) -> int:
        """Number of errors of all types."""
        return sum(self.errors.values())


def worst_images(outcomes: Outcomes, images: int, most: int) -> tuple[ImageErrors, ...]:
    """Return the images with the most errors; false detections and missed objects count once each.

    Of images with equally many errors, those whose false detections have higher scores come first. Images
    without errors are left out.

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
    """Return the images with the fewest errors; of equal ones, those with more objects found come first.

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
