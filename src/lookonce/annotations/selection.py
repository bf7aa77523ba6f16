"""Merge, rename, drop or ignore classes: `classes:` and `ignore:` of a dataset YAML."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from lookonce._counted import counted
from lookonce._texts import Names, class_name
from lookonce.annotations.files import listed
from lookonce.errors import AnnotationError
from lookonce.geometry.polygons import rectangle
from lookonce.samples import Area, Problem, Sample, SampleSet

CHANCE = 0.001  # probability below which the absence of a class in a source is not attributed to chance


@dataclass(frozen=True, slots=True)
class Selection:
    """Rules that turn the classes in files into the classes of a data set.

    Attributes:
        place: file or option that defines the selection, for messages.
        classes: class of the data set by class in the files; None drops the boxes of a class.
        ignored: classes whose boxes become ignored areas.
        polygons: ignored areas of every image.
    """

    place: str
    classes: Mapping[str, str | None] = field(default_factory=dict)
    ignored: Names = ()
    polygons: Sequence[Area] = ()

    @property
    def changes(self) -> bool:
        """Return whether the selection changes anything."""
        return bool(self.classes or self.ignored or self.polygons)

    def absent_from(self, names: Names) -> Names:
        """Return the classes that the selection names but `names` lacks."""
        return tuple(name for name in dict.fromkeys((*self.classes, *self.ignored)) if name not in names)

    def target(self, name: str) -> str | None:
        """Return the class of the data set for a class in the files; None if it is dropped or ignored."""
        target = None if name in self.ignored else self.classes.get(name, name)
        return None if target in self.ignored else target

    def is_ignored(self, name: str) -> bool:
        """Return whether the boxes of a class in the files become ignored areas."""
        return name in self.ignored or self.classes.get(name) in self.ignored

    def names(self, given: Names) -> Names:
        """Return the class names of the data set, in the order of the class names in the files.

        Raises:
            AnnotationError: no class is left.
        """
        left = tuple(dict.fromkeys(target for target in map(self.target, given) if target is not None))
        if not left:
            raise AnnotationError(f"{self.place}: expected a class to keep, found none of {listed(given)}")
        return left

    def apply(self, found: SampleSet) -> SampleSet:
        """Apply the selection to a set; the problems of the result include the number of changed boxes.

        An image whose boxes are all dropped is kept as a background image.
        """
        names = self.names(found.names)
        targets = [self.target(name) for name in found.names]
        numbers = np.array([-1 if name is None else names.index(name) for name in targets], np.int64)
        as_areas = np.array([self.is_ignored(name) for name in found.names], bool)
        samples, places, emptied = list[Sample](), dict(found.places), 0
        counts: Counter[str] = Counter()
        for sample in found.samples:
            counts.update(found.names[label] for label in sample.labels.tolist())
            areas = [Area(rectangle(box)) for box in sample.boxes[as_areas[sample.labels]]]
            left = sample.renumbered(numbers)
            emptied += len(left.labels) == 0 and len(sample.labels) > len(areas)
            samples.append(replace(left, ignored=(*left.ignored, *self.polygons, *areas)))
            if sample.path in places:
                kept = numbers[sample.labels] >= 0
                places[sample.path] = tuple(np.array(places[sample.path], object)[kept])
        first = {target: i for i, target in reversed(list(enumerate(targets)))}
        ids = tuple(found.category_ids[first[name]] for name in names) if found.category_ids else ()
        says = []
        for name in dict.fromkeys((*self.classes, *self.ignored)):
            count, target = counts.get(name, 0), self.classes.get(name)
            fate = "ignored areas" if self.is_ignored(name) else f"now {target}" if target else "dropped"
            alike = get_close_matches(name.lower(), [each.lower() for each in counts], 1) if not count else []
            meant = next((each for each in counts if [each.lower()] == alike), "")
            says.append(
                f"{name}: {counted(count, 'box')}, {fate}" + (f"; did you mean {meant}?" if meant else "")
            )
        if emptied:
            one = "1 image loses all of its boxes: kept as a background image"
            more = f"{emptied} images lose all of their boxes: kept as background images"
            says.append(one if emptied == 1 else more)
        problems = [Problem(self.place, what, "noted", kind="selection") for what in says]
        return replace(
            found,
            names=names,
            samples=samples,
            problems=[*found.problems, *problems],
            category_ids=ids,
            places=places,
        )


def parse_classes(place: str, given: object) -> dict[str, str | None]:
    """Parse `classes:` of a YAML, such as `{van: car, tree: null}`.

    Raises:
        AnnotationError: the value is not a mapping of names.
    """
    if not isinstance(given, dict) or not all(isinstance(name, str) for name in given.values()):
        what = f"expected classes: like {{van: car, tree: null}}, found {str(given)[:80]}"
        raise AnnotationError(f"{place}: {what}")
    return {
        class_name(name): None if target in NOTHING else class_name(target) for name, target in given.items()
    }


NOTHING = ("", "null", "~")  # YAML's spellings of null, as values are read as text


def parse_ignore(path: Path, given: object) -> tuple[Names, tuple[Area, ...]]:
    """Parse `ignore:` of a YAML: class names, and polygons of three or more `[x, y]` in pixels.

    Raises:
        AnnotationError: the value has another form, or polygons are in fractions.
    """
    entries = given if isinstance(given, list) else [given]
    names, polygons = [], []
    for entry in entries:
        if isinstance(entry, str) and entry not in NOTHING:
            names.append(class_name(entry))
            continue
        try:
            corners = np.array(entry, np.float32)
        except (TypeError, ValueError):
            corners = np.zeros(0, np.float32)
        if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3 or not np.isfinite(corners).all():
            raise AnnotationError(
                f"{path}: expected ignore: with class names, or polygons of three or more [x, y] in pixels, "
                f"found {str(entry)[:80]}"
            )
        if np.abs(corners).max() <= 1:
            what = f"expected ignore: with polygons in pixels, found fractions {str(entry)[:80]}"
            raise AnnotationError(f"{path}: {what}")
        polygons.append(Area(corners))
    return tuple(names), tuple(polygons)


def annotated_targets(annotated: Names, selection: Selection, given: Names) -> Names:
    """Return the annotated classes of the data set, given names of its classes or of classes in the files.

    A class that several classes are merged into counts as annotated if all of these are annotated.
    """
    sources: dict[str | None, set[str]] = {}
    for name in given:
        sources.setdefault(selection.target(name), set()).add(name)
    left = {name for name in annotated if name in given and name not in sources}  # renamed, dropped, ignored
    named = [name for name in annotated if name not in left]
    merged = [to for to, names in sources.items() if to is not None and names <= {*annotated}]
    return tuple(dict.fromkeys([*named, *merged]))


def only_annotated(found: SampleSet, annotated: Mapping[Path, Names], place: Path) -> SampleSet:
    """Mark each image as an ignored area of the classes that are not annotated in it.

    Args:
        found: class names and images.
        annotated: classes whose objects all have boxes, by image; for all other images, every class.
        place: path of the YAML, for messages.

    Raises:
        AnnotationError: a name is not a class of the data set.
    """
    samples = []
    for sample in found.samples:
        complete = annotated.get(sample.path, found.names)
        if unknown := [name for name in complete if name not in found.names]:
            what = f"expected annotated: with some of {listed(found.names)}, found {listed(unknown)}"
            raise AnnotationError(f"{place}: {what}")
        missing = tuple(number for number, name in enumerate(found.names) if name not in complete)
        height, width = sample.image_size
        whole = (Area(rectangle(np.array([0, 0, width, height])), missing),) if missing else ()
        samples.append(replace(sample, ignored=(*sample.ignored, *whole)))
    return replace(found, samples=samples)


def absent_classes(found: SampleSet, sources: Mapping[Path, Collection[Path]]) -> Iterator[Problem]:
    """Yield a problem for each source without boxes of a class that many images of other sources show.

    Such a class was probably not annotated there, and the model would learn its objects as background. A
    source without any box counts as a collection of background images.

    Args:
        found: class names and images.
        sources: images of each source that should be annotated for every class, by path of the source.
    """
    shows = {sample.path: np.isin(np.arange(len(found.names)), sample.labels) for sample in found.samples}
    for place, images in sources.items():
        here = np.array([shows[path] for path in images if path in shows])
        others = np.array([shown for path, shown in shows.items() if path not in images])
        if not here.any() or not len(others):
            continue
        share = others.mean(axis=0)
        absent = ~here.any(axis=0) & ((1 - share) ** len(here) < CHANCE)
        if absent.any():
            named = np.array(found.names, object)
            shares = ", ".join(
                f"{name} ({of:.0%})" for name, of in zip(named[absent], share[absent], strict=True)
            )
            what = (
                f"none of its {len(here)} images has a box of classes that others show, with the share that "
                f"does: {shares}; if their objects are just not annotated here, list the classes that are: "
                f"annotated: [{', '.join(named[here.any(axis=0)])}]"
            )
            yield Problem(str(place), what, "noted", kind="class-absent")
