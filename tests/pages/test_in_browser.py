"""The frame of every page, in a real browser."""

from pathlib import Path

import pytest

from lookonce.pages.render import _environment
from tests.browser import DESKTOP, PHONE, opened


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A page that tries to fetch an image."""
    body = '{% extends "base.html" %}{% block main %}<img src="http://127.0.0.1:9/x.png">{% endblock %}'
    file = tmp_path / "a page.html"
    file.write_text(_environment().from_string(body).render(lookonce_version="0"), encoding="utf-8")
    return file


def test_what_a_page_tries_to_fetch_is_refused(page: Path) -> None:
    with opened(page) as seen:
        assert any("Content Security Policy" in error for error in seen.errors)


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_no_sideways_scrolling(page: Path, size: tuple[int, int]) -> None:
    with opened(page, size) as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_light_and_dark(page: Path) -> None:
    papers = set()
    for dark in (False, True):
        with opened(page, dark=dark) as seen:
            papers.add(seen.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert papers == {"rgb(255, 255, 255)", "rgb(20, 23, 27)"}
