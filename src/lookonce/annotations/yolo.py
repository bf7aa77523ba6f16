"""Read and write YOLO's text format, which Darknet also uses, with one label file (`.txt`) per image.

    class center_x center_y width height        all but the class in fractions of the image's sides

Labels are in a folder `labels` beside the folder `images` (or VOC's `JPEGImages`), or next to the image. An
image without a label file is a background image. A row with more points is a polygon; the box around it is
used. Class names come from a `classes.txt` or `*.names` file nearby, Darknet's `obj.data`, or a dataset YAML.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from lookonce._counted import counted
from lookonce._files import replacing, walk_files, write_text
from lookonce._texts import first_line, is_file, is_folder, read_lines, read_names, read_settings
from lookonce.annotations import foreign
from lookonce.annotations.data_path import DataPath, Recognized, outside_splits
from lookonce.annotations.files import ALL, SPLIT_WORDS, by_split, find_names, key
from lookonce.annotations.layout import distinct, gather, stems_of, write_dataset_yaml
from lookonce.annotations.lines import split_line
from lookonce.annotations.records import Parsed, Record
from lookonce.annotations.tree import Tree, around, by_folder, find_path
from lookonce.annotations.yolo_labels import LabeledFolder, labels_of, parse_list
from lookonce.annotations.yolo_rows import holds_rows, read_rows
from lookonce.errors import AnnotationError
from lookonce.geometry.boxes import xyxy_to_cxcywh
from lookonce.samples import Problem, Sample, SampleSet
from lookonce.suffixes import IMAGE_SUFFIXES


def recognize(data: DataPath) -> Recognized | None:
    """Recognize `obj.data`, a list of images (`.txt`), or a folder of images and labels.

    Raises:
        AnnotationError: a folder has label files but no images, or `obj.data` is damaged.
    """
    path = data.path
    if data.suffix == ".data":
        return _darknet(path, data.tree)
    if data.suffix == ".txt":
        return _image_list(data)
    if not data.is_folder:
        return None
    data_files = data.tree.highest(data.tree.with_suffix(".data"))
    if len(data_files) == 1 and _lists_of(read_settings(data_files[0])):
        return replace(_darknet(data_files[0], data.tree), depth=data.tree.depth(data_files))
    folder = LabeledFolder(data.tree, data.keypoints)
    if not folder.labels and not any(holds_rows(file) for file in folder.orphans):
        return None
    if not any(map(holds_rows, folder.labels.values())) and foreign.name_of(data):
        return None  # another format with a text file per image
    depth = data.tree.depth(folder.labels or folder.orphans)
    stems = {key(image.stem) for image in data.tree.images}
    lists: dict[str, list[Path]] = {}
    for file in data.tree.with_suffix(".txt"):
        if split := SPLIT_WORDS.get(file.stem.lower()):  # a list if its first line is the path of an image
            line = first_line(file)
            image, words = split_line(line) if line else ("", [])
            if key(line) in stems or (image.lower().endswith(IMAGE_SUFFIXES) and not words):
                lists.setdefault(split, []).append(file)
    if lists:
        parses = {split: partial(folder.of_lists, lists[split]) for split in by_split(lists)}
        return Recognized(f"YOLO folder {path} (lists {', '.join(parses)})", parses, depth=depth)
    if not data.tree.images:
        what = f"{counted(len(folder.orphans), 'label file')} but no image"
        raise AnnotationError(f"images: expected the folder of the images for {path}: {what}")
    groups, outside = by_folder(folder.tree.images, data.images or data.tree.root)
    parses = {split: partial(folder.of_images, groups[split], split) for split in by_split(groups)}
    return Recognized(f"YOLO folder {path}", parses, outside_splits(outside, groups), depth=depth)


def _image_list(data: DataPath) -> Recognized | None:
    """Recognize a list of paths of images, if any of these has labels."""
    path, tree = data.path, data.tree
    listed = [split_line(text) for _, text in read_lines(path)]
    if not listed or any(words for _, words in listed):
        return None
    try:
        images = tree.find_images([image for image, _ in listed], path.parent, path)
    except AnnotationError:
        return None
    if not any(labels_of([image for image, _ in listed], images, path, tree)):
        return None
    return Recognized(
        f"YOLO list of images {path}", {ALL: partial(parse_list, path, tree, keypoints=data.keypoints)}
    )


def _lists_of(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the key of each split's list among the settings of `obj.data`, by split."""
    return {
        SPLIT_WORDS.get(name.lower(), name): name
        for name, value in settings.items()
        if name.lower() in SPLIT_WORDS or (value.lower().endswith(".txt") and name not in ("names", "labels"))
    }


def _darknet(path: Path, tree: Tree) -> Recognized:
    """Recognize `obj.data`, whose lines `key = value` name the lists of images and the class names.

    A missing list is skipped if another list exists, unless it is that of `train`.

    Raises:
        AnnotationError: a line is not a setting, or no list is named.
    """
    settings = read_settings(path)
    by = _lists_of(settings)
    if not by:
        raise AnnotationError(f"{path}: expected train = or valid = with a list of images, found neither")
    there = [
        split
        for split, name in by.items()
        if ((found := find_path(settings[name], *around(path.parent))) and is_file(found))
        or is_folder(path.parent / f"obj_{name}_data")
    ]
    absent = [name for split, name in by.items() if split not in there]
    if not there or ("train" in by and "train" not in there):
        there, absent = list(by), []  # reading raises an error that names the missing list
    texts = (f"expected the list {name} = {settings[name]}, found no such file: skipped" for name in absent)
    remarks = [Problem(str(path), what, "noted", kind="split-absent") for what in texts]
    parses = {split: partial(_of_darknet, path, by[split], settings, tree) for split in by_split(there)}
    return Recognized(f"Darknet data file {path}", parses, remarks)


def _of_darknet(path: Path, name: str, settings: Mapping[str, str], tree: Tree) -> Parsed:
    """Parse one split of `obj.data`; CVAT exports labels in `obj_<split>_data`, sometimes without a list.

    Raises:
        AnnotationError: there are no class names, their number is wrong, or there is no list of images.
    """
    bases = around(path.parent)
    names_file = find_path(settings.get("names", ""), *bases) if settings.get("names") else None
    if not names_file or not is_file(names_file):
        names_file = find_names(path.parent)
    if not names_file:
        raise AnnotationError(f"{path}: expected names = with a file of class names, found no such file")
    names = read_names(names_file)
    if settings.get("classes", str(len(names))) != str(len(names)):
        what = f"expected {settings['classes']} class names (classes =), found {len(names)} in {names_file}"
        raise AnnotationError(f"{path}: {what}")
    listed = find_path(settings[name], *bases)
    folder = path.parent / f"obj_{name}_data"
    if listed is not None and is_file(listed):
        parsed = parse_list(listed, tree, names)
        origin = f"labels in {folder}" if is_folder(folder) else f"list {listed}"
        return Parsed(
            parsed.form,
            parsed.records,
            parsed.near,
            listed,
            parsed.problems,
            names,
            numbered=True,
            origin=origin,
        )
    if not is_folder(folder):
        raise AnnotationError(f"{path}: expected the list {name} = {settings[name]}, found no such file")
    files = [file for file in walk_files(folder, AnnotationError) if file.suffix.lower() == ".txt"]
    labels = LabeledFolder(Tree(folder, tree.images_folder)).labels
    by_label = {file: image for image, file in labels.items()}
    images = {file: f"{file.relative_to(folder).with_suffix('').as_posix()}.jpg" for file in files} | by_label
    records = [Record(str(file), images[file], read_rows(file), relative=True) for file in files]
    return Parsed("yolo", records, path.parent, path, (), names, numbered=True, origin=f"labels in {folder}")


def write(out: Path, sets: Mapping[str, SampleSet]) -> Path:
    """Write `data.yaml`, a list per split, `labels`, and `images`, a folder of links."""
    named = distinct(sets)
    images = gather(named, out / "images")
    for stem, sample in named.items():
        lines = "".join(f"{line}\n" for line in label_lines(sample))
        with replacing(out / "labels" / f"{stem}.txt", durable=False) as temporary:
            temporary.write_text(lines, encoding="utf-8")
    for split, samples in sets.items():
        listed = (f"./images/{images[stem].name}\n" for stem in stems_of(samples, named))
        write_text(out / f"{split}.txt", "".join(listed))
    write_dataset_yaml(out / "data.yaml", next(iter(sets.values())).names, sets)
    return out / "data.yaml"


def label_lines(sample: Sample) -> Iterator[str]:
    """Yield the label lines of an image, with ten decimals, so that most boxes are read back exactly."""
    height, width = sample.image_size
    relative = xyxy_to_cxcywh(sample.boxes.astype(np.float64)) / (width, height, width, height)
    for label, sides in zip(sample.labels.tolist(), relative.tolist(), strict=True):
        yield " ".join([str(label), *(f"{side:.10f}" for side in sides)])
