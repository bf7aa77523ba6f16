"""Hold images out of training for validation, if the data has no validation split.

Near-identical images stay together, because a model trained on one frame of a video has in effect seen the
next one too. These images belong to one group:

- files with the same bytes, and images that look the same (`doctor.duplicates`);
- neighboring frames: images whose names differ only in their last number and follow each other, if they
  resemble each other more than by chance;
- images of one folder, or with the same text in their name, if the setting `group` asks for it.

Whole groups are held out. If all images belong to one group, such as a single video, its last frames are held
out, and earlier frames that look like any of them are left out of both.
"""

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lookonce._counted import counted
from lookonce.doctor.duplicates import SIMILAR, Groups, alike, correlations
from lookonce.doctor.images import THUMBNAIL, ImageFacts
from lookonce.samples import Sample, group_numbers

NEIGHBOR = 0.9  # correlation of thumbnails from which two consecutive frames belong together
MOST_COMPARED = 20_000  # images up to which all pairs are compared (in half a minute), not just neighbors
FRAME_NUMBER = re.compile(r"(\d+)\D*$")
LARGEST_PART = 0.5  # largest share of all images in a held-out group, and of a group's that may be left out


@dataclass(frozen=True, slots=True)
class HoldOut:
    """Split of the images into training and validation, as ascending indices.

    Attributes:
        train: training images.
        held_out: validation images.
        left_out: images used for neither, because they look like images of both.
        units: groups of images, all of which belong to one side, in the order in which they are held out.
    """

    train: list[int]
    held_out: list[int]
    left_out: list[int]
    units: list[list[int]]

    @classmethod
    def of(cls, units: list[list[int]], held_out: Collection[int], left_out: Collection[int] = ()) -> Self:
        """Train on all images of the groups but those that are held out or left out."""
        train = {i for unit in units for i in unit}.difference(held_out, left_out)
        return cls(sorted(train), sorted(held_out), sorted(left_out), units)

    @property
    def together(self) -> int:
        """Return the number of images that share their group with another."""
        return sum(len(unit) for unit in self.units if len(unit) > 1)

    def describe(self) -> str:
        """Describe the held-out images in one line."""
        count = len(self.train) + len(self.held_out) + len(self.left_out)
        use = " for validation" if self.held_out else ", so the last model counts as the best"
        kept = (
            f"; {self.together} look alike or belong together and stay on one side" if self.together else ""
        )
        lost = f"; {len(self.left_out)} that look like both sides are left out" if self.left_out else ""
        return f"{len(self.held_out)} of {counted(count, 'image')} held out{use}{kept}{lost}"


def hold_out(
    samples: Sequence[Sample], share: float, seed: int, facts: Mapping[Path, ImageFacts], group: str = ""
) -> HoldOut:
    """Split images at random into training and validation; at least one stays for training.

    The order in which groups are held out depends only on file names and seed, so adding or removing a few
    images moves few others to the other side.

    Args:
        samples: annotated images.
        share: share of the images to hold out; groups may make it larger or smaller.
        seed: seed of the choice.
        facts: thumbnail and digest of each image; an image without them is not compared.
        group: additional grouping, as in `samples.group_numbers`; empty for none.
    """
    units = by_lot(samples, seed, facts, group)
    wanted = min(round(share * len(samples)), len(samples) - 1)
    held_out: list[int] = []
    for unit in units:
        if len(held_out) + len(unit) <= wanted:
            held_out += unit
    left: list[int] = []
    if wanted > 0 and not held_out:
        smallest = min(units, key=len)
        if len(smallest) <= LARGEST_PART * len(samples):
            held_out = smallest
        else:
            held_out, left = last_frames(max(units, key=len), wanted, samples, facts)
    return HoldOut.of(units, held_out, left)


def hold_out_again(
    units: list[list[int]],
    samples: Sequence[Sample],
    share: float,
    facts: Mapping[Path, ImageFacts],
    *,
    learned: Collection[int],
    held_out: Collection[int],
) -> HoldOut:
    """Split the images of a resumed run so that those it has learned from or held out stay on their side.

    New images join the others of their group; of the groups with new images alone, `share` is held out. New
    images that look like held-out ones are left out if their group has learned images as well.

    Args:
        units: groups of images, as in `HoldOut`.
        samples: annotated images.
        share: share of the new images to hold out.
        facts: thumbnail and digest of each image; an image without them is not compared.
        learned: indices of the images that the run has learned from.
        held_out: indices of the images that it held out.
    """
    taken, left, fresh = list[int](), list[int](), list[list[int]]()
    for unit in units:
        before = [i for i in unit if i in held_out]
        new = [i for i in unit if i not in held_out and i not in learned]
        if len(new) == len(unit):
            fresh.append(unit)
        elif len(before) + len(new) == len(unit):
            taken += unit
        else:
            taken += before
            left += resembling(new, before, samples, facts)
    wanted = len(taken) + round(share * sum(map(len, fresh)))
    for unit in fresh:
        if len(taken) + len(unit) <= wanted:
            taken += unit
    return HoldOut.of(units, taken, left)


def folds(
    samples: Sequence[Sample], count: int, seed: int, facts: Mapping[Path, ImageFacts], group: str = ""
) -> list[HoldOut]:
    """Split images into `count` folds of about equal size, each held out once; groups stay together.

    Returns:
        One split per fold; fewer if there are fewer groups.
    """
    units = sorted(by_lot(samples, seed, facts, group), key=len, reverse=True)
    parts: list[list[int]] = [[] for _ in range(min(count, len(units)))]
    for unit in units:
        min(parts, key=len).extend(unit)
    return [HoldOut.of(units, part) for part in parts]


def natural(path: Path) -> list[tuple[int, int, str]]:
    """Return a sort key that orders numbers in a path by value: frame 9 before frame 10."""
    parts = re.split(r"(\d+)", str(path))
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def by_lot(
    samples: Sequence[Sample], seed: int, facts: Mapping[Path, ImageFacts], group: str
) -> list[list[int]]:
    """Return the groups in a random order that depends only on names and seed, each sorted by name."""
    roots = groups_of(samples, facts, group)
    units: dict[int, list[int]] = {}
    for i in sorted(range(len(samples)), key=lambda i: natural(samples[i].path)):
        units.setdefault(int(roots[i]), []).append(i)

    def lot(unit: list[int]) -> bytes:
        """Draw a random number that depends only on the seed and the file name."""
        name = samples[unit[0]].path.name
        return hashlib.sha256(f"{seed}/{name}".encode(errors="surrogateescape")).digest()

    return sorted(units.values(), key=lot)


def groups_of(
    samples: Sequence[Sample], facts: Mapping[Path, ImageFacts], group: str = ""
) -> NDArray[np.int64]:
    """Return the group of each image, (N,), named by the index of one of its images."""
    groups = Groups(len(samples))

    def join(pairs: Sequence[tuple[int, int]]) -> None:
        first, second = np.array(pairs, np.int64).reshape(-1, 2).T
        groups.join(first, second, np.ones(len(first)))

    if group:
        join(same_value(group_numbers([sample.path for sample in samples], group)))
    known = [i for i, sample in enumerate(samples) if _thumbnail_of(sample, facts) is not None]
    join([(known[a], known[b]) for a, b in same_value([facts[samples[i].path].digest for i in known])])
    thumbnails = np.array([facts[samples[i].path].thumbnail for i in known], np.uint8)
    thumbnails = thumbnails.reshape(-1, THUMBNAIL, THUMBNAIL)
    if len(known) <= MOST_COMPARED:
        for found in alike(thumbnails):
            join([(known[root], known[i]) for i, root in enumerate(found.root.tolist()) if root != i])
    row_of = {i: k for k, i in enumerate(known)}
    follow = [(a, b) for a, b in neighbors(samples) if a in row_of and b in row_of]
    join(
        [
            (a, b)
            for a, b in follow
            if correlations(thumbnails[row_of[a]][None], thumbnails[row_of[b]][None])[0, 0] >= NEIGHBOR
        ]
    )
    return groups.root


def same_value(values: Sequence[object]) -> list[tuple[int, int]]:
    """Return index pairs of equal values: the first occurrence of each value with every later one."""
    first: dict[object, int] = {}
    return [(first[value], i) for i, value in enumerate(values) if first.setdefault(value, i) != i]


def neighbors(samples: Sequence[Sample]) -> list[tuple[int, int]]:
    """Return index pairs of consecutive images whose names differ only in their last number."""
    series: dict[tuple[Path, str, str], list[tuple[int, int]]] = {}
    for i, sample in enumerate(samples):
        if found := FRAME_NUMBER.search(stem := sample.path.stem):
            key = (sample.path.parent, stem[: found.start()], stem[found.end(1) :])
            series.setdefault(key, []).append((int(found[1]), i))
    ordered = [[i for _, i in sorted(each)] for each in series.values()]
    return [pair for each in ordered for pair in pairwise(each)]


def last_frames(
    unit: Sequence[int], wanted: int, samples: Sequence[Sample], facts: Mapping[Path, ImageFacts]
) -> tuple[list[int], list[int]]:
    """Hold out the last frames of a group.

    Returns:
        Held-out frames, and earlier frames left out because they look like one of them. Both are empty if
        too few frames would remain for training or the images are unknown.
    """
    last, rest = list(unit[-wanted:]), list(unit[:-wanted])
    if not all(any(_thumbnail_of(samples[i], facts) is not None for i in part) for part in (last, rest)):
        return [], []
    left = resembling(rest, last, samples, facts)
    if rest and not left:
        left = rest[-1:]  # always leave a gap of one frame at the cut
    return (last, left) if len(left) <= LARGEST_PART * len(unit) else ([], [])


def resembling(
    some: Sequence[int], others: Sequence[int], samples: Sequence[Sample], facts: Mapping[Path, ImageFacts]
) -> list[int]:
    """Return those of some images that look like one of the others; unknown images look like none."""
    known = [[i for i in part if _thumbnail_of(samples[i], facts) is not None] for part in (some, others)]
    if not all(known):
        return []
    candidates, references = (
        np.array([facts[samples[i].path].thumbnail for i in part], np.uint8) for part in known
    )
    likeness = correlations(candidates, references).max(axis=1)
    return [i for i, most in zip(known[0], likeness.tolist(), strict=True) if most >= SIMILAR]


def _thumbnail_of(sample: Sample, facts: Mapping[Path, ImageFacts]) -> NDArray[np.uint8] | None:
    each = facts.get(sample.path)
    return None if each is None else each.thumbnail
