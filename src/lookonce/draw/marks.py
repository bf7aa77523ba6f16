"""Draw boxes in colors of any meaning, such as the kind of error."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookonce.draw.canvas import Canvas
from lookonce.draw.palette import Color
from lookonce.geometry.letterbox import Letterbox


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """A box to draw.

    Attributes:
        box: (4,) float32 xyxy in pixels of the image.
        label: class number, written if no font has the letters of the name.
        name: class name; if both name and suffix are empty, the box has no label.
        suffix: text after the name, such as the score.
        color: color of box and label.
        dashed: whether the line is dashed instead of solid.
    """

    box: NDArray[np.float32]
    label: int
    name: str
    suffix: str
    color: Color
    dashed: bool = False


def draw_marks(
    image: NDArray[np.uint8], marks: Sequence[Mark], longest: int, letters: int | None = None
) -> NDArray[np.uint8]:
    """Return a scaled copy of the image with all boxes; the first marks are on top and are labeled first.

    The image is scaled before drawing, so that lines and letters suit the result.

    Args:
        image: (H, W, 3) uint8 RGB.
        marks: boxes to draw.
        longest: longer side of the result in pixels.
        letters: height of letters in pixels; None to choose it by the size of the result.
    """
    height, width = image.shape[:2]
    scale = longest / max(height, width)
    fit = Letterbox.stretch((height, width), (max(round(height * scale), 1), max(round(width * scale), 1)))
    boxes = fit.boxes_in(np.array([mark.box for mark in marks], np.float32).reshape(-1, 4))
    canvas = Canvas(fit.image(image), boxes, letters)
    placed = list(zip(boxes.tolist(), marks, strict=True))
    for box, mark in reversed(placed):
        line = canvas.dashed if mark.dashed else canvas.solid
        line(box, mark.color)
    for box, mark in placed:
        if mark.name or mark.suffix:
            canvas.label(box, mark.label, mark.name, mark.suffix, mark.color)
    return canvas.image
