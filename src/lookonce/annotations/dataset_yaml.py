"""Read a dataset YAML: class names, and the path of each split in any format.

    names: [RBC, WBC, Platelets]        # or {0: RBC, 1: WBC, 2: Platelets}
    train: annotations/train.json       # a folder or file in any format, or a list of these
    val: ../more/val_lines.txt

Further keys change classes and areas to train on, see docs/labels.md:

    classes: {van: car, tree: null}     # rename, merge, or drop classes
    ignore: [DontCare, [[0, 0], [640, 0], [640, 90]]]    # classes, and polygons in every image
    train:
      - path: cars/                     # a source with its own settings
        annotated: [car]                # objects of other classes may lack a box in it

YOLO tools call it `data.yaml` and add `path`, the folder that the other paths are relative to, and `nc`, the
number of classes. Without `path`, paths are relative to the YAML. A YAML without splits defines the class
names of the annotations in its folder.

All values are read as text, so `no` and `2024-01-01` are valid names.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lookonce._files import WALK_LIMIT
from lookonce._texts import Names, checked_names, read_text, shown
from lookonce.annotations.data_path import DataPath
from lookonce.annotations.files import SPLIT_WORDS, by_split, listed
from lookonce.annotations.selection import (
    NOTHING,
    Selection,
    absent_classes,
    annotated_targets,
    only_annotated,
    parse_classes,
    parse_ignore,
)
from lookonce.annotations.source import Annotations, Part, merge
from lookonce.annotations.tree import Tree, find_path
from lookonce.errors import AnnotationError
from lookonce.samples import Problem, SampleSet

SUFFIXES = (".yaml", ".yml")
OTHER_KEYS = ("names", "nc", "path", "classes", "ignore")
HARMLESS_KEYS = ("author", "backup", "date", "description", "download", "flip_idx", "info", "kpt_names",
                 "kpt_shape", "licence", "license", "roboflow", "skeleton", "task", "url",
                 "version")  # fmt: skip
DEEPEST = 20  # limit on the nesting of a YAML
MOST_ABOVE = 100_000  # limit on files and folders below a folder two or more levels above the YAML's folder

Open = Callable[[DataPath], Annotations]  # function that recognizes any format, for each entry of the YAML


def recognize(data: DataPath, open_data: Open) -> Annotations | None:
    """Recognize a `.yaml`, or a folder with one that has class names.

    Raises:
        AnnotationError: the YAML is damaged, or names no annotations that exist.
    """
    path = data.path
    if data.is_folder:
        found = _find_yaml(data)
        if found is None:
            return None
        path = found
    if path.suffix.lower() not in SUFFIXES:
        return None
    tree = read_yaml(path)
    names = _names(path, tree)
    selection = Selection(
        str(path),
        parse_classes(str(path), tree.get("classes") or {}),
        *parse_ignore(path, tree.get("ignore") or []),
    )
    entries = {SPLIT_WORDS[key.lower()]: (key, _entries(path, tree, key)) for key in tree
               if key.lower() in SPLIT_WORDS and tree[key] not in NOTHING}  # fmt: skip
    known = (*SPLIT_WORDS, *OTHER_KEYS, *HARMLESS_KEYS)
    remarks = [
        Problem(str(path), f"the key {shown(key)} is unknown and has no effect", "noted", kind="setting")
        for key in tree
        if key.lower() not in known
    ]
    keypoints = _keypoints(path, tree)
    parts: dict[str, Part] = {}
    if not entries:
        if path.parent != data.path and not data.is_folder:
            data = DataPath(path.parent, data.images)
        data.keypoints = keypoints
        try:
            within = open_data(data)
        except AnnotationError as error:
            what = "expected train: or val: with the path of annotations, found neither"
            raise AnnotationError(f"{path}: {what}; and its folder alone: {error}") from error
        for split in within.parts:
            parts[split] = YamlPart(path, split, [Entry(within)], names, open_data, selection)
        title = f"{within.title}, class names from {path.name}"
        return Annotations(data.path, title, parts, within.tree, [*within.remarks, *remarks])
    missing = []
    root = path.parent / _root(path, tree)
    above = path.parent.resolve()
    common = (folder for folder in (above, *above.parents) if root.resolve().is_relative_to(folder))
    home = next(common, above)  # no common folder: two drives
    for split in by_split(entries):
        key, written = entries[split]
        there = []
        for entry, annotated in written:
            found = find_path(entry, root, path.parent)
            if found is None:
                expected = root / entry
                missing.append(f"expected {key}: {entry} at {expected}, found nothing there")
            else:
                most = _most_files(found, path)
                there.append(Entry(DataPath(found, data.images, keypoints, most, home), annotated))
        if there:
            parts[split] = YamlPart(path, split, there, names, open_data, selection)
    if not parts or (missing and "train" in entries and "train" not in parts):
        raise AnnotationError(f"{path}: {missing[0]}")
    remarks += [Problem(str(path), f"{what}: skipped", "noted", kind="split-absent") for what in missing]
    title = f"dataset file {path}"
    # if `path` is elsewhere, the images around the YAML do not belong to the data set
    place = root if root.is_dir() else path.parent
    all_files = Tree(place, data.images, _most_files(place, path)) if place.resolve().name else None
    return Annotations(data.path, title, parts, all_files, remarks)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping whose scalars are all text.

    Raises:
        AnnotationError: the file is unreadable, not YAML, not a mapping, nested too deeply, or has aliases
            or repeated keys.
    """
    try:
        tree = yaml.load(read_text(path), _Loader)  # safe: the loader only builds text, lists and dicts
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise AnnotationError(f"{path}: not YAML: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(tree, dict):
        raise AnnotationError(f"{path}: expected a mapping with names: and train:, found {shown(tree)}")
    return tree


class _Loader(yaml.BaseLoader):
    """Loader that refuses repeated keys, and aliases, which can expand to gigabytes."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose one node.

        Raises:
            ComposerError: the node is an alias or nested too deeply.
        """
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases are not read", None)
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.composer.ComposerError(None, None, "nested too deep", None)
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping.

        Raises:
            ConstructorError: a key is not text, or occurs more than once.
        """
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value in seen:
                what = (
                    f"{shown(key.value)} more than once"
                    if isinstance(key, yaml.ScalarNode)
                    else "a key that is not text"
                )
                raise yaml.constructor.ConstructorError(None, None, what, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _find_yaml(data: DataPath) -> Path | None:
    """Return the dataset YAML of a folder: one with a usual name, else the only one with names and train."""
    usual = [data.path / f"{stem}{suffix}" for stem in ("dataset", "data") for suffix in SUFFIXES]
    if found := next((file for file in usual if file.is_file()), None):
        return found
    near = []
    for file in data.tree.with_suffix(*SUFFIXES):
        if len(file.relative_to(data.path).parts) <= 2:
            with suppress(AnnotationError, OSError):
                if file.stat().st_size < 1 << 20 and {"names", "train"} <= read_yaml(file).keys():
                    near.append(file)
    top = [file for file in near if file.parent == data.path] or near
    return top[0] if len(top) == 1 else None


def _names(path: Path, tree: Mapping[str, Any]) -> Names:
    given = tree.get("names")
    if isinstance(given, dict):
        numbers = sorted((key for key in given if key.isdecimal() and len(key) < 10), key=int)
        if [int(key) for key in numbers] != list(range(len(given))):
            raise AnnotationError(
                f"{path}: expected names numbered from 0 without a gap, found {listed(given)}"
            )
        given = [given[key] for key in numbers]
    if not isinstance(given, list) or not all(isinstance(name, str) and name.strip() for name in given):
        raise AnnotationError(f"{path}: expected names: with a list of class names, found {shown(given)}")
    names = checked_names(path, given)
    if str(tree.get("nc", len(names))).removesuffix(".0") != str(len(names)):
        raise AnnotationError(
            f"{path}: expected {str(tree['nc'])[:20]} class names (nc:), found {len(names)}"
        )
    return names


def _root(path: Path, tree: Mapping[str, Any]) -> str:
    """Return the value of `path`, the folder that the other paths are relative to; `.` without it."""
    given = tree.get("path", ".")
    if not isinstance(given, str):
        raise AnnotationError(f"{path}: expected path: with a folder, found {shown(given)}")
    return given


def _most_files(place: Path, path: Path) -> int:
    """Return the limit on files and folders below a folder that a YAML names.

    The limit is needed because a YAML from elsewhere can name any folder.

    Raises:
        AnnotationError: the folder is the root of the file system.
    """
    try:
        whole, above = place.resolve(), path.resolve().parents
    except (OSError, RuntimeError, ValueError):  # for example a loop of links
        return WALK_LIMIT
    if whole == Path(whole.anchor):
        raise AnnotationError(
            f"{path}: expected a folder of the data set, found {place}, the root of the file system"
        )
    return MOST_ABOVE if whole in above[2:] else WALK_LIMIT


def _keypoints(path: Path, tree: Mapping[str, Any]) -> int:
    """Return how many keypoint numbers follow each box, from `kpt_shape`: [points, numbers per point].

    Raises:
        AnnotationError: it is not two numbers.
    """
    shape = tree.get("kpt_shape", ["0", "2"])
    if not isinstance(shape, list) or [each.isdecimal() for each in shape] != [True, True]:
        raise AnnotationError(f"{path}: expected kpt_shape: with two numbers, found {shown(shape)}")
    return int(shape[0][:6]) * int(shape[1][:6])


def _entries(path: Path, tree: Mapping[str, Any], key: str) -> list[tuple[str, Names | None]]:
    """Return the path of each source of a split, and its annotated classes or None for all classes."""
    given = tree[key] if isinstance(tree[key], list) else [tree[key]]
    entries = []
    for entry in given:
        about = entry if isinstance(entry, dict) else {"path": entry}
        place, annotated = about.get("path"), about.get("annotated")
        if not isinstance(place, str) or not place or about.keys() - {"path", "annotated"}:
            raise AnnotationError(
                f"{path}: expected {key}: with a path, {{path: ..., annotated: [...]}}, or a list of these, "
                f"found {shown(entry)}"
            )
        if annotated is not None and not (isinstance(annotated, list) and annotated):
            what = f"expected annotated: with a list of class names for {place}, found {shown(annotated)}"
            raise AnnotationError(f"{path}: {what}")
        entries.append((place, None if annotated is None else checked_names(path, annotated)))
    if not entries:
        raise AnnotationError(f"{path}: expected {key}: with a path, found an empty list")
    return entries


class Entry(NamedTuple):
    """One source of a split.

    Attributes:
        data: data to recognize, or recognized data.
        annotated: classes whose objects all have boxes in this source; None for all classes.
    """

    data: DataPath | Annotations
    annotated: Names | None = None


@dataclass(eq=False)
class YamlPart:
    """One split of a dataset YAML, whose sources are recognized once.

    Attributes:
        path: path of the YAML.
        split: name of the split.
        entries: sources of the split.
        given: class names of the YAML, as in its files.
        open_data: function that recognizes a source.
        selection: changes to classes, and ignored areas.
    """

    path: Path
    split: str
    entries: Sequence[Entry]
    given: Names
    open_data: Open
    selection: Selection

    @cached_property
    def sources(self) -> list[Annotations]:
        """Return the recognized data of each source."""
        given = (entry.data for entry in self.entries)
        return [each if isinstance(each, Annotations) else self.open_data(each) for each in given]

    def images(self) -> set[Path]:
        """Return every image that the split names, whether or not it exists."""
        return {image for source in self.sources for part in source.parts.values() for image in part.images()}

    def read(self, names: Names | None, strict: bool, extra: Names = ()) -> SampleSet:
        """Read all sources as one set.

        Raises:
            AnnotationError: other class names were requested, or a source cannot be read.
        """
        absent = self.selection.absent_from(self.given)
        selected = self.selection.names((*self.given, *absent))
        if names is not None and names != selected:
            raise AnnotationError(
                f"{self.path}: expected the classes {listed(names)}, found {listed(selected)}"
            )
        annotated: dict[Path, Names] = {}
        complete: dict[Path, set[Path]] = {}
        sets = []
        for source, entry in zip(self.sources, self.entries, strict=True):
            split = self.split if source.splits else None
            sets.append(source.load(split, self.given, strict, unused=False, extra=absent))
            images = {sample.path for sample in sets[-1].samples}
            if entry.annotated is None:
                complete[entry.data.path] = images
                continue
            targets = annotated_targets(entry.annotated, self.selection, (*self.given, *absent))
            for image in images:  # an image in two sources has the annotated classes of both
                annotated[image] = tuple(dict.fromkeys([*annotated.get(image, ()), *targets]))
        found = merge(sets, "", unite=True)
        for image in {image for images in complete.values() for image in images}:
            annotated.pop(image, None)
        if self.selection.changes:
            found = self.selection.apply(found)
        if len(self.entries) > 1:
            found = replace(found, problems=[*found.problems, *absent_classes(found, complete)])
        return only_annotated(found, annotated, self.path) if annotated else found
