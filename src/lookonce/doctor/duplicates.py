"""Find images that occur several times: identical files, the same image saved again, or similar images.

Files are compared by the hash of their bytes. In addition, every image has a difference hash of 64 bits: for
8 x 9 gray cells, whether each cell is brighter than its left neighbor. Pairs that differ in at most 8 bits
are candidates, and the correlation of their 32 x 32 thumbnails decides. The hash alone is not enough: among
660 photographs of classrooms, 120 pairs differ in at most 8 bits, and most of them show different rooms.

On 39 photographs, encoding again at quality 30, halving, stretching and noise changed at most 5 bits and left
a correlation of 0.999. 20% more brightness changed 5 bits and left 0.977, but 20 bits and 0.93 for an image
with an overexposed sky. A crop of 2% per side changed up to 14 bits, so cropped images are not found, and
neither are mirrored ones.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce._disjoint_sets import DisjointSets
from lookonce.doctor.findings import Finding
from lookonce.doctor.images import ImageFacts
from lookonce.geometry.pairs import overlapping_pairs
from lookonce.samples import Sample

HASH_DISTANCE = 8  # bits of 64 in which candidates may differ
COPY, SIMILAR = 0.995, 0.975  # correlation of thumbnails from which images are copies, or nearly the same
FLAT = 1.0  # standard deviation in gray levels below which a thumbnail is too flat to correlate
SHOWN = 5  # largest number of file names in a message
BLOCK = 512  # images compared with as many others at a time
SAME_BOX = 0.5  # IoU from which boxes drawn by different people count as the same object


@dataclass(frozen=True, slots=True)
class ListedImage:
    """Image of a data set.

    Attributes:
        sample: image and boxes.
        splits: splits that list the image, without `trainval` if there is a `train`.
    """

    sample: Sample
    splits: frozenset[str]


def duplicate_findings(
    facts: Mapping[Path, ImageFacts], listed: Mapping[Path, ListedImage]
) -> Iterator[Finding]:
    """Yield the findings about images that occur more than once.

    Args:
        facts: facts about the image files, by path.
        listed: boxes and splits of each image, by path.
    """
    paths = [path for path in listed if path in facts and facts[path].thumbnail is not None]
    for path, each in listed.items():
        if len(each.splits) > 1:
            yield Finding("leak", str(path), f"listed in {' and '.join(sorted(each.splits))}", path, weight=1)
    same_bytes: dict[bytes, list[Path]] = defaultdict(list)
    for path in paths:
        same_bytes[facts[path].digest].append(path)
    files = list(same_bytes.values())
    yield from (_identical(group, listed) for group in files if len(group) > 1)
    thumbnails = np.array([facts[group[0]].thumbnail for group in files], np.uint8).reshape(-1, 32, 32)
    copies, similar = alike(thumbnails)
    for members, likeness in copies.groups():
        yield _alike("copy", "leak", [path for i in members for path in files[i]], listed, likeness)
    copied = {tuple(members) for members, _ in copies.groups()}
    for members, likeness in similar.groups():
        if tuple(members) not in copied:  # a group of copies only is reported above
            group = [path for i in members for path in files[i]]
            yield _alike("similar", "similar-split", group, listed, likeness)


class Groups:
    """Connected groups of a graph whose edges are not stored, with the weakest edge of each group.

    Attributes:
        root: (N,) first node of each node's group.
    """

    def __init__(self, count: int) -> None:
        self.root = np.arange(count)
        self._sets = DisjointSets(count)
        self._weakest = np.ones(count)

    def join(
        self, first: NDArray[np.int64], second: NDArray[np.int64], likeness: NDArray[np.floating]
    ) -> None:
        """Add E edges between nodes `first`, (E,), and `second`, (E,), with the likeness of each, (E,)."""
        roots = self.root[first], self.root[second]
        if not len(first):
            return
        np.minimum.at(self._weakest, roots[0], likeness)
        np.minimum.at(self._weakest, roots[1], likeness)
        for i, j in np.unique(np.sort(np.stack(roots, axis=1), axis=1), axis=0).tolist():
            merged = [self._sets.root(i), self._sets.root(j)]
            self._sets.join(i, j)
            self._weakest[min(merged)] = self._weakest[merged].min()
        self.root = self._sets.roots()

    def groups(self) -> list[tuple[list[int], float]]:
        """Return the ascending nodes of each group of two or more, and the likeness of its weakest edge."""
        members: dict[int, list[int]] = defaultdict(list)
        for node, root in enumerate(self.root.tolist()):
            members[root].append(node)
        return [(each, float(self._weakest[root])) for root, each in members.items() if len(each) > 1]


def alike(thumbnails: NDArray[np.uint8]) -> tuple[Groups, Groups]:
    """Group (N, 32, 32) thumbnails into copies of one image, and into images that are nearly the same.

    Thumbnails are compared in square blocks, so memory does not grow with the number of pairs. Hashes come
    first: as vectors of +1 and -1, their products are 64 minus twice the distance. Then the thumbnails of the
    candidates are compared. Pairs are merged into groups at once, because N near-identical frames make N²
    pairs, and known copies are not compared again. 10,000 frames of a fixed camera take 7 seconds on one
    core.

    Returns:
        Groups of copies, and groups of images that are nearly the same.
    """
    signs = hashes(thumbnails).astype(np.float32) * 2 - 1  # (N, 64)
    copies, similar = Groups(len(thumbnails)), Groups(len(thumbnails))
    starts = range(0, len(thumbnails), BLOCK)
    for a, b in ((a, b) for a in starts for b in starts if a <= b):
        near = signs[a : a + BLOCK] @ signs[b : b + BLOCK].T >= 64 - 2 * HASH_DISTANCE
        near &= copies.root[a : a + BLOCK, None] != copies.root[None, b : b + BLOCK]  # skip known copies
        if a == b:
            near = np.triu(near, 1)
        rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
        if not len(rows):
            continue
        likeness = correlations(thumbnails[a + rows], thumbnails[b + columns])
        likeness[~near[np.ix_(rows, columns)]] = 0
        for groups, least in ((copies, COPY), (similar, SIMILAR)):
            i, j = np.nonzero(likeness >= least)
            groups.join(a + rows[i], b + columns[j], likeness[i, j])
    return copies, similar


def hashes(thumbnails: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Compute the difference hashes of thumbnails: (N, 32, 32) -> (N, 64)."""
    if not len(thumbnails):
        return np.zeros((0, 64), bool)
    cells = np.stack([cv2.resize(each, (9, 8), interpolation=cv2.INTER_AREA) for each in thumbnails])
    brighter: NDArray[np.bool_] = cells[:, :, 1:] > cells[:, :, :-1]
    return brighter.reshape(len(thumbnails), 64)


def correlations(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Compute the correlations of thumbnails: (N, 32, 32), (M, 32, 32) -> (N, M).

    The correlation of two flat thumbnails is 1 if they are equally bright; it is 0 if only one is flat.
    """
    pixels = [each.reshape(len(each), -1).astype(np.float32) for each in (a, b)]
    means = [each.mean(axis=1) for each in pixels]
    spreads = [each.std(axis=1) for each in pixels]
    units = [
        (each - mean[:, None]) / (np.maximum(spread, FLAT) * each.shape[1] ** 0.5)[:, None]
        for each, mean, spread in zip(pixels, means, spreads, strict=True)
    ]
    likeness: NDArray[np.float32] = units[0] @ units[1].T
    flat = [spread < FLAT for spread in spreads]
    equal = np.abs(means[0][:, None] - means[1][None]) < FLAT
    either = flat[0][:, None] | flat[1][None]
    return np.where(either, flat[0][:, None] & flat[1][None] & equal, likeness).astype(np.float32)


def same_boxes(a: Sample, b: Sample) -> bool:
    """Return whether each box of either sample has a counterpart of its class with an IoU of `SAME_BOX`."""
    if not np.array_equal(np.sort(a.labels), np.sort(b.labels)):
        return False
    pairs = overlapping_pairs(a.boxes, b.boxes, SAME_BOX)
    pairs = pairs.only(a.labels[pairs.first] == b.labels[pairs.second])
    best_first = np.argsort(-pairs.iou, kind="stable")
    matched: tuple[set[int], set[int]] = set(), set()
    for i, j in zip(pairs.first[best_first].tolist(), pairs.second[best_first].tolist(), strict=True):
        if i not in matched[0] and j not in matched[1]:
            matched[0].add(i)
            matched[1].add(j)
    return len(matched[0]) == len(a.labels)


def _identical(group: list[Path], listed: Mapping[Path, ListedImage]) -> Finding:
    """Report files with the same bytes."""
    first, *rest = group
    splits = sorted({split for path in group for split in listed[path].splits})
    differ = not all(same_boxes(listed[first].sample, listed[path].sample) for path in rest)
    kind = "leak" if len(splits) > 1 else "copies-differ" if differ else "identical"
    what = f"the same bytes as {_names(rest)}, in {' and '.join(splits)}"
    if differ:
        counts = " and ".join(str(len(listed[path].sample.labels)) for path in group[:SHOWN])
        what += f", with different boxes or classes: {counts} boxes"
    return Finding(kind, str(first), what, first, others=tuple(rest), weight=len(group))


def _alike(
    kind: str, across: str, group: list[Path], listed: Mapping[Path, ListedImage], likeness: float
) -> Finding:
    """Report images that look alike, as kind `kind` within one split and as kind `across` between splits."""
    first, *rest = group
    splits = sorted({split for path in group for split in listed[path].splits})
    shown = "nearly the same as" if kind == "similar" else "the same image as"
    what = f"{shown} {_names(rest)}, in {' and '.join(splits)}; correlation {likeness:.3f}"
    chosen = across if len(splits) > 1 else kind
    return Finding(chosen, str(first), what, first, others=tuple(rest), weight=likeness)


def _names(paths: Sequence[Path]) -> str:
    shown = ", ".join(path.name for path in paths[:SHOWN])
    return f"{shown} and {len(paths) - SHOWN} more" if len(paths) > SHOWN else shown
