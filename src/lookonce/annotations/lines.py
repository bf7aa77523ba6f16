"""Read and write the write-up's text format, with one line per image.

    some/directory/image.jpg 79,537,107,574,0 297,547,318,575,0
    "a name with spaces.jpg" 12,20,48,77.5,3
    a/background/image.jpg

A box is left,top,right,bottom,class in pixels, with a class number. A path with spaces is quoted, and quotes
in it are doubled. A line without boxes is a background image. Paths are relative to the folder of the file,
to one of the two folders above it, or to the working directory.

Two related formats are also read: `index path width height class left top right bottom ...` (wizyoung's
YOLOv3), and `path,left,top,right,bottom,class name` with one box per line (keras-retinanet).
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from lookonce._files import write_text
from lookonce._texts import class_name, read_lines, read_names, read_start, shown
from lookonce.annotations.data_path import DataPath, Recognized
from lookonce.annotations.files import ALL, SPLIT_WORDS, by_split, find_names, split_of
from lookonce.annotations.layout import number, reference, write_dataset_yaml, write_names
from lookonce.annotations.records import Parsed, Record, Row
from lookonce.errors import AnnotationError
from lookonce.samples import SampleSet
from lookonce.suffixes import IMAGE_SUFFIXES

_SUFFIX = "|".join(re.escape(suffix) for suffix in IMAGE_SUFFIXES)
_QUOTED = re.compile(
    r"""(?: "(?P<double>(?:[^"]|"")+)" | '(?P<single>(?:[^']|'')+)' )(?=\s|$)(?P<boxes>.*)""", re.VERBOSE
)
_PATH_END = re.compile(rf"(?:{_SUFFIX})(?=\s|$)", re.IGNORECASE)
_BOX_LIKE = re.compile(r"[-+.\w]*(?:,[-+.\w]*){3,}")
_INDEXED = re.compile(
    rf"\d+\s+(?P<path>.+?(?:{_SUFFIX}))\s+(?P<w>\d+)\s+(?P<h>\d+)(?P<boxes>(?:\s+\S+)*)", re.IGNORECASE
)
_TABLE = re.compile(
    rf"(?P<path>.+?(?:{_SUFFIX})),(?P<box>[^,]*,[^,]*,[^,]*,[^,]*),(?P<name>[^,]*)", re.IGNORECASE
)
LOOKED_AT = 20  # number of lines examined to distinguish the formats


def recognize(data: DataPath) -> Recognized | None:
    """Recognize any `.txt`, as the last of all formats, or a folder with one such file per split."""
    if data.suffix == ".txt":
        return Recognized(f"one line per image, {data.path}", {ALL: partial(parse, data.path)})
    found: dict[str, Path] = {}
    for file in data.tree.highest(data.tree.with_suffix(".txt")) if data.is_folder else []:
        split = SPLIT_WORDS.get(file.stem.lower()) or split_of(file, data.tree.root)
        if file.stem == "_annotations" or (split and _has_boxes(file)):
            found.setdefault(split or ALL, file)
    if not found:
        return None
    parses = {split: partial(parse, found[split]) for split in by_split(found)}
    title = f"one line per image, folder {data.path}"
    return Recognized(title, parses, depth=data.tree.depth(found.values()))


def split_line(line: str) -> tuple[str, list[str]]:
    """Split a line into the path of the image and the words after it."""
    if match := _QUOTED.fullmatch(line):
        double, single = match["double"], match["single"]
        path = double.replace('""', '"') if double else single.replace("''", "'")
        return path, match["boxes"].split()
    # A name may contain a suffix and spaces, such as "a.jpg (1).png": take the longest path that only boxes
    # follow.
    ends = [match.end() for match in _PATH_END.finditer(line)]
    for end in reversed(ends):
        words = line[end:].split()
        if all(map(_BOX_LIKE.fullmatch, words)):
            return line[:end], words
    path = line[: ends[0]] if ends else line.split()[0]
    return path, line[len(path) :].split()


def parse(path: Path) -> Parsed:
    """Parse a file with one line per image, or in one of the two related formats.

    Raises:
        AnnotationError: the file cannot be read.
    """
    lines = list(read_lines(path))
    found = find_names(path.parent)
    names = read_names(found) if found else ()
    origin = f"class names from {found}" if found else ""
    start = [text for _, text in lines[:LOOKED_AT]]
    if start and all(map(_TABLE.fullmatch, start)):
        records = _table(path, lines)
        numbered = all(isinstance(row.label, int) for record in records for row in record.rows)
        return Parsed(
            "lines",
            records,
            path.parent,
            path,
            names=names if numbered else (),
            numbered=numbered,
            origin=origin,
        )
    if start and all(map(_INDEXED.fullmatch, start)):
        records = [_indexed(f"{path}:{line}", text) for line, text in lines]
        return Parsed("lines", records, path.parent, path, names=names, numbered=True, origin=origin)
    records = []
    for line, text in lines:
        image, words = split_line(text)
        place = f"{path}:{line}"
        rows = [_row(f"{place}: box {i}", word.split(","), word) for i, word in enumerate(words, 1)]
        records.append(Record(place, image, rows))
    return Parsed("lines", records, path.parent, path, names=names, numbered=True, origin=origin)


def _row(place: str, sides: Sequence[str], word: str) -> Row:
    try:
        left, top, right, bottom, label = map(float, sides)
        if label != int(label):
            raise ValueError(label)
        return Row(place, (left, top, right, bottom), int(label))
    except (ValueError, OverflowError):
        hint = "" if "," in word else ": does the file have other columns?"
        return Row(place, fault=f"expected left,top,right,bottom,class as numbers, found {shown(word)}{hint}")


def _indexed(place: str, text: str) -> Record:
    """Parse a line of wizyoung's format.

    Raises:
        AnnotationError: the line has another form.
    """
    match = _INDEXED.fullmatch(text)
    if match is None:
        raise AnnotationError(f"{place}: expected index, path, width, height and boxes, found {shown(text)}")
    words = match["boxes"].split()
    rows = []
    for i in range(0, len(words), 5):
        label, *sides = words[i : i + 5]
        rows.append(_row(f"{place}: box {i // 5 + 1}", [*sides, label], " ".join(words[i : i + 5])))
    return Record(place, match["path"], rows, (int(match["h"]), int(match["w"])))


def _table(path: Path, lines: Sequence[tuple[int, str]]) -> list[Record]:
    """Parse lines of keras-retinanet's format; a path followed only by commas is a background image.

    Raises:
        AnnotationError: a line has another form.
    """
    rows: dict[str, list[Row]] = defaultdict(list)
    places: dict[str, str] = {}
    for line, text in lines:
        place, match = f"{path}:{line}", _TABLE.fullmatch(text)
        if match is None:
            raise AnnotationError(f"{place}: expected path,left,top,right,bottom,class, found {shown(text)}")
        places.setdefault(match["path"], place)
        found = rows[match["path"]]
        if not match["box"].strip(",") and not match["name"]:
            continue
        row = _row(place, [*match["box"].split(","), "0"], text)
        name = class_name(match["name"])
        found.append(row._replace(label=int(name) if name.isdecimal() and len(name) < 10 else name))
    return [Record(places[image], image, found) for image, found in rows.items()]


def _has_boxes(file: Path) -> bool:
    """Return whether one of the first lines of a file has an image and boxes."""
    for line in filter(str.strip, read_start(file, 8192).split("\n")[:LOOKED_AT]):
        path, words = split_line(line.strip())
        if words and path.lower().endswith(IMAGE_SUFFIXES) and all(map(_BOX_LIKE.fullmatch, words)):
            return True
        if _TABLE.fullmatch(line.strip()) or _INDEXED.fullmatch(line.strip()):
            return True
    return False


def write(out: Path, sets: Mapping[str, SampleSet]) -> Path:
    """Write `<split>.txt` per split, `classes.txt` and `dataset.yaml`; images are not copied."""
    names = next(iter(sets.values())).names
    write_names(out / "classes.txt", names)
    for split, samples in sets.items():
        lines = []
        for sample in samples.samples:
            path = reference(sample.path, out)
            if re.search(r"""[\s"']""", path):
                path = '"{}"'.format(path.replace('"', '""'))
            boxes = zip(sample.boxes.tolist(), sample.labels.tolist(), strict=True)
            lines.append(
                " ".join([path, *(",".join([*map(number, box), str(label)]) for box, label in boxes)])
            )
        write_text(out / f"{split}.txt", "".join(f"{line}\n" for line in lines))
    write_dataset_yaml(out / "dataset.yaml", names, sets)
    return out / "dataset.yaml"
