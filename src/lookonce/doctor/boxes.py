"""What is odd about boxes: drawn twice, tiny, shapeless for the anchors, without a cell of their own."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lookonce.data.assign import POSITIVE_IOU, Column, Positives
from lookonce.doctor.findings import Finding, box_place, corners
from lookonce.doctor.network import Network
from lookonce.geometry.anchors import flatten, shape_iou
from lookonce.geometry.boxes import pairwise_intersects, pairwise_iou
from lookonce.samples import Sample, SampleSet

SAME_IOU = 0.9  # two boxes that overlap by so much are one object, drawn twice
TINY = 3.0  # pixels of the network input


def repeated_boxes(found: SampleSet, sample: Sample) -> Iterator[Finding]:
    """Boxes that lie on an earlier one, of the same class or of another."""
    pairs = [pair for pair in overlapping(sample) if not sample.crowd[list(pair)].any()]
    for earlier, later in pairs:
        place, both = box_place(found, sample, later), corners(sample, [earlier, later])
        names = [found.names[label] for label in sample.labels[[earlier, later]].tolist()]
        kind = "duplicate-box" if names[0] == names[1] else "contradiction"
        classes = names[1] if kind == "duplicate-box" else f"{names[1]!r} on {names[0]!r}"
        overlap = float(pairwise_iou(sample.boxes[[earlier]], sample.boxes[[later]])[0, 0])
        what = f"{classes}, IoU {overlap:.2f} with {box_place(found, sample, earlier)}"
        yield Finding(kind, place, what, sample.path, both, weight=overlap)


def overlapping(sample: Sample) -> list[tuple[int, int]]:
    """Pairs (earlier, later) of boxes with an IoU of 0.9 or more."""
    boxes = sample.boxes.astype(np.float64)
    near = np.argwhere(np.triu(pairwise_intersects(boxes, boxes), 1))
    return [(i, j) for i, j in near.tolist() if pairwise_iou(boxes[[i]], boxes[[j]])[0, 0] >= SAME_IOU]


def small_boxes(found: SampleSet, sample: Sample, network: Network) -> Iterator[Finding]:
    """Boxes too small for anything to be seen, or smaller than a cell of the finest grid."""
    sides = _sides(network.boxes(sample))
    shorter = sides.min(axis=1)
    for i in np.flatnonzero((shorter < network.strides[0]) & ~sample.crowd).tolist():
        kind = "tiny" if shorter[i] < TINY else "below-stride"
        what = f"{_pixels(sides[i])} pixels at {_wxh(network.size)}"
        yield Finding(
            kind,
            box_place(found, sample, i),
            what,
            sample.path,
            corners(sample, [i]),
            weight=-float(shorter[i]),
        )


def misshapen_boxes(found: SampleSet, sample: Sample, network: Network) -> Iterator[Finding]:
    """Boxes whose shape resembles no anchor."""
    sides = _sides(network.boxes(sample))
    best = shape_iou(sides, flatten(network.anchors)).max(axis=1)
    for i in np.flatnonzero((best <= POSITIVE_IOU) & ~sample.crowd).tolist():
        what = (
            f"{_pixels(sides[i])} pixels at {_wxh(network.size)}; the best anchor reaches IoU {best[i]:.2f}"
        )
        yield Finding(
            "no-anchor", box_place(found, sample, i), what, sample.path, corners(sample, [i]), weight=-best[i]
        )


def lost_objects(found: SampleSet, sample: Sample, network: Network) -> tuple[int, list[Finding]]:
    """How many cells and anchors of an image were claimed twice, and the objects left with none."""
    positives = network.assign(sample)
    if not positives.lost:
        return 0, []
    alone = without_cell(sample, network, positives)
    findings = []
    for i in alone:
        what = f"a later object takes its last cell at {_wxh(network.size)}"
        place = box_place(found, sample, i)
        findings.append(Finding("lost", place, what, sample.path, corners(sample, [i]), weight=len(alone)))
    return positives.lost, findings


def without_cell(sample: Sample, network: Network, positives: Positives[Column]) -> list[int]:
    """The boxes of a sample for which no cell is responsible; of equal boxes the earlier ones."""
    boxes = network.boxes(sample)
    responsible = {
        (*box, label) for box, label in zip(positives.box.tolist(), positives.label.tolist(), strict=True)
    }
    alone = []
    for i in reversed(np.flatnonzero(~sample.crowd).tolist()):
        key = (*boxes[i].tolist(), int(sample.labels[i]))
        if key in responsible:
            responsible.discard(key)
        else:
            alone.append(i)
    return alone[::-1]


def _sides(boxes: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N, 4) xyxy -> (N, 2) width and height."""
    wide = boxes.astype(np.float64)
    return wide[:, 2:] - wide[:, :2]


def _pixels(sides: NDArray[np.float64]) -> str:
    return f"{sides[0]:.1f} x {sides[1]:.1f}"


def _wxh(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
