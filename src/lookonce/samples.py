"""Annotated images, independent of their annotation format.

Boxes are corners in float pixels of the image as displayed (EXIF rotation applied); class numbers start at 0.
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
    """Part of an image in which objects may lack a box, so that it must not count as background.

    Attributes:
        corners: (K, 2) float32 polygon, in pixels of the image.
        labels: classes that may lack boxes there; empty: all classes, and detections there do not count.
        window: rectangle that the polygon is clipped to.
    """

    corners: NDArray[np.float32]
    labels: tuple[int, ...] = ()
    window: Rectangle = EVERYWHERE

    def holds(self, points: NDArray[np.floating]) -> NDArray[np.bool_]:
        """(N, 2) -> (N,): whether each point lies inside the polygon and the window."""
        inside = contains(self.corners, points)
        return inside & (points >= self.window[:2]).all(axis=1) & (points <= self.window[2:]).all(axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One annotated image. N is 0 for a background image.

    Attributes:
        path: image file.
        boxes: (N, 4) float32 xyxy, in pixels of the image.
        labels: (N,) int64 class numbers.
        difficult: (N,) VOC's flag; evaluation ignores these objects, and training uses them by default. If
            left out, no object is difficult.
        crowd: (N,) COCO's flag: the box surrounds many objects and is an ignored area. If left out, none is.
        image_id: id of the image in COCO annotations, kept for writing results.
        size: (height, width) of the image as displayed; None: not read yet, see `image_size`.
        ignored: areas in which objects may lack a box, in addition to crowd boxes.
        scores: (N,) float32 scores of boxes that a detector predicted; None: people drew the boxes.
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
        """Return boxes, classes, crowd flags and ignored areas as bytes, which a digest tells apart."""
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
        """Whether the size of the image is known or can be read."""
        try:
            return bool(self.image_size)
        except ImageError:
            return False

    def pick(self, kept: NDArray[np.bool_]) -> "Sample":
        """Return the sample with only the objects for which `kept`, (N,) bool, is true."""
        return replace(
            self,
            boxes=self.boxes[kept],
            labels=self.labels[kept],
            difficult=self.difficult[kept],
            crowd=self.crowd[kept],
            scores=None if self.scores is None else self.scores[kept],
        )

    def joined(self, more: "Sample") -> "Sample":
        """Return the sample with the objects of another sample of the same image appended."""
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
        """Return the sample with class numbers `numbers[label]`; objects and areas with -1 are dropped."""
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
        group: `folder`, or a regular expression: images whose paths match it with the same text, or the same
            groups if it has any, belong together. An image that does not match is a group of its own.
    """

    def key(path: Path) -> object:
        if group == "folder":
            return path.parent
        found = re.search(group, path.as_posix())
        return path if found is None else found.groups() or found[0]

    numbers: dict[object, int] = {}
    return [numbers.setdefault(key(path), len(numbers)) for path in paths]


# Pairs of names for one class: in Darknet's coco.names and VOC, and in COCO
ALIASES = (
    ("motorbike", "motorcycle"),
    ("aeroplane", "airplane"),
    ("sofa", "couch"),
    ("pottedplant", "potted plant"),
    ("diningtable", "dining table"),
    ("tvmonitor", "tv"),
    ("hair drier", "hair dryer"),
)


def named_as_in(names: Sequence[str], theirs: Sequence[str]) -> tuple[str, ...]:
    """Return class names in which each known alias is spelled as in `theirs`, unless that name is taken."""
    own, known = set(names), set(theirs)
    other = {name: twin for pair in ALIASES for name, twin in (pair, pair[::-1])}
    taken = {name: other[name] for name in own - known if other.get(name) in known - own}
    return tuple(taken.get(name, name) for name in names)


def numbers_in(names: Sequence[str], theirs: Sequence[str]) -> NDArray[np.int64]:
    """Return the position in `names` of each name in `theirs`; -1 for one that `names` does not contain."""
    number = {name: i for i, name in enumerate(names)}
    return np.array([number.get(name, -1) for name in theirs], np.int64)


LONGEST = 600  # characters of a problem's place or text; longer ones lose their middle

Outcome = Literal["skipped", "repaired", "noted"]

ProblemKind = Literal[
    "annotation",
    "background",
    "border",
    "channels",
    "class",
    "class-absent",
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

    Every command that reads annotations reports problems. `data check` goes further, and also checks images,
    duplicates, boxes and classes: it reports `doctor.findings.Finding`s, and turns each problem into one.

    Attributes:
        place: `file:line`, or `file: box 3`.
        what: expected and found value.
        outcome: whether the row or image was skipped, kept after a repair, or kept as it is.
        kind: kind of problem.
        image: image file that the problem is about, if any.
        box: xyxy in pixels, as written in the annotations, if the problem is about one box.
        label: class number of that box.
    """

    place: str
    what: str
    outcome: Outcome = "skipped"
    kind: ProblemKind = "other"
    image: Path | None = None
    box: tuple[float, float, float, float] | None = None
    label: int | None = None

    def __post_init__(self) -> None:
        for name in ("place", "what"):  # both may quote a file
            text = getattr(self, name)
            if len(text) > LONGEST:
                object.__setattr__(self, name, f"{text[: LONGEST // 2]} ... {text[-LONGEST // 3 :]}")

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


@dataclass(frozen=True, slots=True)
class SampleSet:
    """Annotated images, their class names, and the problems of the annotations.

    Attributes:
        names: class names; `labels` are indices into them.
        samples: images, in the order of the annotations.
        problems: a problem for every row or image that was skipped or repaired, and notes.
        format: format of the annotations, such as `coco`, or `coco+voc` for a set combined from both.
        category_ids: COCO's category id of each class, in the order of `names`; empty for other formats.
        origin: description of the recognized data.
        places: image -> place of each of its boxes in the annotations, if the reader knows it.
    """

    names: tuple[str, ...]
    samples: Sequence[Sample]
    problems: Sequence[Problem]
    format: str
    category_ids: tuple[int, ...] = ()
    origin: str = ""
    places: Mapping[Path, tuple[str, ...]] = field(default_factory=dict)

    def describe(self) -> str:
        """Describe the recognized data in one line, with counts."""
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
    """Return (width, height) of all boxes except crowds, in pixels of the letterboxed input: (N, 2)."""
    boxes = [np.zeros((0, 4), np.float32)]
    for sample in samples:
        boxes.append(Letterbox.fit(sample.image_size, input_size).boxes_in(sample.boxes[~sample.crowd]))
    corners = np.concatenate(boxes).astype(np.float64)
    return corners[:, 2:] - corners[:, :2]
