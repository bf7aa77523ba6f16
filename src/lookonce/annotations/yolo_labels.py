"""Find the label files of YOLO's format and the images that they belong to."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lookonce._files import walk_files
from lookonce._texts import Names, read_lines, read_names, read_text
from lookonce.annotations.files import ALL, NAME_FILES, find_names, key, split_of
from lookonce.annotations.lines import split_line
from lookonce.annotations.records import Parsed, Record
from lookonce.annotations.tree import ImageIndex, Tree
from lookonce.annotations.yolo_rows import holds_rows, read_rows
from lookonce.errors import AnnotationError
from lookonce.samples import Problem

IMAGE_FOLDERS = ("images", "jpegimages", "image", "imgs")  # in lower case
LABEL_FOLDERS = ("labels", "label")
UNLABELED = "no label file describes it: used as a background image"


@dataclass
class LabelFiles:
    """Case-insensitive search for the label files of images, which lists each folder only once."""

    _listed: dict[Path, dict[str, list[Path]]] = field(default_factory=dict)

    def of(self, image: Path, *, exact: bool = False) -> Path | None:
        """Return the label file of an image: in a parallel folder `labels`, or beside it, or None."""
        name = f"{image.stem}.txt"
        for folder in self.folders(image.parent):
            found = self._entries(folder).get(key(name), [])
            same = [file for file in found if file.name == name]
            if same or (len(found) == 1 and not exact):
                return (same or found)[0]
        return None

    def folders(self, folder: Path) -> Iterator[Path]:
        """Yield the folders that may hold the labels of a folder of images, most likely first."""
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
class LabeledFolder:
    """Images of a folder with their label files.

    Attributes:
        tree: files of the folder.
        keypoints: number of values after each box.
        labels: label file by image.
        shared: image that has the only label file of a stem, by each other image with that stem.
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
        named = {}  # label files by the probable names of their images: folders without `labels`, and stem
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
        """Parse the labels of a split's images; label files of the split without an image are problems."""
        wanted = [image for image in images if image not in self.shared]
        anywhere = {read_text(file): file.parent for file in self.tree.files if file.name in NAME_FILES}
        near = dict.fromkeys([self.tree.root, *(image.parent for image in images)])
        names = _names_near(*near, *(anywhere.values() if len(anywhere) == 1 else []))
        listed = [(str(image), image, self.labels.get(image)) for image in wanted]
        parsed = parse_labels(listed, self.tree.root, names, self.keypoints)
        problems = list(parsed.problems)
        for image in images:
            if image in self.shared:
                what = f"{self.shared[image].name} has the only label file of this name: skipped"
                problems.append(Problem(str(image), what, kind="shared-labels", image=image))
        for file in self.orphans:
            if split in (
                ALL,
                split_of(file, self.tree.root) if file.is_relative_to(self.tree.root) else split,
            ):
                what = "labels without a picture: no image of this name was found"
                if holds_rows(file):
                    problems.append(Problem(str(file), what, kind="orphan"))
                else:
                    what = "a label file without rows and without an image"
                    problems.append(Problem(str(file), what, "noted", kind="unlisted"))
        return replace(parsed, problems=problems)

    def of_lists(self, files: Sequence[Path]) -> Parsed:
        """Parse the labels of the images in the lists of one split.

        Raises:
            AnnotationError: the class names near the lists differ.
        """
        first, *rest = (parse_list(file, self.tree, keypoints=self.keypoints) for file in files)
        for each in rest:
            if each.names != first.names:
                what = f"expected the class names of {first.place}, found others: name the list to read"
                raise AnnotationError(f"{each.place}: {what}")
        return replace(
            first,
            records=[record for each in (first, *rest) for record in each.records],
            problems=[problem for each in (first, *rest) for problem in each.problems],
        )


def _may_be_labels(file: Path) -> bool:
    return file.name.lower() not in NAME_FILES and not file.stem.lower().startswith(
        ("readme", "license", "labelmap")
    )


def parse_list(path: Path, tree: Tree, names: Names = (), keypoints: int = 0) -> Parsed:
    """Parse the labels of the images in a list."""
    lines = [(line, split_line(text)[0]) for line, text in read_lines(path)]
    written = [image for _, image in lines]
    images = tree.find_images(written, path.parent, path)
    labels = labels_of(written, images, path, tree)
    triples = [
        (f"{path}:{line}", image, file) for (line, _), image, file in zip(lines, images, labels, strict=True)
    ]
    return parse_labels(triples, path, names or _names_near(path.parent), keypoints)


def labels_of(written: Sequence[str], images: Sequence[Path], place: Path, tree: Tree) -> list[Path | None]:
    """Return the label file of each image in a list, found by `LabelFiles`, else by the listed name."""
    files = LabelFiles()
    labels = [files.of(image) for image in images]
    lost = {
        image: f"{image.rpartition('.')[0] or image}.txt"
        for image, file in zip(written, labels, strict=True)
        if not file
    }
    if not lost:
        return labels
    texts = [file for file in tree.with_suffix(".txt") if _may_be_labels(file) and file != place]
    found = ImageIndex(texts).resolve(
        list(dict.fromkeys(lost.values())), place.parent, {file for file in labels if file}
    )
    return [file or found[lost[image]] for image, file in zip(written, labels, strict=True)]


def parse_labels(
    images: Sequence[tuple[str, Path, Path | None]], place: Path, names: Names, keypoints: int
) -> Parsed:
    """Parse the label files of images.

    Args:
        images: place in the list, image file, and label file or None, for each image.
        place: place to name in errors.
        names: class names.
        keypoints: number of values after each box.

    Raises:
        AnnotationError: none of the images has labels.
    """
    if images and not any(labels for _, _, labels in images):
        raise AnnotationError(
            f"{images[0][0]}: expected labels beside the images or in a parallel folder `labels`, "
            f"found none for any of {len(images)} images, such as {images[0][1]}"
        )
    records, problems = [], []
    for listed, image, labels in images:
        try:
            rows = read_rows(labels, keypoints) if labels else []
        except AnnotationError as error:  # the label file is not text
            problems.append(Problem(listed, str(error), kind="annotation", image=image))
            continue
        note = "" if labels else UNLABELED
        records.append(Record(listed, image, rows, relative=True, unlabeled=note))
    return Parsed("yolo", records, place.parent, place, problems, names, numbered=True)


def _names_near(*folders: Path) -> Names:
    found = find_names(
        *(near for folder in folders for near in (folder, folder.parent / "labels", folder.parent))
    )
    return read_names(found) if found else ()
