"""The result type: the objects found in an image, and conversions to the types of other libraries.

Legend: **N** objects.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple, Self, overload
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from lookonce._optional import require
from lookonce.geometry.boxes import xyxy_to_cxcywh

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

    from lookonce.inputs import Image

BOX_DIGITS = 3  # decimal places of pixels in text, the precision of float32 at 10,000 pixels
SCORE_DIGITS = 6  # decimal places of scores in text
SHOWN = 6  # objects in `repr`


class Detection(NamedTuple):
    """One object, which unpacks into (name, score, (left, top, right, bottom)).

    Attributes:
        name: class name.
        score: objectness times class probability.
        box: (left, top, right, bottom) in pixels of the image.
    """

    name: str
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Detections:
    """The objects found in an image, by descending score; indexed like an array.

    Attributes:
        boxes: (N, 4) float32 xyxy in pixels of the original image.
        scores: (N,) float32 objectness times class probability.
        labels: (N,) int64 class numbers.
        names: class names; may be empty.
        image_size: (height, width) of the image in pixels; None if unknown.
        source: path of the image, or a weak reference to its pixels, for showing it in a notebook; None if
            unknown. A weak reference does not keep the frames of a video in memory.

    Raises:
        ValueError: the shapes of the arrays do not agree.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    names: tuple[str, ...] = field(default=())
    image_size: tuple[int, int] | None = None
    source: "str | PathLike[str] | ref[Any] | None" = None

    def __post_init__(self) -> None:
        n = len(self.scores)
        found = self.boxes.shape, self.scores.shape, self.labels.shape
        if found != ((n, 4), (n,), (n,)):
            raise ValueError(f"expected boxes (N, 4), scores (N,), labels (N,), found {found}")

    @classmethod
    def none(cls, names: tuple[str, ...] = ()) -> Self:
        """Return an empty result."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), names)

    def __len__(self) -> int:
        return len(self.scores)

    @overload
    def __getitem__(self, index: int) -> Detection: ...

    @overload
    def __getitem__(self, index: str | slice | Sequence[int] | NDArray[Any]) -> Self: ...

    def __getitem__(self, index: Any) -> Detection | Self:
        """Return one object by its index, or several by class name, mask, slice or index array.

        Raises:
            KeyError: there is no such class.
            IndexError: there is no such object.
        """
        if isinstance(index, int | np.integer):
            return Detection(
                self.name_of(int(self.labels[index])),
                float(self.scores[index]),
                tuple(self.boxes[index].tolist()),
            )
        if isinstance(index, str):
            if self.names and index not in self.names:
                raise KeyError(f"expected one of the classes {', '.join(self.names)}; found {index!r}")
            index = np.array([self.name_of(label) == index for label in self.labels.tolist()], bool)
        return type(self)(
            self.boxes[index],
            self.scores[index],
            self.labels[index],
            self.names,
            self.image_size,
            self.source,
        )

    def __iter__(self) -> Iterator[Detection]:
        """Yield (name, score, (left, top, right, bottom)) for each object."""
        for box, score, label in zip(
            self.boxes.tolist(), self.scores.tolist(), self.labels.tolist(), strict=True
        ):
            yield Detection(self.name_of(label), score, (box[0], box[1], box[2], box[3]))

    def __eq__(self, other: object) -> bool:
        """Return whether boxes, scores, labels, names and image size are equal."""
        if not isinstance(other, Detections):
            return NotImplemented
        return (self.names, self.image_size) == (other.names, other.image_size) and all(
            np.array_equal(one, another)
            for one, another in (
                (self.boxes, other.boxes),
                (self.scores, other.scores),
                (self.labels, other.labels),
            )
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle everything except a weak reference."""
        source = None if isinstance(self.source, ref) else self.source
        arrays = self.boxes, self.scores, self.labels
        return type(self), (*arrays, self.names, self.image_size, source)

    def __repr__(self) -> str:
        shown = [f"{name} {score:.2f}" for name, score, _ in self[:SHOWN]]
        more = ["..."] if len(self) > SHOWN else []
        return f"Detections({len(self)}{': ' if shown else ''}{', '.join(shown + more)})"

    def _repr_html_(self) -> str:
        """Return HTML with the annotated image and a table, which a notebook shows."""
        from lookonce.draw.results import as_html

        return as_html(self)

    def name_of(self, label: int) -> str:
        """Return the name of a class, or its number as text if it has no name."""
        return self.names[label] if label < len(self.names) else str(label)

    def counts(self) -> Counter[str]:
        """Return the number of objects by class name; the number is 0 for a class that was not found."""
        return Counter(self.name_of(label) for label in self.labels.tolist())

    @property
    def xywh(self) -> NDArray[np.float32]:
        """Return the boxes as (N, 4) left, top, width, height in pixels."""
        sides: NDArray[np.float32] = self.boxes[:, 2:] - self.boxes[:, :2]
        return np.concatenate([self.boxes[:, :2], sides], axis=1)

    @property
    def cxcywh(self) -> NDArray[np.float32]:
        """Return the boxes as (N, 4) center x, center y, width, height in pixels."""
        return xyxy_to_cxcywh(self.boxes)

    @property
    def normalized(self) -> NDArray[np.float32]:
        """Return the boxes as (N, 4) xyxy in shares of the image's width and height, 0 to 1.

        Raises:
            ValueError: the size of the image is unknown.
        """
        if self.image_size is None:
            raise ValueError("expected detections with an image_size, found None")
        height, width = self.image_size
        shares: NDArray[np.float32] = np.divide(self.boxes, np.array([width, height] * 2, np.float32))
        return shares

    def crop(self, image: "Image") -> "list[NDArray[np.uint8]]":
        """Return the part of the image in each box, as N arrays (height, width, 3) uint8 RGB.

        Args:
            image: image in any form that a Detector accepts.

        Raises:
            ImageError: the input is not an image, or cannot be read.
        """
        from lookonce.draw.results import crop

        return crop(self, image)

    def plot(self, image: "Image | None" = None) -> "PillowImage":
        """Return the image with the boxes drawn on it, as a Pillow image.

        Args:
            image: image in any form that a Detector accepts; None for `source`.

        Raises:
            ImageError: the input is not an image, or cannot be read.
            ValueError: `image` is None, and the pixels are no longer in memory.
        """
        from lookonce.draw.results import plot

        return plot(self, image)

    def to_dict(self) -> dict[str, Any]:
        """Return a dict for JSON with `detections` as in `detections.json`, and the image's size if known."""
        size = {} if self.image_size is None else {"width": self.image_size[1], "height": self.image_size[0]}
        listed = [
            {"class": name, "score": round(score, SCORE_DIGITS), "box": [round(x, BOX_DIGITS) for x in box]}
            for name, score, box in self
        ]
        return {**size, "detections": listed}

    def to_json(self) -> str:
        """Return `to_dict` as one line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame` with the columns class, score, and left, top, right, bottom in pixels.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        columns = {"class": [self.name_of(label) for label in self.labels.tolist()], "score": self.scores}
        sides = dict(zip(("left", "top", "right", "bottom"), self.boxes.T, strict=True))
        return require("pandas").DataFrame(columns | sides)

    def to_coco(self, image_id: int | str, category_ids: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """Return COCO results, for pycocotools' `loadRes`.

        Args:
            image_id: id of the image in the annotations.
            category_ids: COCO category of each class, in the order of `names`; None to number from 1.
        """
        entries = []
        for label, (_, score, box) in zip(self.labels.tolist(), self, strict=True):
            # sizes of the rounded corners, so that detections read back from JSON give the same ones
            left, top, right, bottom = (round(side, BOX_DIGITS) for side in box)
            size = round(right - left, BOX_DIGITS), round(bottom - top, BOX_DIGITS)
            entries.append(
                {
                    "image_id": image_id,
                    "category_id": label + 1 if category_ids is None else category_ids[label],
                    "bbox": [left, top, *size],
                    "score": round(score, SCORE_DIGITS),
                }
            )
        return entries

    def to_supervision(self) -> Any:
        """Return `supervision.Detections`, with class names in `data["class_name"]`.

        Raises:
            MissingExtraError: supervision is not installed.
        """
        names = np.array([self.name_of(label) for label in self.labels.tolist()], dtype=str)
        return require("supervision").Detections(
            xyxy=self.boxes, confidence=self.scores, class_id=self.labels, data={"class_name": names}
        )

    @classmethod
    def from_supervision(cls, found: Any, names: Sequence[str] = ()) -> Self:
        """Convert `supervision.Detections`, and sort them by descending score.

        Args:
            found: detections with `confidence` and `class_id`.
            names: class names; empty for those in `data["class_name"]`, with numbers as the names of classes
                without objects.

        Raises:
            ValueError: the scores or the class numbers are missing.
        """
        if not len(found.xyxy):
            return cls.none(tuple(names))
        if found.confidence is None or found.class_id is None:
            raise ValueError("expected supervision.Detections with confidence and class_id, found None")
        labels = np.asarray(found.class_id, np.int64)
        if not names and "class_name" in found.data:
            known = dict(zip(labels.tolist(), map(str, found.data["class_name"]), strict=True))
            names = [known.get(label, str(label)) for label in range(int(labels.max()) + 1)]
        order = np.argsort(-np.asarray(found.confidence, np.float32), kind="stable")
        boxes, scores = np.asarray(found.xyxy, np.float32), np.asarray(found.confidence, np.float32)
        return cls(boxes[order], scores[order], labels[order], tuple(names))

    def to_fiftyone(self) -> Any:
        """Return `fiftyone.Detections`, with boxes in shares of the image's width and height.

        Raises:
            MissingExtraError: fiftyone is not installed.
            ValueError: the size of the image is unknown.
        """
        fiftyone = require("fiftyone")
        corners = self.normalized.tolist()
        return fiftyone.Detections(
            detections=[
                fiftyone.Detection(
                    label=name,
                    bounding_box=[left, top, right - left, bottom - top],
                    confidence=score,
                )
                for (name, score, _), (left, top, right, bottom) in zip(self, corners, strict=True)
            ]
        )
