"""Pascal VOC: one XML an image, and lists of the images of each split.

Coordinates stay as the file has them. VOC's own count from 1 with the last pixel included, but the tools
that write this form do not, and nothing in a file tells which it is. In the 100 VOC images that we have
also as COCO (two dialects), YOLO and ImageNet XML, every converter took the numbers unshifted. At stake is
one pixel on the left and at the top.

XML from anywhere is read by defusedxml: entity bombs and outside references are refused.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path

import defusedxml.ElementTree as SafeET
from defusedxml.common import DefusedXmlException

from lookonce._files import replacing, write_text
from lookonce.annotations.collect import Box, Collector, Names, Row
from lookonce.annotations.files import (
    SPLITS,
    by_split,
    find_names,
    image_roots,
    images_by_stem,
    is_file,
    read_lines,
    read_names,
)
from lookonce.annotations.layout import distinct, gather, number, stems_of, write_names
from lookonce.annotations.source import ALL, Source
from lookonce.errors import AnnotationError
from lookonce.samples import Sample, SampleSet

LISTS = Path("ImageSets", "Main")
_PRESENCE = re.compile(r"\s+-?[01]$")  # lists for one class say after each name whether the class is there


@dataclass(frozen=True, slots=True)
class Record:
    """One XML, parsed.

    Attributes:
        file: the XML.
        filename: the image's name according to it.
        declared: (height, width) according to it.
        depth: channels according to it; every image is read in colour all the same.
        objects: class name and box of each object; a faulty one has the fault in the row.
        fault: why the file cannot be used at all.
    """

    file: Path
    filename: str = ""
    declared: tuple[int, int] | None = None
    depth: str = ""
    objects: tuple[tuple[str, Row], ...] = ()
    fault: str = ""


def recognise(path: Path) -> Source | None:
    """A folder with `Annotations`, a folder of XML, or one list of `ImageSets/Main`."""
    if path.suffix.lower() == ".txt" and path.absolute().parts[-3:-1] == LISTS.parts:
        folder = VocFolder(path.absolute().parents[2])
        return Source(path, f"Pascal VOC list {path}", {ALL: partial(folder.read, path)})
    if not path.is_dir():
        return None
    folder = VocFolder(path)
    if next(folder.annotations.glob("*.xml"), None) is None:
        return None
    lists = {file.stem: file for file in (path / LISTS).glob("*.txt")}
    usual = {split: file for split, file in lists.items() if split in SPLITS} or lists
    if len(usual) > 1 or usual.keys() & set(SPLITS):
        parts = {split: partial(folder.read, usual[split]) for split in by_split(usual)}
        return Source(path, f"Pascal VOC folder {path}", parts)
    only = next(iter(usual.values()), None)
    title = f"Pascal VOC folder {path} ({f'list {only.name}' if only else 'every XML'})"
    return Source(path, title, {ALL: partial(folder.read, only)})


class VocFolder:
    """Annotations and images of one folder; each XML is parsed once, however many splits are read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.annotations = folder / "Annotations" if (folder / "Annotations").is_dir() else folder
        self.record = cache(parse)

    def read(self, listed: Path | None, names: Names | None, strict: bool) -> SampleSet:
        """The images of one list, or every XML.

        Without names the classes are those of every XML of the folder in alphabetical order, so that all
        splits number them alike.
        """
        origin = ""
        if not names and (file := find_names(self.folder)):
            names, origin = read_names(file), f"class names from {file.name}"
        collector = Collector(names or self.classes, strict)
        for place, stem in self._listed(listed) if listed else ((str(xml), xml.stem) for xml in self.files):
            self._add(collector, place, stem)
        return collector.result("voc", origin)

    @cached_property
    def files(self) -> list[Path]:
        """Every XML."""
        return sorted(self.annotations.glob("*.xml"))

    @cached_property
    def classes(self) -> Names:
        """The names of all objects that have an area."""
        found = {name for file in self.files for name, row in self.record(file).objects if _has_area(row)}
        if not found:
            raise AnnotationError(f"{self.annotations}: expected objects with a box, found none in any XML")
        return tuple(sorted(found))

    @cached_property
    def images(self) -> tuple[Path, dict[str, Path]]:
        """The folder that holds the images, and they by stem."""
        stems = {file.stem for file in self.files}
        roots = image_roots(self.folder)
        for root in roots:
            if stems & (found := images_by_stem(root)).keys():
                return root, found
        return roots[0], {}

    def _listed(self, file: Path) -> Iterator[tuple[str, str]]:
        """Place and image name of each line of a list."""
        for line, text in read_lines(file):
            exact = is_file(self.annotations / f"{text}.xml")  # a name may end in a number of its own
            yield f"{file}:{line}", text if exact else _PRESENCE.sub("", text)

    def _add(self, collector: Collector, place: str, stem: str) -> None:
        file = self.annotations / f"{stem}.xml"
        record = self.record(file)
        if record.fault:
            return collector.report(str(file) if is_file(file) else place, record.fault, kind="annotation")
        if record.depth not in ("", "3"):
            what = f"declares {record.depth} channel(s); every image is read in colour"
            image = self._image(record)
            collector.report(str(file), what, "noted", kind="channels", image=image)
        rows = [_labelled(name, row, collector.names) for name, row in record.objects]
        collector.add(self._image(record), rows, str(file), listed=place, declared=record.declared)

    def _image(self, record: Record) -> Path:
        """The image of the XML's own name; where there is none, the one the XML names."""
        root, by_stem = self.images
        return by_stem.get(record.file.stem) or root / (record.filename or f"{record.file.stem}.jpg")


def parse(file: Path) -> Record:
    """One XML; what is wrong with it is in the record."""
    try:
        root = SafeET.parse(file).getroot()
    except OSError as error:
        return Record(file, fault=f"{file.name} cannot be read: {error.strerror}")
    except DefusedXmlException as error:
        return Record(file, fault=f"refused: XML that defines or fetches entities ({error})")
    except (ET.ParseError, ValueError, LookupError) as error:  # the last two: an encoding it cannot have
        return Record(file, fault=f"expected XML, found it damaged or cut short: {error}")
    if root is None or root.tag != "annotation":
        return Record(file, fault=f"expected <annotation>, found <{root.tag if root is not None else ''}>")
    return Record(
        file,
        filename=Path(_text(root, "filename")).name,
        declared=_declared(root),
        depth=_text(root, "size/depth"),
        objects=tuple(_object(file, i, node) for i, node in enumerate(root.iterfind("object"), 1)),
    )


def _declared(root: ET.Element) -> tuple[int, int] | None:
    try:
        return int(_text(root, "size/height")), int(_text(root, "size/width"))
    except ValueError:
        return None


def _object(file: Path, index: int, node: ET.Element) -> tuple[str, Row]:
    name, place = _text(node, "name"), f"{file}: object {index}"
    try:
        box = _box(node)
    except ValueError:
        return name, Row(place, fault="expected a bndbox of four numbers: xmin, ymin, xmax, ymax")
    return name, Row(place, box, difficult=_text(node, "difficult") == "1")


def _box(node: ET.Element) -> Box:
    found = node.find("bndbox")
    corners = {side.tag: side.text or "" for side in found} if found is not None else {}
    left, top, right, bottom = (float(corners.get(tag, "")) for tag in ("xmin", "ymin", "xmax", "ymax"))
    return left, top, right, bottom


def _labelled(name: str, row: Row, names: Names) -> Row:
    if row.fault:
        return row
    if name not in names:
        return row._replace(fault=f"the class {name!r} is not among the names", kind="class")
    return row._replace(label=names.index(name))


def _has_area(row: Row) -> bool:
    left, top, right, bottom = row.box
    return right > left and bottom > top


def _text(node: ET.Element, path: str) -> str:
    return (node.findtext(path) or "").strip()


def write(out: Path, sets: Mapping[str, SampleSet]) -> Path:
    """Write `Annotations`, `ImageSets/Main`, `classes.txt` and `JPEGImages`, which is full of links.

    `classes.txt` is no part of VOC; it keeps the numbers of the classes, which other forms need.
    """
    names = next(iter(sets.values())).names
    write_names(out / "classes.txt", names)
    named = distinct(sets)
    images = gather(named, out / "JPEGImages")
    for stem, sample in named.items():
        with replacing(out / "Annotations" / f"{stem}.xml", durable=False) as temporary:
            ET.ElementTree(_tree(images[stem], sample, names)).write(temporary, encoding="utf-8")
    for split, samples in sets.items():
        write_text(out / LISTS / f"{split}.txt", "".join(f"{stem}\n" for stem in stems_of(samples, named)))
    return out


def _tree(image: Path, sample: Sample, names: Names) -> ET.Element:
    root = ET.Element("annotation")
    _leaf(root, "filename", image.name)
    size = ET.SubElement(root, "size")
    for tag, value in zip(("height", "width", "depth"), (*sample.image_size, 3), strict=True):
        _leaf(size, tag, str(value))
    flags = zip(sample.labels.tolist(), sample.difficult.tolist(), strict=True)
    for box, (label, difficult) in zip(sample.boxes.tolist(), flags, strict=True):
        node = ET.SubElement(root, "object")
        _leaf(node, "name", names[label])
        _leaf(node, "difficult", str(int(difficult)))
        corners = ET.SubElement(node, "bndbox")
        for tag, side in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True):
            _leaf(corners, tag, number(side))
    ET.indent(root)
    return root


def _leaf(parent: ET.Element, tag: str, text: str) -> None:
    ET.SubElement(parent, tag).text = text
