"""Boxes from the predictions of cells, once for both numpy arrays and torch tensors.

```
      column cx                       box centre  x = (cx + σ(tx) * s - (s - 1) / 2) * stride
     ┌─────────┬──                                y = (cy + σ(ty) * s - (s - 1) / 2) * stride
row  │         │                      box sides   w = anchor width  * exp(tw)
 cy  │    •    │   • = (σ(tx), σ(ty))             h = anchor height * exp(th)
     │         │       inside the cell
     └─────────┴──                    (paper, section 2.1; the write-up's `decode`)
```

s is Darknet's `scale_x_y`, 1 in YOLOv3; above 1 a centre may lie a little outside its cell.
"""

from typing import Any, TypeVar

from array_api_compat import array_namespace

Array = TypeVar("Array", bound=Any)  # numpy.ndarray or torch.Tensor

# exp(10) is 22,026 anchors: far beyond any image, and far from float32 overflow, which is where the
# reference's loss becomes NaN (fault 1)
LARGEST_LOG_SIDE = 10.0


def centre_of(inside: Array, corner: Array, stride: int, scale_x_y: float = 1.0) -> Array:
    """σ(tx, ty) and (column, row) of cells, each (..., 2) -> box centres (..., 2) in input pixels."""
    if scale_x_y != 1:
        inside = inside * scale_x_y - (scale_x_y - 1) / 2
    return (inside + corner) * stride


def sides_of(raw: Array, anchor: Array) -> Array:
    """(tw, th) and anchor sides in pixels, each (..., 2) -> box sides (..., 2) in input pixels."""
    xp = array_namespace(raw)
    return anchor * xp.exp(raw.clip(-LARGEST_LOG_SIDE, LARGEST_LOG_SIDE))
