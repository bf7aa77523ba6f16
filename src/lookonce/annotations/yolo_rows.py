"""Read the rows of YOLO's label files: class, box and perhaps keypoints, or class and polygon."""

from pathlib import Path

from lookonce._files import open_input
from lookonce._texts import read_lines, shown
from lookonce.annotations.records import Row, hull
from lookonce.errors import AnnotationError

VISIBILITY = {0.0, 1.0, 2.0}  # third number of a keypoint: absent, hidden or visible
SLACK = 0.02  # fraction of the image's sides by which a box with keypoints may cross the border
MOST = 2.0  # number above which a row is in pixels instead of fractions


def read_rows(labels: Path, keypoints: int = 0) -> list[Row]:
    """Read a label file.

    Args:
        labels: label file.
        keypoints: number of values after each box. If unknown (0), keypoints of three values are recognized
            by their third value, which is 0, 1 or 2.

    Raises:
        AnnotationError: the file is not text.
    """
    return [_row(f"{labels}:{line}", text, keypoints) for line, text in read_lines(labels)]


def _row(place: str, text: str, keypoints: int) -> Row:
    try:
        label, *sides = map(float, text.split())
        if label != int(label):
            raise ValueError(text)
    except (ValueError, OverflowError):
        sides = []
    rest = sides[4:]
    is_pose = len(rest) > 0 and len(rest) % 3 == 0 and {*rest[2::3]} <= VISIBILITY and _is_box(*sides[:4])
    if is_pose or (keypoints and len(rest) == keypoints):
        sides = sides[:4]
    if len(sides) == 5:
        what = (
            f"expected 5 numbers, found six in {shown(text)}: the sixth is not part of a label "
            "(a confidence or a track id?); export without it, or remove the sixth column"
        )
        return Row(place, fault=what)
    if len(sides) != 4 and (len(sides) < 6 or len(sides) % 2):
        what = f"expected class, center x, center y, width, height as numbers, found {shown(text)}"
        if len(sides) > 6:
            what += f": {len(sides) + 1} columns; for keypoints, declare kpt_shape: in the YAML"
        return Row(place, fault=what)
    if max(map(abs, sides)) > MOST:
        what = f"expected fractions of the image's sides, found {shown(text)}: are these pixels?"
        return Row(place, fault=what)
    if len(sides) == 4:
        return Row(place, (sides[0], sides[1], sides[2], sides[3]), int(label), keypoints=len(rest))
    left, top, right, bottom = hull(list(zip(sides[::2], sides[1::2], strict=True)))
    return Row(
        place, ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top), int(label), polygon=True
    )


def _is_box(x: float, y: float, width: float, height: float) -> bool:
    """Return whether four numbers are a box within the image; a polygon's first two corners rarely are."""
    return all(
        side > 0 and side / 2 - SLACK <= center <= 1 + SLACK - side / 2
        for center, side in ((x, width), (y, height))
    )


def holds_rows(file: Path) -> bool:
    """Return whether the first line of a file is a row of five or more numbers."""
    try:
        with open_input(file, AnnotationError) as stream:
            words = stream.readline(4096).split()
        return len(words) >= 5 and bool([float(word) for word in words])
    except (OSError, ValueError, AnnotationError):
        return False
