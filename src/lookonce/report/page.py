"""Write the page of the report: `report.html` shows the numbers in `report.json`, and images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from lookonce.doctor.kinds import SEVERITIES
from lookonce.evaluate.breakdown import FEWEST
from lookonce.evaluate.errors import ERRORS, Outcome
from lookonce.pages.glossary import GlossaryTerms
from lookonce.pages.render import render
from lookonce.report.charts import HEIGHT, WIDTH, count_scatter, curve_chart, epoch_chart
from lookonce.report.gallery import COLORS, GalleryImage

MATRIX = 20  # classes; a larger confusion matrix is shown as a list of the most frequent confusions
CONFUSIONS = 20
LOSSES = {"total_loss": "sum", "giou_loss": "boxes", "conf_loss": "objectness", "prob_loss": "classes"}
MEANINGS = {
    Outcome.CORRECT: "the correct class, and IoU 0.5 or more",
    Outcome.CLASSIFICATION: "on an object of another class: IoU 0.5 or more",
    Outcome.LOCALIZATION: "the correct class, but a loose box: IoU 0.1 to 0.5",
    Outcome.BOTH: "another class, and a loose box: IoU 0.1 to 0.5",
    Outcome.DUPLICATE: "another detection of an object that has a better one",
    Outcome.BACKGROUND: "on no annotated object: IoU below 0.1",
    Outcome.MISSED: "an object without any detection, even one of another class or with a loose box",
}
ADVICE = {
    Outcome.CLASSIFICATION: "See the confusion matrix for the classes that are confused. Add images of both, "
    "look for objects annotated with the wrong class, or merge the classes if the difference does not "
    "matter.",
    Outcome.LOCALIZATION: "Check whether the annotated boxes are tight and consistent. Fit the anchors "
    "to the data (lookonce data anchors), train longer, or use a larger input size.",
    Outcome.BOTH: "Mostly crowds and truncated objects. The advice for classification and localization "
    "errors applies.",
    Outcome.DUPLICATE: "Lower --iou of lookonce detect, so that fewer overlapping detections stay. If it is "
    "too low, neighboring objects are lost as well: watch missed.",
    Outcome.BACKGROUND: "Check the images below first: often the object exists, but its annotation is "
    "missing. Otherwise add background images of what is mistaken for objects, or raise --conf.",
    Outcome.MISSED: "See by size and by crowding which objects these are. Small ones need a larger input "
    "size, rare ones more images, crowded ones a higher --iou. Or lower --conf, if a missed object is worse "
    "than a false detection.",
}
BREAKDOWNS = {
    "coco_size": ("By size, COCO's classes", "small: area below 32² pixels of the image; large: from 96²", 0),
    "size": ("By size, in equal shares", "side of the square with the box's area, in pixels of the image", 0),
    "shape": ("By shape", "width over height: below 1 is upright, above 1 is wide", 2),
    "crowding": (
        "By crowding",
        "other objects that overlap the box, enlarged to twice its width and height",
        0,
    ),
}


@dataclass(frozen=True, slots=True)
class Numbers:
    """Formats numbers as HTML, with their place in `report.json` as a JSON pointer.

    Attributes:
        figures: all numbers, as in `report.json`.
    """

    figures: dict[str, Any]

    def at(self, pointer: str) -> Any:
        """Return the value at a JSON pointer, such as `/errors/classes/0/ap50`."""
        value: Any = self.figures
        for key in pointer.removeprefix("/").split("/"):
            value = value[int(key)] if isinstance(value, list) else value[key]
        return value

    def __call__(self, pointer: str, digits: int = 3, percent: bool = False) -> Markup:
        """Return a number as HTML, or "–" if it could not be measured.

        Args:
            pointer: place of the number, such as `/errors/classes/0/ap50`.
            digits: digits after the decimal point, for a number that is not an integer.
            percent: whether to write a number that is not an integer in percent.
        """
        value = self.at(pointer)
        if value is None:
            text = "–"
        elif isinstance(value, int):
            text = str(value)
        else:
            text = f"{100 * value:.{digits}f}%" if percent else f"{value:.{digits}f}"
        return Markup('<data value="{}" data-json="{}">{}</data>').format(value, pointer, text)


def report_page(
    figures: dict[str, Any], worst: Sequence[GalleryImage], best: Sequence[GalleryImage], note: str
) -> str:
    """Return the page as HTML.

    Args:
        figures: result of `report.figures.figures`.
        worst: images with the most errors, the worst first.
        best: images with the fewest errors.
        note: remark about the explanations of the worst images; may be empty.
    """
    errors, curves = figures["errors"], figures["curves"]
    costs = [each[name] or 0 for each in errors["types"].values() for name in ("cost", "cost_in_use")]
    dots, axes = count_scatter(figures["metrics"]["counts"])
    epochs = (figures["training"] or {}).get("epochs", [])
    confusions = [  # row, column and count, with background last in both
        (row, column, count)
        for row, counts in enumerate(figures["metrics"]["confusion"]["counts"])
        for column, count in enumerate(counts)
        if row != column and count
    ]
    return render(
        "report.html",
        **figures,
        n=Numbers(figures),
        term=GlossaryTerms(),
        types=[(each.text, f"rgb{COLORS[each]}", MEANINGS[each], ADVICE[each]) for each in ERRORS],
        outcomes=[(each.text, f"rgb{COLORS[each]}", MEANINGS[each]) for each in (Outcome.CORRECT, *ERRORS)],
        colors={each.text: f"rgb{COLORS[each]}" for each in ERRORS},
        largest=max((cost for cost in costs if cost > 0), default=1.0),  # the longest bar
        width=WIDTH,
        height=HEIGHT,
        dots=dots,
        scatter=axes,
        precision=curve_chart(
            curves, "precision", [each["voc_ap50"] for each in figures["metrics"]["classes"]]
        ),
        f1=curve_chart(curves, "f1", [each["best_f1"]["f1"] for each in errors["classes"]]),
        losses=epoch_chart(epochs, LOSSES, None) if epochs else None,
        accuracy=epoch_chart(epochs, {"ap50": "AP50", "ap": "AP"}, 1.0) if epochs else None,
        confusions=sorted(confusions, key=lambda cell: -cell[2])[:CONFUSIONS],
        matrix=MATRIX,
        breakdowns=BREAKDOWNS,
        coco_sizes=("small", "medium", "large"),
        fewest=FEWEST,
        galleries=(("The worst images", worst), ("The best images", best)),
        note=note,
        severities=SEVERITIES,
    )
