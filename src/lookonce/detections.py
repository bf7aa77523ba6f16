"""The result type: objects found in one image."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Objects found in one image, by descending score. Free of torch; slices like an array.

    Attributes:
        boxes: (N, 4) float32 xyxy, pixels of the original image.
        scores: (N,) float32, objectness times class probability.
        labels: (N,) int64 class numbers.
        names: class names, so that a result stands alone.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    names: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        n = len(self.scores)
        found = self.boxes.shape, self.scores.shape, self.labels.shape
        if found != ((n, 4), (n,), (n,)):
            raise ValueError(f"expected boxes (N, 4), scores (N,), labels (N,), found {found}")

    @classmethod
    def none(cls, names: tuple[str, ...] = ()) -> "Detections":
        """Return an empty result."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), names)

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: Any) -> "Detections":
        """Select by mask, slice, index array or number; the result is always `Detections`."""
        if isinstance(index, int | np.integer):
            index = [index]
        return Detections(self.boxes[index], self.scores[index], self.labels[index], self.names)

    def __iter__(self) -> Iterator[tuple[str, float, tuple[float, float, float, float]]]:
        """Yield (name, score, (left, top, right, bottom)) for each object."""
        for box, score, label in zip(
            self.boxes.tolist(), self.scores.tolist(), self.labels.tolist(), strict=True
        ):
            yield self.name_of(label), score, (box[0], box[1], box[2], box[3])

    def name_of(self, label: int) -> str:
        """Return the class name, or the number as text if no names are known."""
        return self.names[label] if label < len(self.names) else str(label)
