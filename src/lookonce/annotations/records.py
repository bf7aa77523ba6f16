"""Output of all readers: images as named in the files, with their rows, valid or not."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from lookonce._texts import Names
from lookonce.samples import Problem, ProblemKind

Box = tuple[float, float, float, float]  # xyxy in pixels; in a relative record, center and size in fractions


class Row(NamedTuple):
    """One box as written in the file.

    Attributes:
        place: place in the file, for messages.
        box: four numbers whose meaning depends on `Record.relative`.
        label: class number or class name, not yet checked.
        difficult: VOC's flag for difficult objects.
        crowd: COCO's flag for crowds.
        polygon: whether the box was computed around a polygon or a mask.
        keypoints: number of values after the box, which are not used.
        fault: reason why the row cannot be used; `box` and the flags are then meaningless.
        kind: kind of the fault.
    """

    place: str
    box: Box = (0, 0, 0, 0)
    label: int | str = 0
    difficult: bool = False
    crowd: bool = False
    polygon: bool = False
    keypoints: int = 0
    fault: str = ""
    kind: ProblemKind = "row"

    def has_area(self, *, relative: bool) -> bool:
        """Return whether the box has an area; `relative` as in its record."""
        left, top, right, bottom = (0, 0, *self.box[2:]) if relative else self.box
        return right > left and bottom > top


class Record(NamedTuple):
    """One image as written in the annotations.

    Attributes:
        place: place of the annotation, for messages.
        image: name of the image as written, or its file.
        rows: boxes of the image, including faulty ones.
        declared: declared (height, width) of the image; None if there is none.
        image_id: COCO's image id; None in other formats.
        listed: place where the image is listed, if different from `place`.
        relative: whether boxes are center and size in fractions of the image's sides.
        unlabeled: message for an image that no annotation belongs to; empty otherwise.
    """

    place: str
    image: str | Path
    rows: Sequence[Row] = ()
    declared: tuple[int, int] | None = None
    image_id: int | str | None = None
    listed: str = ""
    relative: bool = False
    unlabeled: str = ""


@dataclass(frozen=True, slots=True)
class Parsed:
    """Parsed annotations of one split.

    Attributes:
        form: name of the format, such as `coco`.
        records: images, in the order of the file.
        near: folder that the names of images are relative to.
        place: file or folder to name in errors.
        problems: problems found while parsing.
        names: class names in the order that the annotations define; empty if they define none.
        numbered: whether labels are class numbers, which need names.
        category_ids: COCO's category id of each class name.
        spoiled: stems of unusable annotation files, whose images must not become background images.
        origin: sources of class names or labels, for messages.
    """

    form: str
    records: Sequence[Record]
    near: Path
    place: Path
    problems: Sequence[Problem] = ()
    names: Names = ()
    numbered: bool = False
    category_ids: Mapping[str, int] = field(default_factory=dict)
    spoiled: Sequence[str] = ()
    origin: str = ""


def declared_size(height: Any, width: Any) -> tuple[int, int] | None:
    """Convert numbers or text to (height, width) as integers; None if they are not integers."""
    try:
        sides = float(height), float(width)
    except (TypeError, ValueError):
        return None
    return (int(sides[0]), int(sides[1])) if all(side.is_integer() for side in sides) else None


def upright(x: float, y: float, width: float, height: float, angle: float) -> Box:
    """Return the smallest upright box, xyxy, around a box rotated about its center by `angle` in radians."""
    sine, cosine = abs(math.sin(angle)), abs(math.cos(angle))
    across = (width * cosine + height * sine) / 2
    down = (width * sine + height * cosine) / 2
    return x - across, y - down, x + across, y + down


def hull(points: Sequence[tuple[float, float]]) -> Box:
    """Return the smallest upright box, xyxy, around points; four NaN if a coordinate is NaN.

    Raises:
        ValueError: there are fewer than two points.
    """
    if len(points) < 2:
        raise ValueError(f"expected at least two points, found {len(points)}")
    across, down = zip(*points, strict=True)
    if any(map(math.isnan, (*across, *down))):  # `min` and `max` may miss a NaN
        return math.nan, math.nan, math.nan, math.nan
    return min(across), min(down), max(across), max(down)
