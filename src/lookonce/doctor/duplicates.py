"""Images that are there several times: the same bytes, the same image saved anew, nearly the same.

Bytes are compared by their hash. For the rest every image has a difference hash of 64 bits: of 9 x 8 grey
cells, is each brighter than its neighbour? Pairs that differ in at most 8 bits are candidates; what decides
is the correlation of their 32 x 32 thumbnails. Hashes alone would not do: of 660 photographs of class rooms
120 pairs are within 8 bits, and most of them show different rooms.

Measured on 39 photographs: encoding anew at quality 30, halving, squeezing and noise move at most 5 bits and
leave a correlation of 0.999; brighter by a fifth 5 bits and 0.977 (one image, with a burnt-out sky, 20 bits
and 0.93). A crop of 2 % a side moves up to 14 bits: crops and mirrored images are not found.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce.doctor.findings import Finding
from lookonce.doctor.images import ImageFacts
from lookonce.geometry.boxes import pairwise_iou
from lookonce.samples import Sample

HASH_DISTANCE = 8  # bits of 64
COPY, SIMILAR = 0.995, 0.975  # correlation of thumbnails
FLAT = 1.0  # grey levels of deviation below which a thumbnail has nothing to correlate
BLOCK = 2048  # images compared with all others at a time: 10,000 images need 80 MB
SAME_BOX = 0.5  # IoU; two people draw one object so

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Listed:
    """An image as the data set has it.

    Attributes:
        sample: its boxes.
        splits: that name it, without `trainval` where there is a `train`.
    """

    sample: Sample
    splits: frozenset[str]


def duplicate_findings(facts: Mapping[Path, ImageFacts], listed: Mapping[Path, Listed]) -> Iterator[Finding]:
    """Everything about images that are there more than once.

    Args:
        facts: of the files.
        listed: the images that are in the set.
    """
    paths = [path for path in listed if path in facts and facts[path].thumbnail is not None]
    for path, each in listed.items():
        if len(each.splits) > 1:
            what = f"listed in {_and(each.splits)}"
            yield Finding("leak", str(path), what, path, weight=1)
    groups = _group(paths, lambda path: facts[path].digest)
    yield from (_identical(group, listed) for group in groups if len(group) > 1)
    thumbnails = np.array([facts[group[0]].thumbnail for group in groups], np.uint8).reshape(-1, 32, 32)
    pairs = similar_pairs(thumbnails)
    copies = components(len(groups), [(i, j) for i, j, likeness in pairs if likeness >= COPY])
    for members in copies:
        if len(members) > 1:
            likeness = min(value for i, j, value in pairs if i in members and j in members)
            yield _alike("copy", "leak", _joined(groups, members), listed, likeness)
    owner = {group: number for number, members in enumerate(copies) for group in members}
    looser = components(len(copies), [(owner[i], owner[j]) for i, j, _ in pairs])
    for numbers in looser:
        if len(numbers) > 1:
            members = [group for number in numbers for group in copies[number]]
            likeness = min(value for i, j, value in pairs if i in members and j in members)
            yield _alike("similar", "similar-split", _joined(groups, members), listed, likeness)


def similar_pairs(thumbnails: NDArray[np.uint8]) -> list[tuple[int, int, float]]:
    """Pairs (i < j) of (N, 32, 32) thumbnails that show nearly the same, with their correlation.

    All hashes are compared, in blocks of matrix products: +1 and -1 for the bits, so that a product of 64
    less twice the distance comes out. 10,000 images take half a second, and time grows with the square.
    """
    signs = hashes(thumbnails).astype(np.float32) * 2 - 1  # (N, 64)
    pairs = []
    for start in range(0, len(signs), BLOCK):
        alike = signs[start : start + BLOCK] @ signs[start:].T >= 64 - 2 * HASH_DISTANCE
        for i, j in np.argwhere(np.triu(alike, 1)) + start:
            likeness = correlation(thumbnails[i], thumbnails[j])
            if likeness >= SIMILAR:
                pairs.append((int(i), int(j), likeness))
    return pairs


def hashes(thumbnails: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(N, 32, 32) -> (N, 64): of 8 rows of 9 cells, whether each is brighter than its left neighbour."""
    if not len(thumbnails):
        return np.zeros((0, 64), bool)
    cells = np.stack([cv2.resize(each, (9, 8), interpolation=cv2.INTER_AREA) for each in thumbnails])
    brighter: NDArray[np.bool_] = cells[:, :, 1:] > cells[:, :, :-1]
    return brighter.reshape(len(thumbnails), 64)


def correlation(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Of two thumbnails, 1 at most; flat ones are alike when they are equally bright."""
    x, y = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    if min(x.std(), y.std()) < FLAT:
        return float(x.std() < FLAT and y.std() < FLAT and abs(x.mean() - y.mean()) < FLAT)
    return float(np.corrcoef(x, y)[0, 1])


def components(count: int, edges: Sequence[tuple[int, int]]) -> list[list[int]]:
    """The connected parts of a graph, each ascending, in the order of their first members."""
    parent = list(range(count))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for i, j in edges:
        low, high = sorted((root(i), root(j)))
        parent[high] = low
    return _group(range(count), root)


def same_boxes(a: Sample, b: Sample) -> bool:
    """Whether two samples say the same, as two people would draw it: each box has its own counterpart."""
    if sorted(a.labels.tolist()) != sorted(b.labels.tolist()):
        return False
    overlap = pairwise_iou(a.boxes.astype(np.float64), b.boxes.astype(np.float64))
    overlap[a.labels[:, None] != b.labels[None]] = 0
    for _ in range(len(a.labels)):
        i, j = np.unravel_index(overlap.argmax(), overlap.shape)
        if overlap[i, j] < SAME_BOX:
            return False
        overlap[i], overlap[:, j] = -1, -1
    return True


def _identical(group: list[Path], listed: Mapping[Path, Listed]) -> Finding:
    first, *rest = group
    splits = _splits(group, listed)
    differ = not all(same_boxes(listed[first].sample, listed[path].sample) for path in rest)
    kind = "leak" if len(splits) > 1 else "copies-differ" if differ else "identical"
    boxes = f", with different boxes or classes: {_counts(group, listed)}" if differ else ""
    what = f"the same bytes as {_names(rest)}, in {_and(splits)}{boxes}"
    return Finding(kind, str(first), what, first, others=tuple(rest), weight=len(group))


def _alike(
    kind: str, across: str, group: list[Path], listed: Mapping[Path, Listed], likeness: float
) -> Finding:
    first, *rest = group
    splits = _splits(group, listed)
    shown = "nearly the same as" if kind == "similar" else "the same image as"
    what = f"{shown} {_names(rest)}, in {_and(splits)}; correlation {likeness:.3f}"
    chosen = across if len(splits) > 1 else kind
    return Finding(chosen, str(first), what, first, others=tuple(rest), weight=likeness)


def _joined(groups: Sequence[list[Path]], numbers: Sequence[int]) -> list[Path]:
    """The images of some groups."""
    return [path for number in numbers for path in groups[number]]


def _splits(group: Sequence[Path], listed: Mapping[Path, Listed]) -> frozenset[str]:
    return frozenset[str]().union(*(listed[path].splits for path in group))


def _group(items: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    """Items of one key together, in the order of their first ones."""
    grouped: dict[Hashable, list[T]] = defaultdict(list)
    for item in items:
        grouped[key(item)].append(item)
    return list(grouped.values())


def _names(paths: Sequence[Path]) -> str:
    shown = ", ".join(path.name for path in paths[:5])
    return f"{shown} and {len(paths) - 5} more" if len(paths) > 5 else shown


def _counts(group: Sequence[Path], listed: Mapping[Path, Listed]) -> str:
    return " and ".join(str(len(listed[path].sample.labels)) for path in group) + " boxes"


def _and(splits: frozenset[str]) -> str:
    return " and ".join(sorted(splits))
