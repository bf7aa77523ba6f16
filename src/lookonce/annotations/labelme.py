"""Read and write LabelMe's format: a JSON file beside each image, with shapes as points in pixels."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lookonce._files import replacing
from lookonce._texts import class_name, is_file, read_names, shown
from lookonce.annotations.data_path import DataPath, Recognized, file_per_image
from lookonce.annotations.files import ALL, is_json, json_keys, key, read_json
from lookonce.annotations.layout import distinct, gather, stems_of, tidy, write_names
from lookonce.annotations.records import Parsed, Record, Row, declared_size, hull
from lookonce.annotations.tree import closest
from lookonce.errors import AnnotationError
from lookonce.samples import Problem, SampleSet

NO_IMAGES: Mapping[str, list[Path]] = {}
NAMES = "classes.txt"  # not part of the format; keeps the order of the classes
UNLABELED = "no JSON describes it: used as a background image"


def looks_like(file: Path) -> bool:
    """Return whether a JSON file has LabelMe's keys."""
    keys = json_keys(file)
    return "[]" not in keys and "shapes" in keys and bool(keys & {"imagePath", "imageData", "imageHeight"})


def recognize(data: DataPath) -> Recognized | None:
    """Recognize a LabelMe JSON file, or a folder of them, whose splits are folders."""
    if data.suffix == ".json" and looks_like(data.path):
        return Recognized(f"LabelMe file {data.path}", {ALL: partial(_parse, [data.path])})
    given = data.tree.with_suffix(".json") if data.is_folder else []
    if not any(map(looks_like, given)):
        return None
    images: dict[str, list[Path]] = {}
    for image in data.tree.images:
        images.setdefault(key(image.stem), []).append(image)
    # an image with a damaged JSON file of its name must not become a background image
    files = [file for file in given if looks_like(file) or (key(file.stem) in images and not is_json(file))]
    parse = partial(_parse, images=images)
    return file_per_image(data, f"LabelMe folder {data.path}", files, parse, UNLABELED)


def _parse(files: Sequence[Path], images: Mapping[str, list[Path]] = NO_IMAGES) -> Parsed:
    records, problems, spoiled = [], [], list[str]()
    for file in files:
        try:
            tree = read_json(file)
            if not isinstance(tree, dict) or not isinstance(tree.get("shapes"), list):
                raise AnnotationError(f"{file}: expected LabelMe's list 'shapes', found none")
        except AnnotationError as error:
            place, _, what = str(error).partition(": ")
            problems.append(Problem(place, what, kind="annotation"))
            spoiled.append(file.stem)
            continue
        rows = [_row(f"{file}: shape {i}", shape) for i, shape in enumerate(tree["shapes"], 1)]
        declared = declared_size(tree.get("imageHeight"), tree.get("imageWidth"))
        image = _image(file, tree.get("imagePath"), images, problems)
        if image is None:
            what = "several images have its name, and no folder tells which is meant"
            problems.append(Problem(str(file), what, kind="shared-labels"))
            spoiled.append(file.stem)
            continue
        records.append(Record(str(file), image, rows, declared))
    found = next(
        (near / NAMES for near in (files[0].parent, files[0].parent.parent) if (near / NAMES).is_file()), None
    )
    names = read_names(found) if found else ()
    return Parsed("labelme", records, files[0].parent, files[0].parent, problems, names, spoiled=spoiled)


def _image(
    file: Path, written: Any, images: Mapping[str, list[Path]], problems: list[Problem]
) -> Path | str | None:
    """Return the image with the name of the JSON file, as LabelMe does, else the image that the file names.

    The file's own name comes first because a file that was copied or renamed still names another image. Of
    several images with the name, the one whose folders match best is used; if several match equally well,
    the result is None.
    """
    named = written.replace("\\", "/") if isinstance(written, str) else ""
    last = named.rpartition("/")[2]
    beside = file.parent / named
    there = bool(named) and is_file(beside)
    if key(Path(last).stem) == key(file.stem) and there:
        return beside
    own = [image for image in images.get(key(file.stem), []) if image.parent == file.parent]
    if own:
        if there:
            what = f"imagePath names {shown(last)}, which is there; the boxes are used for {own[0].name}"
            problems.append(Problem(str(file), what, "repaired", kind="filename", image=own[0]))
        return own[0]
    if there:
        return beside
    stem = Path(last).stem
    alike = [image for image in images.get(key(stem), []) if key(image.name) == key(last)]
    if not alike and (own := images.get(key(file.stem), [])):
        stem, alike = file.stem, own
    if len(alike) < 2:
        return named if named and key(stem) == key(Path(last).stem) else file.stem
    near = closest(alike, file.parts[:-1])
    return near[0] if len(near) == 1 else None


def _row(place: str, shape: Any) -> Row:
    name = class_name(shape.get("label")) if isinstance(shape, dict) else ""
    if not name:
        return Row(place, fault=f"expected a class name, found an empty name in {shown(shape)}", kind="class")
    form = shape.get("shape_type") or "polygon"
    try:
        points = [(float(x), float(y)) for x, y in shape["points"]]
        if form == "circle":
            (x, y), edge = points
            radius = ((edge[0] - x) ** 2 + (edge[1] - y) ** 2) ** 0.5
            points = [(x - radius, y - radius), (x + radius, y + radius)]
        return Row(place, hull(points), name, polygon=form != "rectangle")
    except (KeyError, TypeError, ValueError, OverflowError):
        return Row(place, fault=f"expected points [x, y] of a {form}, found {shown(shape.get('points'))}")


def write(out: Path, sets: Mapping[str, SampleSet]) -> Path:
    """Write a folder per split, with links to its images and a JSON file beside each, and `classes.txt`."""
    names = next(iter(sets.values())).names
    write_names(out / NAMES, names)
    named = distinct(sets)
    for split, samples in sets.items():
        stems = stems_of(samples, named)
        images = gather({stem: named[stem] for stem in stems}, out / split)
        for stem in stems:
            sample, (height, width) = named[stem], named[stem].image_size
            shapes = []
            for box, label in zip(sample.boxes.tolist(), sample.labels.tolist(), strict=True):
                left, top, right, bottom = map(tidy, box)
                points = [[left, top], [right, bottom]]
                shapes.append({"label": names[label], "points": points, "group_id": None,
                               "shape_type": "rectangle", "flags": {}})  # fmt: skip
            tree: dict[str, Any] = {
                "version": "5.0.1",
                "flags": {},
                "shapes": shapes,
                "imagePath": images[stem].name,
                "imageData": None,
                "imageHeight": height,
                "imageWidth": width,
            }
            with replacing(out / split / f"{stem}.json", durable=False) as temporary:
                temporary.write_text(json.dumps(tree, ensure_ascii=False, indent=1), encoding="utf-8")
    return out
