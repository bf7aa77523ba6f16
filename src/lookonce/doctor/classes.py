"""Whether there is enough to learn of each class."""

from collections.abc import Iterator, Mapping

import numpy as np

from lookonce.doctor.findings import Finding
from lookonce.samples import SampleSet

RARE = 50  # objects
UNBALANCED = 10  # times


def class_findings(sets: Mapping[str, SampleSet], learn: str) -> Iterator[Finding]:
    """Classes that are rare, outnumbered, or judged without being learnt.

    Args:
        sets: split -> samples.
        learn: the split to learn from.
    """
    counts = {split: count_classes(found) for split, found in sets.items()}
    learnt = counts[learn]
    for label, name in enumerate(sets[learn].names):
        judged = [split for split, count in counts.items() if split != learn and count[label]]
        if not learnt[label] and judged:
            objects = ", ".join(f"{counts[split][label]} in {split}" for split in judged)
            yield Finding("class-not-learnt", name, f"none in {learn}, {objects}")
        elif learnt[label] < RARE:
            yield Finding("rare", name, f"{learnt[label]} objects in {learn}", weight=-float(learnt[label]))
        elif learnt.max() > UNBALANCED * learnt[label]:
            common = sets[learn].names[int(learnt.argmax())]
            times = learnt.max() / learnt[label]
            what = f"{learnt[label]} objects in {learn}; {common!r} has {times:.0f} times as many"
            yield Finding("unbalanced", name, what, weight=times)


def count_classes(found: SampleSet) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Objects of each class, (C,), without crowds, of which nothing is learnt."""
    single = (sample.labels[~sample.crowd] for sample in found.samples)
    labels = np.concatenate([np.zeros(0, np.int64), *single])
    return np.bincount(labels, minlength=len(found.names))
