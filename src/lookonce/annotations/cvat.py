"""Read and write CVAT's own XML: "CVAT for images 1.1" and "CVAT for video 1.1" (read only).

    <image name="a.jpg" width="640" height="480" subset="train">
        <box label="cat" xtl="1" ytl="2" xbr="30" ybr="40"/>

The XML of a video has tracks of boxes per frame; its images are frames saved as `frame_000012.PNG`.
"""

import itertools
import math
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path

from lookonce._files import replacing
from lookonce._texts import class_name
from lookonce.annotations.data_path import DataPath, Recognized
from lookonce.annotations.files import ALL, SPLIT_WORDS, by_split, read_xml, split_in, split_of, xml_root
from lookonce.annotations.layout import distinct, gather, number, stems_of
from lookonce.annotations.records import Parsed, Record, Row, declared_size, hull, upright
from lookonce.samples import SampleSet

POINTS = ("polygon", "polyline", "points")  # shapes with a list of points
CORNERS = [f"{corner}{face}" for face in (1, 2) for corner in ("tl", "bl", "tr", "br")]  # corners of a cuboid


def recognize(data: DataPath) -> Recognized | None:
    """Recognize a CVAT XML, or a folder of them; splits are subsets or come from the names of files."""
    given = data.tree.with_suffix(".xml") if data.is_folder else [data.path] if data.suffix == ".xml" else []
    files = [file for file in given if xml_root(file) == "annotations"]
    files = data.tree.highest(files) if data.is_folder else files
    if not files:
        return None
    read = cache(read_xml)
    groups: dict[str, list[tuple[Path, str | None]]] = defaultdict(list)
    for file in files:
        own = split_in(file.stem) or split_of(file, data.tree.root) if data.is_folder else None
        subsets = {} if own else {each.get("subset", ""): None for each in read(file).iterfind("image")}
        known = {subset: SPLIT_WORDS.get(subset.lower(), subset.lower()) for subset in subsets if subset}
        if any(split in SPLIT_WORDS.values() for split in known.values()):
            for subset in subsets:
                groups[known.get(subset, ALL)].append((file, subset))
        else:
            groups[own or ALL].append((file, None))
    parses = {split: partial(_parse, groups[split], read) for split in by_split(groups)}
    unlabeled = "not in the XML: used as a background image" if data.is_folder else ""
    return Recognized(f"CVAT XML {data.path}", parses, unlabeled=unlabeled, depth=data.tree.depth(files))


def _parse(files: list[tuple[Path, str | None]], read: Callable[[Path], ET.Element]) -> Parsed:
    records: list[Record] = []
    names: dict[str, None] = {}
    for file, subset in files:
        root = read(file)
        names |= {
            class_name(node.text): None for node in root.iterfind("meta//labels/label/name") if node.text
        }
        for node in root.iterfind("image"):
            if subset is not None and node.get("subset", "") != subset:
                continue
            place = f"{file}: image {node.get('id', '?')}"
            rows = [_row(f"{place}: {shape.tag} {i}", shape, shape.get("label", ""))
                    for i, shape in enumerate(node, 1) if shape.tag not in ("tag", "attribute")]  # fmt: skip
            declared = declared_size(node.get("height"), node.get("width"))
            records.append(Record(place, node.get("name", ""), rows, declared))
        records += _frames(file, root)
    return Parsed("cvat", records, files[0][0].parent, files[0][0], names=tuple(names))


def _frames(file: Path, root: ET.Element) -> list[Record]:
    """Return the frames of a video with at least one object."""
    frames: dict[int, list[Row]] = defaultdict(list)
    for track in root.iterfind("track"):
        for shape in track:
            place = f"{file}: track {track.get('id', '?')}, frame {shape.get('frame', '?')}"
            # only the points of a skeleton have the attribute `outside`
            parts = shape.findall("points") or [shape]
            if (
                not all(part.get("outside") == "1" for part in parts)
                and (frame := shape.get("frame", "")).isdecimal()
                and len(frame) < 10
            ):
                frames[int(frame)].append(_row(place, shape, track.get("label", "")))
    size = root.find("meta//original_size")
    declared = None if size is None else declared_size(size.findtext("height"), size.findtext("width"))
    return [
        Record(f"{file}: frame {i}", f"frame_{i:06d}.PNG", rows, declared)
        for i, rows in sorted(frames.items())
    ]


def _row(place: str, shape: ET.Element, label: str) -> Row:
    if not (name := class_name(label)):
        return Row(place, fault="expected a class name, found an empty name", kind="class")
    try:
        if shape.tag == "box":
            left, top, right, bottom = (float(shape.get(key, "")) for key in ("xtl", "ytl", "xbr", "ybr"))
            box, angle = (left, top, right, bottom), math.radians(float(shape.get("rotation") or 0))
            if angle:
                box = upright((left + right) / 2, (top + bottom) / 2, right - left, bottom - top, angle)
            return Row(place, box, name, polygon=bool(angle))
        if shape.tag in POINTS:
            return Row(place, hull(_points(shape)), name, polygon=True)
        if shape.tag == "skeleton":
            seen = [each for each in shape.iterfind("points") if each.get("outside") != "1"]
            if len(seen) < 2:
                return Row(place, fault=f"expected at least two visible points, found {len(seen)}")
            return Row(place, hull([point for each in seen for point in _points(each)]), name, polygon=True)
        if shape.tag == "cuboid":
            corners = [(float(shape.get(f"x{at}", "")), float(shape.get(f"y{at}", ""))) for at in CORNERS]
            return Row(place, hull(corners), name, polygon=True)
        if shape.tag == "mask":
            left, top, wide, high = (float(shape.get(key, "")) for key in ("left", "top", "width", "height"))
            return Row(place, (left, top, left + wide, top + high), name, polygon=True)
        if shape.tag == "ellipse":
            x, y, across, down = (float(shape.get(key, "")) for key in ("cx", "cy", "rx", "ry"))
            angle = math.radians(float(shape.get("rotation") or 0))
            across, down = (
                math.hypot(across * math.cos(angle), down * math.sin(angle)),
                math.hypot(across * math.sin(angle), down * math.cos(angle)),
            )
            return Row(place, (x - across, y - down, x + across, y + down), name, polygon=True)
    except (ValueError, OverflowError):
        return Row(place, fault="expected xtl, ytl, xbr, ybr or points as numbers")
    return Row(place, fault=f"expected a box, found a {shape.tag}")


def _points(shape: ET.Element) -> list[tuple[float, float]]:
    pairs = [pair.split(",") for pair in shape.get("points", "").split(";")]
    return [(float(x), float(y)) for x, y in pairs]


def write(out: Path, sets: Mapping[str, SampleSet]) -> Path:
    """Write `annotations.xml` with a subset per split, and `images`, a folder of links.

    CVAT matches images by their names in its task and, for an unknown name, by their number. The scores of
    predictions become the attribute `score`.
    """
    root = ET.Element("annotations")
    ET.SubElement(root, "version").text = "1.1"
    labels = ET.SubElement(ET.SubElement(ET.SubElement(root, "meta"), "task"), "labels")
    names = next(iter(sets.values())).names
    predicted = any(sample.scores is not None for each in sets.values() for sample in each.samples)
    for name in names:
        label_node = ET.SubElement(labels, "label")
        ET.SubElement(label_node, "name").text = name
        if predicted:
            attribute = ET.SubElement(ET.SubElement(label_node, "attributes"), "attribute")
            for tag, text in (("name", "score"), ("mutable", "False"), ("input_type", "text")):
                ET.SubElement(attribute, tag).text = text
    named = distinct(sets)
    images = gather(named, out / "images")
    listed = [(split, stem) for split, samples in sets.items() for stem in stems_of(samples, named)]
    for i, (split, stem) in enumerate(listed):
        sample = named[stem]
        height, width = sample.image_size
        about = {
            "id": i,
            "name": images[stem].name,
            "subset": split,
            "width": width,
            "height": height,
        }
        node = ET.SubElement(root, "image", {key: str(value) for key, value in about.items()})
        scores = itertools.repeat(None) if sample.scores is None else sample.scores.tolist()
        for box, label, score in zip(sample.boxes.tolist(), sample.labels.tolist(), scores, strict=False):
            sides = dict(zip(("xtl", "ytl", "xbr", "ybr"), map(number, box), strict=True))
            shape = ET.SubElement(
                node, "box", {"label": names[label], "occluded": "0", **sides, "z_order": "0"}
            )
            if score is not None:
                ET.SubElement(shape, "attribute", {"name": "score"}).text = f"{score:.3f}"
    ET.indent(root)
    with replacing(out / "annotations.xml") as temporary:
        ET.ElementTree(root).write(temporary, encoding="utf-8", xml_declaration=True)
    return out
