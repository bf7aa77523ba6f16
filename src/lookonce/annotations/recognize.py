"""Recognize the format of DATA and read it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from lookonce._counted import counted
from lookonce._files import as_given, did_you_mean, open_input
from lookonce._texts import Names, exists, read_names, read_start, shown
from lookonce.annotations import (
    coco,
    createml,
    cvat,
    dataset_yaml,
    foreign,
    labelme,
    labelstudio,
    lines,
    tables,
    voc,
    yolo,
)
from lookonce.annotations.archive import unpack
from lookonce.annotations.data_path import DataPath, Recognized
from lookonce.annotations.files import listed, split_in
from lookonce.annotations.source import Annotations, FilesPart
from lookonce.annotations.tree import around
from lookonce.errors import AnnotationError, NoAnnotationsError
from lookonce.samples import SampleSet

# Formats in order of priority, as a folder can hold two, such as VOC and the same boxes as COCO. VOC comes
# first because its lists define the splits. YOLO comes before plain lines because its lists of images are
# `.txt` files too.
FORMATS: dict[str, Callable[[DataPath], Recognized | None]] = {
    "Pascal VOC": voc.recognize,
    "COCO": coco.recognize,
    "CVAT": cvat.recognize,
    "LabelMe": labelme.recognize,
    "Label Studio": labelstudio.recognize,
    "CreateML": createml.recognize,
    "CSV": tables.recognize,
    "YOLO": yolo.recognize,
    "lines": lines.recognize,
}


ANNOTATION_SUFFIXES = (".json", ".xml", ".txt", ".csv", ".yaml", ".yml", ".data")


def open_annotations(path: Path, images: Path | None = None) -> Annotations:
    """Recognize a dataset YAML, an annotation file, a folder of either, or a `.zip` of one of these.

    Args:
        path: folder or file; a YAML in a folder describes the folder.
        images: folder of the images, if they are elsewhere.

    Raises:
        AnnotationError: there is nothing at the path, or nothing in a known format.
        NoAnnotationsError: the folder holds only images.
    """
    if images is not None and not images.is_dir():
        raise AnnotationError(f"{images}: expected a folder of images, found none")
    if exists(path) and path.suffix.lower() == ".zip" and path.is_file():
        folder = unpack(path)
        try:
            found = open_annotations(folder, images)
        except AnnotationError as error:
            raise AnnotationError(as_given(str(error))) from error
        return replace(found, path=path)
    data = DataPath(path, images)
    return dataset_yaml.recognize(data, _open_format) or _open_format(data)


def _open_format(data: DataPath) -> Annotations:
    """Recognize data in any format other than a dataset YAML.

    Raises:
        AnnotationError: as `open_annotations`.
    """
    path = data.path
    if not exists(path):
        raise AnnotationError(
            f"{path}: expected annotations, found no such file or folder{did_you_mean(path)}"
        )
    if not data.is_folder:
        open_input(path, AnnotationError).close()  # raises unless it is a regular file
    results: dict[str, Recognized | AnnotationError] = {}
    for name, recognizer in FORMATS.items():
        try:
            if result := recognizer(data):
                results[name] = result
        except AnnotationError as error:  # raised below unless another format has priority
            results[name] = error
        if results and not data.is_folder:
            break
    if results:
        highest = min(0 if isinstance(each, AnnotationError) else each.depth for each in results.values())
        chosen, found = next(
            pair
            for pair in results.items()
            if isinstance(pair[1], AnnotationError) or pair[1].depth == highest
        )
        if isinstance(found, AnnotationError):
            raise found
        also = [
            name
            for name, each in results.items()
            if name != chosen and isinstance(each, Recognized) and each.depth == highest
        ]
        remark = f" (it also holds {', '.join(also)}: name the file to read that)" if also else ""
        parts: list[FilesPart] = []
        home = data.home or (path if data.is_folder else around(path.parent)[-1])
        for split, parse in found.parses.items():
            parts.append(FilesPart(split, parse, data.tree, home, parts, found.unlabeled))
        tree = data.tree if data.is_folder else None
        by_split = dict(zip(found.parses, parts, strict=True))
        return Annotations(path, f"{found.title}{remark}", by_split, tree, found.remarks)
    if known := foreign.name_of(data):
        raise AnnotationError(f"{path}: {known}, which lookonce does not read: export as COCO")
    if data.suffix == ".json":
        coco.read(path)  # raises an error that names what is missing
    elif data.suffix == ".xml":
        raise AnnotationError(
            f"{path}: expected <annotation> (Pascal VOC) or <annotations> (CVAT), found neither"
        )
    if archive := next(iter(data.tree.with_suffix(".zip") if data.is_folder else []), None):
        raise AnnotationError(
            f"{path}: expected annotations, found none outside {archive.name}: pass {archive}"
        )
    if data.is_folder and data.tree.images and not data.tree.with_suffix(*ANNOTATION_SUFFIXES):
        count = len(data.tree.images)
        raise NoAnnotationsError(
            f"{path}: {counted(count, 'image')}, no annotations: label them in CVAT, "
            "Label Studio or LabelMe, and export as COCO, YOLO or Pascal VOC"
        )
    sheets = data.tree.with_suffix(".csv") if data.is_folder else [path] if data.suffix == ".csv" else []
    if line := read_start(sheets[0], 4096).partition("\n")[0].strip() if sheets else "":
        what = f"expected the columns {listed(tables.RETINANET)} or their like, found {shown(line)}"
        raise AnnotationError(f"{sheets[0]}: {what}")
    nothing_known = NoAnnotationsError if data.is_folder and data.tree.images else AnnotationError
    raise nothing_known(
        f"{path}: expected a dataset YAML, COCO, Pascal VOC, YOLO, Darknet's .data, CVAT, LabelMe, "
        "Label Studio, CreateML, OpenImages, TensorFlow's CSV or a .txt with one line per image, found "
        f"{'an empty folder' if path.is_dir() and not any(path.iterdir()) else 'none of these'}"
    )


@dataclass(frozen=True, slots=True)
class GivenData:
    """Annotated images as given to a command.

    Attributes:
        path: data as for `open_annotations`.
        names: file of class names, for annotations that have only numbers.
        images: folder of the images, if they are elsewhere.
        strict: whether to raise an error at the first bad row or image.
    """

    path: Path
    names: Path | None = None
    images: Path | None = None
    strict: bool = False

    def open(self) -> Annotations:
        """Recognize the format.

        Raises:
            AnnotationError: as `open_annotations`.
        """
        return open_annotations(self.path, self.images)

    def class_names(self) -> Names | None:
        """Read the file of class names, if there is one."""
        return read_names(self.names) if self.names else None


def load_samples(
    path: Path,
    split: str | None = None,
    names: Path | Names | None = None,
    strict: bool = False,
    images: Path | None = None,
) -> SampleSet:
    """Read annotated images in any format.

    Args:
        path: folder or file, as for `open_annotations`.
        split: `train`, `val`, `test` or any other split of the data; None for all splits, each image once.
            `trainval` replaces a missing `train`, and data without splits replaces any split; the result's
            `origin` then mentions it.
        names: class names, or a file of them, for annotations that have only numbers, or to set the order.
        strict: whether to raise an error at the first problem.
        images: folder of the images, if they are elsewhere.

    Returns:
        Annotated images; `describe()` summarizes them, and `problems` lists what was skipped or repaired.

    Raises:
        AnnotationError: the format is not recognized, there is no such split, the data cannot be used as a
            whole, or there is a problem and `strict` is true.
    """
    names = read_names(names) if isinstance(names, Path) else names
    return open_annotations(path, images).load(split, names, strict)


def load_splits(
    path: Path, names: Path | Names | None = None, strict: bool = False, images: Path | None = None
) -> dict[str, SampleSet]:
    """Read every split with the class names of the first; arguments and errors are those of `load_samples`.

    Data without splits counts as the split that its file name contains, else as `train`.
    """
    names = read_names(names) if isinstance(names, Path) else names
    return open_annotations(path, images).load_all(names, strict, split_in(path.stem) or "train")
