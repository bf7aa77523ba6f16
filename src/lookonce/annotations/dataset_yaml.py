"""The dataset YAML: class names, and where each split is, in any of the formats.

    names: [RBC, WBC, Platelets]        # or {0: RBC, 1: WBC, 2: Platelets}
    train: annotations/train.json       # a folder, a COCO file, a text, or a list of these
    val: ../more/val_lines.txt

It is also what YOLO tools call `data.yaml`, which adds `path`, the folder that the others start from, and
`nc`, the number of classes. Paths are relative to the YAML.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from lookonce.annotations.collect import Names
from lookonce.annotations.files import SPLIT_WORDS, by_split, checked_names, exists
from lookonce.annotations.source import Source, merge
from lookonce.config import read_yaml
from lookonce.errors import AnnotationError
from lookonce.samples import Problem, SampleSet

SUFFIXES = (".yaml", ".yml")
OTHER_KEYS = ("names", "nc", "path")

Open = Callable[[Path], Source]  # the recognition of all formats, which this one hands its entries to


def recognise(path: Path, open_source: Open) -> Source | None:
    """A `.yaml`; or the `data.yaml` or `dataset.yaml` of a folder."""
    if path.is_dir():
        found = [path / f"{stem}{suffix}" for stem in ("dataset", "data") for suffix in SUFFIXES]
        path = next((file for file in found if file.is_file()), path)
    if path.suffix.lower() not in SUFFIXES:
        return None
    tree = read_yaml(path)
    names = _names(path, tree)
    unknown = [
        Problem(str(path), f"the key {key!r} is unknown and has no effect", "noted", kind="setting")
        for key in tree
        if key not in SPLIT_WORDS and key not in OTHER_KEYS
    ]
    entries = {
        SPLIT_WORDS[key]: _entries(path, tree, key) for key in tree if tree[key] and key in SPLIT_WORDS
    }
    if not entries:
        raise AnnotationError(f"{path}: expected train: or val: with the place of annotations, found neither")
    parts = {
        split: partial(_read, entries[split], split, names, unknown, open_source)
        for split in by_split(entries)
    }
    return Source(path, f"dataset file {path}", parts)


def _names(path: Path, tree: dict[str, Any]) -> Names:
    given = tree.get("names")
    if isinstance(given, dict) and set(given) != set(range(len(given))):
        raise AnnotationError(f"{path}: expected names numbered from 0 without a gap, found {list(given)}")
    if isinstance(given, dict):
        given = [given[i] for i in range(len(given))]
    if not isinstance(given, list) or any(type(name) not in (str, int, float) for name in given):
        raise AnnotationError(
            f"{path}: expected names: with a list of class names, found {given!r} "
            "(yes, no and dates need quotes)"
        )
    names = checked_names(path, [str(name) for name in given])
    if tree.get("nc", len(names)) != len(names):
        raise AnnotationError(f"{path}: expected {tree['nc']} class names (nc:), found {len(names)}")
    return names


def _entries(path: Path, tree: dict[str, Any], key: str) -> list[Path]:
    given = tree[key] if isinstance(tree[key], list) else [tree[key]]
    if not all(isinstance(entry, str) for entry in given):
        raise AnnotationError(f"{path}: expected {key}: with a path or a list of paths, found {tree[key]!r}")
    return [_find(path, str(tree.get("path") or "."), entry, key) for entry in given]


def _find(path: Path, start: str, entry: str, key: str) -> Path:
    """The place of an entry. Some exports write `../train` for a folder that lies beside the YAML."""
    tried = [path.parent / start / entry, path.parent / entry, path.parent / entry.removeprefix("../")]
    for place in tried:
        if exists(place):
            return place
    raise AnnotationError(f"{path}: expected {key}: {entry} at {tried[0]}, found nothing there")


def _read(
    entries: list[Path],
    split: str,
    own: Names,
    unknown: list[Problem],
    open_source: Open,
    names: Names | None,
    strict: bool,
) -> SampleSet:
    if names is not None and names != own:
        raise AnnotationError(f"expected the classes {', '.join(names)}, found {', '.join(own)}")
    sources = [open_source(entry) for entry in entries]
    sets = [source.load(split if source.splits else None, own, strict) for source in sources]
    noted = SampleSet(own, [], unknown, sets[0].format, sets[0].category_ids)
    return merge([*sets, noted], "")
