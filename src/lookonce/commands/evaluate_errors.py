"""The error report of `lookonce evaluate`: its numbers, its page, its images and their explanations.

DIR/
    errors.json      the numbers
    errors.html      the page, with the worst images in it
    explained/       a page for each of the very worst, opened from there
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from lookonce.commands.report import say
from lookonce.detections import Detections
from lookonce.draw.marks import Mark, draw_marks
from lookonce.errors import LookonceError
from lookonce.evaluate.error_page import COLOURS, GalleryImage, write_error_page
from lookonce.evaluate.error_report import error_report, write_errors_json
from lookonce.evaluate.errors import Outcome, Outcomes
from lookonce.evaluate.report import Evaluation
from lookonce.evaluate.worst import ImageErrors
from lookonce.images import read_image
from lookonce.pages.render import jpeg_url
from lookonce.samples import Sample

LONGEST = 800  # pixels of an image in the gallery
QUALITY = 80
SHORT = {
    Outcome.CLASSIFICATION: "class",
    Outcome.LOCALISATION: "box",
    Outcome.BOTH: "both",
    Outcome.DUPLICATE: "dupl.",
    Outcome.BACKGROUND: "backgr.",
}


@dataclass(frozen=True, slots=True)
class Explaining:
    """How to explain an image as it was detected on.

    Attributes:
        model: the model file.
        names: its classes.
        size: (height, width) of its input.
        iou: of suppression.
        most: so many images.
    """

    model: Path
    names: tuple[str, ...]
    size: tuple[int, int]
    iou: float
    most: int


def write_errors(
    out: Path,
    truth: Sequence[Sample],
    found: Sequence[Detections],
    evaluation: Evaluation,
    about: dict[str, Any],
    explaining: Explaining,
    console: Console,
) -> None:
    """Look into the errors and write DIR/errors.json, DIR/errors.html and DIR/explained/.

    Args:
        out: the folder.
        truth: the images, with the class numbers of the evaluation.
        found: in them, likewise.
        evaluation: of both.
        about: what was measured.
        explaining: how to explain the worst images.
        console: hears of them.
    """
    report = error_report(truth, found, evaluation)
    write_errors_json(out / "errors.json", report, [str(sample.path) for sample in truth], about)
    worst = [truth[each.image] for each in report.worst[: explaining.most]]
    links, note = _explain(out, worst, evaluation.names, report.threshold, explaining, console)
    no_links = [""] * (len(report.worst) - len(links))
    gallery = [
        _gallery_image(each, truth[each.image].path, report.in_use, evaluation.names, link)
        for each, link in zip(report.worst, [*links, *no_links], strict=True)
    ]
    write_error_page(out / "errors.html", report, gallery, note, about)


def _gallery_image(
    worst: ImageErrors, path: Path, in_use: Outcomes, names: Sequence[str], link: str
) -> GalleryImage:
    """Read and draw one image."""
    drawn = draw_marks(read_image(path), error_marks(in_use, worst.image, names), LONGEST)
    return GalleryImage(path.name, jpeg_url(drawn, QUALITY), worst.errors, link)


def error_marks(outcomes: Outcomes, image: int, names: Sequence[str]) -> list[Mark]:
    """Boxes for one image: errors first, then missed objects, objects half fitted, and what is right.

    Where there is only one class its name is left out: images are crowded enough.
    """
    shown = names if len(names) > 1 else [""]
    mine = np.flatnonzero((outcomes.image == image) & ~outcomes.has(Outcome.IGNORED))
    by_error = sorted(mine, key=lambda d: outcomes.outcome[d] == Outcome.RIGHT)
    detections = [_detection_mark(outcomes, int(d), shown) for d in by_error]
    false = [
        mark for mark, d in zip(detections, by_error, strict=True) if outcomes.outcome[d] != Outcome.RIGHT
    ]
    return [*false, *_object_marks(outcomes, image, shown), *detections[len(false) :]]


def _detection_mark(outcomes: Outcomes, d: int, names: Sequence[str]) -> Mark:
    outcome, label = Outcome(outcomes.outcome[d]), int(outcomes.labels[d])
    name = "" if outcome == Outcome.RIGHT else f"{SHORT[outcome]} {names[label]}".strip()
    return Mark(outcomes.boxes[d], label, name, f" {outcomes.scores[d]:.2f}", COLOURS[outcome])


def _object_marks(outcomes: Outcomes, image: int, names: Sequence[str]) -> list[Mark]:
    """Dashed: objects that were missed, and those whose detection is only nearly right."""
    objects = outcomes.objects
    missed, unfound = outcomes.missed(), objects.counts & ~outcomes.found()
    marks = []
    for g in np.flatnonzero((objects.image == image) & unfound):
        label = int(objects.labels[g])
        outcome = Outcome.MISSED if missed[g] else Outcome.RIGHT
        name = f"missed {names[label]}".strip() if missed[g] else names[label]
        marks.append(Mark(objects.boxes[g], label, name, "", COLOURS[outcome], dashed=True))
    return marks


def _explain(
    out: Path,
    samples: Sequence[Sample],
    names: Sequence[str],
    confidence: float,
    explaining: Explaining,
    console: Console,
) -> tuple[list[str], str]:
    """Write a page for each image: the links to them, and what the report says about them.

    A model whose layers cannot be had is no reason to fail: the report is there without explanations.
    """
    if not samples:
        return [], ""
    from lookonce.explain.explainer import Explainer
    from lookonce.explain.page import write_page

    number = np.array([explaining.names.index(name) for name in names])  # the model's, of each class
    links = []
    try:
        explainer = Explainer.open(
            explaining.model, size=explaining.size, conf=confidence, iou=explaining.iou
        )
        say(f"explaining the worst images: {len(samples)}", console)
        for i, sample in enumerate(samples, start=1):
            link = f"explained/{i:02}.html"
            own = replace(sample, labels=number[sample.labels])
            write_page(explainer(sample.path, own, features=True), out / link)
            links.append(link)
    except LookonceError as error:
        say(f"not explained: {error}", console)
        return links, f"Not explained: {error}. A .safetensors, a .cfg or a float .onnx can be."
    return links, (
        "Those with a link open a page that says at which stage of the model each object was lost, on the "
        "letterboxed image and with plain suppression."
    )
