"""Write detections as annotated images and videos, JSON, CSV, counts or COCO results.

A writer stores frame after frame and keeps none in memory. Its files get their final names when they are
finished or, with the results so far, when the run is stopped.
"""

import csv
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

import numpy as np

from lookonce._files import fit_name, replacing
from lookonce.detections import Detections
from lookonce.eight_bits import Values
from lookonce.errors import ConfigError
from lookonce.images import LARGE, ReducedImage, write_image
from lookonce.runtime.clips import CLIP_SUFFIXES, ClipWriter, open_clip
from lookonce.runtime.opencv_video import count_frames
from lookonce.runtime.sources import Frame, Sources, can_be_opened
from lookonce.runtime.timed_clips import TimedClipWriter
from lookonce.suffixes import WRITTEN_SUFFIXES
from lookonce.tiff import LargeImage

FORMULA = ("=", "+", "-", "@")  # first characters of a formula in a spreadsheet


class Writer(ABC):
    """Stores the detections of one run. Use it in a `with` block.

    Attributes:
        path: file or folder for the results.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def add(self, frame: Frame, detections: Detections) -> None:
        """Store the detections of one frame.

        Raises:
            LookonceError, OSError: the results cannot be stored, for example because the disk is full.
        """

    @abstractmethod
    def close(self, *, complete: bool) -> None:
        """Finish the files; `complete` is whether the run reached its end."""

    @abstractmethod
    def abandon(self) -> None:
        """Delete unfinished files instead of closing them; files of an earlier run stay."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(complete=kind is None)


class ImageWriter(Writer):
    """Writes annotated images and videos into a folder."""

    def __init__(self, folder: Path, sources: Sources | None = None) -> None:
        """Begin without any file.

        Args:
            folder: folder for the images and videos.
            sources: all sources of the run, so that none gets a name that belongs to another.
        """
        super().__init__(folder)
        self._sources = sources
        self._clip: ClipWriter | TimedClipWriter | None = None

    def add(self, frame: Frame, detections: Detections) -> None:
        """Write the annotated image, or append it to its video; boxes are drawn on the frame's own pixels.

        Raises:
            ConfigError: the result would replace the file that it was made from.
            ImageError: the file cannot be written.
        """
        target = self._target(frame)
        if frame.path is not None and target.exists() and target.samefile(frame.path):
            raise ConfigError(
                f"{target}: the annotated image would replace its source: choose another folder"
            )
        pixels = frame.image
        assert not isinstance(pixels, ReducedImage)  # the caller reads at full size to draw
        if isinstance(pixels, LargeImage):  # boxes are drawn on a smaller copy
            height, width, _ = pixels.shape
            pixels = pixels.read(0, height, 0, width)
            scale = np.tile([pixels.shape[1] / width, pixels.shape[0] / height], 2)
            detections = replace(detections, boxes=(detections.boxes * scale).astype(np.float32))
        from lookonce.draw.boxes import annotate  # imports Pillow, which only this writer needs

        drawn = annotate(pixels, detections, in_place=True)
        if self._clip is not None and self._clip.path != target:
            self.close(complete=True)
        if frame.moment is None:
            write_image(target, drawn, expendable=True)
            return
        if self._clip is None:
            self._clip = open_clip(target, drawn.shape[:2], frame.moment.rate, frame.path)
        self._clip.add(drawn, frame.moment)

    def close(self, *, complete: bool) -> None:
        """Finish the video that is open."""
        clip, self._clip = self._clip, None
        if clip is not None:
            clip.close(complete=complete)

    def abandon(self) -> None:
        """Do nothing: before the first frame there is no file."""

    def _target(self, frame: Frame) -> Path:
        """Return the frame's path in the folder, with a suffix added if its format is not written.

        Some formats are only read, and a lossless WebP takes up to 40 bytes of memory per pixel.
        """
        known, usual = (WRITTEN_SUFFIXES, ".png") if frame.moment is None else (CLIP_SUFFIXES, ".webm")
        path = frame.relative
        height, width = frame.image.shape[:2]
        is_large_webp = path.suffix.lower() == ".webp" and height * width >= LARGE
        if path.suffix.lower() in known and not is_large_webp:
            return self.path / path.with_name(fit_name(path.stem, path.suffix))
        path = path.with_name(fit_name(path.name, usual))
        return self.path / (self._sources.vacant(path) if self._sources else path)


class TextWriter(Writer):
    """Writes a text file under a temporary name and renames it when closed."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._open = ExitStack()
        temporary = self._open.enter_context(replacing(path))
        # a file name need not be valid Unicode: an invalid byte is written as `\udcXX`, which JSON reads back
        self._stream: TextIO = self._open.enter_context(
            temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="")
        )

    def close(self, *, complete: bool) -> None:
        """Write the end of the file and rename it."""
        with self._open:
            self._stream.write(self._tail(complete))

    def abandon(self) -> None:
        """Delete the temporary file."""
        self._open.__exit__(GeneratorExit, GeneratorExit(), None)  # as if left by an error: not renamed

    def _tail(self, complete: bool) -> str:
        return ""


class JsonWriter(TextWriter):
    """Writes one JSON object: class names, model, options and thresholds, then a line per image or frame.

    At the end, `complete` is false if the run was stopped before the last image. Each line is flushed when it
    is added, so a killed run can be resumed (`runtime.resume`).
    """

    def __init__(
        self,
        path: Path,
        names: Sequence[str],
        run: Mapping[str, Any] | None = None,
        thresholds: Sequence[float] = (),
        values: Values | None = None,
    ) -> None:
        """Begin the file.

        Args:
            path: file to write.
            names: class names of the model.
            run: model and options, to be recorded with the results.
            thresholds: score threshold of each class, to be recorded with the results.
            values: pixel values that become 0 and 255 in images of more than 8 bits, to be recorded too.
        """
        head: dict[str, Any] = {"names": list(names)} | ({} if run is None else {"run": dict(run)})
        if thresholds:
            head["thresholds"] = dict(zip(names, thresholds, strict=True))
        if values is not None:
            head["values"] = values
        super().__init__(path)
        self._between = json.dumps(head, ensure_ascii=False).removesuffix("}") + ', "images": [\n'

    def add(self, frame: Frame, detections: Detections) -> None:
        """Append a line; boxes are [left, top, right, bottom] in pixels of the image."""
        height, width = frame.image.shape[:2]
        image: dict[str, Any] = {"file": frame.name, "width": width, "height": height}
        if frame.moment is not None:
            image |= {"frame": frame.moment.number, "seconds": round(frame.moment.seconds, 3)}
        image["detections"] = detections.to_dict()["detections"]
        self._stream.write(self._between + json.dumps(image, ensure_ascii=False))
        self._stream.flush()
        self._between = ",\n"

    def _tail(self, complete: bool) -> str:
        opening = "" if self._between == ",\n" else self._between
        return f'{opening}\n], "complete": {json.dumps(complete)}}}\n'


class CsvWriter(TextWriter):
    """Writes one row per detection; an image or frame without detections has one row with empty columns.

    A spreadsheet evaluates text that begins with `=`, `+`, `-` or `@` as a formula. Names of files and
    classes are untrusted, so a `'` is put before such text. JSON has every name unchanged.
    """

    COLUMNS = ("file", "frame", "class", "score", "left", "top", "right", "bottom")

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._rows = csv.writer(self._stream, lineterminator="\n")
        self._rows.writerow(self.COLUMNS)

    def add(self, frame: Frame, detections: Detections) -> None:
        """Append the rows of a frame; the column `frame` is empty for an image."""
        number = "" if frame.moment is None else frame.moment.number
        found = detections.to_dict()["detections"]
        rows = [(_no_formula(each["class"]), each["score"], *each["box"]) for each in found]
        self._rows.writerows((_no_formula(frame.name), number, *row) for row in rows or [("",) * 6])


class CountsWriter(TextWriter):
    """Writes the number of objects per class: a row per image and per second of a video, and a row of totals.

    The row of a second has the largest number in any of its frames, because a sum would count an object once
    per frame. For the same reason, a video adds its largest numbers to the totals.
    """

    def __init__(self, path: Path, names: Sequence[str], classes: Sequence[int] | None = None) -> None:
        """Begin the file.

        Args:
            path: file to write.
            names: class names of the model.
            classes: numbers of the classes to count; None for all.
        """
        super().__init__(path)
        self._classes = range(len(names)) if classes is None else classes
        self._rows = csv.writer(self._stream, lineterminator="\n")
        self._rows.writerow(["file", "second", *(_no_formula(names[c]) for c in self._classes), "all"])
        zero = np.zeros(len(self._classes) + 1, np.int64)
        self._total, self._video, self._second = zero.copy(), zero.copy(), zero.copy()
        self._place: tuple[str, int] | None = None  # file and second of the frames in `_second`

    def add(self, frame: Frame, detections: Detections) -> None:
        """Append the row of an image, or at the first frame of a new second that of the second before."""
        counts = np.array([*(int((detections.labels == c).sum()) for c in self._classes), len(detections)])
        if frame.moment is None:
            self._end_video()
            self._total += counts
            self._rows.writerow([_no_formula(frame.name), "", *counts.tolist()])
            return
        place = frame.name, int(frame.moment.seconds)
        if self._place is not None and self._place[0] != place[0]:
            self._end_video()
        elif self._place != place:
            self._end_second()
        self._place, self._second = place, np.maximum(self._second, counts)

    def _end_second(self) -> None:
        if self._place is not None:
            name, second = self._place
            self._rows.writerow([_no_formula(name), second, *self._second.tolist()])
        self._video, self._second = np.maximum(self._video, self._second), np.zeros_like(self._second)

    def _end_video(self) -> None:
        self._end_second()
        self._total, self._video, self._place = self._total + self._video, np.zeros_like(self._video), None

    def _tail(self, complete: bool) -> str:
        self._end_video()
        self._rows.writerow(["total" if complete else "total until stopped", "", *self._total.tolist()])
        return ""


class CocoWriter(TextWriter):
    """Writes COCO results: a list with an entry per detection, for pycocotools' `loadRes`.

    The id of an image comes from `image_ids`. Without `image_ids`, it is the file name without suffix, as a
    number if it is one (as in COCO's own files); for a frame of a video, its number is appended.
    """

    def __init__(
        self,
        path: Path,
        category_ids: Sequence[int],
        image_ids: Mapping[str, int | str] | None = None,
    ) -> None:
        """Begin the file.

        Args:
            path: file to write.
            category_ids: COCO category of each class, in the order of the model's names.
            image_ids: id of each image, by file name.
        """
        super().__init__(path)
        self._category_ids = category_ids
        self._image_ids = image_ids
        self._files: dict[int | str, str] = {}
        self._between = "[\n"

    def check(self, sources: Sources) -> None:
        """Check the ids of all files before the first is read; those of cameras and streams are unknown.

        A file that cannot be opened needs no id: it will be skipped.

        Raises:
            ConfigError: an image has no id, or the same id as another file.
        """
        frames_of: dict[int | str | None, list[Frame]] = {}
        for frame in sources.expected():
            frames_of.setdefault(self._id_of(frame), []).append(frame)
        if self._image_ids is None:
            # of a video, only the first frame is among the expected ones
            clips = {each.relative.stem: each for (each, *_) in frames_of.values() if each.moment is not None}
            length = cache(lambda path: count_frames(path) or math.inf)
            for image_id in [*frames_of, *self._files]:
                stem, _, number = str(image_id).rpartition("-")
                clip = clips.get(stem)
                if clip and number.isdecimal() and 0 < int(number) < length(clip.path):
                    frames_of.setdefault(f"{stem}-{int(number)}", []).append(clip)
        for image_id, frames in frames_of.items():
            if image_id is None or image_id in self._files or len(frames) > 1:
                for frame in frames:
                    if frame.path is not None and can_be_opened(frame.path):
                        self._own_id(frame, image_id)

    def add(self, frame: Frame, detections: Detections) -> None:
        """Append the detections of a frame.

        Raises:
            ConfigError: the image has no id, or the same id as another file.
        """
        image_id = self._own_id(frame, self._id_of(frame))
        for entry in detections.to_coco(image_id, self._category_ids):
            self._stream.write(self._between + json.dumps(entry, ensure_ascii=False))
            self._between = ",\n"

    def _id_of(self, frame: Frame) -> int | str | None:
        """Return the id of a frame; None if the list of ids does not have its file."""
        stem = frame.relative.stem
        if self._image_ids is not None:
            return self._image_ids.get(frame.relative.name)
        if frame.moment is not None:
            return f"{stem}-{frame.moment.number}"
        return int(stem) if stem.isdecimal() else stem

    def _own_id(self, frame: Frame, image_id: int | str | None) -> int | str:
        """Return the id of a frame, after recording which file has it.

        Raises:
            ConfigError: there is none, or another file has it.
        """
        if image_id is None:
            raise ConfigError(f"{frame.name}: the list of image ids does not have this file")
        if (other := self._files.setdefault(image_id, frame.name)) != frame.name:
            raise ConfigError(
                f"{frame.name}: expected an image id of its own, found {image_id!r}, which {other} has too"
            )
        return image_id

    def _tail(self, complete: bool) -> str:
        return "\n]\n" if self._between == ",\n" else "[]\n"


def _no_formula(text: str) -> str:
    stripped = text.strip()
    return f"'{text}" if stripped[:1] in FORMULA and stripped != "-" else text
