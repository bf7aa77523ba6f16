"""Reading annotation texts, and finding the images they speak of."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from lookonce.errors import AnnotationError
from lookonce.images import IMAGE_SUFFIXES

IMAGE_FOLDERS = ("JPEGImages", "images")  # VOC's and YOLO's; COCO users unpack into either
SPLITS = ("train", "val", "trainval", "test")
SPLIT_WORDS = {**{split: split for split in SPLITS}, "valid": "val", "validation": "val"}


def read_text(path: Path) -> str:
    """A UTF-8 file, with or without byte order mark.

    Raises:
        AnnotationError: missing, a folder, unreadable, or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise AnnotationError(
            f"{path}: expected UTF-8 text, found the byte 0x{error.object[error.start]:02x} at {error.start}"
        ) from error


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line that is not blank; a form feed or the like ends no line.

    Raises:
        AnnotationError: as `read_text`.
    """
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if stripped := line.strip():
            yield number, stripped


def read_names(path: Path) -> tuple[str, ...]:
    """Class names, one a line; the first line is class 0.

    Raises:
        AnnotationError: unreadable, empty, a blank line between names, or a name twice.
    """
    numbered = list(read_lines(path))
    for expected, (number, name) in enumerate(numbered, 1):
        if number != expected:
            raise AnnotationError(
                f"{path}:{expected}: expected a class name before {name!r}, found a blank line"
            )
    return checked_names(path, [name for _, name in numbered])


def checked_names(path: Path, names: Sequence[str]) -> tuple[str, ...]:
    """The names, if there are any and each is there once.

    Raises:
        AnnotationError: otherwise.
    """
    if not names:
        raise AnnotationError(f"{path}: expected class names, found none")
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise AnnotationError(f"{path}: expected each class name once, found {repeated[0]!r} again")
    return tuple(names)


def find_names(*folders: Path) -> Path | None:
    """The file of class names in the first folder that has one: `classes.txt`, or the only `*.names`."""
    for folder in folders:
        if (classes := folder / "classes.txt").is_file():
            return classes
        if len(found := list(folder.glob("*.names"))) == 1:
            return found[0]
    return None


def split_in(text: str) -> str | None:
    """The split that a file or folder name speaks of: `instances_train2017` -> `train`."""
    words = re.split(r"[^a-z]+", text.lower())
    return next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), None)


def by_split(splits: Iterable[str]) -> list[str]:
    """The usual splits in their usual order, then any others by name."""
    return sorted(splits, key=lambda split: (SPLITS.index(split) if split in SPLITS else len(SPLITS), split))


def one_each(place: Path, claims: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    """Split -> its file or folder, the usual splits first.

    Raises:
        AnnotationError: two claim one split.
    """
    found: dict[str, Path] = {}
    for split, path in claims:
        if split in found:
            raise AnnotationError(
                f"{place}: expected one source for split {split}, found {found[split]} and {path}; "
                "name the one to read"
            )
        found[split] = path
    return {split: found[split] for split in by_split(found)}


def around(folder: Path) -> list[Path]:
    """A folder and the two above it: annotations often lie one or two levels below the images' folder."""
    return [folder, *folder.absolute().parents[:2]]


def image_roots(folder: Path) -> list[Path]:
    """Folders that may hold the images of annotations in `folder`, the likeliest first."""
    return [root for base in around(folder) for root in (*(base / name for name in IMAGE_FOLDERS), base)]


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name that no file can have is the name of none."""
    return exists(path) and path.is_file()


def exists(path: Path) -> bool:
    """Whether there is such a file or folder."""
    try:
        return path.exists()
    except OSError:  # too long a name, or a folder that may not be entered
        return False


def root_of(names: Iterable[str], roots: Sequence[Path], place: Path) -> Path:
    """The first root that holds an image; the other images are looked for there and nowhere else.

    Raises:
        AnnotationError: no image is in any of the roots.
    """
    names = list(names)
    for name in names:
        for root in roots:
            if is_file(root / name):
                return root
    if not names:
        return roots[0]
    looked = ", ".join(str(root) for root in roots)
    raise AnnotationError(
        f"{place}: none of its {len(names)} images is there, {names[0]!r} for one; looked in {looked}"
    )


def images_by_stem(folder: Path) -> dict[str, Path]:
    """The images directly in a folder, by name without suffix."""
    if not folder.is_dir():
        return {}
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    return {path.stem: path for path in reversed(found)}  # of a.jpg and a.png, a.jpg
