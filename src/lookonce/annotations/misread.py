"""Detect boxes whose numbers have a meaning other than that of their format, such as percent for pixels.

If a tool deviates from a format, all boxes are wrong, although most look plausible. A single box proves
nothing, but all boxes of a data set together do.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]

LEAST = 5  # number of boxes below which nothing is concluded
SHARE = 0.2  # least share of boxes that do not fit the format's own meaning
SLACK = 0.5  # pixels beyond the border that count as rounding
LARGE = 200  # pixels; least side of all images for percentages to differ clearly from pixels
SPREAD = 25  # least range of the centers; an object fixed near the corner of all images moves less

# functions that turn the four numbers of N boxes, (N, 4), into corners, by meaning
MEANINGS: dict[str, Callable[[Boxes], Boxes]] = {
    "left, top, right, bottom": lambda raw: raw,
    "left, top, width, height": lambda raw: np.hstack([raw[:, :2], raw[:, :2] + raw[:, 2:]]),
    "center x, center y, width, height": lambda raw: np.hstack(
        [raw[:, :2] - raw[:, 2:] / 2, raw[:, :2] + raw[:, 2:] / 2]
    ),
}
CORNERS, SIZED, CENTERED = MEANINGS
# meaning of the numbers in formats that people often write with their own scripts
WRITTEN: Mapping[str, str] = {
    "coco": SIZED,
    "createml": CENTERED,
    "lines": CORNERS,
    "retinanet": CORNERS,
    "tensorflow": CORNERS,
    "voc": CORNERS,
    "yolo": CENTERED,
}


def other_meaning(form: str, corners: Boxes, sizes: Boxes) -> str:
    """Return the probable meaning of the numbers in a set; empty if it is that of the format.

    Another meaning is probable if at least a fifth of the boxes do not fit into their images with the
    format's meaning, but all boxes do with the other.

    Args:
        form: name of the format.
        corners: (N, 4) xyxy in pixels, according to the format's meaning.
        sizes: (N, 2) width and height of each box's image, in pixels.
    """
    own = WRITTEN.get(form)
    if own is None or len(corners) < LEAST:
        return ""
    left_top, right_bottom = corners[:, :2], corners[:, 2:]
    raw = {
        CORNERS: corners,
        SIZED: np.hstack([left_top, right_bottom - left_top]),
        CENTERED: np.hstack([(left_top + right_bottom) / 2, right_bottom - left_top]),
    }[own]
    if np.mean(~_fits(corners, sizes)) < SHARE:
        return ""
    others = (name for name in MEANINGS if name != own)
    return next((name for name in others if _fits(MEANINGS[name](raw), sizes).all()), "")


def are_percent(corners: Boxes, sizes: Boxes) -> bool:
    """Return whether boxes that should be in pixels are probably in percent.

    This is so if no number exceeds 100 although all images are larger than `LARGE`, the centers spread over
    at least `SPREAD`, and at least half of the boxes have a number that is not an integer. The arguments are
    those of `other_meaning`.
    """
    if len(corners) < LEAST or sizes.min() < LARGE or not (corners.min() >= 0 and corners.max() <= 100):
        return False
    centers = (corners[:, :2] + corners[:, 2:]) / 2
    return bool((np.ptp(centers, axis=0) >= SPREAD).all() and (corners % 1 != 0).any(axis=1).mean() >= 0.5)


def _fits(corners: Boxes, sizes: Boxes) -> NDArray[np.bool_]:
    """Return which boxes have an area and lie within their image: (N,)."""
    inside = np.hstack([corners[:, :2] >= -SLACK, corners[:, 2:] <= sizes + SLACK])
    return np.asarray(np.hstack([inside, corners[:, 2:] > corners[:, :2]]).all(axis=1))
