"""One annotated image, and a set of them as it came from an annotation file.

Whatever form the annotations had, this is what they become: corners in float pixels of the image as it
is displayed (EXIF rotation applied), class numbers counted from 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray


def _no_flags() -> NDArray[np.bool_]:
    return np.zeros(0, bool)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One annotated image. N may be 0: a background image counts.

    Attributes:
        path: the image.
        boxes: (N, 4) float32 xyxy, pixels of the image.
        labels: (N,) int64 class numbers.
        difficult: (N,) VOC's flag: neither rewarded nor punished in evaluation, trained on.
        crowd: (N,) COCO's flag: one box around many objects; ignored in evaluation, not trained on.
        image_id: the id that COCO annotations gave the image, kept so results can be handed back.
        size: (height, width) of the image as displayed; None where nobody has looked yet.
    """

    path: Path
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    difficult: NDArray[np.bool_] = field(default_factory=_no_flags)
    crowd: NDArray[np.bool_] = field(default_factory=_no_flags)
    image_id: int | str | None = None
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        n = len(self.labels)
        for name in ("difficult", "crowd"):  # left out means: none is flagged
            if len(getattr(self, name)) == 0:
                object.__setattr__(self, name, np.zeros(n, bool))
        shapes = self.boxes.shape, self.labels.shape, self.difficult.shape, self.crowd.shape
        if shapes != ((n, 4), (n,), (n,), (n,)):
            raise ValueError(f"expected boxes (N, 4) and labels, difficult, crowd (N,), found {shapes}")

    def pick(self, kept: NDArray[np.bool_]) -> "Sample":
        """The same image with some of its objects: `kept` (N,)."""
        return replace(
            self,
            boxes=self.boxes[kept],
            labels=self.labels[kept],
            difficult=self.difficult[kept],
            crowd=self.crowd[kept],
        )

    def renumbered(self, numbers: NDArray[np.int64]) -> "Sample":
        """The same image under other class numbers, `numbers[label]`; objects that get -1 are left out."""
        labels = numbers[self.labels]
        known = labels >= 0
        return replace(self.pick(known), labels=labels[known])


def numbers_in(names: Sequence[str], theirs: Sequence[str]) -> NDArray[np.int64]:
    """For each of their class names its number in `names`, -1 where it is not one of them."""
    number = {name: i for i, name in enumerate(names)}
    return np.array([number.get(name, -1) for name in theirs], np.int64)


Outcome = Literal["skipped", "repaired", "noted"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something odd in an annotation file; reported once and counted.

    Attributes:
        place: `file:line`, or `file: box 3`, where a person finds it.
        what: what was expected and what was found.
        outcome: a row or image was left out, or kept with a change, or kept as it is.
        kind: what sort of thing it is, one word of `doctor.kinds`; empty where nobody sorts it.
        image: the file it is about.
        box: xyxy in pixels as written, where it is about one box.
        label: the class number of that box.
    """

    place: str
    what: str
    outcome: Outcome = "skipped"
    kind: str = ""
    image: Path | None = None
    box: tuple[float, float, float, float] | None = None
    label: int | None = None

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


@dataclass(frozen=True, slots=True)
class SampleSet:
    """Annotated images, their class names, and what was odd about the annotations.

    Attributes:
        names: class names; `labels` index into them.
        samples: in the order of the annotation file.
        problems: one for every row or image skipped or repaired, and what else is worth knowing.
        format: how the annotations were recognised: `lines`, `coco`, `voc` or `yolo`; `coco+voc` for a
            set put together from both.
        category_ids: COCO's own number of each class, in the order of `names`; empty elsewhere.
        origin: what was recognised, in words.
        places: image -> where each of its boxes is written, as far as the reader knows.
    """

    names: tuple[str, ...]
    samples: Sequence[Sample]
    problems: Sequence[Problem]
    format: str
    category_ids: tuple[int, ...] = ()
    origin: str = ""
    places: Mapping[Path, tuple[str, ...]] = field(default_factory=dict)

    def describe(self) -> str:
        """One line: what was recognised and how much it holds."""
        boxes = sum(len(sample.boxes) for sample in self.samples)
        background = sum(len(sample.boxes) == 0 for sample in self.samples)
        return (
            f"{self.origin or self.format}: {_count(len(self.samples), 'image')} ({background} without "
            f"objects), {_count(boxes, 'box', 'boxes')}, {_count(len(self.names), 'class', 'classes')}"
        )


def _count(number: int, one: str, more: str = "") -> str:
    return f"{number} {one if number == 1 else more or one + 's'}"
