"""What DATA turned out to be: a format, and a reader for each split."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lookonce.annotations.collect import Names
from lookonce.errors import AnnotationError
from lookonce.samples import Problem, Sample, SampleSet

ALL = "all"  # the one part of data that has no splits

Reader = Callable[[Names | None, bool], SampleSet]  # class names where the caller has them, strict


@dataclass(frozen=True, slots=True)
class Source:
    """Recognised data.

    Attributes:
        path: what the user gave.
        title: what it is, in words.
        parts: split -> its reader; `ALL` alone where the data has no splits.
    """

    path: Path
    title: str
    parts: Mapping[str, Reader]

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits, in reading order; none where the data is not split."""
        return tuple(split for split in self.parts if split != ALL)

    def load(self, split: str | None, names: Names | None = None, strict: bool = False) -> SampleSet:
        """Read one split, or everything.

        Raises:
            AnnotationError: no such split, or the annotations cannot be read.
        """
        chosen, remark = self._choose(split)
        sets = [self.parts[part](names, strict) for part in chosen]
        return merge(sets, f"{self.title}{remark}")

    def _choose(self, split: str | None) -> tuple[list[str], str]:
        """The parts to read, and what to say about the choice."""
        if not self.splits:
            return [
                ALL
            ], "" if split is None else f", not divided into splits: all of it is taken for {split}"
        if split is None:
            return list(self.parts), f", splits {', '.join(self.splits)}"
        if split in self.parts:
            return [split], f", split {split}"
        if split == "train" and "trainval" in self.parts:
            return ["trainval"], ", split trainval, since there is no train"
        raise AnnotationError(f"{self.path}: expected a split {split}, found {', '.join(self.splits)}")


def merge(sets: Sequence[SampleSet], title: str) -> SampleSet:
    """Several sets as one; each image once, each problem once.

    Raises:
        AnnotationError: the sets have different class names.
    """
    for other in sets[1:]:
        if other.names != sets[0].names:
            raise AnnotationError(
                f"{title}: expected the same classes everywhere, found {', '.join(sets[0].names)} "
                f"and {', '.join(other.names)}"
            )
    samples: dict[Path, Sample] = {}
    problems: dict[Problem, None] = {}
    places: dict[Path, tuple[str, ...]] = {}
    for each in sets:
        places |= {path: where for path, where in each.places.items() if path not in places}
        for sample in each.samples:
            samples.setdefault(sample.path.absolute(), sample)
        problems |= dict.fromkeys(each.problems)
    return SampleSet(
        names=sets[0].names,
        samples=list(samples.values()),
        problems=list(problems),
        format="+".join(sorted({each.format for each in sets})),
        category_ids=sets[0].category_ids if len({each.category_ids for each in sets}) == 1 else (),
        places=places,
        origin="; ".join(dict.fromkeys(text for text in [title, *(each.origin for each in sets)] if text)),
    )
