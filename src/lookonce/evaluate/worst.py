"""The pictures with the most errors."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookonce.evaluate.errors import ERRORS, FALSE, Judged, Outcome


@dataclass(frozen=True, slots=True)
class WorstPicture:
    """One picture and its errors.

    Attributes:
        picture: its number.
        errors: how many of each type; types without any are left out.
    """

    picture: int
    errors: dict[Outcome, int]

    @property
    def total(self) -> int:
        """All errors."""
        return sum(self.errors.values())


def worst_pictures(judged: Judged, pictures: int, most: int) -> tuple[WorstPicture, ...]:
    """The pictures with the most errors, false detections and missed objects, each counting once.

    Of pictures with equally many, the one whose false detections have the higher scores comes first: a
    confident error is the more surprising. Pictures without errors are left out.

    Args:
        judged: the detections in use, those above a confidence.
        pictures: how many there are.
        most: at most so many are returned.
    """
    counts = np.stack([_by_picture(judged, error, pictures) for error in ERRORS], axis=1)  # (pictures, 6)
    false = judged.has(*FALSE)
    certainty = np.bincount(judged.picture[false], judged.scores[false], minlength=pictures)
    total = counts.sum(axis=1)
    order = np.lexsort((-certainty, -total))[:most]
    return tuple(
        WorstPicture(int(i), {error: int(n) for error, n in zip(ERRORS, counts[i], strict=True) if n})
        for i in order[total[order] > 0]
    )


def _by_picture(judged: Judged, error: Outcome, pictures: int) -> NDArray[np.int64]:
    """(pictures,): how many errors of one type each picture has."""
    place = (
        judged.objects.picture[judged.missed()]
        if error == Outcome.MISSED
        else judged.picture[judged.has(error)]
    )
    return np.bincount(place, minlength=pictures)
