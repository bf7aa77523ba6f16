"""Polygons: tests for points inside them and grid cells that they touch.

Legend: **K** corners, **N** points, **S**, **T** rows and columns of cells. Corners are (x, y) in pixels; the
last one is connected to the first. A polygon may be concave.
"""

import numpy as np
from numpy.typing import NDArray

Corners = NDArray[np.float32]  # (K, 2)
Rectangle = tuple[float, float, float, float]  # left, top, right, bottom
EVERYWHERE: Rectangle = (-np.inf, -np.inf, np.inf, np.inf)


def rectangle(box: NDArray[np.floating]) -> Corners:
    """Return the corners of a box, clockwise from the upper left: (4,) xyxy -> (4, 2)."""
    return np.asarray(box, np.float32)[[[0, 1], [2, 1], [2, 3], [0, 3]]]


def contains(corners: NDArray[np.floating], points: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which points lie inside: (K, 2), (N, 2) -> (N,); an odd number of edges is to their right."""
    x, y = points.T[:, :, None]  # (N, 1)
    x1, y1 = np.asarray(corners, np.float64).T
    x2, y2 = np.roll(x1, -1), np.roll(y1, -1)
    spans = (y1 > y) != (y2 > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = x1 + (y - y1) / (y2 - y1) * (x2 - x1)
        odd: NDArray[np.bool_] = (spans & (x < crossing)).sum(axis=1) % 2 == 1
    return odd


def touched_cells(
    corners: NDArray[np.floating], cells: tuple[int, int], stride: int, window: Rectangle = EVERYWHERE
) -> NDArray[np.bool_]:
    """Return the cells that share any area with the part of a polygon inside a window: (S, T).

    A cell, clipped to the window, does so if an edge crosses it or its center lies inside the polygon.

    Args:
        corners: (K, 2) corners in pixels of the network input.
        cells: (rows, columns) of the grid.
        stride: pixels per cell.
        window: left, top, right, bottom in pixels of the network input.
    """
    found = np.zeros(cells, bool)
    low = np.maximum(np.maximum(corners.min(axis=0), window[:2]) // stride, 0).astype(int)
    high = np.minimum(-(np.minimum(corners.max(axis=0), window[2:]) // -stride), cells[::-1]).astype(int)
    if (high <= low).any():
        return found
    column, row = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]))
    corner = np.stack([column.ravel(), row.ravel()], axis=1)[:, None] * float(stride)  # (n, 1, 2)
    near, far = (
        np.maximum(corner, window[:2]),
        np.minimum(corner + stride, window[2:]),
    )  # two corners of each cell
    start = np.asarray(corners, np.float64)
    way = np.roll(start, -1, axis=0) - start
    with np.errstate(divide="ignore", invalid="ignore"):  # an edge along a cell's border divides 0 by 0
        meets = np.stack([(near - start) / way, (far - start) / way])
    enters = np.maximum(meets.min(axis=0).max(axis=2), 0)  # (n, K) share of each edge before it enters
    leaves = np.minimum(meets.max(axis=0).min(axis=2), 1)  # and before it leaves the cell
    crossed = (enters < leaves).any(axis=1)
    inside = contains(corners, (near + far)[:, 0] / 2)
    found[low[1] : high[1], low[0] : high[0]] = (crossed | inside).reshape(column.shape)
    return found
