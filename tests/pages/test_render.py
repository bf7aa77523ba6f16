"""Pages are safe with untrusted data, and a template needs all of its values."""

import re
from base64 import b64decode

import cv2
import jinja2
import numpy as np
import pytest

from lookonce.pages.render import _environment, jpeg_url, render

HOSTILE = "</script><script>alert(1)</script>"


@pytest.fixture(autouse=True)
def one_template(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (
        '{% extends "base.html" %}{% block title %}{{ name }}{% endblock %}'
        "{% block script %}<script>const data = {{ data | tojson }};</script>{% endblock %}"
    )
    loader = jinja2.ChoiceLoader([jinja2.DictLoader({"one.html": page}), _environment().loader])
    monkeypatch.setattr(_environment(), "loader", loader)


def test_names_with_a_script_are_shown_as_text() -> None:
    page = render("one.html", name=HOSTILE, data={"name": HOSTILE})

    assert page.count("<script>") == page.count("</script>") == 1
    assert "&lt;/script&gt;" in page


def test_a_page_may_fetch_nothing() -> None:
    page = render("one.html", name="", data={})

    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; img-src data:")
    assert "unsafe" not in policy[1]
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)


def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="name"):
        render("one.html", data={})


def test_images_survive_their_urls() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    smooth = cv2.GaussianBlur(image, (0, 0), 5)

    assert np.abs(_decoded(jpeg_url(smooth), "image/jpeg").astype(int) - smooth).max() < 20


def _decoded(url: str, kind: str) -> np.ndarray:
    content = b64decode(url.removeprefix(f"data:{kind};base64,"))
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
