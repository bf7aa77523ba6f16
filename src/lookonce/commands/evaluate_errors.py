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
from lookonce.errors import LookonceError
from lookonce.evaluate.error_page import write_error_page
from lookonce.evaluate.error_report import error_report, write_errors_json
from lookonce.evaluate.gallery import gallery_image
from lookonce.evaluate.report import Evaluation
from lookonce.samples import Sample


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
        found: detections, with the same class numbers.
        evaluation: measures of both.
        about: model, data and options; goes into the report.
        explaining: how to explain the worst images.
        console: output.
    """
    report = error_report(truth, found, evaluation)
    write_errors_json(out / "errors.json", report, [str(sample.path) for sample in truth], about)
    worst = [truth[each.image] for each in report.worst[: explaining.most]]
    links, note = _explain(out, worst, evaluation.names, report.threshold, explaining, console)
    no_links = [""] * (len(report.worst) - len(links))
    gallery = [
        gallery_image(each, truth[each.image].path, report.in_use, evaluation.names, link)
        for each, link in zip(report.worst, [*links, *no_links], strict=True)
    ]
    write_error_page(out / "errors.html", report, gallery, note, about)


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
