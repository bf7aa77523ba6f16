"""Detect numbers that do not mean what their format says, such as percentages in place of pixels.

A tool that writes a format in its own way produces boxes that are all wrong, though most look plausible. One
box proves nothing, but all boxes of a data set together do.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]

LEAST = 5  # number of boxes from which a pattern is believed
SHARE = 0.2  # share of boxes that must not fit the format's own meaning
SLACK = 0.5  # pixels beyond the border that are taken for rounding
LARGE = 200  # pixels per side from which percentages and pixels look different
SPREAD = 25  # percent of the side; an object at a fixed place near the corner of all images moves less

# Each function takes the four numbers of N boxes, (N, 4), and returns their corners.
MEANINGS: dict[str, Callable[[Boxes], Boxes]] = {
    "left, top, right, bottom": lambda raw: raw,
    "left, top, width, height": lambda raw: np.hstack([raw[:, :2], raw[:, :2] + raw[:, 2:]]),
    "center x, center y, width, height": lambda raw: np.hstack(
        [raw[:, :2] - raw[:, 2:] / 2, raw[:, :2] + raw[:, 2:] / 2]
    ),
}
CORNERS, SIZED, CENTERED = MEANINGS
# The meaning of the numbers in the formats that people often write with their own scripts.
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

    Another meaning is returned if a fifth of the boxes do not fit the format's own and all boxes fit the
    other.

    Args:
        form: name of the format.
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

    They are if no number exceeds 100 in much larger images, the numbers spread over that range, and not all
    are integers.
    """
    if len(corners) < LEAST or sizes.min() < LARGE or not (corners.min() >= 0 and corners.max() <= 100):
        return False
    centers = (corners[:, :2] + corners[:, 2:]) / 2
    return bool((np.ptp(centers, axis=0) >= SPREAD).all() and (corners % 1 != 0).any(axis=1).mean() >= 0.5)


def _fits(corners: Boxes, sizes: Boxes) -> NDArray[np.bool_]:
    """Return which boxes, (N,), have an area and lie within their image."""
    inside = np.hstack([corners[:, :2] >= -SLACK, corners[:, 2:] <= sizes + SLACK])
    return np.asarray(np.hstack([inside, corners[:, 2:] > corners[:, :2]]).all(axis=1))
