"""Decoding of raw maps into boxes, for both numpy arrays and torch tensors.

```
      column cx                       box center  x = (cx + σ(tx) * s - (s - 1) / 2) * stride
     ┌─────────┬──                                y = (cy + σ(ty) * s - (s - 1) / 2) * stride
row  │         │                      box sides   w = anchor width  * exp(tw)
 cy  │    •    │   • = (σ(tx), σ(ty))             h = anchor height * exp(th)
     │         │       inside the cell
     └─────────┴──                    (paper, section 2.1; the write-up's `decode`)
```

s is Darknet's `scale_x_y`, 1 in YOLOv3; above 1, a center may lie a little outside its cell. The scales of
other Darknet networks have one of these forms:

```
form               sides                  objectness                          class probabilities
yolo               anchor * exp(t)        σ                                   σ of each class
region             anchor * exp(t)        σ                                   softmax over the classes
region_logistic    anchor * exp(t)        σ                                   σ of each class
region_tree        anchor * exp(t)        σ                                   1 for one class of a tree, or 0
gaussian           anchor * exp(t)        σ * (1 - mean of four σ(u))         σ of each class
new_coords         anchor * (2 σ(t))²     σ                                   σ of each class
```
"""

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

Array = TypeVar("Array", bound=Any)  # numpy.ndarray or torch.Tensor

# Limit of |tw| and |th|: exp(10) = 22,026 times the anchor exceeds any image and is far from the float32
# overflow that makes the reference's loss NaN (fault 1).
LARGEST_LOG_SIDE = 10.0

Form = Literal["yolo", "new_coords", "gaussian", "region", "region_logistic", "region_tree"]


@dataclass(frozen=True, slots=True)
class Decoding:
    """Conversion of one scale's raw numbers to boxes and scores; the defaults are YOLOv3's.

    Attributes:
        form: form of the scale, see the table above.
        scale_x_y: stretch of the center's offset within the cell.
    """

    form: Form = "yolo"
    scale_x_y: float = 1.0

    @property
    def columns(self) -> int:
        """Return how many raw numbers an anchor has besides its classes: 5, or 9 if boxes are Gaussian."""
        return 9 if self.form == "gaussian" else 5


YOLO = Decoding()


def center_of(inside: Array, corner: Array, stride: int | Array, scale_x_y: float = 1.0) -> Array:
    """Return box centers in input pixels, (..., 2).

    Args:
        inside: (..., 2) σ(tx, ty).
        corner: (..., 2) (column, row) of the cells.
        stride: side of a cell in pixels, or (2,) its width and height.
        scale_x_y: stretch of the offset within the cell.
    """
    if scale_x_y != 1:
        inside = inside * scale_x_y - (scale_x_y - 1) / 2
    return (inside + corner) * stride


def sides_of(raw: Array, anchor: Array, form: Form = "yolo") -> Array:
    """Return box sides in input pixels, (..., 2), from (tw, th) and anchor sides in pixels, both (..., 2)."""
    xp = array_namespace(raw)
    if form == "new_coords":
        return anchor * (1 + xp.tanh(raw / 2)) ** 2  # 1 + tanh(t / 2) = 2 σ(t), without overflow
    return anchor * xp.exp(raw.clip(-LARGEST_LOG_SIDE, LARGEST_LOG_SIDE))


def cell_corners(rows: int, columns: int) -> NDArray[np.float32]:
    """Return (column, row) of every cell: (rows * columns, 2), row by row."""
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1)
    return grid.reshape(-1, 2).astype(np.float32)


def sigmoid(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return 1 / (1 + exp(-x)), without overflow."""
    small = np.exp(-np.abs(x))
    result: NDArray[np.float32] = np.where(x >= 0, 1 / (1 + small), small / (1 + small)).astype(np.float32)
    return result


def softmax(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the probabilities of mutually exclusive classes: (..., C) -> (..., C)."""
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    probabilities: NDArray[np.float32] = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities
