"""Read and write Pascal VOC, with one XML file per image and a list of images per split.

Coordinates are used as they are in the file. VOC's own coordinates count from 1 and include the last pixel,
but tools that write this format count from 0, and a file does not state its convention. All converters
compared on 100 VOC images (two to COCO, YOLO and ImageNet XML) use the numbers unshifted. The difference is
one pixel on the left and at the top.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from lookonce._files import replacing, write_text
from lookonce._texts import Names, class_name, first_line, is_file, read_lines, read_names, shown
from lookonce.annotations.data_path import DataPath, Recognized, outside_splits
from lookonce.annotations.files import ALL, SPLIT_WORDS, by_split, find_names, key, read_xml, xml_root
from lookonce.annotations.layout import distinct, gather, number, stems_of, write_names
from lookonce.annotations.records import Parsed, Record, Row, declared_size, hull, upright
from lookonce.annotations.tree import Tree, by_folder, closest
from lookonce.errors import AnnotationError
from lookonce.samples import Problem, Sample, SampleSet
from lookonce.suffixes import IMAGE_SUFFIXES

LISTS = Path("ImageSets", "Main")
UNLABELED = "no XML describes it: used as a background image"
_PRESENCE = re.compile(r"\s+-?[01]$")  # end of a line in a list per class: whether the class is present
_OF_A_CLASS = re.compile(r".+_(train|val|trainval|test)$")  # name of a list per class
_LIST = re.compile(r"([a-z]+)(_list)?", re.IGNORECASE)  # `train.txt`, and PaddlePaddle's `train_list.txt`


def recognize(data: DataPath) -> Recognized | None:
    """Recognize a folder of VOC's XML files, one such file, or one list of `ImageSets/Main`."""
    path = data.path
    if data.suffix == ".txt" and path.absolute().parts[-3:-1] == LISTS.parts:
        folder = VocFolder(Tree(path.absolute().parents[2], data.images))
        return Recognized(f"Pascal VOC list {path}", {ALL: partial(folder.of_list, path)})
    if data.suffix == ".xml" and xml_root(path) == "annotation":
        folder = VocFolder(Tree(path.absolute().parent, data.images))
        return Recognized(f"Pascal VOC file {path}", {ALL: partial(folder.of_files, [path])})
    if not data.is_folder:
        return None
    folder, tree = VocFolder(data.tree), data.tree
    if not any(xml_root(file) == "annotation" for file in folder.files):
        return None
    depth = tree.depth(folder.files)
    texts = tree.with_suffix(".txt")
    lists = [file for file in texts if file.parent.parts[-2:] == LISTS.parts]
    lists = lists or [file for file in texts if file.parent.name == LISTS.parts[0]]
    if not lists:  # a `.txt` named like a split is a list if its first line names an XML file or its image
        lists = [file for file in texts if _split_of_list(file) and folder.xml_of(first_line(file), file)]
    usual: dict[str, list[Path]] = {}
    for file in lists:
        if split := _split_of_list(file):
            usual.setdefault(split, []).append(file)
    if not usual:  # VoTT writes a list per class and split, each of which lists all images
        for file in lists:
            if match := _OF_A_CLASS.fullmatch(file.stem):
                usual.setdefault(match[1], []).append(file)
    title = f"Pascal VOC folder {path}"
    if usual:
        used = {file for files in usual.values() for file in files}
        others = [file for file in lists if file not in used and not _OF_A_CLASS.fullmatch(file.stem)]
        what = f"not the list of a usual split: not read; {len(others)} like this in all"
        remarks = [Problem(str(others[0]), what, "noted", kind="unlisted")] if others else []
        parses = {split: partial(folder.of_list, *usual[split]) for split in by_split(usual)}
        return Recognized(title, parses, remarks, depth=depth)
    if len(lists) > 1:
        parses = {file.stem: partial(folder.of_list, file) for file in sorted(lists)}
        return Recognized(title, parses, depth=depth)
    if lists:
        title = f"{title} (list {lists[0].name})"
        return Recognized(title, {ALL: partial(folder.of_list, lists[0])}, depth=depth)
    groups, outside = by_folder(folder.files, tree.root)
    title += " (every XML)" if ALL in groups else ""
    by_files = {split: partial(folder.of_files, groups[split]) for split in by_split(groups)}
    return Recognized(title, by_files, outside_splits(outside, groups), UNLABELED, depth)


def _split_of_list(file: Path) -> str | None:
    """Return the split that the name of a list contains; None if there is none."""
    match = _LIST.fullmatch(file.stem)
    return SPLIT_WORDS.get(match[1].lower()) if match else None


class Xml(NamedTuple):
    """One parsed XML file.

    Attributes:
        filename: declared name of the image.
        declared: declared (height, width); None if there is none.
        depth: declared number of channels, which is not used, as every image is read in color.
        rows: objects in the file.
        fault: reason why the file cannot be used; empty if it can.
        line: line of the fault, such as `:3`; empty if unknown.
    """

    filename: str = ""
    declared: tuple[int, int] | None = None
    depth: str = ""
    rows: tuple[Row, ...] = ()
    fault: str = ""
    line: str = ""


@dataclass
class VocFolder:
    """XML files of a folder, each of which is parsed only once, even if several splits name it."""

    tree: Tree

    def __post_init__(self) -> None:
        self.files = [file for file in self.tree.with_suffix(".xml") if xml_root(file) in ("", "annotation")]
        self._by_stem: dict[str, list[Path]] = {}
        for file in self.files:
            self._by_stem.setdefault(key(file.stem), []).append(file)
        self._images: dict[str, list[Path]] = {}
        for image in self.tree.images:
            self._images.setdefault(key(image.stem), []).append(image)
        self._image_names = {key(image.name) for image in self.tree.images}
        self._parsed: dict[Path, Xml] = {}

    def of_list(self, *files: Path) -> Parsed:
        """Parse the XML files that some lists name; one in two lists is parsed once."""
        found: list[tuple[str, Path]] = []
        for file in files:
            earlier = {xml for _, xml in found}
            for line, text in read_lines(file, stripped=False):
                bare = _PRESENCE.sub("", text.strip())
                xml = self.xml_of(text, file) or self.tree.root / "Annotations" / f"{bare}.xml"
                if xml not in earlier:
                    found.append((f"{file}:{line}", xml))
        return self._parse(found)

    def xml_of(self, text: str, file: Path) -> Path | None:
        """Return the XML file that a line of list `file` names; None if there is none."""
        bare = _PRESENCE.sub("", text.strip())
        names = (text, text.strip(), bare)  # in this order, as the name of an image may end with " 1"
        return next(filter(None, (self._listed(name, file) for name in names)), None)

    def of_files(self, files: Sequence[Path]) -> Parsed:
        """Parse XML files."""
        return self._parse([("", file) for file in files])

    def _listed(self, text: str, place: Path) -> Path | None:
        """Return the XML file that a stem in list `place` names, perhaps with folders and a suffix."""
        # several years of VOC in one folder may have lists and XML files with the same names
        depth = next((i for i, part in enumerate(place.parts) if part == LISTS.parts[0]), 0)
        root = Path(*place.parts[:depth]) if depth else self.tree.root

        def near(files: list[Path]) -> list[Path]:
            return [file for file in files if file.is_relative_to(root)] or files

        own = [file for file in near(self._by_stem.get(key(text), [])) if file.stem == text]
        if len(own) == 1:
            return own[0]
        for entry in (text, *(word for word in text.split() if word.lower().endswith(".xml"))):
            entry = entry.replace("\\", "/").removeprefix("./")
            last = entry.rpartition("/")[2]
            stem = (
                last[: -len(Path(last).suffix)]
                if Path(last).suffix.lower() in (*IMAGE_SUFFIXES, ".xml")
                else last
            )
            wanted = [part for part in entry.split("/")[-2::-1] if part not in ("JPEGImages", "Annotations")]
            for candidates in map(near, (self._by_stem.get(key(last), []), self._by_stem.get(key(stem), []))):
                exact = [file for file in candidates if file.stem in (last, stem)] or candidates
                matching = [file for file in exact if list(file.parts[-2::-1][: len(wanted)]) == wanted]
                if found := matching or (exact if len(exact) == 1 else []):
                    return found[0]
        return None

    def _parse(self, files: Sequence[tuple[str, Path]]) -> Parsed:
        """Parse XML files, each given with the place that lists it."""
        records, problems, spoiled = [], [], list[str]()
        for listed, file in files:
            if file not in self._parsed:
                self._parsed[file] = parse(file)
            xml = self._parsed[file]
            if xml.fault:
                place, what = f"{file}{xml.line}", xml.fault
                if not is_file(file):
                    place, what = listed, f"{file.name} {xml.fault}"
                problems.append(Problem(place, what, kind="annotation"))
                spoiled.append(file.stem)
                continue
            image = self._image(file, xml, problems, spoiled)
            if xml.depth not in ("", "3"):
                what = f"declares {xml.depth} channel(s); every image is read in color"
                about = image if isinstance(image, Path) else None
                problems.append(Problem(str(file), what, "noted", kind="channels", image=about))
            records.append(Record(str(file), image, xml.rows, xml.declared, listed=listed))
        found = find_names(self.tree.root)
        names: Names = read_names(found) if found else ()
        origin = f"class names from {found.name}" if found else ""
        annotations = self.tree.root / "Annotations"
        where = annotations if annotations.is_dir() else self.tree.root
        return Parsed("voc", records, self.tree.root, where, problems, names, spoiled=spoiled, origin=origin)

    def _image(self, file: Path, xml: Xml, problems: list[Problem], spoiled: list[str]) -> Path | str:
        """Return the image of an XML file: the one with the same stem, else the one that the file names.

        Of several images with the stem, the first is used; the others do not become background images.
        """
        stem, named = file.stem, xml.filename.replace("\\", "/").rpartition("/")[2]
        twins = self._images.get(key(stem), [])
        folders = file.parts[:-1]
        near = [  # beside the file or in a parallel folder: JPEGImages/cam/a.jpg for Annotations/cam/a.xml
            image
            for image in twins
            if len(image.parts[:-1]) == len(folders)
            and sum(a != b for a, b in zip(image.parts[:-1], folders, strict=True)) <= 1
        ]
        near = near or closest(twins, folders)
        if len(near) > 1:
            near = [image for image in near if image.name == named] or near
        if not near:
            return named if key(named) in self._image_names else xml.filename or f"{stem}.jpg"
        if named and key(Path(named).stem) != key(stem) and key(named) in self._image_names:
            what = f"<filename> names {shown(named)}, which is there; the boxes are used for {near[0].name}"
            problems.append(Problem(str(file), what, "repaired", kind="filename", image=near[0]))
        if len(near) > 1:
            others = ", ".join(str(image) for image in near[1:])
            what = f"{near[0].name} and {others} share this XML: it is used for the first"
            spoiled.append(stem)
            problems.append(Problem(str(file), what, kind="shared-labels", image=near[0]))
        return near[0]


def parse(file: Path) -> Xml:
    """Parse one XML file; its defects are part of the result."""
    try:
        root = read_xml(file)
    except AnnotationError as error:
        match = re.fullmatch(r"(:\d+)?: (.*)", str(error).removeprefix(str(file)), re.DOTALL)
        return Xml(fault=match[2], line=match[1] or "") if match else Xml(fault=str(error))
    if root.tag != "annotation":
        return Xml(fault=f"expected <annotation>, found <{root.tag}>")
    declared = declared_size(root.findtext("size/height"), root.findtext("size/width"))
    rows: list[Row] = []
    for i, node in enumerate(root.iterfind("object"), 1):
        # some programs write several boxes into one object
        boxes: list[ET.Element | None] = [*node.iterfind("bndbox")]
        rows += [_row(f"{file}: object {i}", node, box) for box in boxes or [None]]
    return Xml(
        root.findtext("filename", "").strip(), declared, root.findtext("size/depth", "").strip(), (*rows,)
    )


def _row(place: str, node: ET.Element, found: ET.Element | None) -> Row:
    name = class_name(node.findtext("name"))
    if not name:
        return Row(place, fault="expected a class name, found an empty name", kind="class")
    try:
        if found is not None:
            corners = {side.tag: side.text or "" for side in found}
            left, top, right, bottom = (
                float(corners.get(tag, "")) for tag in ("xmin", "ymin", "xmax", "ymax")
            )
            box, is_hull = (left, top, right, bottom), False
        elif (turned := node.find("robndbox")) is not None:  # roLabelImg
            x, y, width, height, angle = (
                float(turned.findtext(tag, "").strip()) for tag in ("cx", "cy", "w", "h", "angle")
            )
            box, is_hull = upright(x, y, width, height, angle), True
        else:
            polygon = node.find("polygon")
            sides = [] if polygon is None else [(side.tag, side.text or "") for side in polygon.iter()]
            xs = [float(text) for tag, text in sides if re.fullmatch(r"x\d*", tag)]
            ys = [float(text) for tag, text in sides if re.fullmatch(r"y\d*", tag)]
            box, is_hull = hull(list(zip(xs, ys, strict=True))), True
    except (ValueError, OverflowError):
        return Row(place, label=name, fault="expected a bndbox of four numbers: xmin, ymin, xmax, ymax")
    return Row(place, box, name, node.findtext("difficult", "").strip() == "1", polygon=is_hull)


def write(out: Path, sets: Mapping[str, SampleSet]) -> Path:
    """Write `Annotations`, `ImageSets/Main`, `classes.txt` and `JPEGImages`, a folder of links.

    `classes.txt` is not part of VOC; it keeps the order of the classes, which class numbers depend on.
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
    ET.SubElement(root, "filename").text = image.name
    size = ET.SubElement(root, "size")
    for tag, value in zip(("height", "width", "depth"), (*sample.image_size, 3), strict=True):
        ET.SubElement(size, tag).text = str(value)
    flags = zip(sample.labels.tolist(), sample.difficult.tolist(), strict=True)
    for box, (label, difficult) in zip(sample.boxes.tolist(), flags, strict=True):
        node = ET.SubElement(root, "object")
        ET.SubElement(node, "name").text = names[label]
        ET.SubElement(node, "difficult").text = str(int(difficult))
        corners = ET.SubElement(node, "bndbox")
        for tag, side in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True):
            ET.SubElement(corners, tag).text = number(side)
    ET.indent(root)
    return root
