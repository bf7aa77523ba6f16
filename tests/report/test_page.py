"""The page has the numbers of the JSON, and works on phones, in print, by keyboard and screen reader."""

import json
import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

from lookonce.evaluate.errors import ERRORS, Outcome
from lookonce.pages.glossary import GLOSSARY
from lookonce.report.page import Numbers
from tests.browser import DESKTOP, PHONE, opened
from tests.evaluate.conftest import Case, found, sample

from .conftest import HOSTILE, Written, write

DATA = re.compile(r'<data value="([^"]*)" data-json="([^"]*)">([^<]*)</data>')


def test_every_number_equals_the_json(written: Written) -> None:
    numbers = Numbers(written.tree)
    shown = DATA.findall(written.page.read_text("utf-8"))
    assert len(shown) > 200
    for value, pointer, text in shown:
        expected = numbers.at(pointer)
        assert json.loads(value.replace("None", "null")) == expected, pointer
        if expected is None:
            assert text == "–", pointer
            continue
        scale = 100 if text.endswith("%") else 1
        digits = len(text.removesuffix("%").partition(".")[2])
        assert float(text.removesuffix("%")) == pytest.approx(scale * expected, abs=0.5001 * 10**-digits), (
            pointer
        )
    sections = {pointer.split("/")[1] for _, pointer, _ in shown}
    assert sections == {"summary", "metrics", "errors", "training", "data"}


def test_every_number_in_a_table_points_to_the_json(written: Written) -> None:
    with opened(written.page) as seen:
        cells = seen.page.locator("td.number").all()
        assert len(cells) > 100
        bare = seen.page.locator("td.number:not(:has(data))")
        assert bare.count() == 0
        rows = seen.page.locator(".types tbody tr")
        assert rows.count() == len(ERRORS) + 2


def test_the_scatter_has_a_dot_for_every_pair_of_counts(written: Written) -> None:
    counts = written.tree["metrics"]["counts"]
    pairs = {(sum(each["annotated"].values()), sum(each["counted"].values())) for each in counts}
    texts = re.findall(
        r"<title>(\d+) images?: (\d+) annotated, (\d+) counted", written.page.read_text("utf-8")
    )
    assert {(int(n), int(m)) for _, n, m in texts} == pairs
    assert sum(int(number) for number, _, _ in texts) == len(counts)


def test_names_with_html_are_shown_as_text(written: Written) -> None:
    with opened(written.page) as seen:
        assert seen.page.locator(".classes tbody th").first.inner_text() == HOSTILE
        assert seen.page.locator(".about code").first.inner_text() == HOSTILE
        assert seen.page.locator("img[src=x]").count() == 0
        assert seen.page.locator("script").count() == 1
        assert (seen.errors, seen.requests) == ([], [])


@pytest.mark.parametrize(("size", "dark"), [(PHONE, True), (DESKTOP, False)])
def test_the_page_has_no_sideways_scrolling_and_no_error(
    written: Written, size: tuple[int, int], dark: bool
) -> None:
    with opened(written.page, size, dark=dark) as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert (seen.errors, seen.requests) == ([], [])


@pytest.mark.parametrize(("size", "dark"), [(PHONE, True), (DESKTOP, False)])
def test_axe_finds_no_violations(written: Written, size: tuple[int, int], dark: bool) -> None:
    with opened(written.page, size, dark=dark) as seen:
        found = Axe().run(seen.page)
        assert found.violations_count == 0, found.generate_report()


def test_an_image_opens_and_closes_by_keyboard(written: Written) -> None:
    with opened(written.page, PHONE) as seen:
        first = seen.page.locator("button.image").first
        first.focus()
        seen.page.keyboard.press("Enter")
        large = seen.page.locator("dialog img")
        assert large.is_visible()
        assert large.get_attribute("alt") == first.locator("img").get_attribute("alt") != ""
        seen.page.keyboard.press("Escape")
        assert not large.is_visible()
        assert seen.errors == []


def test_each_image_is_beside_its_ground_truth(written: Written) -> None:
    with opened(written.page) as seen:
        pairs = seen.page.locator(".gallery .beside")
        assert pairs.count() >= len(written.tree["errors"]["worst"]) == 12
        alts = [image.get_attribute("alt") for image in pairs.first.locator("img").all()]
        assert [str(alt).partition(": ")[2] for alt in alts] == ["ground truth", "detections"]
        links = seen.page.locator(".gallery a")
        assert [link.get_attribute("href") for link in links.all()] == ["explained/01.html"]


def test_terms_are_explained_to_pointer_and_keyboard(written: Written) -> None:
    with opened(written.page, PHONE) as seen:
        hint = seen.page.locator("#hint")
        for link in seen.page.locator("a.term").all():
            target = seen.page.locator(str(link.get_attribute("href")))
            assert target.count() == 1
            assert target.inner_text() in GLOSSARY.values()
        term = seen.page.locator("a.term", has_text="AP50").first
        assert not hint.is_visible()
        term.focus()
        assert hint.inner_text() == GLOSSARY["AP50"]
        box = hint.bounding_box()
        assert box is not None
        assert 0 <= box["x"] <= box["x"] + box["width"] <= PHONE[0]
        seen.page.keyboard.press("Escape")
        assert not hint.is_visible()
        term.hover()
        assert hint.is_visible()


def test_the_page_links_the_terms_a_newcomer_needs(written: Written) -> None:
    page = written.page.read_text("utf-8")
    for term in ("AP", "AP50", "F1", "precision", "recall", "threshold", "ground truth", "epoch", "loss"):
        assert f'href="#word-{term.lower().replace(" ", "-")}"' in page, term


def test_the_page_prints_on_white_without_controls(written: Written) -> None:
    with opened(written.page, dark=True) as seen:
        seen.page.emulate_media(media="print")
        assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert not seen.page.locator("nav").is_visible()
        seen.page.set_viewport_size({"width": 950, "height": 1300})  # width of A4 in Chromium
        cut_off = "all => all.filter(e => e.scrollWidth > e.clientWidth).map(e => e.ariaLabel)"
        assert seen.page.locator(".scroll").evaluate_all(cut_off) == []
        assert seen.page.pdf(format="A4").startswith(b"%PDF")


@pytest.mark.parametrize(
    "case",
    [
        ([sample([])], [found([], [])], ("cat",)),
        ([sample([[0, 0, 40, 40]])], [found([[0, 0, 40, 40]], [0.9])], ("cat",)),
        ([sample([[0, 0, 40, 40]])], [found([], [])], ("cat",)),
        (
            [sample([[0, 0, 40, 40]])],
            [found([[0, 0, 40, 40]], [0.9])],
            tuple(f"class {c}" for c in range(30)),
        ),
    ],
    ids=["no object", "perfect", "nothing found", "thirty classes"],
)
def test_pages_of_extreme_cases_have_no_nan(case: Case, tmp_path: Path) -> None:
    page = write(tmp_path, case, case[2]).page.read_text("utf-8")

    assert "nan" not in re.sub(r"base64,[\w+/=]+", "", page)
    assert "The data was not checked" in page
    assert "has no record of its training" in page


def test_every_type_of_error_is_explained(written: Written) -> None:
    page = written.page.read_text("utf-8")
    for error in (*ERRORS, Outcome.CORRECT):
        assert error.text in page
