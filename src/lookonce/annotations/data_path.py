"""Input and result of the functions that recognize a format."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from lookonce._files import WALK_LIMIT
from lookonce.annotations.files import ALL, by_split, split_in, split_of
from lookonce.annotations.records import Parsed
from lookonce.annotations.tree import Tree, by_folder
from lookonce.samples import Problem


@dataclass
class DataPath:
    """DATA as the user gave it.

    Attributes:
        path: file or folder.
        images: folder of the images, if the user gave one.
        keypoints: number of values after each box in YOLO text, according to a dataset YAML.
        most_files: limit on the number of files and folders below the folder.
        home: folder in which images are expected; None for the folder, or for the second one above a file.
    """

    path: Path
    images: Path | None = None
    keypoints: int = 0
    most_files: int = WALK_LIMIT
    home: Path | None = None

    @cached_property
    def tree(self) -> Tree:
        """Return the files below the folder, or below the folder of the file."""
        folder = self.path if self.path.is_dir() else self.path.parent
        return Tree(folder, self.images, self.most_files)

    @property
    def is_folder(self) -> bool:
        """Return whether the path is a folder."""
        return self.path.is_dir()

    @property
    def suffix(self) -> str:
        """Return the suffix of a file in lower case; empty for a folder."""
        return "" if self.is_folder else self.path.suffix.lower()


@dataclass(frozen=True)
class Recognized:
    """Recognized data in one format.

    Attributes:
        title: description of the data for messages.
        parses: functions that read the splits, by name; only `ALL` if there are no splits.
        remarks: problems of the data set as a whole.
        unlabeled: message about images without annotations, which are then background images; empty if
            such images are left out.
        depth: see `Tree.depth`; of two formats in one folder, the one nearer the root is used.
    """

    title: str
    parses: Mapping[str, Callable[[], Parsed]]
    remarks: Sequence[Problem] = ()
    unlabeled: str = ""
    depth: int = 0


def file_per_image(
    data: DataPath,
    title: str,
    files: Sequence[Path],
    parse: Callable[[Sequence[Path]], Parsed],
    unlabeled: str,
) -> Recognized:
    """Recognize a format with one file per image, whose splits are folders.

    Args:
        data: path that the user gave.
        title: description of the data for messages.
        files: annotation files.
        parse: function that reads the files of one split.
        unlabeled: see `Recognized`.
    """
    groups, outside = by_folder(files, data.tree.root)
    parses = {split: partial(parse, groups[split]) for split in by_split(groups)}
    return Recognized(title, parses, outside_splits(outside, groups), unlabeled, data.tree.depth(files))


def file_per_split(
    data: DataPath,
    name: str,
    looks_like: Callable[[Path], object],
    suffix: str,
    parse: Callable[[Sequence[Path]], Parsed],
) -> Recognized | None:
    """Recognize a format with one file for many images, whose splits are named by files or folders.

    Args:
        data: path that the user gave.
        name: name of the format.
        looks_like: function that returns whether a file has the format.
        suffix: suffix of the files.
        parse: function that reads the files of one split.
    """
    if data.suffix == suffix and looks_like(data.path):
        return Recognized(f"{name} file {data.path}", {ALL: partial(parse, [data.path])})
    files = data.tree.with_suffix(suffix) if data.is_folder else []
    files = data.tree.highest([file for file in files if looks_like(file)])
    groups: dict[str, list[Path]] = {}
    for file in files:
        groups.setdefault(split_in(file.stem) or split_of(file, data.tree.root) or ALL, []).append(file)
    if not groups:
        return None
    parses = {split: partial(parse, groups[split]) for split in by_split(groups)}
    return Recognized(f"{name} folder {data.path}", parses, depth=data.tree.depth(files))


def outside_splits(files: Sequence[Path], splits: Iterable[str]) -> list[Problem]:
    """Return a problem about the files outside the folders of the splits, if there are any."""
    if not files:
        return []
    what = f"lies outside the folders {', '.join(splits)}: not read; {len(files)} like this in all"
    return [Problem(str(files[0]), what, kind="outside-splits")]
