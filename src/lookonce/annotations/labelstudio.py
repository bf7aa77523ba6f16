"""Read Label Studio's "JSON" and "JSON-MIN", and write "JSON": shapes in percent of the image's sides."""

import json
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lookonce._files import destination, write_text
from lookonce._texts import class_name, read_names, shown
from lookonce.annotations.data_path import DataPath, Recognized, file_per_split
from lookonce.annotations.files import json_keys, read_json
from lookonce.annotations.layout import distinct, gather, stems_of, write_names
from lookonce.annotations.records import Parsed, Record, Row, declared_size, hull
from lookonce.detections import SCORE_DIGITS
from lookonce.errors import AnnotationError
from lookonce.samples import Problem, Sample, SampleSet
from lookonce.suffixes import IMAGE_SUFFIXES

NAMES = "classes.txt"  # not part of the format; keeps the order of the classes
SHAPES = ("rectangle", "polygon", "ellipse", "brush")  # types of results whose class may be in another result
IMAGE_KEYS = ("image", "img", "picture", "photo")


def looks_like(file: Path) -> bool:
    """Return whether a JSON file is a list of tasks."""
    keys = json_keys(file)
    full = "data" in keys and bool(keys & {"annotations", "completions", "predictions"})
    return "[]" in keys and (
        full or "annotation_id" in keys or ("image" in keys and bool(keys & {"lead_time", "annotator"}))
    )


def recognize(data: DataPath) -> Recognized | None:
    """Recognize an export, or a folder with one export or one per split."""
    return file_per_split(data, "Label Studio", looks_like, ".json", _parse)


def _parse(files: Sequence[Path]) -> Parsed:
    records: list[Record] = []
    problems: list[Problem] = []
    for file in files:
        tasks = read_json(file)
        if not isinstance(tasks, list):
            raise AnnotationError(f"{file}: expected a list of tasks, found {shown(tasks)}")
        for i, task in enumerate(tasks):
            place = f"{file}: task {task.get('id', i) if isinstance(task, dict) else i}"
            data = task.get("data", task) if isinstance(task, dict) else {}
            # the image is usually under one of `IMAGE_KEYS`, but any key may hold it
            values = [data.get(key) for key in (*IMAGE_KEYS, *data)] if isinstance(data, dict) else []
            texts = [each for each in values if isinstance(each, str) and "." in each]
            parts = ((text, re.split("[?&#]", text.lower())) for text in texts)
            named = [text for text, each in parts if any(part.endswith(IMAGE_SUFFIXES) for part in each)]
            image = next(iter(named or texts), None)
            if image is None:
                problems.append(
                    Problem(place, f"expected a task with an image, found {shown(task)}", kind="row")
                )
                continue
            results, annotated = _results(task)
            labeled = {result.get("id") for result in results if isinstance(result, dict) and _labels(result)}
            rows = [
                row
                for k, result in enumerate(results, 1)
                if (row := _row(f"{place}: result {k}", result, labeled))
            ]
            sizes = (declared_size(each.get("original_height"), each.get("original_width"))
                     for each in results if isinstance(each, dict))  # fmt: skip
            declared = next(filter(None, sizes), None)
            note = "" if annotated else "not annotated: used as a background image"
            records.append(Record(place, image, rows, declared, relative=True, unlabeled=note))
    found = files[0].parent / NAMES
    names = read_names(found) if found.is_file() else ()
    return Parsed("labelstudio", records, files[0].parent, files[0], problems, names)


def _results(task: Mapping[str, Any]) -> tuple[list[Any], bool]:
    """Return the results of a task's last annotation that was not canceled, and whether there is one."""
    if "data" not in task:  # JSON-MIN has lists of shapes under the names of the controls
        lists = [value for value in task.values() if isinstance(value, list)]
        return [each for found in lists for each in found], True
    given = task.get("annotations", task.get("completions"))
    usable = [each for each in given or [] if isinstance(each, dict) and not each.get("was_cancelled")]
    results = usable[-1].get("result") if usable else []
    return (results if isinstance(results, list) else []), bool(usable)


def _labels(result: Mapping[str, Any]) -> list[str]:
    """Return the keys of a result that hold class names, such as `rectanglelabels`."""
    value = result.get("value", result)
    return [key for key in value if key.endswith("labels")] if isinstance(value, dict) else []


def _row(place: str, result: Any, labeled: set[Any]) -> Row | None:
    """Return the box of a result; None if it is not a shape or its class is in another result.

    If the labeling interface separates shapes and classes, an object has two results with the same id.
    """
    if not isinstance(result, dict):
        return Row(place, fault=f"expected a result, found {shown(result)}")
    value, kinds = result.get("value", result), _labels(result)
    if not isinstance(value, dict):
        return None
    if not kinds:
        is_shape = result.get("type") in SHAPES and result.get("id") not in labeled
        return (
            Row(place, fault=f"expected a class for the {result['type']}, found none", kind="class")
            if (is_shape)
            else None
        )
    if not {"x", "y", "points"} & set(value):
        return Row(
            place, fault=f"expected a rectangle, polygon or ellipse, found {shown(result.get('type'))}"
        )
    labels = value[kinds[0]]
    name = class_name(labels[0]) if isinstance(labels, list) and labels else ""
    if not name:
        return Row(place, fault="expected a class name, found an empty name", kind="class")
    try:
        if "points" in value:
            left, top, right, bottom = hull([(float(x), float(y)) for x, y in value["points"]])
            is_hull = True
        elif "radiusX" in value:
            x, y, across, down = (float(value[key]) for key in ("x", "y", "radiusX", "radiusY"))
            left, top, right, bottom, is_hull = x - across, y - down, x + across, y + down, True
        else:
            left, top, right, bottom, is_hull = _rectangle(value, result)
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return Row(place, fault=f"expected x, y, width, height in percent, found {shown(value)}")
    box = ((left + right) / 200, (top + bottom) / 200, (right - left) / 100, (bottom - top) / 100)
    return Row(place, box, name, polygon=is_hull)


def _rectangle(
    value: Mapping[str, Any], result: Mapping[str, Any]
) -> tuple[float, float, float, float, bool]:
    """Return the box of a rectangle, xyxy in percent, and whether the rectangle is rotated.

    Raises:
        ValueError: a rotated rectangle lacks the size of its image.
    """
    x, y, width, height = (float(value[key]) for key in ("x", "y", "width", "height"))
    angle = math.radians(float(value.get("rotation") or 0))
    if not angle:
        return x, y, x + width, y + height, False
    # Label Studio rotates a rectangle about its upper left corner, in pixels.
    wide = float(result.get("original_width", value.get("original_width", 1)))
    high = float(result.get("original_height", value.get("original_height", 1)))
    if not (wide > 0 and high > 0):
        raise ValueError("no size of the image")
    sine, cosine = math.sin(angle), math.cos(angle)
    corners = [(a * width * wide, b * height * high) for a in (0, 1) for b in (0, 1)]
    turned = [(x + (a * cosine - b * sine) / wide, y + (a * sine + b * cosine) / high) for a, b in corners]
    return *hull(turned), True


def write(out: Path, sets: Mapping[str, SampleSet]) -> Path:
    """Write `<split>.json` per split, `images`, a folder of links, `interface.xml` and `classes.txt`.

    The tasks name images by the paths under which Label Studio serves local files, relative to the folder
    that contains `out`. `interface.xml` is the labeling interface that the results refer to; `classes.txt`
    keeps the order of the classes.
    """
    names = next(iter(sets.values())).names
    write_names(out / NAMES, names)
    view = ET.Element("View")
    ET.SubElement(view, "Image", {"name": "image", "value": "$image"})
    labels = ET.SubElement(view, "RectangleLabels", {"name": "label", "toName": "image"})
    for name in names:
        ET.SubElement(labels, "Label", {"value": name})
    ET.indent(view)
    write_text(out / "interface.xml", ET.tostring(view, encoding="unicode") + "\n")
    named = distinct(sets)
    images = gather(named, out / "images")
    for split, samples in sets.items():
        tasks = []
        for i, stem in enumerate(stems_of(samples, named), 1):
            served = f"{destination(out).name}/images/{images[stem].name}"
            task = {"id": i, "data": {"image": f"/data/local-files/?d={quote(served)}"}}
            tasks.append(task | _results_of(i, named[stem], names))
        write_text(out / f"{split}.json", json.dumps(tasks, ensure_ascii=False, indent=1))
    return out


def _results_of(number: int, sample: Sample, names: Sequence[str]) -> dict[str, Any]:
    """Return the boxes as an annotation or, if they have scores, as a prediction to accept or correct."""
    height, width = sample.image_size
    results = []
    for i, (box, label) in enumerate(zip(sample.boxes.tolist(), sample.labels.tolist(), strict=True)):
        left, top, right, bottom = box
        value = {
            "x": 100 * left / width,
            "y": 100 * top / height,
            "width": 100 * (right - left) / width,
            "height": 100 * (bottom - top) / height,
            "rotation": 0,
            "rectanglelabels": [names[label]],
        }
        result = {
            "id": f"{number}-{i + 1}",
            "type": "rectanglelabels",
            "from_name": "label",
            "to_name": "image",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": value,
        }
        if sample.scores is not None:
            result["score"] = round(float(sample.scores[i]), SCORE_DIGITS)
        results.append(result)
    if sample.scores is None:
        return {"annotations": [{"result": results}]}
    lowest = float(sample.scores.min(initial=1))  # score by which the Data Manager sorts images
    prediction = {"model_version": "lookonce", "score": round(lowest, SCORE_DIGITS), "result": results}
    return {"predictions": [prediction]}
