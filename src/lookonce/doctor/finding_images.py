"""Draw findings as small images: affected boxes in red, other boxes dashed, small objects enlarged."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookonce.doctor.findings import Finding
from lookonce.draw.canvas import Canvas
from lookonce.draw.grid import grid
from lookonce.draw.palette import Color, class_color
from lookonce.eight_bits import Values
from lookonce.errors import ImageError
from lookonce.geometry.boxes import clip
from lookonce.geometry.letterbox import Letterbox
from lookonce.images import read_image
from lookonce.samples import Sample

RED: Color = (255, 59, 48)
LONGER_SIDE = 480  # longer side of an image in the report, in pixels
ROOM = 6  # side of the window around small boxes, relative to their extent
SMALLEST_WINDOW = 64  # pixels of the image
ENLARGE_BELOW = 0.2  # extent of the boxes, relative to the image, up to which only a window is shown
LEAST_MARK = 14  # pixels of the report; makes even a box without area visible
MOST_BESIDE = 4  # images side by side
MOST_DRAWN = 500  # boxes of either kind in one image; more would cover it
FAR = 1e6  # pixels; limit of the coordinates of a bad box, as 1e308 does not fit into float32


def finding_image(
    findings: Sequence[Finding], samples: Mapping[Path, Sample], values: Values | None = None
) -> NDArray[np.uint8] | None:
    """Draw the findings of one kind in one image; return None if the image cannot be shown.

    Args:
        findings: one or more findings; if the first one affects further images, these are placed beside it.
        samples: sample of each image, by path.
        values: pixel values shown as black and white in images of more than 8 bits, as in `read_image`.
    """
    first = findings[0]
    if first.image is None:
        return None
    written = np.array([box for each in findings for box in each.boxes], np.float64).reshape(-1, 4)
    boxes = written.clip(-FAR, FAR).astype(np.float32)
    try:
        if not first.others:
            return _drawn(first.image, boxes, samples.get(first.image), values)
        paths = (first.image, *first.others)[:MOST_BESIDE]
        shown = [_drawn(path, boxes[:0], samples.get(path), values) for path in paths]
    except ImageError:
        return None
    height, width = shown[0].shape[:2]
    return grid(shown, cell=(height, width), columns=2)


def _drawn(
    path: Path, flagged: NDArray[np.float32], sample: Sample | None, values: Values | None
) -> NDArray[np.uint8]:
    image = read_image(path, values)
    left, top, right, bottom = window(flagged, image.shape[:2])
    image = np.ascontiguousarray(image[top:bottom, left:right])
    scale = LONGER_SIDE / max(image.shape[:2])
    sides = max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale))
    fit = Letterbox.stretch((image.shape[0], image.shape[1]), sides)
    offset = np.array([left, top, left, top], np.float32)
    known = np.zeros((0, 4), np.float32) if sample is None else sample.boxes
    marked = fit.boxes_in(flagged - offset)
    # swap the corners of inverted boxes, and enlarge boxes that are too small to see
    low, high = np.minimum(marked[:, :2], marked[:, 2:]), np.maximum(marked[:, :2], marked[:, 2:])
    grow = ((LEAST_MARK - (high - low)) / 2).clip(0)
    marked = np.concatenate([low - grow, high + grow], axis=1)
    others = fit.boxes_in(known - offset)
    labels = np.zeros(0, np.int64) if sample is None else sample.labels
    visible = (others[:, :2] < sides[::-1]).all(axis=1) & (others[:, 2:] > 0).all(axis=1)
    others, labels = others[visible][:MOST_DRAWN], labels[visible][:MOST_DRAWN]
    marked = marked[:MOST_DRAWN]
    canvas = Canvas(fit.image(image), np.concatenate([marked, others]))
    for box, label in zip(others.tolist(), labels.tolist(), strict=True):
        canvas.dashed(box, class_color(label))
    for box in marked.tolist():
        canvas.solid(box, RED)
    return canvas.image


def window(flagged: NDArray[np.float32], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of the part to show: a window around small boxes, else everything."""
    height, width = size
    whole = 0, 0, width, height
    inside = clip(flagged[np.isfinite(flagged).all(axis=1)], height, width)
    if not len(inside):
        return whole
    low, high = inside.min(axis=0)[:2], inside.max(axis=0)[2:]
    reach = float((high - low).max())
    if reach > ENLARGE_BELOW * max(size):
        return whole
    half = max(SMALLEST_WINDOW, ROOM * reach) / 2
    x, y = ((low + high) / 2).tolist()
    left, top = (int(np.clip(c - half, 0, max(side - 2 * half, 0))) for c, side in ((x, width), (y, height)))
    return left, top, min(width, int(left + 2 * half)), min(height, int(top + 2 * half))
