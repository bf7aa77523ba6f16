"""The images with the most errors."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookonce.evaluate.errors import ERRORS, FALSE, Outcome, Outcomes


@dataclass(frozen=True, slots=True)
class ImageErrors:
    """One image and its errors.

    Attributes:
        image: its number.
        errors: how many of each type; types without any are left out.
    """

    image: int
    errors: dict[Outcome, int]

    @property
    def total(self) -> int:
        """All errors."""
        return sum(self.errors.values())


def worst_images(outcomes: Outcomes, images: int, most: int) -> tuple[ImageErrors, ...]:
    """The images with the most errors, false detections and missed objects, each counting once.

    Of images with equally many, the one whose false detections have the higher scores comes first: a
    confident error is the more surprising. Images without errors are left out.

    Args:
        outcomes: the detections in use, those above a threshold.
        images: how many there are.
        most: at most so many are returned.
    """
    counts = np.stack([_by_image(outcomes, error, images) for error in ERRORS], axis=1)  # (images, 6)
    false = outcomes.has(*FALSE)
    certainty = np.bincount(outcomes.image[false], outcomes.scores[false], minlength=images)
    total = counts.sum(axis=1)
    order = np.lexsort((-certainty, -total))[:most]
    return tuple(
        ImageErrors(int(i), {error: int(n) for error, n in zip(ERRORS, counts[i], strict=True) if n})
        for i in order[total[order] > 0]
    )


def _by_image(outcomes: Outcomes, error: Outcome, images: int) -> NDArray[np.int64]:
    """(images,): how many errors of one type each image has."""
    place = (
        outcomes.objects.image[outcomes.missed()]
        if error == Outcome.MISSED
        else outcomes.image[outcomes.has(error)]
    )
    return np.bincount(place, minlength=images)
