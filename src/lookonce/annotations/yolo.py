"""YOLO and Darknet text: a `.txt` of labels per image.

    class centre_x centre_y width height        all but the class in fractions of the image's sides

The labels lie in a folder `labels` beside the folder `images` (or VOC's `JPEGImages`), or next to the image.
An image without a label file is a background image. A row with more points is a polygon: its hull is the box.
Class names are in `classes.txt` or a `*.names` file beside, in Darknet's `obj.data`, or in a dataset YAML.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from lookonce._files import replacing, walk_files, write_text
from lookonce.annotations.files import (
    ALL,
    NAME_FILES,
    SPLIT_WORDS,
    Names,
    by_split,
    find_names,
    is_file,
    is_folder,
    key,
    read_lines,
    read_names,
    read_text,
    shown,
    split_of,
)
from lookonce.annotations.layout import distinct, gather, stems_of, write_dataset_yaml
from lookonce.annotations.lines import split_line
from lookonce.annotations.place import Place, Recognised, outside_splits
from lookonce.annotations.records import Parsed, Record
from lookonce.annotations.tree import ImageIndex, Tree, around, by_folder, find_path
from lookonce.annotations.yolo_rows import holds_rows, read_rows
from lookonce.errors import AnnotationError
from lookonce.geometry.boxes import xyxy_to_cxcywh
from lookonce.images import IMAGE_SUFFIXES
from lookonce.samples import Problem, Sample, SampleSet

IMAGE_FOLDERS = ("images", "jpegimages", "image", "imgs")  # in lower case
LABEL_FOLDERS = ("labels", "label")
UNLABELLED = "no label file is about it: taken as a background image"


def recognise(place: Place) -> Recognised | None:
    """Recognise `obj.data`, a list of images (`.txt`), or a folder of images and labels."""
    path = place.path
    if place.suffix == ".data":
        return _darknet(path, place.tree)
    if place.suffix == ".txt":
        return _image_list(place)
    if not place.is_folder:
        return None
    data = place.tree.highest(place.tree.with_suffix(".data"))
    if len(data) == 1 and (found := _darknet(data[0], place.tree)):
        return replace(found, depth=place.tree.depth(data))
    folder = LabelledFolder(place.tree, place.keypoints)
    if not folder.labels and not any(holds_rows(file) for file in folder.orphans):
        return None
    depth = place.tree.depth(folder.labels or folder.orphans)
    lists = {split: file for file in place.tree.with_suffix(".txt")
             if (split := SPLIT_WORDS.get(file.stem.lower())) and _is_image_list(file)}  # fmt: skip
    if lists:
        parses = {split: partial(folder.of_list, lists[split]) for split in by_split(lists)}
        return Recognised(f"YOLO folder {path} (lists {', '.join(parses)})", parses, depth=depth)
    if not place.tree.images:
        what = f"{len(folder.orphans)} label files, and no image; --images DIR names the folder of the images"
        raise AnnotationError(f"{path}: {what}")
    groups, outside = by_folder(folder.tree.images, place.images or place.tree.root)
    parses = {split: partial(folder.of_images, groups[split], split) for split in by_split(groups)}
    return Recognised(f"YOLO folder {path}", parses, outside_splits(outside, groups), depth=depth)


@dataclass
class LabelFiles:
    """Label files by place, ignoring case; folders are listed once."""

    _listed: dict[Path, dict[str, list[Path]]] = field(default_factory=dict)

    def of(self, image: Path, *, exact: bool = False) -> Path | None:
        """Return the labels of an image: in a parallel folder `labels`, else beside it; None for none."""
        name = f"{image.stem}.txt"
        for folder in self.folders(image.parent):
            found = self._entries(folder).get(key(name), [])
            same = [file for file in found if file.name == name]
            if same or (len(found) == 1 and not exact):
                return (same or found)[0]
        return None

    def folders(self, folder: Path) -> Iterator[Path]:
        """Yield the folders in which the labels of a folder of images may lie, the likeliest first."""
        parts = folder.parts
        for i in range(len(parts) - 1, -1, -1):
            if parts[i].lower() not in IMAGE_FOLDERS:
                continue
            for name in LABEL_FOLDERS:
                for beside in self._entries(Path(*parts[:i])).get(name, []):
                    yield beside.joinpath(*parts[i + 1 :])
        yield folder

    def _entries(self, folder: Path) -> dict[str, list[Path]]:
        if folder not in self._listed:
            entries: dict[str, list[Path]] = defaultdict(list)
            try:
                for entry in sorted(folder.iterdir()):
                    entries[key(entry.name)].append(entry)
            except (OSError, ValueError):
                pass
            self._listed[folder] = dict(entries)
        return self._listed[folder]


@dataclass
class LabelledFolder:
    """Images of a folder with their label files.

    Attributes:
        tree: the folder.
        keypoints: numbers behind each box.
        labels: image -> its label file.
        shared: image -> another image of the same stem, which has the one label file.
        orphans: label files without an image.
    """

    tree: Tree
    keypoints: int = 0
    labels: dict[Path, Path] = field(default_factory=dict)
    shared: dict[Path, Path] = field(default_factory=dict)
    orphans: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        files, owner = LabelFiles(), dict[Path, Path]()
        for exact in (True, False):  # a.txt belongs to a.jpg rather than to A.jpg
            for image in self.tree.images:
                file = None if image in self.labels else files.of(image, exact=exact)
                if file and owner.setdefault(file, image) == image:
                    self.labels[image] = file
                elif file:
                    self.shared[image] = owner[file]
        found = [file for file in self.tree.with_suffix(".txt") if _may_be_labels(file)]
        if self.tree.root.is_dir():
            beside = [
                folder
                for folder in files.folders(self.tree.root)
                if folder.is_dir() and folder != self.tree.root
            ]
            found += [file for folder in beside for file in walk_files(folder, AnnotationError)
                      if file.suffix.lower() == ".txt" and _may_be_labels(file)]  # fmt: skip
        rest = [file for file in found if file not in owner]
        idle = [image for image in self.tree.images if image not in self.labels and image not in self.shared]
        named = {}  # by the possible names of the image: its folders without `labels`, and the stem
        for file in rest:
            folders = (part for part in file.parts[1:-1] if part.lower() not in LABEL_FOLDERS)
            named["/".join([*folders, file.stem])] = file
        for name, found_image in ImageIndex(idle).resolve(list(named), self.tree.root, set()).items():
            if found_image:
                self.labels[found_image] = named[name]
        used = set(self.labels.values())
        known = {file.parent for file in used}
        known |= {file.parent for file in rest if file.parent.name.lower() in LABEL_FOLDERS}
        self.orphans = [
            file for file in rest if file not in used and (holds_rows(file) or file.parent in known)
        ]

    def of_images(self, images: Sequence[Path], split: str) -> Parsed:
        """Parse the labels of images; label files without an image in the same split are problems."""
        wanted = [image for image in images if image not in self.shared]
        anywhere = {read_text(file): file.parent for file in self.tree.files if file.name in NAME_FILES}
        near = dict.fromkeys([self.tree.root, *(image.parent for image in images)])
        names = _names_near(*near, *(anywhere.values() if len(anywhere) == 1 else []))
        listed = [(str(image), image, self.labels.get(image)) for image in wanted]
        parsed = _parse(listed, self.tree.root, names, self.keypoints)
        problems = list(parsed.problems)
        for image in images:
            if image in self.shared:
                what = f"{self.shared[image].name} has the one label file of this name: left out"
                problems.append(Problem(str(image), what, kind="shared-labels", image=image))
        for file in self.orphans:
            if split in (
                ALL,
                split_of(file, self.tree.root) if file.is_relative_to(self.tree.root) else split,
            ):
                what = "labels without an image: no picture of this name was found"
                if holds_rows(file):
                    problems.append(Problem(str(file), what, kind="orphan"))
                else:
                    what = "a label file without rows and without an image"
                    problems.append(Problem(str(file), what, "noted", kind="unlisted"))
        return replace(parsed, problems=problems)

    def of_list(self, file: Path) -> Parsed:
        """Parse the labels of the images that a list names."""
        return _of_list(file, self.tree, keypoints=self.keypoints)


def _may_be_labels(file: Path) -> bool:
    return file.name.lower() not in NAME_FILES and not file.stem.lower().startswith(
        ("readme", "license", "labelmap")
    )


def _is_image_list(file: Path) -> bool:
    """Return whether a text begins with a line that holds only the path of an image."""
    try:
        line = next((text for _, text in read_lines(file)), "")
    except AnnotationError:
        return False
    path, words = split_line(line) if line else ("", [])
    return path.lower().endswith(IMAGE_SUFFIXES) and not words


def _image_list(place: Place) -> Recognised | None:
    """Recognise a list of paths of images that have labels."""
    path, tree = place.path, place.tree
    listed = [split_line(text) for _, text in read_lines(path)]
    if not listed or any(words for _, words in listed):
        return None
    try:
        images = tree.find_images([image for image, _ in listed], path.parent, path)
    except AnnotationError:
        return None
    files = LabelFiles()
    if not any(files.of(image) for image in images):
        return None
    return Recognised(
        f"YOLO list of images {path}", {ALL: partial(_of_list, path, tree, keypoints=place.keypoints)}
    )


def _of_list(path: Path, tree: Tree, names: Names = (), keypoints: int = 0) -> Parsed:
    """Parse the labels of the images that a list names: see `LabelFiles`, else by the line itself."""
    lines = [(line, split_line(text)[0]) for line, text in read_lines(path)]
    written = [image for _, image in lines]
    images = tree.find_images(written, path.parent, path)
    files = LabelFiles()
    labels = [files.of(image) for image in images]
    lost = {
        image: f"{image.rpartition('.')[0] or image}.txt"
        for image, file in zip(written, labels, strict=True)
        if not file
    }
    if lost:
        texts = [file for file in tree.with_suffix(".txt") if _may_be_labels(file) and file != path]
        found = ImageIndex(texts).resolve(
            list(dict.fromkeys(lost.values())), path.parent, {file for file in labels if file}
        )
        labels = [file or found[lost[image]] for image, file in zip(written, labels, strict=True)]
    triples = [
        (f"{path}:{line}", image, file) for (line, _), image, file in zip(lines, images, labels, strict=True)
    ]
    return _parse(triples, path, names or _names_near(path.parent), keypoints)


def _parse(
    images: Sequence[tuple[str, Path, Path | None]], place: Path, names: Names, keypoints: int
) -> Parsed:
    """Parse the label files of images, given as place in the list, image and labels.

    Raises:
        AnnotationError: not one of the images has labels.
    """
    if images and not any(labels for _, _, labels in images):
        raise AnnotationError(
            f"{images[0][0]}: expected labels beside the images or in a parallel folder `labels`, "
            f"found none for any of {len(images)} images, {images[0][1]} for one"
        )
    records, problems = [], []
    for listed, image, labels in images:
        try:
            rows = read_rows(labels, keypoints) if labels else []
        except AnnotationError as error:  # a label file that is no text
            problems.append(Problem(listed, str(error), kind="annotation", image=image))
            continue
        note = "" if labels else UNLABELLED
        records.append(Record(listed, image, rows, relative=True, unlabelled=note))
    return Parsed("yolo", records, place.parent, place, problems, names, numbered=True)


def _names_near(*folders: Path) -> Names:
    found = find_names(
        *(near for folder in folders for near in (folder, folder.parent / "labels", folder.parent))
    )
    return read_names(found) if found else ()


def _darknet(path: Path, tree: Tree) -> Recognised | None:
    """Recognise `obj.data`: key = value, with the lists of images and the names.

    Raises:
        AnnotationError: a line that is no setting, or no list.
    """
    settings: dict[str, str] = {}
    for line, text in read_lines(path):
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals and not text.startswith("#"):
            raise AnnotationError(f"{path}:{line}: expected key = value, found {shown(text)}")
        settings[name] = value
    lists = {
        name: SPLIT_WORDS.get(name.lower(), name)
        for name, value in settings.items()
        if name.lower() in SPLIT_WORDS or (value.lower().endswith(".txt") and name not in ("names", "labels"))
    }
    if not lists:
        raise AnnotationError(f"{path}: expected train = or valid = with a list of images, found neither")
    by = {split: name for name, split in lists.items()}
    parses = {split: partial(_of_darknet, path, by[split], settings, tree) for split in by_split(by)}
    return Recognised(f"Darknet data file {path}", parses)


def _of_darknet(path: Path, name: str, settings: Mapping[str, str], tree: Tree) -> Parsed:
    """Parse one split of `obj.data`; CVAT exports labels in `obj_<split>_data`, at times without the list."""
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
        parsed = _of_list(listed, tree, names)
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
    labels = LabelledFolder(Tree(folder, tree.images_folder)).labels
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
    """Write ten decimals: on most images the box that is read back is the same to the last bit of float32."""
    height, width = sample.image_size
    relative = xyxy_to_cxcywh(sample.boxes.astype(np.float64)) / (width, height, width, height)
    for label, sides in zip(sample.labels.tolist(), relative.tolist(), strict=True):
        yield " ".join([str(label), *(f"{side:.10f}" for side in sides)])
