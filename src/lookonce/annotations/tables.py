"""Read CSV files with one row per box, in the format of OpenImages, TensorFlow's tutorial or RetinaNet.

ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,...    OpenImages, in fractions of the sides
filename,width,height,class,xmin,ymin,xmax,ymax                TensorFlow, in pixels; other names are known
img/a.jpg,10,20,50,60,cat                                      RetinaNet, in pixels, without a header
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import islice
from pathlib import Path

from lookonce._texts import class_name, read_start, read_text, shown
from lookonce.annotations.data_path import DataPath, Recognized, file_per_split
from lookonce.annotations.records import Parsed, Record, Row, declared_size
from lookonce.errors import AnnotationError
from lookonce.samples import Problem
from lookonce.suffixes import IMAGE_SUFFIXES

OPENIMAGES = frozenset({"imageid", "labelname", "xmin", "xmax", "ymin", "ymax"})
TENSORFLOW = frozenset({"filename", "class", "xmin", "xmax", "ymin", "ymax"})
RETINANET = ("filename", "xmin", "ymin", "xmax", "ymax", "class")
SPLIT = ("split", "subset", "set", "usage")  # columns that may name the split of an image
NAMED = {  # other names of TensorFlow's columns
    "filename": (
        "file",
        "file_name",
        "image",
        "image_name",
        "image_path",
        "imagepath",
        "img",
        "path",
        "image_id",
        "frame",
    ),
    "class": ("category", "class_name", "classname", "label", "label_name", "name", "class_id"),
    "xmin": ("left", "x_min", "x1"),
    "ymin": ("top", "y_min", "y1"),
    "xmax": ("right", "x_max", "x2"),
    "ymax": ("bottom", "y_max", "y2"),
}
EXCEL = re.compile(r'"?sep=."?\r?\n', re.IGNORECASE)  # first line with the delimiter, for Excel
NUMBER = re.compile(r"-?\d+(\.\d*)?")
PREDICTED = frozenset(
    {"score", "confidence", "probability"}
)  # columns that mark detections, which are not annotations


@dataclass(frozen=True)
class Sheet:
    """Layout of a CSV, determined from its first line.

    Attributes:
        form: name of the format; empty if it is none of the three.
        columns: names of the columns, with known synonyms replaced.
        delimiter: comma, semicolon or tab.
        headed: whether there is a header.
        leading: number of lines before the header or the first row: 1 if one names the delimiter, else 0.
    """

    form: str
    columns: list[str]
    delimiter: str
    headed: bool
    leading: int

    @classmethod
    def of(cls, text: str) -> "Sheet":
        """Determine the layout of a CSV from the text at its start."""
        leading = 1 if EXCEL.match(text) else 0
        line = "".join(text.split("\n", leading + 1)[leading : leading + 1])
        delimiter = max(",;\t", key=line.count)
        try:
            words = [
                word.strip()
                for word in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
            ]
        except csv.Error:
            words = []
        sides = words[1:5]
        if (
            len(words) == len(RETINANET)
            and words[0].lower().endswith(IMAGE_SUFFIXES)
            and (not any(sides) or all(map(NUMBER.fullmatch, sides)))
        ):
            return cls("retinanet", list(RETINANET), delimiter, headed=False, leading=leading)
        columns = [word.lower() for word in words]
        for usual, others in NAMED.items():
            if usual not in columns and (other := next((each for each in others if each in columns), None)):
                columns[columns.index(other)] = usual
        form = ""
        if OPENIMAGES.issubset(columns):
            form = "openimages"
        elif TENSORFLOW.issubset(columns) and PREDICTED.isdisjoint(columns):
            form = "tensorflow"
        return cls(form, columns, delimiter, headed=True, leading=leading)

    def rows(self, text: str) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield the line number of each row and its values by column."""
        lines = StringIO(text, newline="")
        for _ in range(self.leading):
            next(lines)
        table = csv.DictReader(lines, self.columns, delimiter=self.delimiter, skipinitialspace=True)
        for row in islice(table, int(self.headed), None):
            yield (
                table.line_num + self.leading,
                {key: value.strip() for key, value in row.items() if key and isinstance(value, str)},
            )


def recognize(data: DataPath) -> Recognized | None:
    """Recognize a CSV by its first line, or a folder with one CSV per split."""
    found = file_per_split(data, "OpenImages CSV", lambda file: _form(file) == "openimages", ".csv", _parse)
    return found or file_per_split(data, "TensorFlow CSV", _form, ".csv", _parse)


def _form(file: Path) -> str:
    """Return the name of a CSV's format; empty if it is none of the three."""
    return Sheet.of(read_start(file, 4096)).form


def _parse(files: Sequence[Path]) -> Parsed:
    records: list[Record] = []
    problems: list[Problem] = []
    form, codes = "", _descriptions(files)
    for file in files:
        text = read_text(file)
        sheet = Sheet.of(text)
        if column := next((name for name in SPLIT if name in sheet.columns), None):
            what = f"the column {column!r} is not used: make a file for each of its values to have splits"
            problems.append(Problem(str(file), what, "noted", kind="setting"))
        form, relative = form or sheet.form, sheet.form == "openimages"
        images: dict[str, list[Row]] = {}
        declared: dict[str, tuple[int, int] | None] = {}
        places: dict[str, str] = {}
        try:
            for line, row in sheet.rows(text):
                if not any(row.values()):  # empty rows, which spreadsheet programs leave at the end
                    continue
                place, name = f"{file}:{line}", row.get("imageid" if relative else "filename", "")
                if not name:
                    raise AnnotationError(f"{place}: expected an image's name, found none")
                images.setdefault(name, [])
                declared.setdefault(name, declared_size(row.get("height"), row.get("width")))
                places.setdefault(name, place)
                if any(row.get(side) for side in ("xmin", "xmax", "ymin", "ymax")):
                    images[name].append(_row(place, row, codes, relative=relative))
        except csv.Error as error:
            raise AnnotationError(f"{file}: not CSV: {error}") from error
        records += [
            Record(places[name], name, rows, declared[name], relative=relative)
            for name, rows in images.items()
        ]
    return Parsed(form, records, files[0].parent, files[0], problems)


def _descriptions(files: Sequence[Path]) -> dict[str, str]:
    """Read the names of OpenImages' class codes, such as `/m/0k4j,Car`, from the files around its CSV."""
    folders = dict.fromkeys(file.parent for file in files)
    # FiftyOne writes this file as metadata/classes.csv
    around = [found for folder in folders for found in (*sorted(folder.glob("*class*.csv")),
              *sorted(folder.parent.glob("*/*class*.csv")))]  # fmt: skip
    names: dict[str, str] = {}
    for file in dict.fromkeys(around):
        for pair in csv.reader(StringIO(read_text(file), newline="")):
            if len(pair) == 2 and pair[0].startswith("/"):
                names.setdefault(pair[0], pair[1])
    return names


def _row(place: str, row: Mapping[str, str], codes: Mapping[str, str], *, relative: bool) -> Row:
    label = row.get("labelname" if relative else "class", "")
    name = class_name(codes.get(label, label))
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
