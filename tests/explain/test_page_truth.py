"""The page of an annotated image, whose file and classes have names that a browser might obey."""

from collections.abc import Iterator

import numpy as np
import pytest

from lookonce.config import LossSettings, Objective
from lookonce.explain import Explainer, Explanation
from lookonce.explain.page import write_page
from lookonce.images import write_image
from lookonce.metadata import OBJECTIVE
from lookonce.samples import Sample
from tests.browser import PHONE, Opened, opened
from tests.explain.models import write_model
from tests.explain.page_reader import CONTRAST, as_rows, detections_at, slide

HOSTILE = "</script><script>document.title='taken'</script>"
NAMES = ("<img src=x onerror=\"document.title='taken'\">", HOSTILE, "{{ 7 * 7 }} & \"'`")
LEARNT_BY = LossSettings(objectness="iou", box="ciou", giou=1.5)
FILE = "<b onclick=alert(1)>a&b'\".png"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Explanation:
    folder = tmp_path_factory.mktemp("hostile")
    noise = np.random.default_rng(3).integers(0, 256, (90, 170, 3), np.uint8)
    write_image(folder / FILE, noise)
    training = {OBJECTIVE: Objective(loss=LEARNT_BY).model_dump(mode="json")}
    explainer = Explainer.open(write_model(folder, names=NAMES, training=training), confidence=0.5)
    boxes = np.array([[20, 20, 60, 70], [100, 10, 104, 14], [0, 0, 170, 90]], np.float32)
    truth = Sample(folder / FILE, boxes, np.array([0, 1, 2]), crowd=np.array([False, False, True]))
    explained = explainer(folder / FILE, truth, features=True)
    assert explained.truth is not None
    explained.truth.scales[0].ignored[0, 1, :2] = True  # which noise does not bring about
    return explained


@pytest.fixture(scope="module")
def seen(found: Explanation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    file = tmp_path_factory.mktemp("page") / "report.html"
    write_page(found, file)
    with opened(file) as window:
        yield window


@pytest.fixture(autouse=True)
def nothing_wrong(seen: Opened) -> Iterator[None]:
    yield
    assert (seen.errors, seen.requests) == ([], [])


def test_names_that_hold_html_are_text(seen: Opened) -> None:
    page = seen.page
    assert page.title() == f"{FILE} through yolov3-tiny, explained"
    assert page.locator("h1").inner_text() == FILE
    assert page.locator("img").count() == 2
    assert page.locator("script").count() == 2
    assert page.locator("[onclick], [onerror]").count() == 0
    for row in slide(seen, [(0.3, 0.45)])[0]:
        assert row[0] in NAMES
    slide(seen, [(0.5, 0.45)])
    classes = page.locator("#formulas .classes tbody th").all_inner_texts()
    assert sorted(classes) == sorted(NAMES)


def test_the_sliders_where_there_are_many_boxes(seen: Opened, found: Explanation) -> None:
    positions = [(0.3, 0.45), (0.2, 0.1), (0.25, 0.8), (0.1, 0.3)]
    for (confidence, iou), rows in zip(positions, slide(seen, positions), strict=True):
        listed = [(name, score, box) for name, score, becomes, _, box in rows if becomes[0] == "d"]
        expected = as_rows(detections_at(found, confidence, iou))
        assert len(listed) >= 3
        assert listed == expected[: len(listed)]
    slide(seen, [(0.5, 0.45)])


@pytest.mark.parametrize("number", [0, 1])
def test_an_object_shows_its_assignment_and_its_loss(seen: Opened, found: Explanation, number: int) -> None:
    assert found.truth is not None
    page, expected = seen.page, found.truth.objects[number]
    page.locator("#objects button").nth(number).click()

    rows = page.locator("#object table").first.locator("tbody tr")
    for i, iou in enumerate(expected.anchor_ious):
        cells = rows.nth(i).locator("th, td").all_inner_texts()
        scale, anchor = divmod(i, 3)
        found = [each for each in expected.positives if each.place[0] == scale and each.place[3] == anchor]
        assert cells[1] == "{}, {}".format(*expected.cells[scale])
        assert cells[2] == f"{iou:.3f}"
        assert cells[4] == (found[0].reason if found else "no")

    for i, positive in enumerate(expected.positives):
        page.locator("#positive").select_option(index=i)
        shown = _results(seen)
        assert positive.losses is not None
        assert shown["GIoU"] == pytest.approx(positive.giou, abs=1e-4)
        assert shown["box loss"] == pytest.approx(positive.losses.giou, abs=2e-4)
        assert shown["with the other terms"] == pytest.approx(positive.losses.total, abs=2e-4)
        targets = page.locator("#object table").nth(1).locator("tbody tr")
        for row, expected_target in ((2, positive.target_raw[2]), (4, positive.iou)):
            shown_target = targets.nth(row).locator("td").first.inner_text().replace("−", "-")
            assert float(shown_target) == pytest.approx(expected_target, abs=6e-4)


def _results(seen: Opened) -> dict[str, float]:
    steps = seen.page.locator("#object [data-result]")
    texts = steps.evaluate_all("all => all.map(each => [each.dataset.result, each.textContent])")
    return {name: float(text.replace("−", "-").removeprefix("  = ")) for name, text in texts}


def test_it_says_what_the_model_learnt_by(seen: Opened) -> None:
    said = seen.page.locator("section", has_text="Label assignment").last.inner_text()
    assert "as this model learnt, by loss.box=ciou, loss.objectness=iou, loss.giou=1.5;" in said


def test_a_crowd_is_not_trained_on(seen: Opened) -> None:
    seen.page.locator("#objects button").nth(2).click()
    assert "Not trained on" in seen.page.locator("#object").inner_text()


def test_the_loss_map_counts_what_is_positive_and_ignored(seen: Opened, found: Explanation) -> None:
    assert found.truth is not None
    for number, scale in enumerate(found.truth.scales):
        seen.page.locator("#loss-controls select").select_option(index=number)
        said = seen.page.locator("#loss-controls p").inner_text()
        assert said.startswith(
            f"Positive: {scale.positive.sum()}, ignored: {scale.ignored.sum()}, of {scale.positive.size} "
        )


def test_a_verdict_leads_to_its_object(seen: Opened) -> None:
    seen.page.locator("#verdicts [data-object='1']").click()
    assert seen.page.evaluate("document.activeElement.id") == "assignment-title"
    assert seen.page.locator("#object h3").first.inner_text() == f"Object 1: {HOSTILE}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(seen: Opened, scheme: str) -> None:
    seen.page.emulate_media(color_scheme=scheme)
    assert seen.page.evaluate(CONTRAST) == []


def test_a_phone(seen: Opened) -> None:
    seen.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    assert seen.page.evaluate("document.documentElement.scrollWidth") == PHONE[0]


def test_an_object_is_shown_close_up_or_in_the_whole_image(seen: Opened, found: Explanation) -> None:
    assert found.truth is not None
    seen.page.locator("#objects button").nth(1).click()
    drawing = seen.page.locator("#assigned > svg")
    x, y, side, _ = (float(number) for number in (drawing.get_attribute("viewBox") or "").split())
    left, top, right, bottom = found.truth.objects[1].input_box
    assert x <= left < right <= x + side
    assert y <= top < bottom <= y + side

    seen.page.get_by_label("show the whole image").check()
    assert drawing.get_attribute("viewBox") == "0 0 128 96"
    seen.page.get_by_label("show the whole image").uncheck()
