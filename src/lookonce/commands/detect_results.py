"""The kinds of results that `lookonce detect` writes, and a writer for each."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from lookonce._files import ANNOTATIONS_LIMIT, read_text
from lookonce.eight_bits import Values
from lookonce.errors import AnnotationError, ConfigError
from lookonce.runtime.detector import Detector
from lookonce.runtime.geojson import GeoJsonWriter
from lookonce.runtime.pre_annotations import FORMS, AnnotationWriter, DoubtWriter
from lookonce.runtime.resume import Done, read_all
from lookonce.runtime.sources import Sources
from lookonce.runtime.writers import CocoWriter, CountsWriter, CsvWriter, ImageWriter, JsonWriter, Writer
from lookonce.samples import named_as_in

LISTS = ("json", "csv", "counts", "coco")
# In the order of writing: the files of an image come first, so that they exist when the json results list it.
KINDS = ("images", "geojson", *LISTS, *FORMS)


@dataclass(frozen=True, slots=True)
class Results:
    """The results to write.

    Attributes:
        folder: output folder.
        kinds: kinds of results, in the order of `KINDS`.
        sure: minimum score of boxes for a labeling tool; None for all boxes and no list of images to check.
        coco_ids: COCO annotations with the ids of images and classes for coco results; None for no such file.
    """

    folder: Path
    kinds: tuple[str, ...]
    sure: float | None = None
    coco_ids: Path | None = None

    @classmethod
    def of_options(cls, folder: Path, save: str, sure: float | None, coco_ids: Path | None) -> Self:
        """Parse `--save`, a comma-separated list of kinds, and check the options that need one of them.

        Raises:
            ConfigError: a kind is unknown, or an option is given without its kind.
        """
        given = [kind.strip() for kind in save.split(",")]
        if unknown := [kind for kind in given if kind not in KINDS]:
            raise ConfigError(
                f"--save: expected some of {', '.join(KINDS)}, found {', '.join(map(repr, unknown))}"
            )
        results = cls(folder, tuple(kind for kind in KINDS if kind in given), sure, coco_ids)
        if sure is not None and not results.forms:
            raise ConfigError(f"--sure: expected one of {', '.join(FORMS)} among --save, found {save}")
        if coco_ids is not None and "coco" not in given:
            raise ConfigError(f"--coco-ids: expected coco among --save, found {save}")
        return results

    @property
    def forms(self) -> list[str]:
        """Return the kinds that are annotations for a labeling tool."""
        return [kind for kind in self.kinds if kind in FORMS]

    @property
    def json(self) -> Path:
        """Return the path of the json results, from which a run is resumed."""
        return self.folder / "detections.json"

    def begin(
        self,
        detector: Detector,
        run: Mapping[str, Any],
        sources: Sources,
        done: Sequence[Done] | None,
        values: Values | None = None,
    ) -> dict[str, Writer]:
        """Open a writer for each kind, and copy the results of an earlier run into it.

        If that fails, the files of the earlier run stay as they were.

        Args:
            detector: open detector.
            run: everything that determines the results, to be recorded in the json results.
            sources: sources that remain to be read.
            done: results of the run that is resumed; None for a new run.
            values: pixel values that become 0 and 255 in images of more than 8 bits.
        """
        names, used = detector.names, detector.options.thresholds_of(detector.names)
        numbers = detector.options.class_numbers(names)
        makers: dict[str, Callable[[], Writer]] = {
            "images": lambda: ImageWriter(self.folder / "annotated", sources),
            "geojson": lambda: GeoJsonWriter(self.folder / "geojson"),
            "json": lambda: JsonWriter(self.json, names, run, used, values),
            "csv": lambda: CsvWriter(self.folder / "detections.csv"),
            "counts": lambda: CountsWriter(self.folder / "counts.csv", names, numbers),
            "coco": lambda: CocoWriter(
                self.folder / "coco_results.json", *_coco_numbers(names, self.coco_ids)
            ),
        }
        kept = None if done is None else len(done)
        for form in FORMS:
            place = self.folder / form
            makers[form] = partial(AnnotationWriter, place, form, names, sources, self.sure or 0.0, kept)
        wanted = {kind: makers[kind] for kind in self.kinds}
        if self.sure is not None:
            wanted["check"] = partial(DoubtWriter, self.folder / "check.txt", self.sure)
        writers: dict[str, Writer] = {}
        with ExitStack() as unless_begun:
            for kind, make in wanted.items():
                writers[kind] = make()
                unless_begun.callback(writers[kind].abandon)
            for frame, detections in done or ():
                for writer in writers.values():
                    if not isinstance(writer, ImageWriter | GeoJsonWriter):  # their files already exist
                        writer.add(frame, detections)
            for writer in writers.values():
                if isinstance(writer, CocoWriter):
                    writer.check(sources)
            unless_begun.pop_all()
        return writers

    def put_in_order(
        self, detector: Detector, run: Mapping[str, Any], sources: Sources, values: Values | None
    ) -> None:
        """Write the results of a resumed run again, in the order of the sources; see `begin`.

        Earlier results come first until then, because each line must be on disk before a new one is added.
        """
        lists = tuple(kind for kind in self.kinds if kind in LISTS)
        with ExitStack() as stack:
            found = read_all(self.json, sources)
            ordered = replace(self, kinds=lists).begin(detector, run, sources, found, values)
            for writer in ordered.values():
                stack.enter_context(writer)


def _coco_numbers(
    names: Sequence[str], annotations: Path | None
) -> tuple[Sequence[int], Mapping[str, int | str] | None]:
    """Return the COCO id of each class, and that of each image by file name.

    Without annotations, classes are numbered from 1, as is usual in COCO files, and there are no image ids.

    Raises:
        AnnotationError: the annotations cannot be read, lack a class, or have a file name twice.
    """
    if annotations is None:
        return range(1, len(names) + 1), None
    try:
        tree = json.loads(read_text(annotations, AnnotationError, limit=ANNOTATIONS_LIMIT))
        numbers = {str(entry["name"]): int(entry["id"]) for entry in tree["categories"]}
        images = [(Path(entry["file_name"]).name, entry["id"]) for entry in tree["images"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise AnnotationError(f"{annotations}: expected a COCO annotation file: {error!r}") from error
    names = named_as_in(names, tuple(numbers))
    if missing := [name for name in names if name not in numbers]:
        raise AnnotationError(
            f"{annotations}: expected categories for all classes of the model, "
            f"found none named {', '.join(map(repr, missing))}"
        )
    (name, count), *_ = [*Counter(name for name, _ in images).most_common(1), ("", 0)]
    if count > 1:  # in several folders, so that results could get the id of another image
        raise AnnotationError(
            f"{annotations}: expected a file name for one image, found {count} called {name}"
        )
    return [numbers[name] for name in names], dict(images)
