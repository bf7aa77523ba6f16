"""Detect numbers that do not mean what their format says: corners for sizes, percentages for pixels.

A tool that writes a format in its own way produces boxes that are all wrong but mostly look plausible. One
box proves nothing; all boxes of a data set together do.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]

LEAST = 5  # boxes below which no pattern is claimed
SHARE = 0.2  # of boxes that must not fit the format's own meaning
SLACK = 0.5  # pixels beyond the border that come from rounding
LARGE = 200  # pixels: on a smaller side, percent and pixels look alike
SPREAD = 25  # percent: an object at a fixed place near the corner of all images moves less

# Each takes four numbers of N boxes, (N, 4), and returns their corners.
MEANINGS: dict[str, Callable[[Boxes], Boxes]] = {
    "left, top, right, bottom": lambda raw: raw,
    "left, top, width, height": lambda raw: np.hstack([raw[:, :2], raw[:, :2] + raw[:, 2:]]),
    "center x, center y, width, height": lambda raw: np.hstack(
        [raw[:, :2] - raw[:, 2:] / 2, raw[:, :2] + raw[:, 2:] / 2]
    ),
}
CORNERS, SIZED, CENTERED = MEANINGS
# The meaning of the numbers in each format that other tools write by hand.
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
    """Return the meaning that the numbers of a set probably have; empty if it is that of the format.

    A meaning is returned if a fifth of all boxes do not fit the format's own, and all fit the other one.

    Args:
        form: the format.
        corners: (N, 4) xyxy in pixels, as the format's own meaning gives them.
        sizes: (N, 2) width and height of each box's image.
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
    """Return whether boxes in pixels are probably in percent; arguments as for `other_meaning`.

    They are if none exceeds 100 in much larger images, they cover that range, and they are not integers.
    """
    if len(corners) < LEAST or sizes.min() < LARGE or not (corners.min() >= 0 and corners.max() <= 100):
        return False
    centers = (corners[:, :2] + corners[:, 2:]) / 2
    return bool((np.ptp(centers, axis=0) >= SPREAD).all() and (corners % 1 != 0).any(axis=1).mean() >= 0.5)


def _fits(corners: Boxes, sizes: Boxes) -> NDArray[np.bool_]:
    """Return which boxes have an area and lie within their image."""
    inside = np.hstack([corners[:, :2] >= -SLACK, corners[:, 2:] <= sizes + SLACK])
    return np.asarray(np.hstack([inside, corners[:, 2:] > corners[:, :2]]).all(axis=1))
