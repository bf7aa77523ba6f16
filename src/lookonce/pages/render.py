"""From a template to one self-contained HTML file.

Every page extends `templates/base.html`, which carries the style and forbids the page to fetch anything.
Values are escaped wherever a template prints them, so a class name that holds HTML is shown as text; data for
a script goes through Jinja's `tojson`, which escapes what could end the script.
"""

from base64 import b64encode
from functools import cache
from importlib.metadata import version
from typing import Any

import cv2
import jinja2
import numpy as np
from numpy.typing import NDArray

from lookonce._files import encodable

JPEG_QUALITY = 85


def render(template: str, **values: Any) -> str:
    """Fill a template of `pages/templates`.

    Args:
        template: its file name.
        **values: what it asks for; a value that is asked for and missing is an error.

    Raises:
        jinja2.UndefinedError: a value is missing.
    """
    page = _environment().get_template(template).render(lookonce_version=version("lookonce"), **values)
    return encodable(page)


def jpeg_url(image: NDArray[np.uint8], quality: int = JPEG_QUALITY) -> str:
    """An image (H, W, 3) uint8 RGB as a data URL: for photographs."""
    return _url(image, ".jpg", "image/jpeg", (cv2.IMWRITE_JPEG_QUALITY, quality))


def png_url(image: NDArray[np.uint8]) -> str:
    """An image (H, W), (H, W, 3) RGB or (H, W, 4) RGBA, uint8, as a data URL: for plots and maps, exact."""
    return _url(image, ".png", "image/png", (cv2.IMWRITE_PNG_COMPRESSION, 9))


def _url(image: NDArray[np.uint8], suffix: str, kind: str, options: tuple[int, ...]) -> str:
    orders = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    bgr = image if image.ndim == 2 else cv2.cvtColor(image, orders[image.shape[2]])
    encoded = cv2.imencode(suffix, bgr, options)[1]
    return f"data:{kind};base64,{b64encode(encoded.tobytes()).decode()}"


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("lookonce", "pages/templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
