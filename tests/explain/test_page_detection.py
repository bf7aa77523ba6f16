"""In a real browser, the page of a real network and a photograph computes the same as Python."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lookonce.explain import Explainer, Explanation
from lookonce.explain.heads import cell, grid_text
from lookonce.explain.nms import suppress
from lookonce.explain.page import LARGEST_GRID, write_page
from lookonce.explain.records import KEPT
from tests.browser import PHONE, Opened, opened
from tests.explain.page_reader import CONTRAST, as_rows, decoded, detections_at, go_to_cell, slide


@pytest.fixture(scope="module")
def found(nano: Explainer, data: Path) -> Explanation:
    return nano(data / "photos" / "dog.jpg", features=True)


@pytest.fixture(scope="module")
def seen(found: Explanation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    file = tmp_path_factory.mktemp("page") / "dog explained.html"
    write_page(found, file)
    with opened(file) as window:
        yield window


@pytest.fixture(autouse=True)
def nothing_wrong(seen: Opened) -> Iterator[None]:
    """Check after each test that there were no errors, and that no request left the page."""
    yield
    assert (seen.errors, seen.requests) == ([], [])


@pytest.mark.parametrize("position", [(0, 0, 0, 0), (0, 19, 7, 2), (1, 6, 3, 0), (1, 9, 9, 1), (1, 0, 4, 2)])
def test_a_cell_shows_the_same_numbers_as_python(
    seen: Opened, found: Explanation, position: tuple[int, int, int, int]
) -> None:
    go_to_cell(seen, position)

    shown, expected = decoded(seen), cell(found.scales, found.input.letterbox, position)

    for name, raw in zip(("tx", "ty", "tw", "th", "to"), expected.raw, strict=True):
        assert shown[name] == pytest.approx(raw, abs=5.1e-5)
    pixels = {"center x": expected.center[0], "center y": expected.center[1]}
    pixels |= {"width": expected.sides[0], "height": expected.sides[1]}
    for name, value in pixels.items():
        assert shown[name] == pytest.approx(value, abs=0.0051)
    best = float(expected.probabilities[expected.label])
    for name, value in {
        "objectness": expected.objectness,
        "best class": best,
        "score": expected.score,
    }.items():
        assert shown[name] == pytest.approx(value, abs=5.1e-5)
    assert shown["box"] == pytest.approx(expected.image_box, abs=0.051)


def test_the_page_decodes_the_same_as_the_network(seen: Opened, found: Explanation) -> None:
    at = found.nms.kept[0]
    scale, row, column, anchor = found.candidates.positions[at].tolist()
    go_to_cell(seen, (scale, row, column, anchor))
    assert decoded(seen)["box"] == pytest.approx(found.candidates.boxes[at], abs=0.051)
    assert decoded(seen)["score"] == pytest.approx(found.candidates.scores[at], abs=5.1e-5)


def test_a_click_and_the_arrow_keys_choose_a_cell(seen: Opened) -> None:
    page = seen.page
    go_to_cell(seen, (1, 0, 0, 0))
    grid = page.locator("#grid svg")
    frame = grid.bounding_box()
    assert frame is not None
    grid.click(position={"x": frame["width"] * 3.5 / 10, "y": frame["height"] * 6.5 / 10})
    heading = page.locator("#formulas h3")
    assert "row 6, column 3" in heading.inner_text()

    for key, cell_shown in (
        ("ArrowRight", "row 6, column 4"),
        ("ArrowUp", "row 5, column 4"),
        ("ArrowLeft", "row 5, column 3"),
        ("ArrowDown", "row 6, column 3"),
        ("Home", "row 6, column 3"),  # the dog's cell has the highest objectness of this map
    ):
        page.keyboard.press(key)
        assert cell_shown in heading.inner_text()
    page.locator("#decode-status", has_text="Row 6, column 3").wait_for(state="attached")


POSITIONS = [
    (c, t) for c in (0.01, 0.03, 0.1, 0.25, 0.407, 0.5, 0.95) for t in (0.0, 0.2, 0.45, 0.7, 0.9, 1.0)
]


def test_the_sliders_give_the_detections_of_the_detector(seen: Opened, found: Explanation) -> None:
    for (confidence, iou), rows in zip(POSITIONS, slide(seen, POSITIONS), strict=True):
        detections = [(name, score, box) for name, score, becomes, _, box in rows if becomes[0] == "d"]
        assert detections == as_rows(detections_at(found, confidence, iou)), (confidence, iou)


def test_a_suppressed_box_says_which_box_suppressed_it(seen: Opened, found: Explanation) -> None:
    (rows,) = slide(seen, [(0.1, 0.45)])
    expected = suppress(found.candidates, (0.1,) * len(found.info.names), 0.45)
    number = {int(at): i for i, at in enumerate(expected.kept)}
    above = np.flatnonzero(found.candidates.scores > np.float32(0.1))
    best_first = above[np.argsort(-found.candidates.scores[above], kind="stable")]
    for at, (_, _, becomes, iou, _) in zip(best_first, rows, strict=True):
        by = int(expected.suppressed_by[at])
        assert becomes == (
            f"detection {number[at]}" if by == KEPT else f"suppressed by detection {number[by]}"
        )
        assert iou == ("" if by == KEPT else f"{expected.iou[at]:.3f}")

    gone = next(i for i, row in enumerate(rows) if row[2].startswith("suppressed"))
    seen.page.locator("#candidates tbody button").nth(gone).click()
    said = seen.page.locator("#candidate").inner_text()
    assert f"= {expected.iou[best_first[gone]]:.4f} > 0.45" in said


def test_a_slider_moves_with_the_arrow_keys(seen: Opened, found: Explanation) -> None:
    slide(seen, [(0.25, 0.45)])
    seen.page.locator("#score_threshold").focus()
    for _ in range(3):
        seen.page.keyboard.press("ArrowRight")
    assert float(seen.page.locator("#score_threshold + input").input_value()) == pytest.approx(0.265)


def test_the_drawing_has_every_shape(seen: Opened, found: Explanation) -> None:
    labels = seen.page.locator(".drawing .block").evaluate_all(
        "all => all.map(e => e.getAttribute('aria-label'))"
    )
    shapes = {layer.index: "{1}×{2}×{0}".format(*layer.shape) for layer in found.layers}
    for last in (3, 10, 21, 47, 64, 67, 69, 70, 77, 79):
        assert any(label.endswith(shapes[last]) for label in labels), last
    assert len(labels) == 10


def test_the_page_works_by_keyboard_alone(seen: Opened) -> None:
    page = seen.page
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    page.locator(".skip").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Input"
    page.locator(".drawing .block").first.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the second block
    assert page.evaluate("document.activeElement.id") == "block"
    assert "layers 4–10" in page.locator("#block h3").inner_text()
    page.keyboard.press("Tab")  # the list
    page.keyboard.press("Tab")  # its first layer
    page.keyboard.press("Enter")
    page.wait_for_selector("#block details[open] .sum")
    assert "= 2,764,800" in page.locator("#block details[open]").first.inner_text()
    assert page.locator("#block details[open] .tiles svg").count() == 8
    page.locator(".map").nth(1).focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "decode-title"
    assert "anchor 37 × 49" in page.locator("#formulas h3").inner_text()


def test_every_control_has_a_name(seen: Opened) -> None:
    nameless = seen.page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, a, [tabindex], summary")]
        .filter((each) => !(each.getAttribute("aria-label") || each.textContent.trim() || each.labels?.length)
          && each.id !== "main").map((each) => each.outerHTML.slice(0, 80))"""
    )
    assert nameless == []
    assert seen.page.locator("table:not(:has(caption))").count() == 0
    assert seen.page.locator("thead th:not([scope]), tbody th:not([scope])").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(seen: Opened, scheme: str) -> None:
    seen.page.emulate_media(color_scheme=scheme)
    assert seen.page.evaluate(CONTRAST) == []


def test_the_grids_show_the_cell_numbers(seen: Opened, found: Explanation) -> None:
    seen.page.locator("#decode details summary", has_text="Row and column").click()
    grids = seen.page.locator("#decode .grid-numbers").all_inner_texts()
    expected = [
        "\n".join(grid_text(*scale.grid)) for scale in found.scales if max(scale.grid) <= LARGEST_GRID
    ]
    assert grids == expected != []
    assert "broadcast (B, 10, 10, 3, 2)" in seen.page.locator("#decode details").last.inner_text()
    seen.page.locator("#decode details summary", has_text="Row and column").click()


def test_the_layers_can_be_sorted(seen: Opened, found: Explanation) -> None:
    page = seen.page
    page.locator("#network details.table summary").click()
    page.get_by_role("button", name="parameters").click()
    most = max(found.layers, key=lambda layer: layer.parameters)
    assert page.locator("#layers tbody tr").first.locator("th").inner_text() == str(most.index)
    assert page.locator("#layers th[aria-sort=descending]").inner_text().startswith("parameters")


def test_the_page_fits_a_phone(seen: Opened) -> None:
    seen.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    seen.page.wait_for_timeout(100)
    assert seen.page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
    ends = seen.page.locator(".drawing text").evaluate_all(
        "all => all.map(e => e.getBoundingClientRect()).map(({ left, right }) => [left, right])"
    )
    assert min(left for left, _ in ends) >= 0
    assert max(right for _, right in ends) <= PHONE[0]
