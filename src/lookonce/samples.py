"""Annotated images, independent of their annotation format.

Boxes are xyxy in float pixels of the image as displayed, after EXIF rotation. Class numbers start at 0.

Legend: **N** objects of an image.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lookonce._counted import counted
from lookonce.errors import ImageError
from lookonce.geometry.letterbox import Letterbox
from lookonce.geometry.polygons import EVERYWHERE, Rectangle, contains
from lookonce.images import read_size


@dataclass(frozen=True, slots=True, eq=False)
class Area:
    """A part of an image in which objects may lack boxes, so that it must not count as background.

    Attributes:
        corners: (K, 2) float32 corners of a polygon, in pixels of the image.
        labels: classes that may lack boxes there; empty for all classes, in which case detections there do
            not count.
        window: rectangle to which the polygon is clipped.
    """

    corners: NDArray[np.float32]
    labels: tuple[int, ...] = ()
    window: Rectangle = EVERYWHERE

    def holds(self, points: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return whether each of the points (M, 2) is inside the polygon and the window, as (M,) bool."""
        inside = contains(self.corners, points)
        return inside & (points >= self.window[:2]).all(axis=1) & (points <= self.window[2:]).all(axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """An annotated image; a background image has no objects.

    Attributes:
        path: image file.
        boxes: (N, 4) float32 xyxy in pixels of the image.
        labels: (N,) int64 class numbers.
        difficult: (N,) bool, VOC's flag for objects that evaluation ignores and training uses by default;
            empty if no object is difficult.
        crowd: (N,) bool, COCO's flag for boxes around many objects, which are ignored areas; empty if there
            are none.
        image_id: id of the image in COCO annotations, for writing results; None if there is none.
        size: (height, width) of the image as displayed; None if not read yet (see `image_size`).
        ignored: areas in which objects may lack boxes, in addition to crowd boxes.
        scores: (N,) float32 scores of boxes predicted by a detector; None for boxes drawn by people.

    Raises:
        ValueError: the shapes of the arrays do not agree.
    """

    path: Path
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    difficult: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    crowd: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    image_id: int | str | None = None
    size: tuple[int, int] | None = None
    ignored: tuple[Area, ...] = ()
    scores: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        n = len(self.labels)
        for name in ("difficult", "crowd"):
            if len(getattr(self, name)) == 0:
                object.__setattr__(self, name, np.zeros(n, bool))
        shapes = self.boxes.shape, self.labels.shape, self.difficult.shape, self.crowd.shape
        if shapes != ((n, 4), (n,), (n,), (n,)):
            raise ValueError(f"expected boxes (N, 4) and labels, difficult, crowd (N,), found {shapes}")

    def annotation_bytes(self) -> bytes:
        """Return boxes, classes, crowd flags and ignored areas as bytes, for a digest."""
        arrays = (self.boxes, self.labels, self.crowd)
        areas = (area.corners.tobytes() + repr(area.labels).encode() for area in self.ignored)
        return b"".join([*(array.tobytes() for array in arrays), *areas])

    @property
    def image_size(self) -> tuple[int, int]:
        """Return (height, width) of the image as displayed, read from its header if necessary.

        Raises:
            ImageError: the header cannot be read.
        """
        return self.size or read_size(self.path)

    @property
    def is_readable(self) -> bool:
        """Return whether the size of the image is known or can be read."""
        try:
            return bool(self.image_size)
        except ImageError:
            return False

    def pick(self, kept: NDArray[np.bool_]) -> "Sample":
        """Return the sample with only the objects for which `kept` (N,) is true."""
        return replace(
            self,
            boxes=self.boxes[kept],
            labels=self.labels[kept],
            difficult=self.difficult[kept],
            crowd=self.crowd[kept],
            scores=None if self.scores is None else self.scores[kept],
        )

    def joined(self, more: "Sample") -> "Sample":
        """Return the sample with the objects of another sample of the same image added."""
        scored = self.scores is not None and more.scores is not None
        return replace(
            self,
            boxes=np.concatenate([self.boxes, more.boxes]),
            labels=np.concatenate([self.labels, more.labels]),
            difficult=np.concatenate([self.difficult, more.difficult]),
            crowd=np.concatenate([self.crowd, more.crowd]),
            scores=np.concatenate([self.scores, more.scores]) if scored else None,
        )

    def renumbered(self, numbers: NDArray[np.int64]) -> "Sample":
        """Return the sample with `numbers[label]` in place of each label; -1 drops an object or area."""
        labels = numbers[self.labels]
        known = labels >= 0
        areas = []
        for area in self.ignored:
            left = tuple(label for label in numbers[list(area.labels)].tolist() if label >= 0)
            if left or not area.labels:
                areas.append(replace(area, labels=left))
        return replace(self.pick(known), labels=labels[known], ignored=tuple(areas))


def group_numbers(paths: Sequence[Path], group: str) -> list[int]:
    """Return the number of each image's group, from 0, in order of first occurrence.

    Args:
        paths: image files.
        group: `folder`, or a regular expression. Images belong together if it matches the same text in their
            paths, or the same groups if it has any. An image without a match is a group of its own.
    """

    def key(path: Path) -> object:
        if group == "folder":
            return path.parent
        found = re.search(group, path.as_posix())
        return path if found is None else found.groups() or found[0]

    numbers: dict[object, int] = {}
    return [numbers.setdefault(key(path), len(numbers)) for path in paths]


# Names of the same classes in Darknet's coco.names and VOC, and in COCO.
ALIASES = (
    ("motorbike", "motorcycle"),
    ("aeroplane", "airplane"),
    ("sofa", "couch"),
    ("pottedplant", "potted plant"),
    ("diningtable", "dining table"),
    ("tvmonitor", "tv"),
    ("hair drier", "hair dryer"),
)


def named_as_in(names: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    """Return class names with known aliases replaced by their form in `others`, unless that name is taken."""
    own, known = set(names), set(others)
    other = {name: twin for pair in ALIASES for name, twin in (pair, pair[::-1])}
    renamed = {name: other[name] for name in own - known if other.get(name) in known - own}
    return tuple(renamed.get(name, name) for name in names)


def numbers_in(names: Sequence[str], others: Sequence[str]) -> NDArray[np.int64]:
    """Return the index in `names` of each name in `others`; -1 for a name that is not in `names`."""
    number = {name: i for i, name in enumerate(names)}
    return np.array([number.get(name, -1) for name in others], np.int64)


LONGEST = 600  # characters of a problem's place or text, from which longer ones are cut in the middle

Outcome = Literal["skipped", "repaired", "noted"]

ProblemKind = Literal[
    "annotation",
    "background",
    "border",
    "channels",
    "class",
    "class-absent",
    "elsewhere",
    "empty",
    "exif-boxes",
    "exif-unknown",
    "filename",
    "fractions",
    "inverted",
    "keypoints",
    "listed-twice",
    "meaning",
    "missing",
    "no-size",
    "not-numbers",
    "orphan",
    "other",
    "outside",
    "outside-splits",
    "polygon",
    "row",
    "selection",
    "series",
    "setting",
    "shared-id",
    "shared-labels",
    "split-absent",
    "unannotated",
    "unlabeled",
    "unlisted",
    "unreadable",
    "unread-format",
    "unusable",
    "wrong-size",
]
"""Kinds of problem; `doctor.kinds` explains all but `other`, which is for problems outside annotations."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A row or image that a reader of annotations skipped, repaired or noted; reported once and counted.

    Every command that reads annotations reports problems. `data check` also checks images, duplicates, boxes
    and classes; it reports findings (`doctor.findings.Finding`), and converts each problem to one.

    Attributes:
        place: place of the problem, such as `file:line` or `file: box 3`.
        what: expected and found value.
        outcome: whether the row or image was skipped, repaired, or kept unchanged.
        kind: kind of problem.
        image: image file with the problem; None if it does not concern an image.
        box: xyxy of the box with the problem in pixels, as in the annotations; None if there is none.
        label: class number of that box; None if there is none.
    """

    place: str
    what: str
    outcome: Outcome = "skipped"
    kind: ProblemKind = "other"
    image: Path | None = None
    box: tuple[float, float, float, float] | None = None
    label: int | None = None

    def __post_init__(self) -> None:
        for name in ("place", "what"):  # which may quote long texts from a file
            text = getattr(self, name)
            if len(text) > LONGEST:
                object.__setattr__(self, name, f"{text[: LONGEST // 2]} ... {text[-LONGEST // 3 :]}")

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


@dataclass(frozen=True, slots=True)
class SampleSet:
    """Annotated images, their class names, and the problems of the annotations.

    Attributes:
        names: class names, which `Sample.labels` index.
        samples: annotated images, in the order of the annotations.
        problems: rows or images that were skipped, repaired or noted.
        format: format of the annotations, such as `coco`, or `coco+voc` for a combined set.
        category_ids: COCO category of each class, in the order of `names`; empty for other formats.
        origin: description of the recognized data.
        places: image -> place of each of its boxes in the annotations, if known.
    """

    names: tuple[str, ...]
    samples: Sequence[Sample]
    problems: Sequence[Problem]
    format: str
    category_ids: tuple[int, ...] = ()
    origin: str = ""
    places: Mapping[Path, tuple[str, ...]] = field(default_factory=dict)

    def describe(self) -> str:
        """Return a line that describes the recognized data, with counts."""
        images, classes = counted(len(self.samples), "image"), counted(len(self.names), "class")
        boxes = counted(sum(len(sample.boxes) for sample in self.samples), "box")
        background = sum(len(sample.boxes) == 0 for sample in self.samples)
        areas = sum(not area.labels for sample in self.samples for area in sample.ignored)
        partly = sum(any(area.labels for area in sample.ignored) for sample in self.samples)
        ignored = f", {areas} ignored {'area' if areas == 1 else 'areas'}" if areas else ""
        ignored += f", {counted(partly, 'image')} annotated for some classes only" if partly else ""
        title = self.origin or self.format
        return f"{title}: {images} ({background} without objects), {boxes}, {classes}{ignored}"


def input_shapes(samples: Sequence[Sample], input_size: tuple[int, int]) -> NDArray[np.float64]:
    """Return (width, height) of all boxes except crowds, in pixels of the letterboxed input, as (M, 2)."""
    boxes = [np.zeros((0, 4), np.float32)]
    for sample in samples:
        boxes.append(Letterbox.fit(sample.image_size, input_size).boxes_in(sample.boxes[~sample.crowd]))
    corners = np.concatenate(boxes).astype(np.float64)
    return corners[:, 2:] - corners[:, :2]
