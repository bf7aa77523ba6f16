"""COCO detection JSON.

Category numbers may be any; classes are ordered by them. `iscrowd` is kept; `ignore`, which some converters
write for VOC's difficult objects, is read and written as that flag. An image without annotations is a
background image.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from functools import partial
from operator import index
from pathlib import Path
from typing import Any

from lookonce._files import write_text
from lookonce.annotations.collect import Box, Collector, Names, Row
from lookonce.annotations.files import around, image_roots, one_each, read_text, root_of, split_in
from lookonce.annotations.layout import reference, tidy
from lookonce.annotations.source import ALL, Source
from lookonce.errors import AnnotationError
from lookonce.samples import Sample, SampleSet

PARTS = ("images", "annotations", "categories")
SNIFFED = 4096  # bytes at the start in which a COCO file shows one of its keys
SHOWN = 60  # characters of a faulty value that a message repeats


def recognise(path: Path) -> Source | None:
    """A `.json` file; or a folder with one JSON for each split, in it or in `annotations`, or Roboflow's."""
    if path.suffix.lower() == ".json":
        return Source(path, f"COCO file {path}", {ALL: partial(_read, path)})
    if not path.is_dir():
        return None
    files = _files_by_split(path)
    if not files:
        return None
    title = f"COCO folder {path} ({', '.join(file.name for file in files.values())})"
    return Source(path, title, {split: partial(_read, file) for split, file in files.items()})


def _files_by_split(folder: Path) -> dict[str, Path]:
    """The JSON of each split; a single file whose name speaks of none is `ALL`.

    Raises:
        AnnotationError: two files claim one split.
    """
    found = sorted(file for pattern in ("*.json", "annotations/*.json", "*/_annotations.coco.json")
                   for file in folder.glob(pattern) if _looks_like_coco(file))  # fmt: skip
    # COCO's own download has captions and key points beside the boxes.
    found = [file for file in found if file.name.startswith("instances_")] or found
    return one_each(folder, ((_split_of(file, folder), file) for file in found))


def _split_of(file: Path, folder: Path) -> str:
    beneath = "" if file.parent == folder else file.parent.name
    return split_in(file.stem) or split_in(beneath) or ALL


def _looks_like_coco(file: Path) -> bool:
    if not file.is_file():  # a folder can be named so
        return False
    with file.open("rb") as stream:
        start = stream.read(SNIFFED)
    return start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and any(
        f'"{key}"'.encode() in start for key in (*PARTS, "info", "licenses")
    )


def _read(path: Path, names: Names | None, strict: bool) -> SampleSet:
    tree = _parse(path)
    categories = _categories(path, tree["categories"])
    names = names or tuple(categories.values())
    collector = Collector(names, strict)
    images = _images(path, tree["images"], collector)
    label_of = {number: names.index(name) for number, name in categories.items() if name in names}
    rows = _rows_by_image(path, tree["annotations"], images, categories, label_of, collector)
    tail = path.stem.rpartition("_")[2]  # COCO keeps the images of instances_train2017 in train2017
    roots = [root / part for root in around(path.parent) for part in (tail, f"images/{tail}")]
    wanted = (image["file_name"] for image in images.values())
    root = root_of(wanted, [*image_roots(path.parent), *roots], path)
    for key, image in images.items():
        place = f"{path}: image {key}"
        declared = _declared(image)
        collector.add(root / image["file_name"], rows[key], place, declared=declared, image_id=key)
    number_of = {label: number for number, label in label_of.items()}
    ids = tuple(number_of[i] for i in range(len(names))) if len(number_of) == len(names) else ()
    where = [f"images in {(root / image['file_name']).parent}" for image in images.values()]
    return collector.result("coco", where[0] if where else "", ids)


def _parse(path: Path) -> dict[str, list[Any]]:
    """The three lists.

    Raises:
        AnnotationError: not JSON, cut short, or not COCO.
    """
    try:
        tree = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{path}: not JSON, or cut short: {error}") from error
    for part in PARTS:
        if not isinstance(tree, dict) or not isinstance(tree.get(part), list):
            raise AnnotationError(f"{path}: expected COCO with a list {part!r}, found none")
    return dict(tree)


def _categories(path: Path, entries: list[Any]) -> dict[int, str]:
    """Category number -> name, by number.

    Raises:
        AnnotationError: an entry without number or name, or a number or name twice.
    """
    try:
        pairs = sorted((index(entry["id"]), str(entry["name"])) for entry in entries)
    except (TypeError, KeyError) as error:
        raise AnnotationError(f"{path}: expected categories with id and name: {error!r}") from error
    for place in (0, 1):
        (value, count), *_ = Counter(pair[place] for pair in pairs).most_common(1) or [("", 0)]
        if count > 1:
            raise AnnotationError(f"{path}: expected different categories, found {value!r} {count} times")
    return dict(pairs)


def _images(path: Path, entries: list[Any], collector: Collector) -> dict[Any, dict[str, Any]]:
    """Image number -> entry, in the file's order."""
    images: dict[Any, dict[str, Any]] = {}
    for i, entry in enumerate(entries):
        if not (
            isinstance(entry, dict)
            and isinstance(entry.get("id"), int | str)
            and isinstance(entry.get("file_name"), str)
            and entry["file_name"]
        ):
            collector.report(
                f"{path}: images[{i}]", f"expected id and file_name, found {_shown(entry)}", kind="row"
            )
        elif entry["id"] in images:
            collector.report(f"{path}: images[{i}]", f"the id {entry['id']} is there already", kind="row")
        else:
            images[entry["id"]] = entry
    return images


def _rows_by_image(
    path: Path,
    entries: list[Any],
    images: dict[Any, dict[str, Any]],
    categories: dict[int, str],
    label_of: dict[int, int],
    collector: Collector,
) -> dict[Any, list[Row]]:
    """Image number -> its boxes; an annotation without an image is reported here."""
    rows: dict[Any, list[Row]] = defaultdict(list)
    for i, entry in enumerate(entries):
        place = f"{path}: annotations[{i}]"
        if not isinstance(entry, dict):
            collector.report(place, f"expected an annotation, found {_shown(entry)}", kind="row")
            continue
        place = f"{path}: annotation {entry.get('id', f'[{i}]')}"
        key = entry.get("image_id")
        if not isinstance(key, int | str) or key not in images:
            collector.report(place, f"expected the id of an image, found {_shown(key)}", kind="row")
            continue
        rows[key].append(_row(place, entry, categories, label_of))
    return rows


def _row(place: str, entry: dict[str, Any], categories: dict[int, str], label_of: dict[int, int]) -> Row:
    category = entry.get("category_id")
    if not isinstance(category, int) or category not in categories:
        return Row(place, fault=f"expected the id of a category, found {_shown(category)}")
    if category not in label_of:
        return Row(place, fault=f"the class {categories[category]!r} is not among the names", kind="class")
    try:
        box = _corners(entry["bbox"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return Row(
            place, fault=f"expected bbox [left, top, width, height], found {_shown(entry.get('bbox'))}"
        )
    return Row(place, box, label_of[category], bool(entry.get("ignore")), bool(entry.get("iscrowd")))


def _corners(bbox: Any) -> Box:
    left, top, width, height = (float(side) for side in bbox)
    return left, top, left + width, top + height


def _declared(image: dict[str, Any]) -> tuple[int, int] | None:
    """(height, width), as far as the entry has them."""
    height, width = image.get("height"), image.get("width")
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def write(out: Path, sets: Mapping[str, SampleSet]) -> Path:
    """Write `<split>.json` for each split; images stay where they are."""
    kept = next((samples.category_ids for samples in sets.values() if samples.category_ids), ())
    for split, samples in sets.items():
        ids = kept or tuple(range(1, len(samples.names) + 1))
        write_text(out / f"{split}.json", json.dumps(_tree(samples, ids, out)))
    return out


def _tree(samples: SampleSet, categories: tuple[int, ...], out: Path) -> dict[str, Any]:
    """A set as COCO; numbers it came with are kept."""
    ids = [sample.image_id for sample in samples.samples]
    if len({i for i in ids if isinstance(i, int)}) < len(ids):
        ids = list(range(1, len(ids) + 1))
    pairs = list(zip(ids, samples.samples, strict=True))
    annotations = [entry for key, sample in pairs for entry in _annotations(key, sample, categories)]
    return {
        "images": [_image(key, sample, out) for key, sample in pairs],
        "annotations": [{"id": i, **entry} for i, entry in enumerate(annotations, 1)],
        "categories": [{"id": i, "name": name} for i, name in zip(categories, samples.names, strict=True)],
    }


def _image(key: int | str | None, sample: Sample, out: Path) -> dict[str, Any]:
    height, width = sample.image_size
    return {"id": key, "file_name": reference(sample.path, out), "width": width, "height": height}


def _annotations(key: int | str | None, sample: Sample, categories: tuple[int, ...]) -> list[dict[str, Any]]:
    flags = zip(sample.labels.tolist(), sample.difficult.tolist(), sample.crowd.tolist(), strict=True)
    entries = []
    for (left, top, right, bottom), (label, difficult, crowd) in zip(
        sample.boxes.tolist(), flags, strict=True
    ):
        bbox = [tidy(side) for side in (left, top, right - left, bottom - top)]
        entry = {
            "image_id": key,
            "category_id": categories[label],
            "bbox": bbox,
            "area": tidy(bbox[2] * bbox[3]),
        }
        entries.append(entry | {"iscrowd": int(crowd)} | ({"ignore": 1} if difficult else {}))
    return entries
