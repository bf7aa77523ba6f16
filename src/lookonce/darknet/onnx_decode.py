"""The decoding of [yolo] layers as ONNX nodes.

Legend: **B** batch, **A** anchors of a scale, **C** classes, **S**, **T** rows and columns of cells, **K**
candidates of all scales.

The formula stands in `geometry.decode`.
"""

from collections.abc import Sequence

import numpy as np

from lookonce.darknet.network import Scale
from lookonce.darknet.onnx_nodes import Nodes
from lookonce.geometry.decode import LARGEST_LOG_SIDE


def add_decoding(nodes: Nodes, scales: Sequence[Scale], raw_maps: Sequence[str]) -> str:
    """Raw maps (B, A*(5+C), S, T), finest first -> (B, K, 5+C): xyxy in pixels, objectness, classes.

    K runs over scales, rows, columns, anchors.
    """
    decoded = []
    for scale, raw in zip(scales, raw_maps, strict=True):
        nodes.prefix = f"decode_{scale.stride}_{scale.source}"
        decoded.append(_scale(nodes, scale, raw))
    nodes.prefix = "decode"
    return nodes.add("Concat", *decoded, axis=1)


def _scale(nodes: Nodes, scale: Scale, raw: str) -> str:
    """(B, A*(5+C), S, T) -> (B, S*T*A, 5+C)."""
    anchors, columns = np.array(scale.section.anchors, np.float32), 5 + scale.section.classes  # (A, 2)
    by_cell = nodes.add("Transpose", raw, perm=[0, 2, 3, 1])  # (B, S, T, A*(5+C))
    maps = nodes.add("Reshape", by_cell, nodes.integers(0, 0, 0, len(anchors), columns))  # (B, S, T, A, 5+C)
    centre, sides, rest = nodes.add_many("Split", maps, nodes.integers(2, 2, columns - 4), outputs=3, axis=-1)
    centre = _centre(nodes, scale, centre, _corners(nodes, raw))  # (B, S, T, A, 2)
    clipped = nodes.add("Clip", sides, nodes.floats(-LARGEST_LOG_SIDE), nodes.floats(LARGEST_LOG_SIDE))
    half = nodes.add("Mul", nodes.add("Exp", clipped), nodes.constant(anchors / 2))  # (B, S, T, A, 2)
    low, high = nodes.add("Sub", centre, half), nodes.add("Add", centre, half)
    joined = nodes.add("Concat", low, high, nodes.add("Sigmoid", rest), axis=-1)  # (B, S, T, A, 5+C)
    return nodes.add("Reshape", joined, nodes.integers(0, -1, columns))


def _centre(nodes: Nodes, scale: Scale, centre: str, corners: str) -> str:
    """Raw centres (B, S, T, A, 2) and corners of the cells (S, T, 1, 2) -> pixels."""
    inside, stretch = nodes.add("Sigmoid", centre), scale.section.scale_x_y
    if stretch != 1:
        inside = nodes.add("Mul", inside, nodes.floats(stretch))
        inside = nodes.add("Sub", inside, nodes.floats((stretch - 1) / 2))
    return nodes.add("Mul", nodes.add("Add", inside, corners), nodes.floats(scale.stride))


def _corners(nodes: Nodes, raw: str) -> str:
    """(column, row) of each cell of a raw map: (S, T, 1, 2)."""
    shape = nodes.add("Shape", raw)
    rows, columns = (nodes.add("Gather", shape, nodes.constant(np.array(axis))) for axis in (2, 3))
    size = nodes.add("Concat", *(nodes.add("Unsqueeze", n, nodes.integers(0)) for n in (rows, columns)),
                     nodes.integers(1, 1), axis=0)  # S, T, 1, 1  # fmt: skip
    column = nodes.add("Reshape", _count(nodes, columns), nodes.integers(-1, 1, 1))  # (T, 1, 1)
    row = nodes.add("Reshape", _count(nodes, rows), nodes.integers(-1, 1, 1, 1))  # (S, 1, 1, 1)
    return nodes.add("Concat", nodes.add("Expand", column, size), nodes.add("Expand", row, size), axis=-1)


def _count(nodes: Nodes, length: str) -> str:
    """0, 1, ... as floats."""
    zero, one = (nodes.constant(np.array(value)) for value in (0, 1))
    return nodes.add("Cast", nodes.add("Range", zero, length, one), to=1)  # 1: float32
