"""Turn records into samples and problems, with the same rules for bad data in all formats.

Boxes that cross the border are clipped, unusable boxes are skipped, an image listed twice gets the boxes of
both entries, and boxes drawn on the stored pixels of an image that EXIF rotates are rotated with it.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lookonce._image_header import ImageHeader
from lookonce._texts import Names, is_file, shown
from lookonce.annotations.misread import WRITTEN, are_percent, other_meaning
from lookonce.annotations.records import Parsed, Record, Row
from lookonce.errors import AnnotationError, ImageError
from lookonce.geometry import boxes as box_ops
from lookonce.geometry.sizes import size_text
from lookonce.images import read_image_header
from lookonce.samples import Outcome, Problem, ProblemKind, Sample, SampleSet

ROUNDING = 0.5  # pixels beyond the border that count as rounding in the file and are clipped silently
LONGEST_PATH = 4096  # characters; no file system allows longer paths
WITHIN_ONE = 1.5  # largest coordinate of a box that may be in fractions, or be a single pixel


class _Image(NamedTuple):
    """Readable image with its records.

    Attributes:
        path: image file.
        header: size and orientation of the image.
        records: records of the image, several if it is listed more than once.
        rows: rows of all records, without repetitions.
    """

    path: Path
    header: ImageHeader
    records: list[Record]
    rows: list[Row]


class Collector:
    """Turns the records of one split into samples and problems."""

    def __init__(self, parsed: Parsed, names: Names, strict: bool = False, extra: Names = ()) -> None:
        """Set up a collector for the records of a split.

        Args:
            parsed: records of the split.
            names: class names.
            strict: whether to raise an error at the first row or image that would be skipped or repaired.
            extra: class names that rows may use although class numbers in the files cannot; they come last.
        """
        self._parsed = parsed
        self._names = (*names, *extra)
        self._numbers = {name: number for number, name in enumerate(self._names)}
        self._range = range(len(names))
        self._strict = strict
        # YOLO tools write no file for an image without objects; if the set has empty files, a missing file
        # means that the image was not annotated
        has_empty = any(not record.rows and not record.unlabeled for record in parsed.records)
        self._may_lack_files = parsed.form == "yolo" and not has_empty
        self._problems: list[Problem] = []
        self._tallies: dict[tuple[ProblemKind, Outcome], list[tuple[str, str]]] = defaultdict(list)

    def collect(self, images: Sequence[Path]) -> SampleSet:
        """Turn all records into samples.

        Args:
            images: image file of each record.

        Raises:
            AnnotationError: something would be skipped or repaired, and `strict` is true.
        """
        for problem in self._parsed.problems:
            self._add(problem)
        read = self._read(images)
        turned = self._turned(read)
        used = {row.label for image in read for row in image.rows if not row.fault}
        from_one = 0 not in used and len(self._range) in used
        self._counted_from_one = "; no box has class 0: do the numbers count from 1?" if from_one else ""
        in_fractions = not any(max(map(abs, row.box)) > WITHIN_ONE for image in read for row in image.rows)
        self._doubt = self._doubted(read)
        samples, places = [], {}
        for image in read:
            if (found := self._sample(image, image.path in turned, in_fractions)) is not None:
                samples.append(found[0])
                places[image.path] = found[1]
        for (about, outcome), counted in self._tallies.items():
            place, what = counted[0]
            self._report(place, f"{what}; {len(counted)} like this in all", outcome, kind=about)
        ids = self._parsed.category_ids
        return SampleSet(
            names=self._names,
            samples=samples,
            problems=self._problems,
            format=self._parsed.form,
            category_ids=tuple(ids[name] for name in self._names)
            if ids and set(self._names) <= set(ids)
            else (),
            origin=self._parsed.origin,
            places=places,
        )

    def _add(self, problem: Problem) -> None:
        if self._strict and problem.outcome != "noted":
            raise AnnotationError(str(problem))
        self._problems.append(problem)

    def _report(self, place: str, what: str, outcome: Outcome = "skipped", **about: Any) -> None:
        self._add(Problem(place, what, outcome, **about))

    def _tally(self, kind: ProblemKind, outcome: Outcome, place: str, what: str) -> None:
        """Count a problem that is reported only once for the whole set."""
        self._tallies[kind, outcome].append((place, what))

    def _read(self, images: Sequence[Path]) -> list[_Image]:
        """Read the header of each image once, and merge the records of one image."""
        read: dict[Path, _Image] = {}
        unreadable: set[Path] = set()
        for record, path in zip(self._parsed.records, images, strict=True):
            listed = record.listed or record.place
            if path in unreadable:
                continue
            if (known := read.get(path)) is not None:
                first = known.records[0]
                there = {(row.box, row.label) for row in known.rows if not row.fault}
                added = [row for row in record.rows if row.fault or (row.box, row.label) not in there]
                known.records.append(record)
                known.rows.extend(added)
                if added:
                    what = f"{path.name} is listed twice with different boxes: all of them are used"
                    self._tally("listed-twice", "repaired", listed, what)
                else:
                    what = f"{path.name} is listed again; the entry at {first.listed or first.place} is used"
                    self._report(listed, what, kind="listed-twice", image=path)
                continue
            try:
                header = read_image_header(path)
            except ImageError as error:
                unreadable.add(path)
                kind: ProblemKind = "unreadable" if is_file(path) else "missing"
                about = path if len(str(path)) <= LONGEST_PATH else None
                what = str(error).removeprefix(f"{record.place}: ")
                self._report(record.place, what, kind=kind, image=about)
                continue
            read[path] = _Image(path, header, [record], list(record.rows))
            if header.is_series:
                what = f"{path.name} has more frames or pages than the first, of which only the first is read"
                self._tally("series", "noted", str(path), what)
        return list(read.values())

    def _turned(self, read: Sequence[_Image]) -> set[Path]:
        """Return the images whose boxes refer to the stored pixels, before EXIF rotation.

        The declared size reveals this for images that EXIF rotates by 90 degrees. For images that are square,
        mirrored, or rotated by 180 degrees, it does not; they follow the other images of the set if those
        agree. Otherwise boxes are read as drawn on the upright image.
        """
        proved: dict[bool, list[_Image]] = {True: [], False: []}
        open_cases = []
        for image in read:
            header, declared = image.header, image.records[0].declared
            if header.orientation == 1:
                continue
            if declared is None or not all(declared):
                if image.rows:
                    what = f"EXIF rotates {image.path.name}; its boxes are read as drawn on the upright image"
                    self._tally("exif-unknown", "noted", image.records[0].place, what)
            elif header.orientation <= 4 or header.height == header.width:
                open_cases.append(image)
            else:
                proved[declared == (header.width, header.height)].append(image)
        turned = proved[True]
        if open_cases and turned and not proved[False]:
            turned = turned + open_cases
        elif turned or not proved[False]:  # no size reveals it, or the images disagree
            for image in (image for image in open_cases if image.rows):
                what = f"EXIF turns {image.path.name}, which its size does not show; its boxes are taken as "
                what += "drawn on the upright image"
                self._tally("exif-unknown", "noted", image.records[0].place, what)
        for image in (image for image in turned if image.rows):
            what = f"declares the size of {image.path.name} before EXIF rotation: its boxes are rotated too"
            self._tally("exif-boxes", "repaired", image.records[0].place, what)
        return {image.path for image in turned}

    def _doubted(self, read: Sequence[_Image]) -> tuple[ProblemKind, str] | None:
        """Return kind and text of the problem if the boxes of the set probably have a different meaning."""
        plain = [
            (row.box, (each.header.width, each.header.height), each.records[0].relative)
            for each in read
            for row in each.rows
            if each.header.orientation == 1 and not row.fault and not row.polygon
        ]
        if not plain:
            return None
        given, sides, relative = zip(*plain, strict=True)
        boxes, sizes = np.array(given, np.float64), np.array(sides, np.float64)
        if all(relative):
            boxes = box_ops.cxcywh_to_xyxy(boxes) * np.hstack([sizes, sizes])
        sound = np.isfinite(boxes).all(axis=1)
        boxes, sizes = boxes[sound], sizes[sound]
        if meaning := other_meaning(self._parsed.form, boxes, sizes):
            expected = WRITTEN[self._parsed.form]
            what = f"expected {expected}, but all boxes of this data set fit as {meaning}, many only so"
            return "meaning", f"{what}: is that what the numbers mean?"
        if not any(relative) and are_percent(boxes, sizes):
            return "fractions", "expected pixels; are these, like all boxes here, percentages of the sides?"
        return None

    def _sample(
        self, image: _Image, turned: bool, in_fractions: bool
    ) -> tuple[Sample, tuple[str, ...]] | None:
        """Return the sample of an image and the places of its boxes; None if the image is skipped."""
        first, size = image.records[0], (image.header.height, image.header.width)
        about: dict[str, Any] = {"image": image.path}
        if first.declared is not None and first.declared != size and not turned:
            declares = f"declares {size_text(first.declared)}, the image has {size_text(size)}"
            if all(first.declared):
                exchanged = " (height and width swapped)" if first.declared == size[::-1] else ""
                self._report(
                    first.place, f"{declares}{exchanged}: the image is skipped", kind="wrong-size", **about
                )
                return None
            self._report(first.place, declares, "repaired", kind="no-size", **about)
        kept, boxes = self._usable(image, size, turned, in_fractions)
        if not image.rows:
            if first.unlabeled:
                kind: ProblemKind = "unlabeled" if self._may_lack_files else "unannotated"
                self._report(first.place, first.unlabeled, "noted", kind=kind, **about)
            else:
                what = "no object: kept as a background image"
                self._report(first.place, what, "noted", kind="background", **about)
        elif not kept:
            one = len(image.rows) == 1
            none = "its only box is not usable" if one else f"none of its {len(image.rows)} boxes is usable"
            what = f"{none}: the image is skipped, not used as background"
            self._report(first.place, what, kind="unusable", **about)
            return None
        sample = Sample(
            path=image.path,
            boxes=boxes,
            labels=np.array([label for _, label in kept], np.int64),
            difficult=np.array([row.difficult for row, _ in kept], bool),
            crowd=np.array([row.crowd for row, _ in kept], bool),
            image_id=first.image_id,
            size=size,
        )
        return sample, tuple(row.place for row, _ in kept)

    def _usable(
        self, image: _Image, size: tuple[int, int], turned: bool, in_fractions: bool
    ) -> tuple[list[tuple[Row, int]], NDArray[np.float32]]:
        """Return the usable rows with class numbers, and their (N, 4) xyxy boxes in pixels, clipped."""
        relative = image.records[0].relative
        sound = []
        for row in image.rows:
            if isinstance(row.label, str):
                label = self._numbers.get(row.label)
            else:
                label = row.label if row.label in self._range else None
            fault, kind = (row.fault, row.kind) if row.fault else ("", "class")
            if not fault and self._doubt and image.header.orientation == 1 and not row.polygon:
                kind, doubt = self._doubt
                fault = f"{_text(row.box)}: {doubt}"
            elif not fault and label is None:
                fault = f"the class {shown(row.label)} is not among the names"
                if isinstance(row.label, int):
                    fault = f"expected a class number from 0 to {len(self._range) - 1}, found {row.label}"
                    fault += self._counted_from_one
                elif isinstance(row.label, str) and not row.has_area(relative=relative):
                    # without a list of class names, the classes are those of the usable boxes
                    what = f"{_text(row.box)} has no area or is inverted"
                    fault = f"{what}, and no usable box has its class {shown(row.label)}"
            elif (
                not fault
                and not relative
                and any(row.box)
                and all(abs(side) <= WITHIN_ONE for side in row.box)
                and (in_fractions or any(side % 1 for side in row.box))  # one box of integers may be a pixel
            ):
                what = "expected pixels; are these fractions of the image's sides?"
                fault, kind = f"{_text(row.box)}: {what}", "fractions"
            if fault or label is None:
                self._report(row.place, fault, kind=kind, image=image.path)
                continue
            if row.polygon:
                what = "a polygon or mask without a box: the box around it is used"
                self._tally("polygon", "noted", row.place, what)
            if row.keypoints:
                what = f"{row.keypoints} keypoint numbers after the box: not used"
                self._tally("keypoints", "noted", row.place, what)
            sound.append((row, label))
        height, width = size
        boxes = np.array([row.box for row, _ in sound], np.float64).reshape(-1, 4)
        if relative:
            stored = (height, width) if turned and image.header.orientation >= 5 else (width, height)
            boxes = box_ops.cxcywh_to_xyxy(boxes) * (*stored, *stored)
        if turned:
            boxes = turn(boxes, image.header)
        cut = box_ops.clip(boxes, height, width).astype(np.float32)
        unusable = box_ops.is_empty(cut) | ~np.isfinite(boxes).all(axis=1)
        over = (np.abs(boxes - cut) > ROUNDING).any(axis=1) & ~unusable
        for i in np.flatnonzero(unusable | over).tolist():
            row, label = sound[i]
            kind, what, outcome = _defect(boxes[i], size)
            what += f": cut to {_text(cut[i].tolist())}" if outcome == "repaired" else ""
            box = tuple(boxes[i].tolist())
            about: dict[str, Any] = {"kind": kind, "image": image.path, "box": box, "label": label}
            self._report(row.place, f"{_text(box)} {what}", outcome, **about)
        return [pair for pair, bad in zip(sound, unusable, strict=True) if not bad], cut[~unusable]


def turn(boxes: NDArray[np.float64], header: ImageHeader) -> NDArray[np.float64]:
    """Rotate (N, 4) xyxy boxes drawn on the stored pixels as EXIF rotates the image."""
    left, top, right, bottom = boxes.T
    width, height = header.width, header.height  # of the upright image
    if header.orientation >= 5:  # these orientations swap rows and columns
        left, top, right, bottom = top, left, bottom, right
    if header.orientation in (2, 3, 6, 7):
        left, right = width - right, width - left
    if header.orientation in (3, 4, 7, 8):
        top, bottom = height - bottom, height - top
    return np.stack([left, top, right, bottom], axis=1)


def _defect(box: NDArray[np.float64], size: tuple[int, int]) -> tuple[ProblemKind, str, Outcome]:
    """Return kind and description of a box's defect, and whether the box is skipped or repaired."""
    left, top, right, bottom = box.tolist()
    height, width = size
    if not np.isfinite(box).all():
        return "not-numbers", "is not made of numbers", "skipped"
    if right < left or bottom < top:
        return "inverted", "is inverted: expected left, top, right, bottom", "skipped"
    if right == left or bottom == top:
        return "empty", "has no area", "skipped"
    if left >= width or top >= height or right <= 0 or bottom <= 0:
        return "outside", f"lies outside the {size_text(size)} image", "skipped"
    return "border", f"reaches over the {size_text(size)} image", "repaired"


def _text(box: Sequence[float]) -> str:
    return f"[{', '.join(f'{side:.6g}' for side in box)}]"
