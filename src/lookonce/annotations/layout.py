"""What the four writers share: numbers, references to images, and folders that must hold them."""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import yaml

from lookonce._files import destination, write_text
from lookonce.errors import AnnotationError
from lookonce.samples import Sample, SampleSet

DECIMALS = 3  # of a pixel; whole numbers stay whole, as most readers of VOC and of one-line text want them


def tidy(value: float) -> float:
    """A coordinate without the noise of float32, whole where it is whole."""
    rounded = round(value, DECIMALS)
    return int(rounded) if rounded == int(rounded) else rounded


def number(value: float) -> str:
    """A coordinate as text."""
    return str(tidy(value))


def reference(image: Path, out: Path) -> str:
    """How a file in `out` names an image that stays where it is.

    Relative where the image lies under the folder that holds `out`, so the two can move together; absolute
    elsewhere, so `out` can move alone.
    """
    image, out = image.absolute(), out.absolute()
    if not image.is_relative_to(out):  # nor moves together with the references
        out = destination(out)
    near = image.is_relative_to(out.parent)
    return Path(os.path.relpath(image, out) if near else image).as_posix()


def write_names(path: Path, names: tuple[str, ...]) -> None:
    """Class names, one a line.

    Raises:
        AnnotationError: a name that no line can hold.
    """
    for name in names:
        if not name.strip() or name != name.strip() or len(name.splitlines()) != 1:
            raise AnnotationError(f"{path}: expected class names of one line, found {name!r}")
    write_text(path, "".join(f"{name}\n" for name in names))


def write_dataset_yaml(path: Path, names: tuple[str, ...], splits: Iterable[str]) -> None:
    """The dataset YAML of `<split>.txt` files beside it."""
    tree = {split: f"{split}.txt" for split in splits} | {"names": dict(enumerate(names))}
    write_text(path, yaml.safe_dump(tree, allow_unicode=True, sort_keys=False))


def distinct(sets: Mapping[str, SampleSet]) -> dict[str, Sample]:
    """Every image of every split once, under a name without suffix that is its alone.

    Images of equal name from different folders become `name`, `name_2`, ...

    Raises:
        AnnotationError: two splits say different things of one image.
    """
    stems: dict[Path, str] = {}
    named: dict[str, Sample] = {}
    for sample in (sample for each in sets.values() for sample in each.samples):
        path = sample.path.absolute()
        if path not in stems:
            stems[path] = _free(path.stem, named)
            named[stems[path]] = sample
        elif not (
            np.array_equal(sample.boxes, named[stems[path]].boxes)
            and np.array_equal(sample.labels, named[stems[path]].labels)
        ):
            raise AnnotationError(f"{path}: expected the same boxes in every split, found different ones")
    return named


def stems_of(samples: SampleSet, named: Mapping[str, Sample]) -> list[str]:
    """The names that `distinct` gave to the images of one split, in its order."""
    stem_of = {sample.path.absolute(): stem for stem, sample in named.items()}
    return [stem_of[sample.path.absolute()] for sample in samples.samples]


def gather(named: Mapping[str, Sample], folder: Path) -> dict[str, Path]:
    """Put the images into a folder as links, or as copies where links are not to be had.

    Images that are there already stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    placed = {}
    for stem, sample in named.items():
        placed[stem] = folder / f"{stem}{sample.path.suffix}"
        if placed[stem] == sample.path:
            continue
        try:
            placed[stem].symlink_to(sample.path.resolve())
        except OSError:  # Windows without the right to make links, or a file system without them
            shutil.copyfile(sample.path, placed[stem])
    return placed


def _free(stem: str, taken: Mapping[str, Sample]) -> str:
    candidate, count = stem, 1
    while candidate in taken:
        count += 1
        candidate = f"{stem}_{count}"
    return candidate
