"""Rows of YOLO's label files: class, centre, size; or class and the points of a polygon."""

from pathlib import Path

from lookonce.annotations.files import read_lines, shown
from lookonce.annotations.records import Row, hull

MOST = 2.0  # a fraction above this is not a rounding error: the numbers are pixels


def read_rows(labels: Path) -> list[Row]:
    """Read a label file.

    Raises:
        AnnotationError: not text.
    """
    return [_row(f"{labels}:{line}", text) for line, text in read_lines(labels)]


def _row(place: str, text: str) -> Row:
    try:
        label, *sides = map(float, text.split())
        if label != int(label):
            raise ValueError(text)
    except (ValueError, OverflowError):
        sides = []
    if len(sides) == 5:
        what = (
            f"expected 5 numbers, found six in {shown(text)}: the sixth is no part of a label "
            "(a confidence or a track id?); export without it, or remove the sixth column"
        )
        return Row(place, fault=what)
    if len(sides) != 4 and (len(sides) < 6 or len(sides) % 2):
        what = f"expected class, centre x, centre y, width, height as numbers, found {shown(text)}"
        if len(sides) > 6:
            what += f": {len(sides) + 1} columns, so these may be key points; export boxes alone"
        return Row(place, fault=what)
    if max(map(abs, sides)) > MOST:
        what = f"expected fractions of the image's sides, found {shown(text)}: are these pixels?"
        return Row(place, fault=what)
    if len(sides) == 4:
        return Row(place, (sides[0], sides[1], sides[2], sides[3]), int(label))
    left, top, right, bottom = hull(list(zip(sides[::2], sides[1::2], strict=True)))
    return Row(
        place, ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top), int(label), polygon=True
    )


def holds_rows(file: Path) -> bool:
    """Return whether a text begins with a row of labels."""
    try:
        with file.open("rb") as stream:
            words = stream.readline(4096).split()
        return len(words) >= 5 and bool([float(word) for word in words])
    except (OSError, ValueError):
        return False
