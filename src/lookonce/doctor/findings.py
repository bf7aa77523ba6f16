"""Finding: one defect of a data set, with its place in the annotations."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from lookonce._files import TEXT_LIMIT, read_bytes
from lookonce.errors import AnnotationError
from lookonce.samples import Sample, SampleSet

Corners = tuple[float, ...]

_XML_OBJECT = re.compile(r"(?P<file>.*\.xml): object (?P<number>\d+)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Finding:
    """One defect of a data set, as `data check` reports it.

    Each `samples.Problem` that a reader reports becomes a finding as well; `kinds.KINDS` explains every kind.

    Attributes:
        kind: key of `kinds.KINDS`.
        place: `FILE:LINE`, or as close to it as the format allows.
        what: description of the defect.
        image: image to show; None if the defect does not concern an image.
        boxes: affected boxes, xyxy in pixels of the image.
        others: further affected images, such as copies.
        weight: sort key within a kind, in descending order.
    """

    kind: str
    place: str
    what: str
    image: Path | None = None
    boxes: tuple[Corners, ...] = ()
    others: tuple[Path, ...] = ()
    weight: float = 0


def box_place(sample_set: SampleSet, sample: Sample, index: int) -> str:
    """Return the place of box `index` of a sample in the annotations."""
    places = sample_set.places.get(sample.path, ())
    return with_line(places[index] if index < len(places) else f"{sample.path}: box {index + 1}")


def corners(sample: Sample, indices: Sequence[int]) -> tuple[Corners, ...]:
    """Return some boxes of a sample in the form of `Finding.boxes`."""
    return tuple(tuple(sample.boxes[i].tolist()) for i in indices)


def with_line(place: str) -> str:
    """Add the line of an XML object: `a.xml: object 3` -> `a.xml:41: object 3`; other places stay the same.

    The XML parser gives no line numbers, so they are looked up here, only for reported objects.
    """
    match = _XML_OBJECT.fullmatch(place)
    if not match:
        return place
    number, lines = int(match["number"]), _object_lines(match["file"])
    return f"{match['file']}:{lines[number - 1]}: object {number}" if number <= len(lines) else place


@lru_cache(maxsize=64)
def _object_lines(file: str) -> tuple[int, ...]:
    """Return the line of each `<object>` in an XML file; empty if the file cannot be read."""
    try:
        text = read_bytes(Path(file), AnnotationError, limit=TEXT_LIMIT)
    except AnnotationError:
        return ()
    without_comments = re.sub(
        rb"<!--.*?-->", lambda found: b"\n" * found[0].count(b"\n"), text, flags=re.DOTALL
    )
    ends = np.flatnonzero(np.frombuffer(without_comments, np.uint8) == ord("\n"))
    starts = [found.start() for found in re.finditer(rb"<object[\s>]", without_comments)]
    return tuple((np.searchsorted(ends, starts) + 1).tolist())
