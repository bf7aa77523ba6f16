"""Where dirty data is decided, once for all formats.

A reader parses; it hands over each picture with its rows, sound or not. The collector keeps what can be
used, cuts what reaches over the border, sets the rest aside, and remembers a `Problem` for each.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lookonce.errors import AnnotationError, ImageError
from lookonce.geometry import boxes as box_ops
from lookonce.images import read_size
from lookonce.samples import Outcome, Problem, Sample, SampleSet

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
    """

    place: str
    box: Box = (0, 0, 0, 0)
    label: int = 0
    difficult: bool = False
    crowd: bool = False
    fault: str = ""


class Collector:
    """Gathers the samples and problems of one annotation file or folder."""

    def __init__(self, names: Names, strict: bool) -> None:
        """With `strict`, the first row that would be set aside or repaired raises instead."""
        self.names = names
        self._strict = strict
        self._samples: list[Sample] = []
        self._problems: list[Problem] = []
        self._listed: dict[Path, str] = {}  # picture -> where it was listed first

    def report(self, place: str, what: str, outcome: Outcome = "set aside") -> None:
        """Remember a problem.

        Raises:
            AnnotationError: in strict mode, unless it is only worth a note.
        """
        problem = Problem(place, what, outcome)
        if self._strict and outcome != "noted":
            raise AnnotationError(str(problem))
        self._problems.append(problem)

    def add(
        self,
        picture: Path,
        rows: Sequence[Row],
        place: str,
        *,
        listed: str = "",
        declared: tuple[int, int] | None = None,
        image_id: int | str | None = None,
        relative: bool = False,
    ) -> None:
        """Take in one picture with everything its annotation says.

        Args:
            picture: its file.
            rows: its boxes, faulty ones included.
            place: where the annotation of the picture is.
            listed: where the picture is listed, if not there.
            declared: (height, width) according to the annotation.
            image_id: COCO's.
            relative: boxes are centre and size in fractions of the picture's sides, not corners in pixels.
        """
        listed = listed or place
        if picture in self._listed:
            what = f"{picture.name} is listed again; it counts as on {self._listed[picture]}"
            return self.report(listed, what)
        self._listed[picture] = listed
        if (size := self._size(picture, place, declared)) is None:
            return None
        kept, boxes = self._usable(rows, size, relative)
        if not rows:
            self.report(place, "no object: kept as a background picture", "noted")
        elif not kept:
            what = f"none of its {len(rows)} boxes is usable, so the picture is left out: it is no background"
            return self.report(place, what)
        self._samples.append(
            Sample(
                path=picture,
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
        return SampleSet(self.names, self._samples, self._problems, form, category_ids, origin)

    def _size(self, picture: Path, place: str, declared: tuple[int, int] | None) -> tuple[int, int] | None:
        """The picture's own (height, width), which is what counts; None where it cannot be read."""
        try:
            size = read_size(picture)
        except (ImageError, OSError, ValueError) as error:  # the last two: a name that no file can have
            self.report(place, str(error))
            return None
        if declared is not None and declared != size:
            hint = " (turned by EXIF, or height and width exchanged)" if declared == size[::-1] else ""
            self.report(place, f"declares {_wxh(declared)}, the picture has {_wxh(size)}{hint}", "repaired")
        return size

    def _usable(
        self, rows: Sequence[Row], size: tuple[int, int], relative: bool
    ) -> tuple[list[Row], NDArray[np.float32]]:
        """The rows that can be used, and their boxes (N, 4) xyxy in pixels, cut to the picture."""
        sound = [row for row in rows if self._is_sound(row)]
        height, width = size
        boxes = np.array([row.box for row in sound], np.float64).reshape(-1, 4)
        if relative:
            boxes = box_ops.cxcywh_to_xyxy(boxes) * (width, height, width, height)
        cut = box_ops.clip(boxes, height, width).astype(np.float32)
        unusable = box_ops.is_empty(cut) | ~np.isfinite(boxes).all(axis=1)
        for i in np.flatnonzero(unusable):
            self.report(sound[i].place, f"{_text(boxes[i])} {_defect(boxes[i], size)}")
        over = (np.abs(boxes - cut) > ROUNDING).any(axis=1) & ~unusable
        for i in np.flatnonzero(over):
            what = f"{_text(boxes[i])} reaches over the {_wxh(size)} picture: cut to {_text(cut[i])}"
            self.report(sound[i].place, what, "repaired")
        return [row for row, bad in zip(sound, unusable, strict=True) if not bad], cut[~unusable]

    def _is_sound(self, row: Row) -> bool:
        fault = row.fault
        if not fault and not 0 <= row.label < len(self.names):
            fault = f"expected a class number from 0 to {len(self.names) - 1}, found {row.label}"
        if fault:
            self.report(row.place, fault)
        return not fault


def _defect(box: NDArray[np.float64], size: tuple[int, int]) -> str:
    """Why nothing remains of a box."""
    left, top, right, bottom = box.tolist()
    if not np.isfinite(box).all():
        return "is not made of numbers"
    if right < left or bottom < top:
        return "is inverted: expected left, top, right, bottom"
    if right == left or bottom == top:
        return "has no area"
    return f"lies outside the {_wxh(size)} picture"


def _wxh(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


def _text(box: NDArray[np.floating]) -> str:
    return f"[{', '.join(f'{side:.6g}' for side in box.tolist())}]"
