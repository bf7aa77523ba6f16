"""Find boxes that are drawn twice, are tiny, fit no anchor, or lose all their cells to other boxes."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lookonce.data.assign import POSITIVE_IOU, Column, Positives
from lookonce.doctor.findings import Finding, box_place, corners
from lookonce.doctor.planned_network import PlannedNetwork
from lookonce.geometry.anchors import flatten, shape_iou
from lookonce.geometry.boxes import iou, xyxy_to_cxcywh
from lookonce.geometry.sizes import size_text
from lookonce.samples import Sample, SampleSet

SAME_IOU = 0.9  # IoU from which two boxes count as the same object drawn twice
TINY = 3.0  # pixels of the network input: a box with a shorter side is tiny


def repeated_boxes(sample_set: SampleSet, sample: Sample) -> Iterator[Finding]:
    """Yield findings about boxes that cover an earlier box of the same or another class."""
    pairs = repeats(sample)
    boxes = sample.boxes.astype(np.float64)
    overlaps = iou(boxes[[earlier for earlier, _ in pairs]], boxes[[later for _, later in pairs]])
    for (earlier, later), overlap in zip(pairs, overlaps.tolist(), strict=True):
        names = [sample_set.names[label] for label in sample.labels[[earlier, later]].tolist()]
        kind = "duplicate-box" if names[0] == names[1] else "contradiction"
        classes = names[1] if kind == "duplicate-box" else f"{names[1]!r} on {names[0]!r}"
        yield Finding(
            kind,
            box_place(sample_set, sample, later),
            f"{classes}, IoU {overlap:.2f} with {box_place(sample_set, sample, earlier)}",
            sample.path,
            corners(sample, [earlier, later]),
            weight=overlap,
        )


def repeats(sample: Sample) -> list[tuple[int, int]]:
    """Return (earlier, later) for each box whose IoU with an earlier box is 0.9 or more, sorted by `later`.

    Boxes are first compared within each class; the remaining ones are then compared across classes. A box is
    the later one of at most one pair, even if many boxes cover each other. Crowd boxes are left out.
    """
    boxes, labels = sample.boxes.astype(np.float64), sample.labels
    single = np.flatnonzero(~sample.crowd)
    by_label = single[np.argsort(labels[single], kind="stable")]
    pairs: list[tuple[int, int]] = []
    for group in np.split(by_label, np.flatnonzero(np.diff(labels[by_label])) + 1):
        pairs.extend(_first_below(boxes, group))
    repeated = {later for _, later in pairs}
    pairs.extend(_first_below(boxes, np.array([i for i in single.tolist() if i not in repeated], np.int64)))
    return sorted(pairs, key=lambda pair: pair[1])


def _first_below(boxes: NDArray[np.float64], group: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield (earlier, later) for each box of a group that covers an earlier box of that group."""
    by_left = group[np.argsort(boxes[group, 0], kind="stable")]
    left = boxes[by_left, 0]
    claimed: set[int] = set()
    for i in group.tolist():
        reach = (1 / SAME_IOU - 1) * (boxes[i, 2] - boxes[i, 0])  # largest distance of left edges at this IoU
        begin = int(np.searchsorted(left, boxes[i, 0] - reach))
        end = int(np.searchsorted(left, boxes[i, 0] + reach, side="right"))
        near = by_left[begin:end]
        near = near[near > i]
        if not len(near):
            continue
        same = near[iou(boxes[i], boxes[near]) >= SAME_IOU]
        new = [j for j in same.tolist() if j not in claimed]
        claimed.update(new)
        yield from ((i, j) for j in new)
        if 2 * len(new) > end - begin:  # remove paired boxes, else many equal boxes take quadratic time
            by_left = by_left[~np.isin(by_left, list(claimed))]
            left = boxes[by_left, 0]


def small_boxes(sample_set: SampleSet, sample: Sample, network: PlannedNetwork) -> Iterator[Finding]:
    """Yield findings about boxes that are tiny or smaller than a cell of the finest grid."""
    sides = xyxy_to_cxcywh(network.boxes(sample).astype(np.float64))[:, 2:]
    shorter = sides.min(axis=1)
    for i in np.flatnonzero((shorter < network.strides[0]) & ~sample.crowd).tolist():
        kind = "tiny" if shorter[i] < TINY else "below-stride"
        what = f"{sides[i, 0]:.1f} x {sides[i, 1]:.1f} pixels at {size_text(network.size)}"
        yield Finding(
            kind,
            box_place(sample_set, sample, i),
            what,
            sample.path,
            corners(sample, [i]),
            weight=-float(shorter[i]),
        )


def misshapen_boxes(sample_set: SampleSet, sample: Sample, network: PlannedNetwork) -> Iterator[Finding]:
    """Yield findings about boxes whose shape fits no anchor."""
    sides = xyxy_to_cxcywh(network.boxes(sample).astype(np.float64))[:, 2:]
    best = shape_iou(sides, flatten(network.anchors)).max(axis=1)
    for i in np.flatnonzero((best <= POSITIVE_IOU) & ~sample.crowd).tolist():
        seen = f"{sides[i, 0]:.1f} x {sides[i, 1]:.1f} pixels at {size_text(network.size)}"
        what = f"{seen}; the best anchor reaches IoU {best[i]:.2f}"
        yield Finding(
            "no-anchor",
            box_place(sample_set, sample, i),
            what,
            sample.path,
            corners(sample, [i]),
            weight=-best[i],
        )


def lost_objects(sample_set: SampleSet, sample: Sample, network: PlannedNetwork) -> tuple[int, list[Finding]]:
    """Return how many positives later boxes replace, and findings about objects left with none."""
    positives = network.assign(sample)
    if not positives.lost:
        return 0, []
    alone = without_cell(sample, network, positives)
    findings = []
    for i in alone:
        what = f"a later object takes its last cell at {size_text(network.size)}"
        place = box_place(sample_set, sample, i)
        findings.append(Finding("lost", place, what, sample.path, corners(sample, [i]), weight=len(alone)))
    return positives.lost, findings


def without_cell(sample: Sample, network: PlannedNetwork, positives: Positives[Column]) -> list[int]:
    """Return the indices of boxes without a positive; of equal boxes, the earlier ones count as without."""
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
