"""Choose the images to evaluate a model on, and count those that it was trained on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from lookonce._counted import counted
from lookonce._texts import Names
from lookonce.annotations import Annotations
from lookonce.errors import AnnotationError
from lookonce.samples import SampleSet
from lookonce.seen import Seen, fingerprints

HELD_OUT, ALL = "held-out", "all"  # choices besides the splits of the data


@dataclass(frozen=True, slots=True)
class MeasuredPart:
    """Images to evaluate on.

    Attributes:
        name: name of a split, `held-out` or `all`.
        found: images.
        learned: number of images that the model was trained on; None if the model does not record them.
        validated: number of images on which the best epoch and thresholds were chosen; None if not recorded.
    """

    name: str
    found: SampleSet
    learned: int | None = None
    validated: int | None = None

    @classmethod
    def of(
        cls, name: str, found: SampleSet, seen: Seen, read: Callable[[Sequence[Path]], dict[Path, bytes]]
    ) -> Self:
        """Count the images that the model was trained or validated on.

        Args:
            name: name of a split, `held-out` or `all`.
            found: images.
            seen: images of the model's training.
            read: function that returns the fingerprints of images.
        """
        if not seen.learned:
            return cls(name, found)
        prints = read([sample.path for sample in found.samples]).values()
        learned, validated = (sum(each in part for each in prints) for part in (seen.learned, seen.held_out))
        return cls(name, found, learned, validated)

    def warning(self) -> str:
        """Return a warning if the model was trained on some of the images; empty if not or unknown."""
        count = len(self.found.samples)
        if not self.learned:
            return ""
        some = "" if self.learned == count else f"{self.learned} of "
        images = counted(count, "image")
        return f"warning: the model has learned from {some}the {images}: the results are optimistic"


def choose_part(
    annotations: Annotations,
    split: str | None,
    seen: Seen,
    names: Names | None = None,
    strict: bool = False,
    read: Callable[[Sequence[Path]], dict[Path, bytes]] = fingerprints,
) -> MeasuredPart:
    """Read the images to evaluate on.

    The default is the `val` split; without it, the images that training held out; without these, all images
    of data without splits.

    Args:
        annotations: recognized data.
        split: name of a split, `held-out` or `all`; None for the default.
        seen: images of the model's training.
        names: class names, as for `Annotations.load`.
        strict: whether to raise an error at the first problem.
        read: function that returns the fingerprints of images.

    Raises:
        AnnotationError: there is no such split, or no default; the message lists the choices.
    """
    known = annotations.splits
    expected = f"expected one of {', '.join([*known, HELD_OUT, ALL])}"
    if split is None and "val" in known:
        split = "val"
    if split not in (None, HELD_OUT, ALL):
        if split not in known and not (split == "train" and "trainval" in known):
            raise AnnotationError(f"{annotations.path}: {expected}, found no split {split}")
        return MeasuredPart.of(split, annotations.load(split, names, strict), seen, read)
    whole = annotations.load(None, names, strict)
    if split == ALL or (split is None and not known and not seen.held_out):
        return MeasuredPart.of(ALL, whole, seen, read)
    prints = read([sample.path for sample in whole.samples]) if seen.held_out else {}
    held_out = [sample for sample in whole.samples if prints.get(sample.path) in seen.held_out]
    if held_out:
        part = replace(whole, samples=held_out, origin=f"{whole.origin}, held out in training")
        return MeasuredPart(
            HELD_OUT, part, sum(prints[each.path] in seen.learned for each in held_out), len(held_out)
        )
    if split is None and not known:
        return MeasuredPart.of(ALL, whole, seen, lambda _: prints)
    what = "no split val" if split is None else "none"
    raise AnnotationError(
        f"{annotations.path}: {expected}, found {what}, and no image that the training held out"
    )


def learned_from(seen: Seen, sample_set: SampleSet) -> int:
    """Count the images that a model was trained on."""
    return MeasuredPart.of("", sample_set, seen, fingerprints).learned or 0
