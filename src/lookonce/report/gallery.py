"""Draw the worst and the best images of a report, with ground truth and detections side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lookonce.draw.marks import Mark, draw_marks
from lookonce.eight_bits import Values
from lookonce.evaluate.errors import Outcome, Outcomes
from lookonce.evaluate.worst import ImageErrors
from lookonce.images import read_image
from lookonce.pages.render import jpeg_url

LONGEST = 560  # longer side of an image in pixels, about its width on the page
LETTERS = 17  # height of letters in pixels, which is 11 on a phone that shows the image 360 pixels wide
QUALITY = 80  # of JPEG
MOST_MARKS = 500  # boxes to draw on one image; more would hide it
# Seven colors that color-blind people can tell apart; the page shows each beside its name.
COLORS: dict[Outcome, tuple[int, int, int]] = {
    Outcome.CORRECT: (0, 158, 115),
    Outcome.CLASSIFICATION: (0, 90, 200),
    Outcome.LOCALIZATION: (240, 228, 66),
    Outcome.BOTH: (120, 60, 30),
    Outcome.DUPLICATE: (120, 210, 255),
    Outcome.BACKGROUND: (230, 60, 20),
    Outcome.MISSED: (248, 0, 232),
}


@dataclass(frozen=True, slots=True)
class GalleryImage:
    """An image of the gallery, drawn twice.

    Attributes:
        name: name of the file.
        truth: data URL of the image with the annotated objects.
        found: data URL of the image with the detections in use.
        errors: number of errors of each type; empty without errors.
        explained: link to the page that explains the image; empty if there is none.
    """

    name: str
    truth: str
    found: str
    errors: dict[Outcome, int]
    explained: str = ""


def gallery_image(
    chosen: ImageErrors,
    path: Path,
    in_use: Outcomes,
    names: Sequence[str],
    link: str = "",
    values: Values | None = None,
) -> GalleryImage:
    """Read an image and draw its objects and its detections.

    Args:
        chosen: number and errors of the image.
        path: file of the image.
        in_use: outcomes of the detections in use on all images.
        names: class names.
        link: link to the page that explains the image; empty if there is none.
        values: range of pixel values in images of more than 8 bits, as in `read_image`.
    """
    image = read_image(path, values)
    truth, found = (
        jpeg_url(draw_marks(image, marks, LONGEST, LETTERS), QUALITY)
        for marks in (
            object_marks(in_use, chosen.image, names),
            detection_marks(in_use, chosen.image, names),
        )
    )
    return GalleryImage(path.name, truth, found, chosen.errors, link)


def object_marks(outcomes: Outcomes, image: int, names: Sequence[str]) -> list[Mark]:
    """Return the objects of one image, the missed ones first; those without a correct detection are dashed.

    If there is only one class, its name is left out, so that the image is less crowded.
    """
    shown, objects = names if len(names) > 1 else [""], outcomes.objects
    missed, found = outcomes.missed(), outcomes.found()
    indices = np.flatnonzero((objects.image == image) & objects.counts)
    order = np.argsort(found[indices].astype(int) - missed[indices], kind="stable")
    return [
        Mark(
            objects.boxes[g],
            label := int(objects.labels[g]),
            shown[label],
            "",
            COLORS[Outcome.MISSED if missed[g] else Outcome.CORRECT],
            dashed=not found[g],
        )
        for g in indices[order][:MOST_MARKS].tolist()
    ]


def detection_marks(outcomes: Outcomes, image: int, names: Sequence[str]) -> list[Mark]:
    """Return the detections of one image in the colors of their outcomes, the wrong ones first."""
    shown = names if len(names) > 1 else [""]
    indices = np.flatnonzero((outcomes.image == image) & ~outcomes.has(Outcome.IGNORED))
    order = np.argsort(outcomes.outcome[indices] == Outcome.CORRECT, kind="stable")
    return [
        Mark(
            outcomes.boxes[d],
            label := int(outcomes.labels[d]),
            shown[label],
            f"{outcomes.scores[d]:.2f}",
            COLORS[Outcome(outcomes.outcome[d])],
        )
        for d in indices[order][:MOST_MARKS].tolist()
    ]
