"""Find classes with too few objects for training."""

from collections.abc import Iterator, Mapping

import numpy as np

from lookonce._counted import counted
from lookonce.doctor.findings import Finding
from lookonce.samples import SampleSet

RARE = 50  # objects below which a class is rare
UNBALANCED = 10  # ratio to the objects of the most frequent class above which a class is unbalanced


def class_findings(sets: Mapping[str, SampleSet], learn: str) -> Iterator[Finding]:
    """Yield findings about classes that are rare, unbalanced, or evaluated without being trained.

    Args:
        sets: samples by split.
        learn: name of the training split.
    """
    counts = {split: count_classes(found) for split, found in sets.items()}
    trained = counts[learn]
    for label, name in enumerate(sets[learn].names):
        evaluated = [split for split, count in counts.items() if split != learn and count[label]]
        if not trained[label] and evaluated:
            objects = ", ".join(f"{counts[split][label]} in {split}" for split in evaluated)
            yield Finding("class-not-trained", name, f"none in {learn}, {objects}")
        elif trained[label] < RARE:
            yield Finding(
                "rare", name, f"{counted(trained[label], 'object')} in {learn}", weight=-float(trained[label])
            )
        elif trained.max() > UNBALANCED * trained[label]:
            common = sets[learn].names[int(trained.argmax())]
            times = trained.max() / trained[label]
            what = f"{counted(trained[label], 'object')} in {learn}; {common!r} has {times:.0f} times as many"
            yield Finding("unbalanced", name, what, weight=times)


def count_classes(sample_set: SampleSet) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Count the objects of each class, (C,), without crowd boxes, which are not trained on."""
    single = (sample.labels[~sample.crowd] for sample in sample_set.samples)
    labels = np.concatenate([np.zeros(0, np.int64), *single])
    return np.bincount(labels, minlength=len(sample_set.names))
