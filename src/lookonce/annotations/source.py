"""Read the splits of recognized data, in one format or in several that a dataset YAML combines."""

import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lookonce._files import as_given, encodable
from lookonce._texts import Names, is_file, shown
from lookonce.annotations.collect import Collector
from lookonce.annotations.files import ALL, key, listed, split_of
from lookonce.annotations.records import Parsed, Record
from lookonce.annotations.tree import Tree
from lookonce.errors import AnnotationError, NoAnnotationsError
from lookonce.metadata import LONGEST_NAME
from lookonce.samples import Problem, Sample, SampleSet
from lookonce.suffixes import UNREAD_SUFFIXES


class Part(Protocol):
    """Annotations of one split, or of all data if it has no splits."""

    def read(self, names: Names | None, strict: bool, extra: Names = ()) -> SampleSet:
        """Read the split.

        Args:
            names: class names; None for those of the data.
            strict: whether to raise an error at the first problem.
            extra: see `collect.Collector`.
        """

    def images(self) -> set[Path]:
        """Return every image that the split names, whether or not it exists."""


@dataclass(eq=False)
class FilesPart:
    """One split in one format, whose files are parsed only once.

    Attributes:
        split: name of the split.
        parse: function that reads the files.
        tree: files of the data set.
        home: folder in which the images are expected.
        siblings: all splits of the data set, which share their class numbers.
        unlabeled: see `Recognized`.
    """

    split: str
    parse: Callable[[], Parsed]
    tree: Tree
    home: Path
    siblings: list["FilesPart"]
    unlabeled: str = ""

    @cached_property
    def parsed(self) -> Parsed:
        """Return the parsed annotations."""
        return self.parse()

    @cached_property
    def named(self) -> list[Path]:
        """Return the image file of each record."""
        names = [record.image for record in self.parsed.records if isinstance(record.image, str)]
        some = len(names) == len(self.parsed.records)
        found = iter(self.tree.find_images(names, self.parsed.near, self.parsed.place, some=some))
        return [
            _direct(record.image if isinstance(record.image, Path) else next(found))
            for record in self.parsed.records
        ]

    @cached_property
    def idle(self) -> list[Path]:
        """Return the images of this split that no split names, as background images."""
        twins = set(self.twins)
        return [image for image in self._unnamed if image not in twins]

    @cached_property
    def twins(self) -> list[Path]:
        """Return the unnamed images whose path differs from a named image only in the suffix."""
        named = {(path.parent, key(path.stem)) for part in self.siblings for path in part.named}
        return [image for image in self._unnamed if (image.parent, key(image.stem)) in named]

    def _from_elsewhere(self) -> list[Problem]:
        """Note the folder of images found outside `home` by their names, which other images may also have."""
        if self.tree.images_folder is not None:
            return []
        home = self.home.resolve()
        outside = {
            folder
            for folder in {path.parent for path in self.named}
            if not folder.resolve().is_relative_to(home) and not folder.absolute().is_relative_to(home)
        }
        if not outside:
            return []
        guessed = {
            path.parent
            for record, path in zip(self.parsed.records, self.named, strict=True)
            if isinstance(record.image, str)
            and not Path(record.image).is_absolute()
            and ".." not in Path(record.image).parts
        }
        folders = sorted(outside & guessed)
        more = f"; {len(folders)} such folders" if len(folders) > 1 else ""
        what = f"images are from this folder, outside {self.home}; to use others, give --images{more}"
        return [Problem(str(folders[0]), what, "noted", kind="elsewhere")] if folders else []

    @cached_property
    def _unnamed(self) -> list[Path]:
        if not self.unlabeled:
            return []
        named = {path.absolute() for part in self.siblings for path in part.named}
        root = self.tree.images_folder or self.tree.root
        candidates = [image for image in self.tree.images if (split_of(image, root) or ALL) == self.split]
        spoiled = {key(stem) for part in self.siblings for stem in part.parsed.spoiled}
        candidates = [image for image in candidates if key(image.stem) not in spoiled]
        return _others(candidates, named)

    def images(self) -> set[Path]:
        """Return every image that the split names, whether or not it exists."""
        spoiled = {key(stem) for stem in self.parsed.spoiled}
        lost = [image for image in self.tree.images if key(image.stem) in spoiled] if spoiled else []
        return {path.absolute() for path in [*self.named, *self._unnamed, *lost]}

    def read(self, names: Names | None, strict: bool, extra: Names = ()) -> SampleSet:
        """Read the split; see `Part.read`.

        Raises:
            AnnotationError: class names are missing or unusable, or there is a problem and `strict` is true.
        """
        names = names or self.parsed.names
        if not names and self.parsed.numbered:
            what = f"{self.parsed.place}: its classes are numbers"
            raise AnnotationError(f"names: expected the file of the class names for {what}")
        names = names or self.used_names
        if longest := next((name for name in names if len(name) > LONGEST_NAME), None):
            what = f"expected class names of at most {LONGEST_NAME} characters, found {shown(longest)}"
            raise AnnotationError(f"{self.parsed.place}: {what}")
        if odd := next((name for name in names if encodable(name) != name), None):
            what = f"expected class names that UTF-8 can hold, found {shown(odd)}"
            raise AnnotationError(f"{self.parsed.place}: {what}")
        idle = [Record(str(image), image, unlabeled=self.unlabeled) for image in self.idle]
        what = "the annotation of this name belongs to an image with another suffix: skipped"
        twins = [Problem(str(image), what, kind="shared-labels", image=image) for image in self.twins]
        problems = [*self.parsed.problems, *twins, *self._from_elsewhere()]
        parsed = replace(self.parsed, records=[*self.parsed.records, *idle], problems=problems)
        return Collector(parsed, names, strict, extra).collect([*self.named, *self.idle])

    @property
    def used_names(self) -> Names:
        """Return the sorted class names on all boxes of the data set that have an area.

        Raises:
            AnnotationError: there is no such box; the message gives the first reason.
        """
        records = [record for part in self.siblings for record in part.parsed.records]
        rows = [row for record in records for row in record.rows]
        found = {
            row.label
            for record in records
            for row in record.rows
            if isinstance(row.label, str) and not row.fault and row.has_area(relative=record.relative)
        }
        if not found:
            problems = [problem for part in self.siblings for problem in part.parsed.problems]
            faults = [
                f"{row.place}: {row.fault or f'expected a box with an area, found {list(row.box)}'}"
                for row in rows
                if row.fault or isinstance(row.label, str)
            ]
            reasons = [str(problem) for problem in problems if problem.outcome == "skipped"] or faults
            more = f"; {len(reasons)} like this in all, and nothing is left" if len(reasons) > 1 else ""
            why = (
                f"{reasons[0]}{more}"
                if reasons
                else f"{self.parsed.place}: expected objects with a box, found none"
            )
            raise AnnotationError(why)
        return tuple(sorted(found))


@dataclass(eq=False)
class Annotations:
    """Recognized data.

    Attributes:
        path: path that the user gave.
        title: description of the data for messages.
        parts: annotations by split; only `ALL` if the data has no splits.
        tree: files of the data set, if every file should be used; None otherwise.
        remarks: problems of the data set as a whole.
    """

    path: Path
    title: str
    parts: Mapping[str, Part]
    tree: Tree | None = None
    remarks: Sequence[Problem] = ()

    @property
    def splits(self) -> tuple[str, ...]:
        """Return the names of the splits in reading order; empty if the data has none."""
        return tuple(split for split in self.parts if split != ALL)

    def load(
        self,
        split: str | None,
        names: Names | None = None,
        strict: bool = False,
        *,
        unused: bool = True,
        extra: Names = (),
    ) -> SampleSet:
        """Read one split, or all splits for None, with each image and each problem once.

        `trainval` replaces a missing `train`, and data without splits replaces any split; the result's
        `origin` then mentions it. If `unused` is true, the `problems` of `train` or of all splits include the
        unused files of the data set.

        Raises:
            AnnotationError: there is no such split, or the annotations cannot be read.
        """
        chosen, remark = list(self.parts), f", splits {', '.join(self.splits)}"
        if not self.splits:
            chosen = [ALL]
            remark = f", not divided into splits: used as {split}" if split else ""
        elif split is not None and split in self.parts:
            chosen, remark = [split], f", split {split}"
        elif split == "train" and "trainval" in self.parts:
            chosen, remark = ["trainval"], ", split trainval, since there is no train"
        elif split is not None:
            raise AnnotationError(f"{self.path}: expected a split {split}, found {', '.join(self.splits)}")
        try:
            sets = [self.parts[part].read(names, strict, extra) for part in chosen]
        except AnnotationError as error:
            raise type(error)(as_given(str(error))) from error
        says_unused = unused and (split in (None, "train") or not self.splits)
        rest = [*self.remarks, *(self._unused() if says_unused else [])]
        sets.append(SampleSet(sets[0].names, [], rest, sets[0].format, sets[0].category_ids))
        return merge(sets, as_given(f"{self.title}{remark}"))

    def load_all(
        self, names: Names | None = None, strict: bool = False, whole: str = "train"
    ) -> dict[str, SampleSet]:
        """Read every split with the class names of the first; data without splits counts as split `whole`.

        Raises:
            AnnotationError: the annotations cannot be read.
        """
        sets: dict[str, SampleSet] = {}
        absent: list[Problem] = []
        for split in self.splits or (whole,):
            try:
                sets[split] = self.load(split, names, strict)
            except NoAnnotationsError as error:  # not annotated yet, or the test set of a competition
                if split != "test" or not sets:
                    raise
                what = f"the split {split} is skipped: {error}"
                absent.append(Problem(str(self.path), what, "noted", kind="split-absent"))
                continue
            names = sets[split].names
        if absent:
            first = next(iter(sets))
            sets[first] = replace(sets[first], problems=[*sets[first].problems, *absent])
        if self.splits and "train" not in sets:
            first = next(iter(sets))
            rest = SampleSet(
                sets[first].names, [], self._unused(), sets[first].format, sets[first].category_ids
            )
            sets[first] = merge([sets[first], rest], "")
        return sets

    def _unused(self) -> list[Problem]:
        """Return problems about unused images and about images in formats that are not read."""
        if self.tree is None:
            return []
        problems = []
        named: set[Path] = set()
        for part in self.parts.values():
            with suppress(AnnotationError):  # a split that was not requested may be damaged
                named |= part.images()
        if idle := _others(self.tree.images, named):
            what = f"no annotation names it: not used; {len(idle)} like this in all"
            problems.append(Problem(str(idle[0]), what, "noted", kind="unlisted", image=idle[0]))
        unread = [file for file in self.tree.with_suffix(*UNREAD_SUFFIXES) if file.absolute() not in named]
        for suffix, count in Counter(file.suffix.lower() for file in unread).items():
            first = next(file for file in unread if file.suffix.lower() == suffix)
            what = f"{suffix} images are not read: convert them to JPEG or PNG; {count} like this in all"
            problems.append(Problem(str(first), what, kind="unread-format"))
        return problems


def _direct(path: Path) -> Path:
    """Return a path without `..`, as a listing of the folder has it, if that leads to the same file."""
    if ".." not in path.parts:
        return path
    direct = Path(os.path.normpath(path))
    return direct if is_file(path) and is_file(direct) and direct.samefile(path) else path


def _others(images: Sequence[Path], named: Collection[Path]) -> list[Path]:
    """Return the images that are not among the named ones (absolute paths), even through a link."""
    rest = [image for image in images if image.absolute() not in named]
    files = {path.resolve() for path in named} if rest else set()
    return [image for image in rest if image.resolve() not in files]


def merge(sets: Sequence[SampleSet], title: str, *, unite: bool = False) -> SampleSet:
    """Merge several sets into one, with each image and each problem once.

    Args:
        sets: sets with the same class names.
        title: description of the data for messages.
        unite: whether an image in two sets gets the boxes of both; otherwise it gets those of the first.

    Raises:
        AnnotationError: the sets have different class names.
    """
    for other in sets[1:]:
        if other.names != sets[0].names:
            raise AnnotationError(
                f"{title}: expected the same classes everywhere, found {listed(sets[0].names)} "
                f"and {listed(other.names)}"
            )
    samples: dict[Path, Sample] = {}
    problems: dict[Problem, None] = {}
    places: dict[Path, tuple[str, ...]] = {}
    for part in sets:
        problems |= dict.fromkeys(part.problems)
        for sample in part.samples:
            first = samples.setdefault(sample.path.absolute(), sample)
            if first is sample:
                places |= {sample.path: part.places[sample.path]} if sample.path in part.places else {}
                continue
            there = set(zip(map(tuple, first.boxes.tolist()), first.labels.tolist(), strict=True))
            pairs = zip(map(tuple, sample.boxes.tolist()), sample.labels.tolist(), strict=True)
            new = np.array([pair not in there for pair in pairs], bool)
            if not new.any() and len(first.labels) <= len(sample.labels):
                continue
            what = "listed twice, in different splits or sources, with different boxes: "
            what += "all of them are used" if unite else "the first count"
            about: dict[str, Any] = {"kind": "listed-twice", "image": sample.path}
            problems[Problem(str(sample.path), what, "repaired" if unite else "skipped", **about)] = None
            if unite:
                samples[sample.path.absolute()] = first.joined(sample.pick(new))
                if first.path in places and sample.path in part.places:
                    where = np.array(part.places[sample.path], object)[new]
                    places[first.path] = (*places[first.path], *where.tolist())
    return SampleSet(
        names=sets[0].names,
        samples=list(samples.values()),
        problems=list(problems),
        format="+".join(sorted({part.format for part in sets})),
        category_ids=sets[0].category_ids if len({part.category_ids for part in sets}) == 1 else (),
        places=places,
        origin="; ".join(dict.fromkeys(text for text in [title, *(part.origin for part in sets)] if text)),
    )
