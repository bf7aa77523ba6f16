"""List the files of a data set, and find the images that annotations refer to.

Annotations name images as on the machine that exported them: with that machine's folders, Windows separators,
a URL, another encoding of accents, or only the stem. `Tree.find_images` resolves these names without
guessing: an image is used only if no other image and no other name matches.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from lookonce._files import WALK_LIMIT, walk_files
from lookonce._texts import exists, is_file, shown
from lookonce.annotations.files import ALL, SPLIT_WORDS, depth_of, key, split_of
from lookonce.errors import AnnotationError, ImageError
from lookonce.images import list_images
from lookonce.suffixes import IMAGE_SUFFIXES

IMAGE_FOLDERS = ("JPEGImages", "images")  # VOC's and YOLO's folders; COCO users unpack into either
MOST_AROUND = 200_000  # limit on the files below a folder that the user did not name
UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")  # prefix that Label Studio adds to the names of uploaded files


class Tree:
    """Files below a folder, which is listed only once.

    Attributes:
        root: folder to list.
        images_folder: folder of the images, if the user gave one.
        most_files: limit on the number of files and folders below the root.
    """

    def __init__(self, root: Path, images_folder: Path | None = None, most_files: int = WALK_LIMIT) -> None:
        self.root = root
        self.images_folder = images_folder
        self.most_files = most_files

    @cached_property
    def files(self) -> list[Path]:
        """Return all files below the root.

        Raises:
            AnnotationError: there are too many files.
        """
        if not self.root.is_dir():
            return []
        return list(walk_files(self.root, AnnotationError, limit=self.most_files))

    def with_suffix(self, *suffixes: str) -> list[Path]:
        """Return the files with one of the suffixes, ignoring case."""
        return [file for file in self.files if file.suffix.lower() in suffixes]

    @cached_property
    def images(self) -> list[Path]:
        """Return the images below the root, or below the folder of images if the user gave one."""
        if self.images_folder is None:
            return self.with_suffix(*IMAGE_SUFFIXES)
        found = walk_files(self.images_folder, AnnotationError)
        return [file for file in found if file.suffix.lower() in IMAGE_SUFFIXES]

    @cached_property
    def index(self) -> "ImageIndex":
        """Return an index of the images; without any below the root, of those in folders nearby."""
        images = self.images
        if not images and self.images_folder is None:
            for folder in image_roots(self.root):
                with suppress(ImageError):
                    images = images or list_images(folder)
        if not images and self.images_folder is None:
            with suppress(AnnotationError):  # the parent folder may be too large to search or inaccessible
                near = walk_files(self.root.absolute().parent, AnnotationError, limit=MOST_AROUND)
                images = [file for file in near if file.suffix.lower() in IMAGE_SUFFIXES]
        return ImageIndex(images)

    def depth(self, files: Iterable[Path]) -> int:
        """Return the smallest number of folders with unusual names above any of the files."""
        return min(depth_of(file, self.root) for file in files)

    def highest(self, files: Sequence[Path]) -> list[Path]:
        """Return the files that have the fewest folders with unusual names above them."""
        least = self.depth(files) if files else 0
        return [file for file in files if depth_of(file, self.root) == least]

    def find_images(self, names: Sequence[str], near: Path, place: Path, *, some: bool = True) -> list[Path]:
        """Find the images of one annotation file.

        Args:
            names: names of the images in the annotations.
            near: folder of the annotation file.
            place: place to name in errors.
            some: whether to raise an error if no image is found.

        Returns:
            Path of each image; one that does not exist if the image is missing or ambiguous.

        Raises:
            AnnotationError: none of the images is found, and `some` is true.
        """
        if self.images_folder is not None:
            roots = [self.images_folder]
        else:
            tail = place.stem.rpartition("_")[2]  # COCO keeps the images of instances_train2017 in train2017
            more = [root / part for root in around(near) for part in (tail, f"images/{tail}", "data")]
            roots = [*image_roots(near), *more, Path()]
        roots = list(
            dict.fromkeys(root for root in roots if root.is_dir())
        )  # to look up names only in existing folders
        root = next((root for name in names for root in roots if is_file(root / name)), None)
        found = {name: root / name if root and is_file(root / name) else None for name in names}
        missing = [name for name, path in found.items() if path is None]
        if missing:
            taken = {path.absolute() for path in found.values() if path}
            found |= self.index.resolve(missing, near, taken)
        if some and names and not any(found.values()):
            looked = self.images_folder or self.root
            archive = next(iter(self.with_suffix(".zip")), None) if self.images_folder is None else None
            if archive:
                looked = Path(f"{looked} but not in {archive.name}")
            none = f"none of its {len(found)} images was found"
            if len(found) == 1:
                none = "its only image was not found"
            raise AnnotationError(
                f"images: expected the folder of the images for {place}: {none}, such as {shown(names[0])}; "
                f"looked in {looked} and nearby"
            )
        return [found[name] or (root or near) / name for name in names]


class Match(NamedTuple):
    """Image that matches a name best.

    Attributes:
        path: path of the image; None if no image matches, or several match equally well.
        agrees: whether all folders in the name match those of the image.
        has_folders: whether the name has folders.
    """

    path: Path | None
    agrees: bool
    has_folders: bool


class ImageIndex:
    """Images by name and by stem."""

    def __init__(self, images: Iterable[Path]) -> None:
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        self._by_stem: dict[str, list[Path]] = defaultdict(list)
        self._uploaded: dict[str, list[Path]] = defaultdict(list)
        for image in images:
            self._by_name[key(image.name)].append(image)
            self._by_stem[key(image.stem)].append(image)
            self._uploaded[key(stored_name(image.name))].append(image)

    def resolve(self, names: Sequence[str], near: Path, taken: set[Path]) -> dict[str, Path | None]:
        """Find images that are not at the paths in the annotations.

        An image is used only if exactly one name matches it. A name whose folders differ from those of its
        image is accepted only if no image was found as written and no name with folders agrees fully.

        Args:
            names: names of the images in the annotations.
            near: folder of the annotation file, whose images are preferred.
            taken: absolute paths of the images found as written.

        Returns:
            Path of each image by name; None if it is missing or ambiguous.
        """
        matches = {name: self._best(name, near) for name in names}
        honest = bool(taken) or any(match.agrees and match.has_folders for match in matches.values())
        claims = Counter(match.path.absolute() for match in matches.values() if match.path)
        found: dict[str, Path | None] = {}
        for name, (path, agrees, _) in matches.items():
            alone = path is not None and claims[path.absolute()] == 1 and path.absolute() not in taken
            found[name] = path if alone and (agrees or not honest) else None
        return found

    def _best(self, name: str, near: Path) -> Match:
        uploaded = UPLOADED.match(name.replace("\\", "/").rpartition("/")[2])
        for parts in variants(name):
            last = parts[-1]
            lookups: tuple[tuple[dict[str, list[Path]], str, Callable[[Path], str]], ...] = (
                (self._by_name, last, lambda path: path.name),
                (self._by_stem, last, lambda path: path.stem),
                (self._by_stem, Path(last).stem, lambda path: path.stem),
                (self._uploaded if uploaded else {}, last, lambda path: stored_name(path.name)),
            )
            for table, wanted, of in lookups:
                candidates = table.get(key(wanted), [])
                if not candidates:
                    continue
                folders = [key(part) for part in parts[-2::-1]]

                def agreeing(path: Path, folders: list[str] = folders) -> int:
                    there = [key(part) for part in path.parts[-2::-1]]
                    pairs = zip(folders, there, strict=False)
                    return next(
                        (i for i, (a, b) in enumerate(pairs) if a != b), min(len(folders), len(there))
                    )

                most = max(agreeing(path) for path in candidates)
                best = [path for path in candidates if agreeing(path) == most]
                exact = [path for path in best if of(path) == wanted]
                beside = [path for path in exact or best if path.is_relative_to(near)]
                best = beside if len(beside) == 1 else exact or best
                path = best[0] if len(best) == 1 else None
                return Match(path, path is not None and most == len(folders), bool(folders))
        return Match(None, False, "/" in name)


def stored_name(name: str) -> str:
    """Return the name of a file once uploaded to Label Studio, without spaces and special characters."""
    return re.sub(r"[^-\w.]", "", name.replace(" ", "_"))


def variants(name: str) -> list[tuple[str, ...]]:
    """Return the possible paths of an image's name, each split into its parts, most likely first."""
    texts = [name, name.replace("\\", "/")]
    if "?" in name or "%" in name or "://" in name:
        try:
            url = urlsplit(name)
            local = parse_qs(url.query).get("d", [""])[0]  # Label Studio: /data/local-files/?d=images/a.jpg
        except ValueError:  # an invalid URL, such as `http://[`, or too many fields
            url, local = urlsplit(""), ""
        more = [text.replace("\\", "/") for text in (local, unquote(url.path), unquote(name)) if text]
        texts = [local, *more, *texts] if url.path.endswith("/local-files/") else texts + more
    texts += [
        UPLOADED.sub("", text.rpartition("/")[2]) for text in texts if UPLOADED.match(text.rpartition("/")[2])
    ]
    found = []
    for text in texts:
        parts = [part for part in text.split("/") if part not in ("", ".", "..")]
        parts = parts[1:] if len(parts) > 1 and re.fullmatch("[A-Za-z]:", parts[0]) else parts
        if parts and tuple(parts) not in found:
            found.append(tuple(parts))
    return found


def around(folder: Path) -> list[Path]:
    """Return a folder and the two above it, as annotations are often one or two levels below the images."""
    return [folder, *folder.absolute().parents[:2]]


def image_roots(folder: Path) -> list[Path]:
    """Return the folders that may hold the images of annotations in `folder`, most likely first."""
    return [root for base in around(folder) for root in (*(base / name for name in IMAGE_FOLDERS), base)]


def find_path(written: str, *bases: Path) -> Path | None:
    """Find a file or folder that a settings file names, as written, else without its first folders.

    Exports may name another machine's folders, repeat the name of the project, or write `../train` for a
    folder beside the file. Without a match, None is returned.
    """
    for base in bases:
        if exists(base / written):
            return base / written
    for parts in variants(written):
        for start in range(len(parts)):
            if start and parts[start - 1].lower() in SPLIT_WORDS:
                break  # omitting the folder of a split could find another split
            for base in bases:
                if exists(base.joinpath(*parts[start:])):
                    return base.joinpath(*parts[start:])
    matches = (_in_any_case(base, parts) for parts in variants(written) for base in bases)
    return next(filter(None, matches), None)


def _in_any_case(base: Path, parts: Sequence[str]) -> Path | None:
    """Return the path below `base` without regard to case, if each part has exactly one match."""
    for part in parts:
        try:
            alike = [entry for entry in base.iterdir() if key(entry.name) == key(part)]
        except OSError:
            return None
        if len(alike) != 1:
            return None
        base = alike[0]
    return base


def by_folder(files: Iterable[Path], root: Path) -> tuple[dict[str, list[Path]], list[Path]]:
    """Group files by the split that one of their folders names.

    Returns:
        Files by split, and the files outside the folders of splits. Without splits, all files belong to
        `ALL`.
    """
    sorted_by: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        sorted_by[split_of(file, root) or ALL].append(file)
    outside = sorted_by.pop(ALL, []) if len(sorted_by) > 1 else []
    return dict(sorted_by), outside


def closest(images: Sequence[Path], folders: Sequence[str]) -> list[Path]:
    """Return the images whose paths share the most folder names with `folders`."""
    common = [len({*image.parts[:-1]} & {*folders}) for image in images]
    return [image for image, count in zip(images, common, strict=True) if count == max(common)]
