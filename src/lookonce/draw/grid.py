"""Combine images in a grid, and draw ground truth and detections on a cell."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lookonce.detections import Detections
from lookonce.draw.boxes import annotate
from lookonce.geometry.letterbox import Letterbox
from lookonce.samples import Sample

GAP = 4  # white pixels between images


def grid(
    images: Sequence[NDArray[np.uint8]], cell: tuple[int, int], columns: int | None = None
) -> NDArray[np.uint8]:
    """Arrange images of any size in rows on white, each fitted into a cell without distortion.

    Args:
        images: one or more images (H, W, 3) uint8.
        cell: (height, width) of a cell in pixels.
        columns: number of columns; None for about as many as rows.

    Raises:
        ValueError: there are no images.
    """
    if not images:
        raise ValueError("expected at least one image for a grid, found none")
    across = columns or int(np.ceil(np.sqrt(len(images))))
    down = -(-len(images) // across)
    height, width = cell
    sheet = np.full((down * (height + GAP) - GAP, across * (width + GAP) - GAP, 3), 255, np.uint8)
    for i, image in enumerate(images):
        top, left = (i // across) * (height + GAP), (i % across) * (width + GAP)
        fitted = Letterbox.fit(image.shape[:2], cell).image(image)
        sheet[top : top + height, left : left + width] = fitted
    return sheet


def compare(
    image: NDArray[np.uint8],
    detections: Detections,
    truth: Sample,
    names: Sequence[str],
    cell: tuple[int, int],
) -> NDArray[np.uint8]:
    """Draw ground truth (dashed) and detections (solid) on an image fitted into a cell (height, width).

    The image is fitted before drawing, so that lines and letters suit the size of the cell.
    """
    fit = Letterbox.fit(image.shape[:2], cell)
    return annotate(
        fit.image(image),
        replace(detections, boxes=fit.boxes_in(detections.boxes)),
        replace(truth, boxes=fit.boxes_in(truth.boxes)),
        names,
    )
