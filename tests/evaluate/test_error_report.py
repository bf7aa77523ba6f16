"""The error report: JSON that says everything, and a page that shows it in a browser."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from lookonce.evaluate.error_page import headline, write_error_page
from lookonce.evaluate.error_report import ErrorReport, error_report, write_errors_json
from lookonce.evaluate.errors import ERRORS, Outcome
from lookonce.evaluate.gallery import COLOURS, GalleryImage
from lookonce.evaluate.report import evaluate_detections
from lookonce.pages.render import jpeg_url
from tests.browser import DESKTOP, PHONE, opened

from .conftest import Case, found, random_case, sample

DOCS = Path(__file__).parents[2] / "docs" / "evaluate.md"
ABOUT = {"model": "a.onnx", "data": "images", "split": "val"}
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
BOX, FAR, AWAY = [0, 0, 40, 40], [100, 100, 140, 140], [200, 200, 240, 240]


def report_of(case: Case) -> ErrorReport:
    return error_report(case[0], case[1], evaluate_detections(*case))


def gallery_of(report: ErrorReport, name: str = "a.jpg", link: str = "explained/01.html") -> list:
    url = jpeg_url(np.full((60, 80, 3), 128, np.uint8))
    return [GalleryImage(name, url, worst.errors, link) for worst in report.worst]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with classes, files and a model whose names are HTML."""
    truth, detections, _ = random_case(1, 40, 3, 12)
    report = report_of((truth, detections, (HOSTILE, "dog", "椅子")))
    file = tmp_path_factory.mktemp("report") / "errors.html"
    write_error_page(
        file, report, gallery_of(report, HOSTILE), f"note {HOSTILE}", {**ABOUT, "model": HOSTILE}
    )
    return file


def test_json_has_every_number_and_says_what_was_measured(voc_sample: Case, tmp_path: Path) -> None:
    report = report_of(voc_sample)

    write_errors_json(tmp_path / "errors.json", report, [str(each.path) for each in voc_sample[0]], ABOUT)

    tree = json.loads((tmp_path / "errors.json").read_text(), parse_constant=pytest.fail)
    assert (tree["model"], tree["images"], tree["objects"], tree["detections"]) == ("a.onnx", 100, 273, 452)
    assert tree["ap50"] == pytest.approx(0.6100, abs=5e-5)
    assert tree["types"]["background"]["cost"] == pytest.approx(0.1091, abs=5e-5)
    assert tree["types"]["missed"]["count"] == 35
    assert sum(each["objects"] for each in tree["by_coco_size"]) == 273
    assert len(tree["by_size"]) == 5
    assert sum(each["detections"] for each in tree["calibration"]["bins"]) == 452
    assert len(tree["worst"]) == 24
    assert sum(tree["worst"][0]["errors"].values()) >= sum(tree["worst"][1]["errors"].values())


def test_each_class_has_its_own_numbers(voc_sample: Case) -> None:
    report = report_of(voc_sample)

    person = report.classes[0]
    assert (person.name, person.objects) == ("person", 91)
    assert person.best.f1 == pytest.approx(0.5417, abs=5e-5)
    for error in ERRORS:
        assert sum(each.types[error].in_use for each in report.classes) == report.types[error].in_use
        assert np.mean([each.types[error].cost for each in report.classes]) == pytest.approx(
            report.types[error].cost
        )
    assert report.false_positives.count == 226
    assert report.false_negatives.count >= report.types[Outcome.MISSED].count


def test_in_use_are_the_detections_above_the_best_confidence() -> None:
    doubtful = found([BOX, AWAY, FAR], [0.9, 0.1, 0.05], [0, 0, 1])

    report = report_of(([sample([BOX, FAR])] * 4, [doubtful] * 4, ("cat", "dog")))

    assert report.threshold == pytest.approx(0.5)
    assert (report.detections, report.types[Outcome.BACKGROUND].count) == (12, 4)
    assert {error: each.in_use for error, each in report.types.items() if each.in_use} == {Outcome.MISSED: 4}
    assert report.types[Outcome.MISSED].count == 0  # the doubtful dog stands for it
    assert report.types[Outcome.MISSED].cost_in_use == pytest.approx(1 - report.ap50_in_use)
    assert report.types[Outcome.CLASSIFICATION].cost > report.types[Outcome.CLASSIFICATION].cost_in_use == 0


def test_every_number_in_the_json_is_explained() -> None:
    text = DOCS.read_text()
    tree = report_of(([], [], ("cat",))).to_dict([])

    for name in {*tree, *tree["types"]["missed"], *tree["by_size"][0], *tree["calibration"]}:
        assert f"`{name}`" in text, name


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (([], [], ("cat",)), ["no objects, so there is no AP"]),
        (([sample([])], [found([], [])], ("cat",)), ["no objects, so there is no AP"]),
        (([sample([BOX])], [found([BOX], [0.9])], ("cat",)), ["No errors", "No type of error costs"]),
        (([sample([BOX])], [found([], [])], ("cat",)), ["1 of 1 errors", "missed objects", "1.000 instead"]),
        (
            ([sample([BOX])], [found([FAR, BOX], [0.9, 0.8])], ("cat",)),
            ["are background detections.", "AP50 would be 1.000 instead of 0.500"],
        ),
    ],
)
def test_the_finding_in_words(case: Case, words: list[str], tmp_path: Path) -> None:
    report = report_of(case)

    for word in words:
        assert word in headline(report)
    write_error_page(tmp_path / "errors.html", report, gallery_of(report), "", ABOUT)
    assert "nan" not in re.sub(r"base64,[\w+/=]+", "", (tmp_path / "errors.html").read_text())


def test_names_with_html_are_text(page: Path) -> None:
    with opened(page) as seen:
        assert seen.page.locator(".classes tbody th").first.inner_text() == HOSTILE
        assert seen.page.locator(".file").first.inner_text() == HOSTILE
        assert seen.page.locator(".about code").first.inner_text() == HOSTILE
        assert seen.page.locator("img[src=x]").count() == 0
        assert seen.page.locator("script").count() == 1
        assert (seen.errors, seen.requests) == ([], [])


@pytest.mark.parametrize(("size", "dark"), [(PHONE, True), (DESKTOP, False)])
def test_no_sideways_scrolling_and_no_error(page: Path, size: tuple[int, int], dark: bool) -> None:
    with opened(page, size, dark=dark) as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert (seen.errors, seen.requests) == ([], [])


def test_a_image_opens_and_closes_by_keyboard(page: Path) -> None:
    with opened(page, PHONE) as seen:
        first = seen.page.locator("button.image").first
        first.focus()
        seen.page.keyboard.press("Enter")
        large = seen.page.locator("dialog img")
        assert large.is_visible()
        assert large.get_attribute("alt") == first.locator("img").get_attribute("alt") != ""
        seen.page.keyboard.press("Escape")
        assert not large.is_visible()
        assert seen.errors == []


def test_tables_that_scroll_can_be_reached_and_everything_has_a_name(page: Path) -> None:
    with opened(page, PHONE) as seen:
        for region in seen.page.locator(".scroll").all():
            assert region.get_attribute("tabindex") == "0"
            assert region.get_attribute("aria-label")
        assert (
            seen.page.locator("main img:not([alt]), main svg:not([aria-label], [aria-hidden])").count() == 0
        )
        for link in seen.page.locator("nav a").all():
            assert seen.page.locator(str(link.get_attribute("href"))).count() == 1


def test_the_page_shows_the_numbers_of_the_report(page: Path) -> None:
    truth, detections, _ = random_case(1, 40, 3, 12)
    report = report_of((truth, detections, ("cat", "dog", "cow")))
    with opened(page) as seen:
        rows = seen.page.locator(".types tbody tr")
        assert rows.count() == len(ERRORS) + 2
        for i, error in enumerate(ERRORS):
            cells = [cell.strip() for cell in rows.nth(i).locator("th, td").all_inner_texts()]
            numbers = report.types[error]
            expected = [numbers.in_use, f"{numbers.cost_in_use:.3f}", numbers.count, f"{numbers.cost:.3f}"]
            assert cells == [error.text, *map(str, expected)]
        links = seen.page.locator(".gallery a")
        assert links.count() == len(report.worst) == 24
        assert links.first.get_attribute("href") == "explained/01.html"


def test_every_outcome_that_is_drawn_has_a_colour_of_its_own() -> None:
    assert set(COLOURS) == {Outcome.RIGHT, *ERRORS}
    assert len(set(COLOURS.values())) == len(COLOURS)
