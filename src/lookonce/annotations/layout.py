"""Parts shared by the writers: numbers as text, paths of images, folders of images, and class names."""

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from pathlib import Path

import numpy as np
import yaml

from lookonce._files import destination, fit_name, write_text
from lookonce.errors import AnnotationError
from lookonce.samples import Sample, SampleSet

ROOM = "_99999999.json"  # longest text that is appended to the stem of an image's name
DECIMALS = 3  # decimals of a coordinate; most readers of VOC and one-line text expect integers as such


def tidy(value: float) -> float:
    """Round a coordinate to remove the noise of float32; integers become int."""
    rounded = round(value, DECIMALS)
    return int(rounded) if rounded == int(rounded) else rounded


def number(value: float) -> str:
    """Format a coordinate as text."""
    return str(tidy(value))


def reference(image: Path, out: Path) -> str:
    """Return the path by which a file in `out` refers to an image that is not copied.

    The path is relative if the image is below the folder that contains `out`, so that both can be moved
    together; otherwise it is absolute, so that `out` can be moved alone.
    """
    image, out = image.absolute(), out.absolute()
    if not image.is_relative_to(out):  # `out` is temporary; use the folder that it will become
        out = destination(out)
    near = image.is_relative_to(out.parent)
    return Path(os.path.relpath(image, out) if near else image).as_posix()


def check_names(path: Path, names: Iterable[str]) -> None:
    """Check that each class name fits into a line.

    Raises:
        AnnotationError: a name is empty, has spaces at its ends, or has a line break.
    """
    for name in names:
        if not name.strip() or name != name.strip() or len(name.splitlines()) != 1:
            raise AnnotationError(f"{path}: expected class names of one line, found {name!r}")


def write_names(path: Path, names: tuple[str, ...]) -> None:
    """Write class names as text, one per line.

    Raises:
        AnnotationError: as `check_names`.
    """
    check_names(path, names)
    write_text(path, "".join(f"{name}\n" for name in names))


def write_dataset_yaml(path: Path, names: tuple[str, ...], splits: Iterable[str]) -> None:
    """Write the dataset YAML for `<split>.txt` files beside it."""
    tree = {split: f"{split}.txt" for split in splits} | {"names": dict(enumerate(names))}
    write_text(path, yaml.safe_dump(tree, allow_unicode=True, sort_keys=False))


def distinct(
    sets: Mapping[str, SampleSet], stem_of: Callable[[Path], str] = attrgetter("stem")
) -> dict[str, Sample]:
    """Return every image of all splits once, by a unique name without suffix.

    Images with the same name in different folders become `name`, `name_2`, ...; a name is shortened if it is
    too long for such an ending and a suffix.

    Raises:
        AnnotationError: two splits have different boxes for one image.
    """
    stems: dict[Path, str] = {}
    named: dict[str, Sample] = {}
    for sample in (sample for each in sets.values() for sample in each.samples):
        path = sample.path.absolute()
        if path not in stems:
            stem = free = fit_name(stem_of(path), ROOM).removesuffix(ROOM)
            count = 1
            while free in named:
                count += 1
                free = f"{stem}_{count}"
            stems[path] = free
            named[free] = sample
        elif not (
            np.array_equal(sample.boxes, named[stems[path]].boxes)
            and np.array_equal(sample.labels, named[stems[path]].labels)
        ):
            raise AnnotationError(f"{path}: expected the same boxes in every split, found different ones")
    return named


def stems_of(samples: SampleSet, named: Mapping[str, Sample]) -> list[str]:
    """Return the names that `distinct` gave the images of one split, in their order."""
    stem_of = {sample.path.absolute(): stem for stem, sample in named.items()}
    return [stem_of[sample.path.absolute()] for sample in samples.samples]


def gather(named: Mapping[str, Sample], folder: Path) -> dict[str, Path]:
    """Put the images into a folder as links, or as copies if links are impossible.

    Images that are already in the folder are left alone. Links within the parent folder are relative, because
    that folder may still be renamed.

    Returns:
        Path of each image in the folder, by its name in `named`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    placed, real = {}, folder.resolve()
    for stem, sample in named.items():
        placed[stem] = folder / f"{stem}{sample.path.suffix}"
        if placed[stem] == sample.path:
            continue
        try:
            target = sample.path.resolve()
            is_inside = target.is_relative_to(real.parent)
            placed[stem].symlink_to(os.path.relpath(target, real) if is_inside else target)
        except OSError:  # links are not permitted (Windows) or not supported by the file system
            shutil.copyfile(sample.path, placed[stem])
    return placed
