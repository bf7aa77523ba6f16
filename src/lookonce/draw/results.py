"""Show detections with their image: drawn, cropped, or as HTML for a notebook."""

import base64
from html import escape
from io import BytesIO
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from lookonce._counted import counted
from lookonce.detections import Detections
from lookonce.draw.boxes import annotate
from lookonce.errors import ImageError
from lookonce.inputs import Image, as_pixels

LONGEST = 960  # longer side of an image in a notebook, in pixels
ROWS = 20  # objects in the table in a notebook


def plot(detections: Detections, image: Image | None = None) -> Pillow.Image:
    """Return the image with the detections drawn on it; see `Detections.plot`.

    Raises:
        ValueError: there is no image.
    """
    chosen = _source(detections) if image is None else image
    if chosen is None:
        raise ValueError("expected the image, because it is no longer in memory: plot(image)")
    return Pillow.fromarray(annotate(as_pixels(chosen), detections))


def crop(detections: Detections, image: Image) -> list[NDArray[np.uint8]]:
    """Crop the image to each box, rounded outwards to whole pixels, at least 1x1; see `Detections.crop`."""
    pixels = as_pixels(image)
    height, width = pixels.shape[:2]
    low = np.floor(detections.boxes[:, :2]).clip(0, (width - 1, height - 1)).astype(int)
    high = np.maximum(np.ceil(detections.boxes[:, 2:]).clip(0, (width, height)).astype(int), low + 1)
    corners = np.concatenate([low, high], axis=1).tolist()
    return [pixels[top:bottom, left:right].copy() for left, top, right, bottom in corners]


def as_html(detections: Detections) -> str:
    """Return HTML with the annotated image, if it is still available, and a table."""
    shown = ""
    if (image := _source(detections)) is not None:
        try:
            drawn = plot(detections, image)
        except ImageError:  # the file was moved or changed
            pass
        else:
            drawn.thumbnail((LONGEST, LONGEST))
            file = BytesIO()
            drawn.save(file, "JPEG", quality=88)
            data = base64.b64encode(file.getvalue()).decode("ascii")
            shown = f'<img alt="{escape(repr(detections))}" src="data:image/jpeg;base64,{data}">'
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{score:.2f}</td><td>{', '.join(f'{x:.0f}' for x in box)}</td></tr>"
        for name, score, box in detections[:ROWS]
    )
    more = f"<p>and {len(detections) - ROWS} more</p>" if len(detections) > ROWS else ""
    head = "<tr><th>class</th><th>score</th><th>left, top, right, bottom</th></tr>"
    return f"{shown}<p>{counted(len(detections), 'object')}</p><table>{head}{rows}</table>{more}"


def _source(detections: Detections) -> Any:
    """Return the image of the detections: its path, or its pixels while they are in memory."""
    return detections.source if isinstance(detections.source, str | PathLike | None) else detections.source()
