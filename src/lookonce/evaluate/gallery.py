"""The worst images of an error report, with their errors drawn on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lookonce.draw.marks import Mark, draw_marks
from lookonce.evaluate.errors import Outcome, Outcomes
from lookonce.evaluate.worst import ImageErrors
from lookonce.images import read_image
from lookonce.pages.render import jpeg_url

LONGEST = 800  # pixels of an image in the gallery
QUALITY = 80
MOST_MARKS = 500  # boxes drawn on one image; more would hide it
# Okabe and Ito's colours that colour-blind people tell apart, and two more; each also stands beside its name.
COLOURS: dict[Outcome, tuple[int, int, int]] = {
    Outcome.RIGHT: (0, 158, 115),
    Outcome.CLASSIFICATION: (86, 180, 233),
    Outcome.LOCALISATION: (230, 159, 0),
    Outcome.BOTH: (144, 0, 248),
    Outcome.DUPLICATE: (240, 228, 66),
    Outcome.BACKGROUND: (213, 94, 0),
    Outcome.MISSED: (248, 0, 232),
}
SHORT = {
    Outcome.RIGHT: "",
    Outcome.CLASSIFICATION: "class",
    Outcome.LOCALISATION: "box",
    Outcome.BOTH: "both",
    Outcome.DUPLICATE: "dupl.",
    Outcome.BACKGROUND: "backgr.",
}


@dataclass(frozen=True, slots=True)
class GalleryImage:
    """One of the worst images, drawn.

    Attributes:
        name: name of its file.
        url: image with its boxes, as a data URL.
        errors: number of errors of each type.
        explained: link to the page that explains it; empty if there is none.
    """

    name: str
    url: str
    errors: dict[Outcome, int]
    explained: str


def gallery_image(
    worst: ImageErrors, path: Path, in_use: Outcomes, names: Sequence[str], link: str
) -> GalleryImage:
    """Read one image and draw its errors.

    Args:
        worst: number and errors of the image.
        path: file of the image.
        in_use: outcomes of the detections in use, of all images.
        names: class names.
        link: link to the page that explains it, or empty.
    """
    drawn = draw_marks(read_image(path), error_marks(in_use, worst.image, names), LONGEST)
    return GalleryImage(path.name, jpeg_url(drawn, QUALITY), worst.errors, link)


def error_marks(outcomes: Outcomes, image: int, names: Sequence[str]) -> list[Mark]:
    """Return boxes for one image: false detections, then objects without a right one, then right detections.

    Dashed boxes are missed objects, and objects whose detection is only nearly right. Where there is only one
    class its name is left out: images are crowded enough.
    """
    shown = names if len(names) > 1 else [""]
    mine = np.flatnonzero((outcomes.image == image) & ~outcomes.has(Outcome.IGNORED))
    right = outcomes.outcome[mine] == Outcome.RIGHT
    marks = []
    for d in mine[np.argsort(right, kind="stable")][:MOST_MARKS].tolist():
        outcome, label = Outcome(outcomes.outcome[d]), int(outcomes.labels[d])
        name = "" if outcome == Outcome.RIGHT else f"{SHORT[outcome]} {shown[label]}".strip()
        marks.append(Mark(outcomes.boxes[d], label, name, f" {outcomes.scores[d]:.2f}", COLOURS[outcome]))
    objects, missed = outcomes.objects, outcomes.missed()
    unfound = (objects.image == image) & objects.counts & ~outcomes.found()
    dashed = []
    for g in np.flatnonzero(unfound)[: MOST_MARKS - len(marks)].tolist():
        label = int(objects.labels[g])
        name = f"missed {shown[label]}".strip() if missed[g] else shown[label]
        colour = COLOURS[Outcome.MISSED if missed[g] else Outcome.RIGHT]
        dashed.append(Mark(objects.boxes[g], label, name, "", colour, dashed=True))
    false = min(int((~right).sum()), len(marks))
    return [*marks[:false], *dashed, *marks[false:]]
