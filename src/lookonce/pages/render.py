"""Make one self-contained HTML file from a template.

Every page extends `templates/base.html`. Its Content Security Policy forbids the page to fetch anything, and
only allows the template's own `<style>` and `<script>` elements, so `style` attributes have no effect. Values
are escaped, so HTML in a class name is shown as text; data for a script goes through Jinja's `tojson`, which
escapes anything that could end the script.
"""

import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from typing import Any

import cv2
import jinja2
import numpy as np
from numpy.typing import NDArray

from lookonce._files import encodable

JPEG_QUALITY = 85
SCRIPT = re.compile(r'<script(?: type="module")?>(.*?)</script>', re.DOTALL)  # but not JSON in a page
NOTHING = "'none'"


def render(template: str, **values: Any) -> str:
    """Fill a template in `pages/templates`, and return the HTML.

    Args:
        template: file name of the template.
        **values: values of the template's variables.

    Raises:
        jinja2.UndefinedError: a value is missing.
    """
    page = _environment().get_template(template).render(lookonce_version=version("lookonce"), **values)
    return encodable(page)


def security_policy(styles: str, scripts: str) -> str:
    """Return the Content Security Policy of a page, which allows its own style and scripts and data URLs.

    Args:
        styles: content of the page's `<style>`.
        scripts: `<script>` elements of the template, in which values only occur as JSON.
    """
    style_hash, *script_hashes = (
        f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"
        for content in (styles, *(found[1] for found in SCRIPT.finditer(scripts)))
    )
    return (
        f"default-src 'none'; img-src data:; style-src {style_hash}; "
        f"script-src {' '.join(script_hashes) or NOTHING}; base-uri 'none'; form-action 'none'"
    )


def jpeg_url(image: NDArray[np.uint8], quality: int = JPEG_QUALITY) -> str:
    """Encode an image (H, W, 3) uint8 RGB as a data URL with a JPEG."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    encoded = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, quality))[1]
    return f"data:image/jpeg;base64,{b64encode(encoded.tobytes()).decode()}"


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lookonce", "pages/templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["security_policy"] = security_policy
    return environment
