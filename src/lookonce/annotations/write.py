"""Write samples in any of eight formats."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unicodedata import category

from lookonce._counted import counted
from lookonce._files import filling
from lookonce._outputs import is_vacant
from lookonce.annotations import coco, cvat, darknet, labelme, labelstudio, lines, voc, yolo
from lookonce.annotations.layout import check_names
from lookonce.errors import AnnotationError, ImageError
from lookonce.images import read_image
from lookonce.samples import Problem, SampleSet

WRITERS: dict[str, Callable[[Path, Mapping[str, SampleSet]], Path]] = {
    "coco": coco.write,
    "voc": voc.write,
    "yolo": yolo.write,
    "darknet": darknet.write,
    "lines": lines.write,
    "cvat": cvat.write,
    "labelme": labelme.write,
    "labelstudio": labelstudio.write,
}
KEEP_ANY_NAME = ("coco",)
NAMES_IN_LINES = ("voc", "darknet", "lines", "labelme", "labelstudio")  # formats with one class name per line
KEEP_CROWD = ("coco",)
KEEP_DIFFICULT = ("coco", "voc")


def write_samples(sets: Mapping[str, SampleSet], form: str, out: Path) -> tuple[Path, list[Problem]]:
    """Write the splits of one data set in one format, into a new or empty folder.

    COCO and one-line text refer to the images where they are. The other formats need a folder of images,
    which is filled with links, or with copies if links are impossible; Darknet always gets copies.

    Args:
        sets: samples by split, all with the same class names.
        form: name of the format in `WRITERS`.
        out: folder to write.

    Returns:
        Path to give as DATA to read the result, and the losses. Ignored areas are dropped, and, if the format
        cannot store them, crowd boxes (with the image if it has no other boxes), the flags of difficult
        objects, and images with unusual names. For Darknet, images that cannot be decoded are left out.

    Raises:
        AnnotationError: the format is unknown or cannot store a class name, the folder is not empty or cannot
            be written, or the splits have different classes.
    """
    check_target(form, out)
    for samples in sets.values():
        check_classes(form, samples.names, out)
    if len({samples.names for samples in sets.values()}) != 1:
        raise AnnotationError(f"{out}: expected splits with the same class names")
    lost: list[Problem] = []
    holdable = {split: _holdable(samples, form, lost) for split, samples in sets.items()}
    with writing(out) as folder:
        written = WRITERS[form](folder, holdable)
    return out / written.relative_to(folder), list(dict.fromkeys(lost))


@contextmanager
def writing(out: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `out` once it is complete; see `filling`.

    Raises:
        AnnotationError: the folder cannot be written.
    """
    try:
        with filling(out) as folder:
            yield folder
    except UnicodeEncodeError as error:
        raise AnnotationError(f"{out}: expected names in Unicode, found {error.object!r}") from error
    except OSError as error:
        raise AnnotationError(f"{error.filename or out}: cannot be written: {error.strerror}") from error


def check_target(form: str, out: Path) -> None:
    """Check the target of `write_samples` in advance.

    Raises:
        AnnotationError: the format is unknown, or `out` is not a new or empty folder.
    """
    if form not in WRITERS:
        raise AnnotationError(f"form: expected one of {', '.join(WRITERS)}, found {form!r}")
    if not is_vacant(out):
        raise AnnotationError(f"{out}: expected a new or empty folder, found files")


def check_classes(form: str, names: Iterable[str], out: Path) -> None:
    """Check that a format can store class names, before `write_samples`.

    Raises:
        AnnotationError: the format cannot store a name.
    """
    if form in NAMES_IN_LINES:
        check_names(out, names)
    for name in names:
        if _strange(name) and form not in KEEP_ANY_NAME:
            raise AnnotationError(f"{out}: expected class names without control characters, found {name!r}")


def _strange(text: str) -> bool:
    """Return whether a text has characters that are not Unicode or that XML or a line cannot hold."""
    return any(category(each) in ("Cc", "Cs", "Zl", "Zp") or each in "\ufffe\uffff" for each in text)


def _holdable(samples: SampleSet, form: str, lost: list[Problem]) -> SampleSet:
    """Return the part of a set that a format can store; `lost` receives a problem for each loss."""
    kept = []
    for sample in samples.samples:
        if form == "darknet":  # Darknet stops at the first image that it cannot decode
            try:
                read_image(sample.path)
            except ImageError as error:
                what = str(error).removeprefix(f"{sample.path}: ")
                lost.append(Problem(str(sample.path), what, kind="unreadable", image=sample.path))
                continue
        if form not in KEEP_ANY_NAME and "\n" in str(sample.path):
            lost.append(Problem(repr(str(sample.path)), f"{form} cannot store a line break in a name"))
            continue
        # `lines` stores whole paths; in the other formats, images are in the folder
        written = str(sample.path) if form == "lines" else sample.path.name
        if form not in KEEP_ANY_NAME and _strange(written):
            what = f"{form} cannot store a name that is not Unicode, or has control characters"
            lost.append(Problem(ascii(str(sample.path)), what))
            continue
        kept.append(sample)
    return flags_kept(replace(samples, samples=kept), form, lost)


def flags_kept(samples: SampleSet, form: str, lost: list[Problem]) -> SampleSet:
    """Drop crowds that a format cannot store; `lost` receives a problem for each loss.

    Losses of ignored areas and difficult flags are only reported, because writers do not write them.
    """
    kept = []
    for sample in samples.samples:
        if sample.ignored:
            what = f"{counted(len(sample.ignored), 'ignored area')} dropped: {form} has no place for it"
            lost.append(Problem(str(sample.path), what))
        if form not in KEEP_DIFFICULT and sample.difficult.any():
            count = int(sample.difficult.sum())
            lost.append(Problem(str(sample.path), f"{count} difficult objects lose their flag", "repaired"))
        if form in KEEP_CROWD or not sample.crowd.any():
            kept.append(sample)
            continue
        lost.append(Problem(str(sample.path), f"{int(sample.crowd.sum())} crowd boxes are dropped"))
        if not sample.crowd.all():
            kept.append(sample.pick(~sample.crowd))
    return replace(samples, samples=kept)
