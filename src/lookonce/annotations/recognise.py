"""Which format DATA is in, found out in a fixed order and said aloud."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lookonce.annotations import coco, dataset_yaml, lines, voc, yolo
from lookonce.annotations.collect import Names
from lookonce.annotations.files import exists, read_names, split_in
from lookonce.annotations.source import Source
from lookonce.errors import AnnotationError
from lookonce.samples import SampleSet

Recogniser = Callable[[Path], Source | None]

# A folder can be two things, as VOC with its boxes in COCO form beside it. VOC comes first: its lists say
# which images belong to which split. YOLO's lists of images are `.txt` like plain lines and come before.
ORDER: dict[str, Recogniser] = {
    "Pascal VOC": voc.recognise,
    "COCO": coco.recognise,
    "YOLO": yolo.recognise,
    "lines": lines.recognise,
}


def recognise(path: Path) -> Source:
    """What a dataset YAML, folder, `.json`, `.txt` or `obj.data` is; a YAML in a folder speaks for it.

    Raises:
        AnnotationError: nothing there, or nothing that is known.
    """
    return dataset_yaml.recognise(path, _recognise_annotations) or _recognise_annotations(path)


def _recognise_annotations(path: Path) -> Source:
    """Everything but a dataset YAML."""
    if not exists(path):
        raise AnnotationError(f"{path}: expected annotations, found no such file or folder")
    forms = iter(ORDER.items())
    for _, recogniser in forms:
        if source := recogniser(path):
            also = [name for name, other in forms if path.is_dir() and _is_also(other, path)]
            remark = f" (it also holds {', '.join(also)}: name the file to read that)" if also else ""
            return replace(source, title=source.title + remark)
    raise AnnotationError(
        f"{path}: expected a dataset YAML, a COCO .json, a .txt with one line an image, a Darknet .data "
        f"file, or a folder in VOC, COCO or YOLO layout, found none of these{_hint(path)}"
    )


def _hint(path: Path) -> str:
    """Where in a folder annotations lie, for whoever named the folder above them."""
    folders = sorted(each for each in path.glob("[!.]*/")) if path.is_dir() else []
    recognisers = (lambda folder: dataset_yaml.recognise(folder, _recognise_annotations), *ORDER.values())
    for folder in folders:
        if any(_is_also(recogniser, folder) for recogniser in recognisers):
            return f"; but {folder} is one"
    return ""


def _is_also(recogniser: Recogniser, path: Path) -> bool:
    try:
        return recogniser(path) is not None
    except AnnotationError:  # what is not going to be read need not be sound
        return False


def load_samples(
    path: Path, split: str | None = None, names: Path | Names | None = None, strict: bool = False
) -> SampleSet:
    """Read annotated images, whatever their form.

    Args:
        path: a dataset YAML; a folder in VOC, COCO or YOLO layout; a COCO `.json`; a `.txt` with one line a
            image; Darknet's `obj.data`.
        split: `train`, `val`, `test` or another the data has; None takes everything, each image once.
            Where there is no `train`, `trainval` stands in, and data without splits stands in for any; the
            set's `origin` says so.
        names: class names, or a file of them, where the annotations hold numbers alone or in place of
            their own order.
        strict: raise at the first problem.

    Returns:
        The images; `describe()` says what was recognised, `problems` what was skipped.

    Raises:
        AnnotationError: not recognised, no such split, unusable as a whole, or a problem in strict mode.
    """
    return recognise(path).load(split, _read(names), strict)


def load_splits(path: Path, names: Path | Names | None = None, strict: bool = False) -> dict[str, SampleSet]:
    """Every split, all under the class names of the first; arguments and errors as for `load_samples`.

    Data without splits counts as the split its file name speaks of, else as `train`.
    """
    source, given, sets = recognise(path), _read(names), dict[str, SampleSet]()
    for split in source.splits or (split_in(path.stem) or "train",):
        sets[split] = source.load(split, given, strict)
        given = sets[split].names
    return sets


def _read(names: Path | Names | None) -> Names | None:
    return read_names(names) if isinstance(names, Path) else names


def splits_of(path: Path) -> tuple[str, ...]:
    """The splits that `load_samples` can give; none where the data is not divided.

    Raises:
        AnnotationError: not recognised.
    """
    return recognise(path).splits
