"""The base template of all pages, in a real browser."""

from pathlib import Path

import pytest

from lookonce.pages.render import _environment
from tests.browser import DESKTOP, PHONE, opened


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """Return a page that tries to load an image."""
    body = '{% extends "base.html" %}{% block main %}<img src="http://127.0.0.1:9/x.png">{% endblock %}'
    file = tmp_path / "a page.html"
    file.write_text(_environment().from_string(body).render(lookonce_version="0"), encoding="utf-8")
    return file


def test_fetching_is_blocked(page: Path) -> None:
    with opened(page) as seen:
        assert any("Content Security Policy" in error for error in seen.errors)


@pytest.mark.parametrize(
    "injected",
    [
        "<script>document.title = 'injected'</script>",
        "<img src='data:,' onerror=\"document.title = 'injected'\">",
        "<style>main { color: rgb(1, 2, 3) }</style>",
        "<b style='color: rgb(1, 2, 3)'></b>",
    ],
)
def test_injected_content_neither_runs_nor_styles(tmp_path: Path, injected: str) -> None:
    body = (
        '{% extends "base.html" %}{% block main %}' + injected + "{% endblock %}"
        "{% block script %}<script>document.body.id = 'own'</script>"
        '<script type="application/json">{"a": "<b>"}</script>{% endblock %}'
    )
    file = tmp_path / "page.html"
    file.write_text(_environment().from_string(body).render(lookonce_version="0"), encoding="utf-8")
    with opened(file) as seen:
        assert seen.page.evaluate("document.body.id") == "own"
        assert seen.page.title() == ""
        assert seen.page.evaluate("getComputedStyle(document.body).margin") == "0px"  # by the page's style
        for element in ("main", "main > b"):
            color = f"(document.querySelector('{element}') || document.body)"
            assert seen.page.evaluate(f"getComputedStyle({color}).color") != "rgb(1, 2, 3)"
        assert any("Content Security Policy" in error for error in seen.errors)


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_a_page_does_not_scroll_sideways(page: Path, size: tuple[int, int]) -> None:
    with opened(page, size) as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_a_page_follows_light_and_dark_mode(page: Path) -> None:
    papers = set()
    for dark in (False, True):
        with opened(page, dark=dark) as seen:
            papers.add(seen.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert papers == {"rgb(255, 255, 255)", "rgb(20, 23, 27)"}
