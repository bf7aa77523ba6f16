"""Box arithmetic for both numpy arrays and torch tensors.

Legend: **N**, **M** boxes, `...` any leading axes. A box is `xyxy` = (left, top, right, bottom) in pixels;
width is right - left, with no +1. Only the two conversions handle another form.

Every function computes with the library of its arrays, so gradients flow through torch tensors, and torch is
not needed for numpy arrays.
"""

import math
from typing import Any, TypeVar

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

Array = TypeVar("Array", bound=Any)  # numpy.ndarray or torch.Tensor

# Lower bound of divisors, in square pixels: it keeps IoU, GIoU and their gradients finite for empty boxes,
# for which the reference computes 0/0 (reference fault 2).
SMALLEST_AREA = 1e-9
SMALLEST_SIDE = 1e-2  # pixels; lower bound of the sides in CIoU's aspect ratio, whose gradient is 1 / side


def xyxy_to_cxcywh(boxes: Array) -> Array:
    """Convert (..., 4) corners to (..., 4) center x, center y, width, height."""
    xp = _library(boxes)
    low, high = boxes[..., :2], boxes[..., 2:]
    return xp.concatenate([(low + high) / 2, high - low], axis=-1)


def cxcywh_to_xyxy(boxes: Array) -> Array:
    """Convert (..., 4) center x, center y, width, height to (..., 4) corners."""
    xp = _library(boxes)
    center, half = boxes[..., :2], boxes[..., 2:] / 2
    return xp.concatenate([center - half, center + half], axis=-1)


def area(boxes: Array) -> Array:
    """Compute the area in square pixels: (..., 4) -> (...); 0 for an inverted box."""
    return (boxes[..., 2] - boxes[..., 0]).clip(0) * (boxes[..., 3] - boxes[..., 1]).clip(0)


def iou(a: Array, b: Array) -> Array:
    """Compute the intersection over union, element by element: (..., 4), (..., 4) -> (...), broadcasting.

    The IoU of two empty boxes is 0 (NaN in the reference).
    """
    return _overlap(a, b)[0]


def pairwise_iou(a: Array, b: Array) -> Array:
    """Compute the IoU of every box of `a` with every box of `b`: (N, 4), (M, 4) -> (N, M)."""
    return iou(a[:, None, :], b[None, :, :])


def pairwise_intersects(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return whether boxes share area: (N, 4), (M, 4) -> (N, M); if not, their IoU is 0.

    This test takes a tenth of the time of IoU, so use it first if most boxes lie apart.
    """
    left, top, right, bottom = np.ascontiguousarray(a.T)[:, :, None]
    left_b, top_b, right_b, bottom_b = np.ascontiguousarray(b.T)[:, None, :]
    shared = left < right_b
    shared &= left_b < right
    shared &= top < bottom_b
    shared &= top_b < bottom
    return shared


def giou(a: Array, b: Array) -> Array:
    """Compute the generalized IoU, element by element: (..., 4), (..., 4) -> (...), between -1 and 1.

    GIoU = IoU - (E - U) / E, with E the area of the smallest enclosing box and U that of the union
    (Rezatofighi et al. 2019). Unlike IoU, it has a gradient while the boxes do not touch. The GIoU of two
    empty boxes at the same position is 0.
    """
    xp = _library(a)
    overlap, union = _overlap(a, b)
    width = xp.maximum(a[..., 2], b[..., 2]) - xp.minimum(a[..., 0], b[..., 0])
    height = xp.maximum(a[..., 3], b[..., 3]) - xp.minimum(a[..., 1], b[..., 1])
    enclosing = width.clip(0) * height.clip(0)
    return overlap - (enclosing - union) / enclosing.clip(SMALLEST_AREA)


def diou(a: Array, b: Array) -> Array:
    """Compute the distance IoU, element by element: (..., 4), (..., 4) -> (...), between -1 and 1.

    DIoU = IoU - d^2 / c^2, with d the distance between the centers and c the diagonal of the smallest
    enclosing box (Zheng et al. 2020).
    """
    xp = _library(a)
    overlap, _ = _overlap(a, b)
    low, high = xp.minimum(a[..., :2], b[..., :2]), xp.maximum(a[..., 2:], b[..., 2:])
    diagonal = ((high - low) ** 2).sum(-1)
    distance = ((a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) ** 2).sum(-1) / 4
    return overlap - distance / diagonal.clip(SMALLEST_AREA)


def ciou(a: Array, b: Array) -> Array:
    """Compute the complete IoU, element by element: (..., 4), (..., 4) -> (...).

    CIoU = DIoU - alpha v, with v = 4 / pi^2 (arctan(w/h) - arctan(w'/h'))^2 and alpha = v / (1 - IoU + v),
    which is a constant for the gradient (Zheng et al. 2020).
    """
    xp = _library(a, b)

    def angle(boxes: Array) -> Array:
        sides = (boxes[..., 2:] - boxes[..., :2]).clip(SMALLEST_SIDE)
        return xp.arctan(sides[..., 0] / sides[..., 1])

    shape = 4 / math.pi**2 * (angle(a) - angle(b)) ** 2
    weight = shape / (1 - iou(a, b) + shape).clip(SMALLEST_AREA)
    if hasattr(weight, "detach"):
        weight = weight.detach()
    return diou(a, b) - weight * shape


BOX_MEASURES = {"giou": giou, "diou": diou, "ciou": ciou}  # by value of the setting `loss.box`


def clip(boxes: Array, height: float, width: float) -> Array:
    """Clip (..., 4) boxes to an image of the given size; a box outside becomes an empty box on the border."""
    xp = _library(boxes)
    x = xp.clip(boxes[..., 0::2], 0, width)
    y = xp.clip(boxes[..., 1::2], 0, height)
    return xp.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], axis=-1)


def shift(boxes: NDArray[np.float32], x: float, y: float) -> NDArray[np.float32]:
    """Shift (N, 4) boxes right by x and down by y pixels."""
    return boxes + np.array([x, y, x, y], np.float32)


def is_empty(boxes: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which boxes have no width or height, are inverted, or contain NaN: (..., 4) -> (...)."""
    return ~((boxes[..., 2] > boxes[..., 0]) & (boxes[..., 3] > boxes[..., 1]))


def _library(*arrays: Array) -> Any:
    """Return numpy, or array-api-compat's namespace for other arrays.

    numpy has all operations used here under the same names, and importing array-api-compat's wrapper of numpy
    would take as long as importing numpy itself, a noticeable delay in a process that detects on one image.
    """
    return np if all(isinstance(array, np.ndarray) for array in arrays) else array_namespace(*arrays)


def _overlap(a: Array, b: Array) -> tuple[Array, Array]:
    """Return the IoU and the area of the union in square pixels, both (...)."""
    xp = _library(a, b)
    width = xp.minimum(a[..., 2], b[..., 2]) - xp.maximum(a[..., 0], b[..., 0])
    height = xp.minimum(a[..., 3], b[..., 3]) - xp.maximum(a[..., 1], b[..., 1])
    intersection = width.clip(0) * height.clip(0)
    union = area(a) + area(b) - intersection
    return intersection / union.clip(SMALLEST_AREA), union
