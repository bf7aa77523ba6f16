"""The decoding of [yolo], [region] and [Gaussian_yolo] layers as ONNX nodes; see `geometry.decode`.

Legend: **B** batch, **A** anchors of a scale, **C** classes, **S**, **T** rows and columns of cells, **K**
candidates of all scales.
"""

from collections.abc import Sequence

import numpy as np

from lookonce.darknet.network import Network, Scale
from lookonce.darknet.onnx_nodes import Nodes
from lookonce.darknet.tree import groups_of
from lookonce.geometry.decode import LARGEST_LOG_SIDE, cell_corners

LEAST_IN_TREE = 0.5  # Darknet's default for -hier


def add_decoding(nodes: Nodes, network: Network, raw_maps: Sequence[str], *, static: bool = False) -> str:
    """Add the decoding of raw maps (B, A*columns, S, T), finest first -> (B, K, 5+C) boxes and scores.

    Candidates are ordered by scale, row, column and anchor. If static, B is 1, S and T are those of the
    network, and the graph computes no shapes.
    """
    decoded = []
    for scale, raw in zip(network.scales, raw_maps, strict=True):
        nodes.prefix = f"decode_{scale.stride}_{scale.source}"
        decoded.append(decoded_scale(nodes, scale, raw, network if static else None))
    nodes.prefix = "decode"
    return nodes.add("Concat", *decoded, axis=1)


def decoded_scale(nodes: Nodes, scale: Scale, raw: str, fixed: Network | None) -> str:
    """Add the decoding of one raw map (B, A*columns, S, T) -> (B, S*T*A, 5+C).

    With a fixed network, cells and anchors share an axis from the start, because OpenCV's importer handles
    five dimensions badly.
    """
    anchors = np.array(scale.section.anchors, np.float32)  # (A, 2)
    by_cell = nodes.add("Transpose", raw, perm=[0, 2, 3, 1])  # (B, S, T, A*columns)
    sides: tuple[int, ...]
    if fixed is None:
        sides = (0, 0, 0, len(anchors))
        corner = corners(nodes, raw)
    else:
        _, rows, columns = fixed.shape(scale.source)
        sides = (1, rows * columns * len(anchors))
        of_candidates = cell_corners(rows, columns).repeat(len(anchors), axis=0)  # (S*T*A, 2)
        corner = nodes.constant(of_candidates[None])
        anchors = np.tile(anchors, (1, rows * columns, 1))
    maps = nodes.add("Reshape", by_cell, nodes.integers(*sides, scale.columns))
    inside, factors, scores = parts_of(nodes, scale, maps, sides)  # (..., 2), (..., 2), (..., 1+C)
    stretch = scale.section.scale_x_y
    if stretch != 1:
        inside = nodes.add("Mul", inside, nodes.floats(stretch))
        inside = nodes.add("Sub", inside, nodes.floats((stretch - 1) / 2))
    if scale.whole:
        cell = nodes.floats(scale.stride)
    elif fixed is not None:
        cell = nodes.floats(*scale.cell)
    else:  # the input size is not a multiple of the stride: (width, height) is (W, H) / (T, S)
        lengths = [("images", (2, 1)), (raw, (3, 2))]
        cell = nodes.add("Div", *(nodes.lengths(of, *axes) for of, axes in lengths))
    center = nodes.add("Mul", nodes.add("Add", inside, corner), cell)
    half = nodes.add("Mul", factors, nodes.constant(anchors / 2))
    if scale.in_cells:
        half = nodes.add("Mul", half, cell)
    low, high = nodes.add("Sub", center, half), nodes.add("Add", center, half)
    joined = nodes.add("Concat", low, high, scores, axis=-1)  # (..., 5+C)
    return nodes.add("Reshape", joined, nodes.integers(0, -1, 5 + scale.section.classes))


def parts_of(nodes: Nodes, scale: Scale, maps: str, leading: Sequence[int]) -> tuple[str, str, str]:
    """Add the split of raw maps (..., columns) and the functions applied to the parts.

    Returns:
        Center offsets in the cell (..., 2), factors for the anchor's sides (..., 2), and objectness with the
        class probabilities (..., 1+C).
    """
    form, classes = scale.section.form, scale.section.classes
    if form == "gaussian":
        # x, y, w and h are each followed by an uncertainty; the mean of the four lowers the objectness
        split = nodes.add_many("Split", maps, nodes.integers(*[1] * 9, classes), outputs=10, axis=-1)
        center = nodes.add("Concat", split[0], split[2], axis=-1)
        sides = nodes.add("Concat", split[4], split[6], axis=-1)
        uncertain = nodes.add("Sigmoid", nodes.add("Concat", *split[1:8:2], axis=-1))
        sure = nodes.add("Sub", nodes.floats(1), nodes.add("ReduceMean", uncertain, axes=[-1]))
        objectness = nodes.add("Mul", nodes.add("Sigmoid", split[8]), sure)
        scores = nodes.add("Concat", objectness, nodes.add("Sigmoid", split[9]), axis=-1)
    else:
        center, sides, rest = nodes.add_many(
            "Split", maps, nodes.integers(2, 2, 1 + classes), outputs=3, axis=-1
        )
        if form == "region":
            logit, logits = nodes.add_many("Split", rest, nodes.integers(1, classes), outputs=2, axis=-1)
            probabilities = nodes.add("Softmax", logits, axis=-1)
            scores = nodes.add("Concat", nodes.add("Sigmoid", logit), probabilities, axis=-1)
        elif form == "region_tree":
            logit, logits = nodes.add_many("Split", rest, nodes.integers(1, classes), outputs=2, axis=-1)
            chosen = class_in_tree(nodes, logits, scale.section.parents, leading)
            scores = nodes.add("Concat", nodes.add("Sigmoid", logit), chosen, axis=-1)
        else:
            scores = rest if scale.activated else nodes.add("Sigmoid", rest)
    inside = center if scale.activated else nodes.add("Sigmoid", center)
    if form == "new_coords":  # sides are (2 σ(t))²
        halves = sides if scale.activated else nodes.add("Sigmoid", sides)
        doubled = nodes.add("Mul", halves, nodes.floats(2))
        return inside, nodes.add("Mul", doubled, doubled), scores
    clipped = nodes.add("Clip", sides, nodes.floats(-LARGEST_LOG_SIDE), nodes.floats(LARGEST_LOG_SIDE))
    return inside, nodes.add("Exp", clipped), scores


def class_in_tree(nodes: Nodes, logits: str, parents: tuple[int, ...], leading: Sequence[int]) -> str:
    """Add the choice of one class in a tree: logits (..., C) -> (..., C), 1 for that class and 0 for others.

    A softmax over each group gives the probability of a class given its parent, and the product up to the
    root gives the probability of the class. The chosen class is the deepest one above `LEAST_IN_TREE`, or if
    there is none, the most likely root. `leading` has the lengths of the axes before the classes, 0 for an
    unchanged one.
    """
    ancestor, by_size = np.array(parents), dict[int, list[range]]()
    for group in groups_of(parents):
        by_size.setdefault(len(group), []).append(group)
    order, parts = np.array([], int), []
    for size, groups in sorted(by_size.items()):
        places = np.array(groups)  # (groups of this size, size)
        probabilities = nodes.add(
            "Softmax", nodes.add("Gather", logits, nodes.constant(places), axis=-1), axis=-1
        )
        parts.append(nodes.add("Reshape", probabilities, nodes.integers(*leading, len(groups) * size)))
        order = np.append(order, places)
    joined = nodes.add("Concat", *parts, axis=-1)
    product = nodes.add("Gather", joined, nodes.constant(np.argsort(order)), axis=-1)
    while (ancestor >= 0).any():  # each round doubles the number of generations in the products
        above = nodes.add("Gather", product, nodes.constant(ancestor.clip(0)), axis=-1)
        above = nodes.add("Where", nodes.constant(ancestor < 0), nodes.floats(1), above)
        product = nodes.add("Mul", product, above)
        ancestor = np.where(ancestor < 0, -1, ancestor[ancestor])
    deepest = nodes.constant(np.arange(1, len(parents) + 1, dtype=np.float32))  # children follow parents
    roots = nodes.add("Mul", product, nodes.constant((np.array(parents) < 0).astype(np.float32)))
    rank = nodes.add("Where", nodes.add("Greater", product, nodes.floats(LEAST_IN_TREE)), deepest, roots)
    best = nodes.add("ReduceMax", rank, axes=[-1], keepdims=1)
    return nodes.add("Cast", nodes.add("Equal", rank, best), to=1)


def corners(nodes: Nodes, raw: str) -> str:
    """Add the (column, row) of each cell of a raw map, as (S, T, 1, 2)."""
    shape = nodes.add("Shape", raw)
    size = nodes.add("Concat", *(nodes.add("Gather", shape, nodes.integers(axis)) for axis in (2, 3)),
                     nodes.integers(1, 1), axis=0)  # S, T, 1, 1  # fmt: skip
    zero, one = (nodes.constant(np.array(value)) for value in (0, 1))
    counted = []
    for axis, target in ((3, (-1, 1, 1)), (2, (-1, 1, 1, 1))):  # columns (T, 1, 1), rows (S, 1, 1, 1)
        length = nodes.add("Gather", shape, nodes.constant(np.array(axis)))
        count = nodes.add("Cast", nodes.add("Range", zero, length, one), to=1)  # float32: 0, 1, ...
        counted.append(nodes.add("Expand", nodes.add("Reshape", count, nodes.integers(*target)), size))
    return nodes.add("Concat", *counted, axis=-1)
