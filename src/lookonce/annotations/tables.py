"""CSV with one row per box: OpenImages, the form of TensorFlow's object detection tutorial, and RetinaNet's.

ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,...     in fractions of the sides
filename,width,height,class,xmin,ymin,xmax,ymax                            in pixels, and by other names
img/a.jpg,10,20,50,60,cat                                                  RetinaNet's, without a header
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lookonce._files import open_input
from lookonce.annotations.data_path import DataPath, Recognized, file_per_split
from lookonce.annotations.files import class_name, read_text, shown
from lookonce.annotations.records import Parsed, Record, Row, declared_size
from lookonce.errors import AnnotationError
from lookonce.images import IMAGE_SUFFIXES

OPENIMAGES = frozenset({"imageid", "labelname", "xmin", "xmax", "ymin", "ymax"})
TENSORFLOW = frozenset({"filename", "class", "xmin", "xmax", "ymin", "ymax"})
RETINANET = ("filename", "xmin", "ymin", "xmax", "ymax", "class")
NAMED = {  # other names of TensorFlow's columns
    "filename": ("file", "file_name", "image", "image_name", "image_path", "imagepath", "img", "path"),
    "class": ("category", "class_name", "classname", "label", "label_name", "name"),
    "xmin": ("left", "x_min", "x1"),
    "ymin": ("top", "y_min", "y1"),
    "xmax": ("right", "x_max", "x2"),
    "ymax": ("bottom", "y_max", "y2"),
}
NUMBER = re.compile(r"-?\d+(\.\d*)?")
PREDICTED = frozenset(
    {"score", "confidence", "probability"}
)  # columns of detections, which are no annotations


def recognize(data: DataPath) -> Recognized | None:
    """Recognize a CSV by its header, or a folder with one per split."""
    found = file_per_split(data, "OpenImages CSV", lambda file: _form(file) == "openimages", ".csv", _parse)
    return found or file_per_split(data, "TensorFlow CSV", _form, ".csv", _parse)


def _form(file: Path) -> str:
    """Return the name of a CSV's format; empty for none."""
    try:
        with open_input(file, AnnotationError) as stream:
            start = stream.readline(4096).decode("utf-8-sig", "ignore")
    except (OSError, AnnotationError):
        return ""
    header = _header(start)
    if header == list(RETINANET):
        return "retinanet"
    if frozenset(header) >= OPENIMAGES:
        return "openimages"
    return "tensorflow" if frozenset(header) >= TENSORFLOW and not PREDICTED & frozenset(header) else ""


def _delimiter(line: str) -> str:
    return max(",;\t", key=line.count)


def _header(line: str) -> list[str]:
    """Return the names of the columns: OpenImages' or TensorFlow's if they mean the same."""
    words = [word.strip().strip('"').strip() for word in line.split(_delimiter(line))]
    sides = words[1:5]
    if (
        len(words) == len(RETINANET)
        and words[0].lower().endswith(IMAGE_SUFFIXES)
        and (not any(sides) or all(map(NUMBER.fullmatch, sides)))
    ):
        return list(RETINANET)
    words = [word.lower() for word in words]
    for usual, others in NAMED.items():
        if usual not in words and (other := next((each for each in others if each in words), None)):
            words[words.index(other)] = usual
    return words


def _parse(files: Sequence[Path]) -> Parsed:
    records: list[Record] = []
    described: dict[str, str] = {}
    for file in files:
        # the file of descriptions beside: class code -> name, such as `/m/0k4j,Car`
        for beside in [*sorted(file.parent.glob("*class-descriptions*.csv")),
                       *sorted(file.parent.parent.glob("*/*class-descriptions*.csv"))]:  # fmt: skip
            for pair in csv.reader(read_text(beside).splitlines()):
                if len(pair) == 2 and pair[0].startswith("/"):
                    described.setdefault(pair[0], pair[1])
        relative = _form(file) == "openimages"
        images: dict[str, list[Row]] = {}
        declared: dict[str, tuple[int, int] | None] = {}
        places: dict[str, str] = {}
        for line, row in _rows(file):
            place, name = f"{file}:{line}", row.get("imageid" if relative else "filename", "")
            if not name:
                raise AnnotationError(f"{place}: expected an image's name, found none")
            images.setdefault(name, [])
            declared.setdefault(name, declared_size(row.get("height"), row.get("width")))
            places.setdefault(name, place)
            if any(row.get(side) for side in ("xmin", "xmax", "ymin", "ymax")):
                images[name].append(_row(place, row, described, relative=relative))
        records += [
            Record(places[name], name, rows, declared[name], relative=relative)
            for name, rows in images.items()
        ]
    return Parsed(_form(files[0]), records, files[0].parent, files[0])


def _rows(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield line number and values by column."""
    lines = read_text(file).splitlines()
    columns = _header(lines[0]) if lines else []
    has_header = columns != list(RETINANET)
    try:
        table = csv.DictReader(
            lines[has_header:], fieldnames=columns, delimiter=_delimiter("".join(lines[:1]))
        )
        for row in table:
            yield (
                table.line_num + has_header,
                {key: value.strip() for key, value in row.items() if key and isinstance(value, str)},
            )
    except csv.Error as error:
        raise AnnotationError(f"{file}: not CSV: {error}") from error


def _row(place: str, row: Mapping[str, str], described: Mapping[str, str], *, relative: bool) -> Row:
    label = row.get("labelname" if relative else "class", "")
    name = class_name(described.get(label, label))
    if not name:
        return Row(place, fault="expected a class name, found an empty name", kind="class")
    try:
        left, top, right, bottom = (float(row[side]) for side in ("xmin", "ymin", "xmax", "ymax"))
    except (KeyError, ValueError):
        return Row(place, fault=f"expected xmin, ymin, xmax, ymax as numbers, found {shown(dict(row))}")
    box = (left, top, right, bottom)
    if relative:
        box = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
    return Row(place, box, name, crowd=row.get("isgroupof") == "1")
