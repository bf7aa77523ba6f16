"""One line an image, as the write-up has it.

    some/directory/image.jpg 79,537,107,574,0 297,547,318,575,0
    "a name with spaces.jpg" 12,20,48,77.5,3
    a/background/image.jpg

A box is left,top,right,bottom,class in pixels. A path with spaces stands in quotes; inside them a quote is
doubled. A path alone is a background image. Paths are relative to the file, to a folder above it, or to
the working folder.
"""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from lookonce._files import write_text
from lookonce.annotations.collect import Collector, Names, Row
from lookonce.annotations.files import find_names, image_roots, read_lines, read_names, root_of
from lookonce.annotations.layout import number, reference, write_dataset_yaml, write_names
from lookonce.annotations.source import ALL, Source
from lookonce.errors import AnnotationError
from lookonce.images import IMAGE_SUFFIXES
from lookonce.samples import Sample, SampleSet

_SUFFIX = "|".join(re.escape(suffix) for suffix in IMAGE_SUFFIXES)
# A path in quotes; or up to the first image suffix that ends a word, so spaces are forgiven; or one word.
_LINE = re.compile(
    rf"""(?: "(?P<double>(?:[^"]|"")+)" | '(?P<single>(?:[^']|'')+)'
         | (?P<bare>.+?(?:{_SUFFIX}))(?=\s|$) | (?P<word>\S+) ) (?P<boxes>.*)""",
    re.VERBOSE | re.IGNORECASE,
)


def recognise(path: Path) -> Source | None:
    """Any `.txt` that the other formats did not claim."""
    if path.suffix.lower() != ".txt":
        return None
    return Source(path, f"one line an image, {path}", {ALL: partial(_read, path)})


def split_line(line: str) -> tuple[str, list[str]]:
    """The image's path and the words after it."""
    match = _LINE.fullmatch(line)
    assert match, line  # a line that is not blank has at least one word
    parts = match.groupdict()
    quoted = parts["double"] and parts["double"].replace('""', '"')
    quoted = quoted or (parts["single"] and parts["single"].replace("''", "'"))
    return quoted or parts["bare"] or parts["word"], parts["boxes"].split()


def _read(path: Path, names: Names | None, strict: bool) -> SampleSet:
    found = None if names else find_names(path.parent)
    if found:
        names = read_names(found)
    if not names:
        raise AnnotationError(f"{path}: its classes are numbers; give the file of their names (--names FILE)")
    lines = [(line, *split_line(text)) for line, text in read_lines(path)]
    root = root_of((image for _, image, _ in lines), [*image_roots(path.parent), Path()], path)
    collector = Collector(names, strict)
    for line, image, words in lines:
        place = f"{path}:{line}"
        rows = [_row(f"{place}: box {i}", word) for i, word in enumerate(words, 1)]
        collector.add(root / image, rows, place)
    return collector.result("lines", f"class names from {found}" if found else "")


def _row(place: str, word: str) -> Row:
    try:
        left, top, right, bottom, label = map(float, word.split(","))
        return Row(place, (left, top, right, bottom), _whole(label))
    except (ValueError, OverflowError):
        return Row(place, fault=f"expected left,top,right,bottom,class as numbers, found {word!r}")


def _whole(label: float) -> int:
    if label != int(label):
        raise ValueError(label)
    return int(label)


def write(out: Path, sets: Mapping[str, SampleSet]) -> Path:
    """Write `<split>.txt` for each split, `classes.txt`, and `dataset.yaml`, which makes a set of them.

    The images stay where they are.
    """
    names = next(iter(sets.values())).names
    write_names(out / "classes.txt", names)
    for split, samples in sets.items():
        lines = [_line(sample, out) for sample in samples.samples]
        write_text(out / f"{split}.txt", "".join(f"{line}\n" for line in lines))
    write_dataset_yaml(out / "dataset.yaml", names, sets)
    return out / "dataset.yaml"


def _line(sample: Sample, out: Path) -> str:
    path = reference(sample.path, out)
    if re.search(r"""[\s"']""", path):
        path = '"{}"'.format(path.replace('"', '""'))
    boxes = zip(sample.boxes.tolist(), sample.labels.tolist(), strict=True)
    return " ".join([path, *(",".join([*map(number, box), str(label)]) for box, label in boxes)])
