"""Write a corrected copy of a data set, with a list of all changes and of defects left as they are.

    OUT/
        annotations in the original format    (VOC if splits differ in it, or it cannot be written)
        images/ or JPEGImages/                copies of all images; re-encoded if rotated, CMYK or with alpha
        changes.csv                           action, kind, place, before, after

Boxes without area, boxes drawn twice, and copies of a file with the same boxes are removed. Inverted corners
are swapped. Declared sizes, channels and boxes beyond the border are corrected. Defects that need a decision
are left as they are, and listed.
"""

import csv
import shutil
from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields, replace
from io import StringIO
from pathlib import Path

import numpy as np

from lookonce._files import write_text
from lookonce.annotations.write import KEEP_ANY_NAME, WRITERS, check_target, flags_kept, writing
from lookonce.doctor.boxes import repeats
from lookonce.doctor.diagnose import Diagnosis
from lookonce.doctor.findings import Finding
from lookonce.doctor.images import ImageFacts
from lookonce.doctor.kinds import KINDS
from lookonce.geometry.boxes import clip, is_empty
from lookonce.images import read_native, write_image
from lookonce.samples import Problem, Sample, SampleSet
from lookonce.suffixes import SUFFIXES_BY_FORMAT, WRITTEN_SUFFIXES

RECODED = ("CMYK", "alpha")
LEFT_OUT = ("missing", "annotation", "row", "class", "outside", "not-numbers", "unusable")
REMOVED = ("empty", "duplicate-box", "identical", "listed-twice")


@dataclass(frozen=True, slots=True)
class Change:
    """One line of `changes.csv`.

    Attributes:
        action: `changed`, `removed`, `skipped` (cannot be written) or `left` (needs a decision).
        kind: kind of the defect.
        place: place in the original, `file:line`.
        before: description of the defect.
        after: result in the copy.
    """

    action: str
    kind: str
    place: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Written:
    """Corrected copy of a data set.

    Attributes:
        data: path of the copy, to use as DATA.
        changes: number of changes and removals.
        left: number of defects that were left or skipped.
    """

    data: Path
    changes: int
    left: int


def write_fixed(diagnosis: Diagnosis, out: Path) -> Written:
    """Write the corrected copy atomically; the same input gives the same files.

    Raises:
        AnnotationError: `out` is not a new or empty folder, or cannot be written.
        ImageError: an image has changed since it was inspected.
    """
    form, *others = {found.format for found in diagnosis.sets.values()}
    form = "voc" if others or form not in WRITERS else form
    check_target(form, out)
    dropped = {path for each in diagnosis.findings if each.kind == "identical" for path in each.others}
    inverted = _inverted_boxes(diagnosis)
    with writing(out) as folder:
        images = _Images(folder / ("JPEGImages" if form == "voc" else "images"), diagnosis.facts)
        lost: list[Problem] = []
        sets = {
            split: _corrected(flags_kept(found, form, lost), form, dropped, inverted, images)
            for split, found in diagnosis.sets.items()
        }
        written = WRITERS[form](folder, sets)
        changes = [
            _change(each, inverted, images, folder)
            for each in diagnosis.findings
            if KINDS[each.kind].fixable or KINDS[each.kind].severity == "person"
        ]
        changes += [Change("skipped", "format", each.place, each.what, "") for each in dict.fromkeys(lost)]
        stream = StringIO()
        table = csv.writer(stream, lineterminator="\n")
        table.writerow([field.name for field in fields(Change)])
        table.writerows(astuple(change) for change in changes)
        write_text(folder / "changes.csv", stream.getvalue())
    done = sum(change.action in ("changed", "removed") for change in changes)
    return Written(out / written.relative_to(folder), done, len(changes) - done)


class _Images:
    """Copies of images in the new folder, each made once and with a unique name."""

    def __init__(self, folder: Path, facts: Mapping[Path, ImageFacts]) -> None:
        self._folder = folder
        self._facts = facts
        self._stems: set[str] = set()
        self.placed: dict[Path, Path] = {}
        folder.mkdir(parents=True)

    def copy_of(self, image: Path) -> Path:
        """Return the path of an image's copy, which the first call makes."""
        if image not in self.placed:
            facts = self._facts[image]
            known = not facts.fault and image.suffix.lower() not in SUFFIXES_BY_FORMAT[facts.format]
            suffix = SUFFIXES_BY_FORMAT[facts.format][0] if known else image.suffix
            recoded = facts.orientation != 1 or facts.color in RECODED
            if recoded and suffix.lower() not in WRITTEN_SUFFIXES:
                suffix = ".png"  # can also store 16 bits
            stem, count = image.stem, 1
            while stem.lower() in self._stems:  # unique even on file systems that ignore case
                count += 1
                stem = f"{image.stem}_{count}"
            self._stems.add(stem.lower())
            self.placed[image] = self._folder / f"{stem}{suffix}"
            if recoded:
                write_image(self.placed[image], read_native(image))
            else:
                shutil.copyfile(image, self.placed[image])
        return self.placed[image]


def _corrected(
    sample_set: SampleSet,
    form: str,
    dropped: set[Path],
    inverted: Mapping[Path, list[Problem]],
    images: _Images,
) -> SampleSet:
    """Return the corrected samples of one split.

    Of boxes of one class that cover each other, the first is kept. Boxes with swapped corners come last.
    """
    samples = []
    for sample in sample_set.samples:
        fits = form in KEEP_ANY_NAME or "\n" not in str(sample.path)
        if sample.path in dropped or not fits:
            continue
        label_of = sample.labels
        repeated = {later for earlier, later in repeats(sample) if label_of[earlier] == label_of[later]}
        kept = sample.pick(np.array([i not in repeated for i in range(len(label_of))], bool))
        if swapped := inverted.get(sample.path, []):
            ordered = np.array([_exchanged(problem, sample) for problem in swapped], np.float32)
            labels = np.array([problem.label for problem in swapped], np.int64)
            kept = kept.joined(Sample(sample.path, ordered, labels))
        samples.append(replace(kept, path=images.copy_of(sample.path)))
    return replace(sample_set, samples=samples, places={})


def _exchanged(problem: Problem, sample: Sample) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return an inverted box with its corners in order, clipped to the image."""
    assert problem.box is not None
    left, top, right, bottom = problem.box
    ordered = np.array([min(left, right), min(top, bottom), max(left, right), max(top, bottom)])
    return clip(ordered, *sample.image_size)


def _inverted_boxes(diagnosis: Diagnosis) -> dict[Path, list[Problem]]:
    """Return the inverted boxes of each image that have an area once their corners are swapped."""
    inverted: dict[Path, list[Problem]] = {}
    for found in diagnosis.sets.values():
        samples = {sample.path: sample for sample in found.samples}
        for problem in found.problems:
            sample = samples.get(problem.image) if problem.image else None
            if problem.kind != "inverted" or sample is None or is_empty(_exchanged(problem, sample)):
                continue
            known = inverted.setdefault(sample.path, [])
            if problem not in known:  # the same image in another split
                known.append(problem)
    return inverted


def _change(
    finding: Finding, inverted: Mapping[Path, list[Problem]], images: _Images, folder: Path
) -> Change:
    """Describe the result of one finding in the copy."""
    placed = images.placed.get(finding.image) if finding.image else None
    now = placed.relative_to(folder).as_posix() if placed else ""
    action, after = "left", now
    if finding.kind == "inverted":
        mended = finding.image is not None and finding.boxes in [
            (problem.box,) for problem in inverted.get(finding.image, [])
        ]
        action, after = ("changed", f"corners swapped in {now}") if mended else ("skipped", "")
    elif finding.kind in REMOVED:
        action, after = "removed", f"{now} stays" if finding.kind == "identical" else ""
    elif KINDS[finding.kind].fixable:
        action = "changed"
    elif finding.kind in LEFT_OUT or (finding.image and not placed):
        action = "skipped"
    return Change(action, finding.kind, finding.place, finding.what, after)
