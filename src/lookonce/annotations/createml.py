"""Read Apple's CreateML format: one JSON file for all images, with centers and sizes of boxes in pixels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lookonce._texts import class_name, shown
from lookonce.annotations.data_path import DataPath, Recognized, file_per_split
from lookonce.annotations.files import json_keys, read_json
from lookonce.annotations.records import Parsed, Record, Row
from lookonce.errors import AnnotationError
from lookonce.samples import Problem

LIST_KEYS = ("annotations", "annotation")  # the second is that of older exports
IMAGE_KEYS = ("image", "imagefilename", "filename")


def looks_like(file: Path) -> bool:
    """Return whether a JSON file is a list of images with annotations."""
    keys = json_keys(file)
    return (
        "[]" in keys and bool(keys & set(LIST_KEYS)) and "data" not in keys and bool(keys & set(IMAGE_KEYS))
    )


def recognize(data: DataPath) -> Recognized | None:
    """Recognize a CreateML JSON file, or a folder with one file or one per split."""
    return file_per_split(data, "CreateML", looks_like, ".json", _parse)


def _parse(files: Sequence[Path]) -> Parsed:
    records: list[Record] = []
    problems: list[Problem] = []
    for file in files:
        entries = read_json(file)
        if not isinstance(entries, list):
            raise AnnotationError(f"{file}: expected a list of images, found {shown(entries)}")
        for i, entry in enumerate(entries):
            name = (
                next((entry[key] for key in IMAGE_KEYS if key in entry), None)
                if isinstance(entry, dict)
                else None
            )
            given = (
                next((entry[key] for key in LIST_KEYS if key in entry), None)
                if isinstance(entry, dict)
                else None
            )
            if not isinstance(name, str) or not name or not isinstance(given, list):
                what = f"expected an image with annotations, found {shown(entry)}"
                problems.append(Problem(f"{file}: [{i}]", what, kind="row"))
                continue
            rows = [_row(f"{file}: [{i}]: annotation {k}", each) for k, each in enumerate(given, 1)]
            records.append(Record(f"{file}: [{i}]", name, rows))
    return Parsed("createml", records, files[0].parent, files[0], problems)


def _row(place: str, entry: Any) -> Row:
    label = entry.get("label", entry.get("class")) if isinstance(entry, dict) else None
    name = class_name(label)
    if not name:
        return Row(place, fault=f"expected a class name, found an empty name in {shown(entry)}", kind="class")
    try:
        x, y, width, height = (float(entry["coordinates"][key]) for key in ("x", "y", "width", "height"))
    except (KeyError, TypeError, ValueError, OverflowError):
        return Row(place, fault=f"expected coordinates x, y, width, height, found {shown(entry)}")
    return Row(place, (x - width / 2, y - height / 2, x + width / 2, y + height / 2), name)
