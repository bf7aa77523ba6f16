"""Page of the error report."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lookonce._files import write_text
from lookonce.evaluate.breakdown import FEWEST, Bin
from lookonce.evaluate.error_report import ErrorReport
from lookonce.evaluate.errors import ERRORS, Outcome
from lookonce.evaluate.gallery import COLOURS, GalleryImage
from lookonce.pages.render import render

NOUNS = {
    Outcome.CLASSIFICATION: "wrong classes",
    Outcome.LOCALISATION: "loose boxes",
    Outcome.BOTH: "wrong classes in loose boxes",
    Outcome.DUPLICATE: "duplicates",
    Outcome.BACKGROUND: "background detections",
    Outcome.MISSED: "missed objects",
}
MEANINGS = {
    Outcome.CLASSIFICATION: "on an object of another class: IoU 0.5 or more",
    Outcome.LOCALISATION: "the right class, but a loose box: IoU 0.1 to 0.5",
    Outcome.BOTH: "another class, and a loose box: IoU 0.1 to 0.5",
    Outcome.DUPLICATE: "another detection of an object that has a better one",
    Outcome.BACKGROUND: "on no annotated object: IoU below 0.1",
    Outcome.MISSED: "an object without any detection, even one of another class or with a loose box",
}
ADVICE = {
    Outcome.CLASSIFICATION: "See confusion.png for the classes that are confused. Add images of both, look "
    "for objects annotated with the wrong class, or merge the classes if the difference does not matter.",
    Outcome.LOCALISATION: "Check whether the annotated boxes are tight and consistent. Fit the anchors "
    "to the data (lookonce data anchors), train longer, or use a larger input size.",
    Outcome.BOTH: "Mostly crowds and truncated objects. The advice for classification and localisation "
    "errors applies.",
    Outcome.DUPLICATE: "Lower --iou of lookonce detect, so that fewer overlapping detections stay. If it is "
    "too low, neighbouring objects are lost as well: watch missed.",
    Outcome.BACKGROUND: "Check the images below first: often the object exists, but its annotation is "
    "missing. Otherwise add background images of what is mistaken for objects, or raise --conf.",
    Outcome.MISSED: "See by size and by crowding which objects these are. Small ones need a larger input "
    "size, rare ones more images, crowded ones a higher --iou. Or lower --conf, if misses are worse than "
    "false alarms.",
}


def write_error_page(
    path: Path, report: ErrorReport, gallery: Sequence[GalleryImage], note: str, about: dict[str, Any]
) -> None:
    """Write one HTML file, whole or not at all.

    Args:
        path: HTML file.
        report: error report.
        gallery: worst images, drawn, the worst first.
        note: remark on the explanations.
        about: `model`, `data` and `split`.
    """
    costs = [cost for each in report.types.values() for cost in (each.cost, each.cost_in_use)]
    page = render(
        "errors.html",
        about=about,
        report=report,
        headline=headline(report),
        types=[
            {
                "name": error.text,
                "colour": _css(error),
                "meaning": MEANINGS[error],
                "advice": ADVICE[error],
                "numbers": report.types[error],
            }
            for error in ERRORS
        ],
        largest=max((cost for cost in costs if cost > 0), default=1.0),  # the longest bar
        names=[(error.text, _css(error)) for error in (Outcome.RIGHT, *ERRORS)],
        breakdowns=_breakdowns(report),
        fewest=FEWEST,
        gallery=[
            {
                "name": image.name,
                "url": image.url,
                "explained": image.explained,
                "errors": [(error.text, _css(error), count) for error, count in image.errors.items()],
                "text": ", ".join(f"{count} {error.text}" for error, count in image.errors.items()),
            }
            for image in gallery
        ],
        shown=sum(sum(image.errors.values()) for image in gallery),
        total=sum(kind.in_use for kind in report.types.values()),
        note=note,
    )
    write_text(path, page)


def headline(report: ErrorReport) -> str:
    """Sum up the report in two sentences: the most frequent and the most costly type of error."""
    if math.isnan(report.ap50):
        return "There are no objects, so there is no AP."
    frequent = max(report.types, key=lambda error: report.types[error].in_use)
    costly = max(report.types, key=lambda error: report.types[error].cost)
    total = sum(each.in_use for each in report.types.values())
    count, cost = report.types[frequent].in_use, report.types[costly].cost
    first = f"No errors at threshold {report.threshold:.3f}."
    if total:
        first = f"{count} of {total} errors at threshold {report.threshold:.3f} are {NOUNS[frequent]}."
    if cost <= 0:
        return f"{first} No type of error costs any AP50."
    return (
        f"{first} Over all detections, {NOUNS[costly]} cost most: with these alone repaired, AP50 would be "
        f"{report.ap50 + cost:.3f} instead of {report.ap50:.3f}."
    )


def _breakdowns(report: ErrorReport) -> list[dict[str, Any]]:
    """A table for each property: heading, what it is, and its bins with their names."""
    parts = report.breakdown
    coco = zip(("small", "medium", "large"), parts.coco_size, strict=True)
    return [
        {
            "heading": "By size, COCO's classes",
            "what": "small: area below 32² pixels of the image; large: from 96²",
            "bins": [(name, each) for name, each in coco],
        },
        {
            "heading": "By size, in equal shares",
            "what": "side of the square with the box's area, in pixels of the image",
            "bins": [(_range(each, 0), each) for each in parts.size],
        },
        {
            "heading": "By shape",
            "what": "width over height: below 1 is upright, above 1 is wide",
            "bins": [(_range(each, 2), each) for each in parts.shape],
        },
        {
            "heading": "By crowding",
            "what": "other objects that overlap the box, enlarged to twice its width and height",
            "bins": [(_range(each, 0), each) for each in parts.crowding],
        },
    ]


def _range(each: Bin, digits: int) -> str:
    if math.isnan(each.low):
        return "none"
    low, high = f"{each.low:.{digits}f}", f"{each.high:.{digits}f}"
    return low if low == high else f"{low} to {high}"


def _css(error: Outcome) -> str:
    return f"rgb{COLOURS[error]}"
