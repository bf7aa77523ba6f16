"""Where dirty data is decided, once for all formats.

A reader parses; it hands over each image with its rows, sound or not. The collector keeps what can be
used, cuts what reaches over the border, sets the rest aside, and remembers a `Problem` for each.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lookonce.annotations.files import is_file
from lookonce.errors import AnnotationError, ImageError
from lookonce.geometry import boxes as box_ops
from lookonce.images import read_size
from lookonce.samples import Outcome, Problem, ProblemKind, Sample, SampleSet

ROUNDING = 0.5  # pixels over the border that come from decimals in the file and are cut without a word

Names = tuple[str, ...]
Box = tuple[float, float, float, float]  # xyxy in pixels; YOLO's: centre and size in fractions


class Row(NamedTuple):
    """One box as the file has it.

    Attributes:
        place: where a person finds it.
        box: four numbers; corners in pixels unless the format says otherwise.
        label: class number, not yet checked.
        difficult: VOC's flag.
        crowd: COCO's flag.
        fault: why the row could not be parsed; then nothing but `place` counts.
        kind: of that fault: `row`, or `class` where only the class is unknown.
    """

    place: str
    box: Box = (0, 0, 0, 0)
    label: int = 0
    difficult: bool = False
    crowd: bool = False
    fault: str = ""
    kind: ProblemKind = "row"


class Collector:
    """Gathers the samples and problems of one annotation file or folder."""

    def __init__(self, names: Names, strict: bool) -> None:
        """With `strict`, the first row that would be skipped or repaired raises instead."""
        self.names = names
        self._strict = strict
        self._samples: list[Sample] = []
        self._problems: list[Problem] = []
        self._listed: dict[Path, str] = {}  # image -> where it was listed first
        self._places: dict[Path, tuple[str, ...]] = {}

    def report(self, place: str, what: str, outcome: Outcome = "skipped", **about: Any) -> None:
        """Remember a problem; `about` are the other fields of `Problem`.

        Raises:
            AnnotationError: in strict mode, unless it is only worth a note.
        """
        problem = Problem(place, what, outcome, **about)
        if self._strict and outcome != "noted":
            raise AnnotationError(str(problem))
        self._problems.append(problem)

    def add(
        self,
        image: Path,
        rows: Sequence[Row],
        place: str,
        *,
        listed: str = "",
        declared: tuple[int, int] | None = None,
        image_id: int | str | None = None,
        relative: bool = False,
    ) -> None:
        """Take in one image with everything its annotation says.

        Args:
            image: its file.
            rows: its boxes, faulty ones included.
            place: where the annotation of the image is.
            listed: where the image is listed, if not there.
            declared: (height, width) according to the annotation.
            image_id: COCO's.
            relative: boxes are centre and size in fractions of the image's sides, not corners in pixels.
        """
        listed = listed or place
        if image in self._listed:
            what = f"{image.name} is listed again; it counts as on {self._listed[image]}"
            return self.report(listed, what, kind="listed-twice", image=image)
        self._listed[image] = listed
        if (size := self._size(image, place, declared)) is None:
            return None
        kept, boxes = self._usable(image, rows, size, relative)
        if not rows:
            what = "no object: kept as a background image"
            self.report(place, what, "noted", kind="background", image=image)
        elif not kept:
            what = f"none of its {len(rows)} boxes is usable, so the image is left out: it is no background"
            return self.report(place, what, kind="unusable", image=image)
        self._places[image] = tuple(row.place for row in kept)
        self._samples.append(
            Sample(
                path=image,
                boxes=boxes,
                labels=np.array([row.label for row in kept], np.int64),
                difficult=np.array([row.difficult for row in kept], bool),
                crowd=np.array([row.crowd for row in kept], bool),
                image_id=image_id,
                size=size,
            )
        )

    def result(self, form: str, origin: str, category_ids: tuple[int, ...] = ()) -> SampleSet:
        """Everything gathered."""
        return SampleSet(self.names, self._samples, self._problems, form, category_ids, origin, self._places)

    def _size(self, image: Path, place: str, declared: tuple[int, int] | None) -> tuple[int, int] | None:
        """The image's own (height, width), which is what counts; None where it cannot be read."""
        try:
            size = read_size(image)
        except ImageError as error:
            kind = "unreadable" if is_file(image) else "missing"
            self.report(place, str(error), kind=kind, image=image)
            return None
        if declared is not None and declared != size:
            hint = " (turned by EXIF, or height and width exchanged)" if declared == size[::-1] else ""
            what = f"declares {_wxh(declared)}, the image has {_wxh(size)}{hint}"
            kind = "wrong-size" if all(declared) else "no-size"
            self.report(place, what, "repaired", kind=kind, image=image)
        return size

    def _usable(
        self, image: Path, rows: Sequence[Row], size: tuple[int, int], relative: bool
    ) -> tuple[list[Row], NDArray[np.float32]]:
        """The rows that can be used, and their boxes (N, 4) xyxy in pixels, cut to the image."""
        sound = [row for row in rows if self._is_sound(image, row)]
        height, width = size
        boxes = np.array([row.box for row in sound], np.float64).reshape(-1, 4)
        if relative:
            boxes = box_ops.cxcywh_to_xyxy(boxes) * (width, height, width, height)
        cut = box_ops.clip(boxes, height, width).astype(np.float32)
        unusable = box_ops.is_empty(cut) | ~np.isfinite(boxes).all(axis=1)
        for i in np.flatnonzero(unusable):
            kind, defect = _defect(boxes[i], size)
            self._report_box(sound[i], boxes[i], defect, kind=kind, image=image)
        over = (np.abs(boxes - cut) > ROUNDING).any(axis=1) & ~unusable
        for i in np.flatnonzero(over):
            what = f"reaches over the {_wxh(size)} image: cut to {_text(cut[i])}"
            self._report_box(sound[i], boxes[i], what, "repaired", kind="border", image=image)
        return [row for row, bad in zip(sound, unusable, strict=True) if not bad], cut[~unusable]

    def _report_box(
        self,
        row: Row,
        box: NDArray[np.float64],
        what: str,
        outcome: Outcome = "skipped",
        *,
        kind: str,
        image: Path,
    ) -> None:
        about = {"kind": kind, "image": image, "box": tuple(box.tolist()), "label": row.label}
        self.report(row.place, f"{_text(box)} {what}", outcome, **about)

    def _is_sound(self, image: Path, row: Row) -> bool:
        fault, kind = row.fault, row.kind
        if not fault and not 0 <= row.label < len(self.names):
            fault = f"expected a class number from 0 to {len(self.names) - 1}, found {row.label}"
            kind = "class"
        if fault:
            self.report(row.place, fault, kind=kind, image=image)
        return not fault


def _defect(box: NDArray[np.float64], size: tuple[int, int]) -> tuple[str, str]:
    """Why nothing remains of a box: the kind, and in words."""
    left, top, right, bottom = box.tolist()
    if not np.isfinite(box).all():
        return "not-numbers", "is not made of numbers"
    if right < left or bottom < top:
        return "inverted", "is inverted: expected left, top, right, bottom"
    if right == left or bottom == top:
        return "empty", "has no area"
    return "outside", f"lies outside the {_wxh(size)} image"


def _wxh(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


def _text(box: NDArray[np.floating]) -> str:
    return f"[{', '.join(f'{side:.6g}' for side in box.tolist())}]"
