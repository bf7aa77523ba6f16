"""Write the first sentence of the report: recall, precision, counting error, and the most helpful advice."""

from typing import Any

from lookonce._counted import counted
from lookonce.evaluate.errors import Outcome

SOUND = 0.95  # AP50 from which a class needs no advice
# Beginnings of "... would help most", by the costliest type of error of the weakest class.
HELP = {
    Outcome.CLASSIFICATION: "more images of {name} and of what it is mistaken for",
    Outcome.LOCALIZATION: "tighter boxes around {name}",
    Outcome.BOTH: "more images of crowded {name}",
    Outcome.DUPLICATE: "a lower --iou in detection, for {name}",
    Outcome.BACKGROUND: "images of what is mistaken for {name}, without objects",
    Outcome.MISSED: "more images of {name}, or a larger --size",
}


def summary(figures: dict[str, Any]) -> dict[str, Any]:
    """Return the first sentence of the report as `text`, and its numbers.

    Args:
        figures: `about`, `errors` and `metrics` of the report.
    """
    errors, counts = figures["errors"], figures["metrics"]["counting"]
    # thresholds chosen on these images make the counts agree with the annotations, so the text mentions it
    chosen_here = counts["thresholds_from"] == "model" and bool(figures["about"].get("validated_on"))
    objects = errors["objects"]
    found = objects - errors["false_negatives"]["in_use"]
    boxes = found + errors["false_positives"]["in_use"]
    numbers = {
        "images": errors["images"],
        "objects": objects,
        "found": found,
        "detections": boxes,
        "thresholds": errors["thresholds_in_use"],
        "count_error": counts["relative"],
        "count_error_per_image": counts["mae"],
        "weakest_class": None,
    }
    if not numbers["objects"]:
        text = f"{counted(numbers['images'], 'image')}, no annotated object: nothing can be measured."
        return {**numbers, "text": text}
    if not numbers["found"]:
        none = "Misses the only object" if objects == 1 else f"Finds none of the {objects} objects"
        text = f"{none}: train longer, or check the data."
        return {**numbers, "text": text}
    weakest, advice = _advice(errors)
    percent = abs(round(100 * counts["relative"]))  # of the total, in which errors cancel
    direction = "high" if counts["relative"] > 0 else "low"
    at = ", at thresholds chosen on these images," if chosen_here else ""
    in_all = f"counts{at} are {percent}% {direction}" if percent else f"counts{at} are correct"
    lowest, highest = (f"{pick(numbers['thresholds']):.2f}" for pick in (min, max))
    parts = [
        f"Finds {_in_a_hundred(found, objects)} object{'' if objects == 1 else 's'}",
        f"{_in_a_hundred(found, boxes)} {'box is' if boxes == 1 else 'boxes are'} correct",
        f"{in_all} overall and off by {counts['mae']:.1f} per image",
        f"use threshold {lowest}"
        if lowest == highest
        else f"use a threshold per class, {lowest} to {highest}",
        advice,
    ]
    return {**numbers, "weakest_class": weakest, "text": "; ".join(parts) + "."}


def _in_a_hundred(part: int, whole: int) -> str:
    """Write a share as "76 of 100", or with the numbers themselves if the whole is at most 100."""
    return f"{part} of {whole}" if whole <= 100 else f"{100 * part / whole:.0f} of 100"


def _advice(errors: dict[str, Any]) -> tuple[str | None, str]:
    """Return the weakest class, or None, and advice: more images if it is rare, else by its costliest error.

    The weakest class has the lowest AP50 and, among equals, the fewest objects. It is rare if it has fewer
    objects than the average class.
    """
    classes = [each for each in errors["classes"] if each["objects"]]
    weakest = min(classes, key=lambda each: (each["ap50"], each["objects"]))
    name = f"class {weakest['name']}" if len(classes) > 1 else "the objects"
    if weakest["ap50"] >= SOUND:
        return None, "no class stands out as weak"
    if weakest["objects"] * len(classes) < sum(each["objects"] for each in classes):
        return weakest["name"], f"more images of {name} would help most"
    costs = {error: weakest["types"][error.text]["cost"] or 0.0 for error in HELP}
    costliest = max(HELP, key=lambda error: costs[error])
    return weakest["name"], f"{HELP[costliest].format(name=name)} would help most"
