"""Read and write COCO's detection JSON.

Category ids may be any numbers or text; classes are in the order of the ids. `iscrowd` is kept. `ignore`,
which some converters write for VOC's difficult objects, is read and written as the difficult flag. An image
without annotations is a background image. An object without a box gets the box around its polygons or its
run-length mask.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from lookonce._files import write_text
from lookonce._texts import class_name, shown
from lookonce.annotations.data_path import DataPath, Recognized
from lookonce.annotations.files import ALL, by_split, json_keys, listed, read_json, split_in, split_of
from lookonce.annotations.layout import reference, tidy
from lookonce.annotations.masks import box_around
from lookonce.annotations.records import Parsed, Record, Row, declared_size, hull
from lookonce.errors import AnnotationError
from lookonce.samples import Problem, SampleSet

PARTS = ("images", "annotations", "categories")
NUMBER = int | str
SHORT = 20  # length of a text from which it is not converted to a number


def recognize(data: DataPath) -> Recognized | None:
    """Recognize a COCO file, or a folder with one file per split.

    Raises:
        AnnotationError: several files belong to one split.
    """
    if data.suffix == ".json" and looks_like(data.path):
        return Recognized(f"COCO file {data.path}", {ALL: partial(read, data.path)})
    if not data.is_folder:
        return None
    files = data.tree.highest([file for file in data.tree.with_suffix(".json") if looks_like(file)])
    # COCO's own download also has files of captions and keypoints.
    files = [file for file in files if file.name.startswith("instances_")] or files
    found: dict[str, Path] = {}
    for file in files:
        split = split_in(file.stem) or split_of(file, data.tree.root) or ALL
        if split in found:
            raise AnnotationError(
                f"{data.path}: expected one source for split {split}, found {found[split]} and {file}; "
                "name the one to read"
            )
        found[split] = file
    if not found:
        return None
    ordered = by_split(found)
    title = f"COCO folder {data.path} ({listed(found[split].name for split in ordered)})"
    return Recognized(
        title, {split: partial(read, found[split]) for split in ordered}, depth=data.tree.depth(files)
    )


def looks_like(file: Path) -> bool:
    """Return whether a JSON file has COCO's keys, even if it is truncated."""
    keys = json_keys(file)
    return "[]" not in keys and "images" in keys and bool(keys & {"annotations", "categories", "file_name"})


def read(path: Path) -> Parsed:
    """Read a COCO file.

    Raises:
        AnnotationError: the file is not COCO, or cannot be used as a whole.
    """
    tree = read_json(path)
    for part in PARTS:
        if not isinstance(tree, dict) or not isinstance(tree.get(part), list):
            raise AnnotationError(f"{path}: expected COCO with a list {part!r}, found none")
    used = {_id(entry.get("category_id")) for entry in tree["annotations"] if isinstance(entry, dict)}
    categories = _categories(path, tree["categories"], used)
    names = tuple(dict.fromkeys(categories.values()))
    problems: list[Problem] = []
    images = _images(path, tree["images"], problems)
    rows = _rows(path, tree["annotations"], images, categories, problems)
    if tree["annotations"] and not rows:
        why = f"; the first: {problems[0]}" if problems else ""
        what = f"none of its {len(tree['annotations'])} annotations belongs to an image"
        raise AnnotationError(f"{path}: {what}{why}")
    records = [
        Record(
            f"{path}: image {entry['id']}",
            entry["file_name"],
            rows[number],
            declared_size(entry.get("height"), entry.get("width")),
            entry["id"] if isinstance(entry["id"], str) else number,
        )
        for number, entry in images.items()
        if entry is not None
    ]
    ids = {categories[number]: number for number in sorted(categories, key=lambda number: number in used)}
    plain = all(isinstance(number, int) for number in ids.values())
    return Parsed(
        "coco",
        records,
        path.parent,
        path,
        problems,
        names,
        category_ids=ids if plain else {},  # type: ignore[arg-type]
    )


def _id(value: Any) -> NUMBER | None:
    """Normalize an id, so that ids are equal even if a tool wrote them as different types."""
    if isinstance(value, str) and len(value) < SHORT:
        try:
            value = float(value) if "." in value else int(value)
        except ValueError:
            return str(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int | str) else None


def _categories(path: Path, entries: list[Any], used: set[NUMBER | None]) -> dict[NUMBER, str]:
    """Return the category names by id, ordered by id.

    A name with two ids is one class. A root category, which only groups other categories, is no class.

    Raises:
        AnnotationError: an entry has no id or no name, or two names have the same id.
    """
    names: dict[NUMBER, str] = {}
    groups = Counter(class_name(entry.get("supercategory")) for entry in entries if isinstance(entry, dict))
    for entry in entries:
        number = _id(entry.get("id")) if isinstance(entry, dict) else None
        name = entry.get("name") if isinstance(entry, dict) else None
        if number is not None and number not in used and name is None:
            continue
        if number is None or name is None:
            raise AnnotationError(f"{path}: expected categories with id and name, found {shown(entry)}")
        name = class_name(name)
        if names.setdefault(number, name) != name:
            raise AnnotationError(
                f"{path}: expected different categories, found the id {shown(number)} for "
                f"{shown(names[number])} and {shown(name)}"
            )
        is_root = entry.get("supercategory") == "none" and groups[name] == len(entries) - 1 > 0
        if is_root and number not in used:
            del names[number]
    return dict(sorted(names.items(), key=lambda pair: (isinstance(pair[0], str), pair[0])))


def _images(path: Path, entries: list[Any], problems: list[Problem]) -> dict[NUMBER, dict[str, Any] | None]:
    """Return the image entries by id, in file order; None for an id shared by different images."""
    images: dict[NUMBER, dict[str, Any] | None] = {}
    for i, entry in enumerate(entries):
        place = f"{path}: images[{i}]"
        number = _id(entry.get("id")) if isinstance(entry, dict) else None
        if number is None or not isinstance(entry.get("file_name"), str) or not entry["file_name"]:
            what = f"expected id and file_name, found {shown(entry)}"
            problems.append(Problem(place, what, kind="row"))
        elif number not in images:
            images[number] = entry
        elif (first := images[number]) is None or first["file_name"] != entry["file_name"]:
            others = "others" if first is None else shown(first["file_name"])
            what = f"{shown(entry['file_name'])} and {others} share the id {shown(number)}: skipped"
            problems.append(Problem(place, what, kind="shared-id"))
            images[number] = None
    return images


def _rows(
    path: Path,
    entries: list[Any],
    images: Mapping[NUMBER, dict[str, Any] | None],
    categories: Mapping[NUMBER, str],
    problems: list[Problem],
) -> dict[NUMBER, list[Row]]:
    """Return the boxes by image id; an annotation without an image is a problem."""
    rows: dict[NUMBER, list[Row]] = defaultdict(list)
    for i, entry in enumerate(entries):
        place = f"{path}: annotations[{i}]"
        if not isinstance(entry, dict):
            problems.append(Problem(place, f"expected an annotation, found {shown(entry)}", kind="row"))
            continue
        place = f"{path}: annotation {entry.get('id', f'[{i}]')}"
        number = _id(entry.get("image_id"))
        if number is None or number not in images:
            what = f"expected the id of an image, found {shown(entry.get('image_id'))}"
            problems.append(Problem(place, what, kind="row"))
            continue
        image = images[number]
        size = declared_size(image.get("height"), image.get("width")) if image else None
        rows[number].append(_row(place, entry, categories, size))
    return rows


def _row(
    place: str, entry: dict[str, Any], categories: Mapping[NUMBER, str], size: tuple[int, int] | None
) -> Row:
    category = _id(entry.get("category_id"))
    if category is None or category not in categories:
        return Row(place, fault=f"expected the id of a category, found {shown(entry.get('category_id'))}")
    name = categories[category]
    if not name:
        return Row(place, fault="expected a class name, found an empty name", kind="class")
    given: Any = entry.get("bbox")
    shape: Any = entry.get("segmentation")
    try:
        if isinstance(given, str):  # some exports from tables write the list as text
            given = json.loads(given)
    except ValueError:
        return Row(place, fault=f"expected bbox [left, top, width, height], found {shown(given)}")
    is_blank = not given or (isinstance(given, list) and not any(given))
    is_hull = is_blank and isinstance(shape, list | dict) and bool(shape)
    try:
        if is_hull and isinstance(shape, dict):
            box = box_around(shape, size)
        elif is_hull:  # box around all polygons of the object, which are lists of x, y, x, y, ...
            polygons = shape if isinstance(shape[0], list) else [shape]
            sides = [[float(side) for side in polygon] for polygon in polygons]
            box = hull([point for each in sides for point in zip(each[::2], each[1::2], strict=True)])
        else:
            left, top, width, height = (float(side) for side in given)
            box = (left, top, left + width, top + height)
    except (TypeError, ValueError, OverflowError, KeyError) as error:
        mask = f", and a mask that cannot be read: {error}" if is_hull and isinstance(shape, dict) else ""
        return Row(place, fault=f"expected bbox [left, top, width, height], found {shown(given)}{mask}")
    return Row(place, box, name, bool(entry.get("ignore")), bool(entry.get("iscrowd")), polygon=is_hull)


def write(out: Path, sets: Mapping[str, SampleSet]) -> Path:
    """Write `<split>.json` for each split; images stay where they are."""
    kept = next((samples.category_ids for samples in sets.values() if samples.category_ids), ())
    for split, samples in sets.items():
        ids = kept or tuple(range(1, len(samples.names) + 1))
        write_text(out / f"{split}.json", json.dumps(_tree(samples, ids, out)))
    return out


def _tree(samples: SampleSet, categories: tuple[int, ...], out: Path) -> dict[str, Any]:
    """Return a set as a COCO tree, with the image ids of the original annotations if they are unique."""
    ids = [sample.image_id for sample in samples.samples]
    if len({i for i in ids if isinstance(i, int)}) < len(ids):
        ids = list(range(1, len(ids) + 1))
    pairs = list(zip(ids, samples.samples, strict=True))
    annotations: list[dict[str, Any]] = []
    for key, sample in pairs:
        flags = zip(sample.labels.tolist(), sample.difficult.tolist(), sample.crowd.tolist(), strict=True)
        for (left, top, right, bottom), (label, difficult, crowd) in zip(
            sample.boxes.tolist(), flags, strict=True
        ):
            bbox = [tidy(side) for side in (left, top, right - left, bottom - top)]
            entry = {
                "image_id": key,
                "category_id": categories[label],
                "bbox": bbox,
                "area": tidy(bbox[2] * bbox[3]),
                "iscrowd": int(crowd),
            }
            annotations.append(entry | ({"ignore": 1} if difficult else {}))
    return {
        "images": [
            {"id": key, "file_name": reference(sample.path, out), "width": width, "height": height}
            for key, sample in pairs
            for height, width in (sample.image_size,)
        ],
        "annotations": [{"id": i, **entry} for i, entry in enumerate(annotations, 1)],
        "categories": [{"id": i, "name": name} for i, name in zip(categories, samples.names, strict=True)],
    }
