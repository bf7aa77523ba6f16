"""The page of an annotated image; the names of its file and classes are HTML."""

from collections.abc import Iterator

import numpy as np
import pytest

from lookonce.config import LossSettings, Objective
from lookonce.explain import Explainer, Explanation
from lookonce.explain.page import write_page
from lookonce.explain.truth_records import Position
from lookonce.images import write_image
from lookonce.metadata import OBJECTIVE
from lookonce.samples import Sample
from tests.browser import PHONE, Opened, opened
from tests.explain.models import write_model
from tests.explain.page_reader import CONTRAST, as_rows, detections_at, slide

HOSTILE = "</script><script>document.title='taken'</script>"
NAMES = ("<img src=x onerror=\"document.title='taken'\">", HOSTILE, "{{ 7 * 7 }} & \"'`")
LEARNED_BY = LossSettings(objectness="iou", box="ciou", giou=1.5, ignore_iou=0.2)
FILE = "<b onclick=alert(1)>a&b'\".png"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Explanation:
    folder = tmp_path_factory.mktemp("hostile")
    noise = np.random.default_rng(3).integers(0, 256, (90, 170, 3), np.uint8)
    write_image(folder / FILE, noise)
    training = {OBJECTIVE: Objective(loss=LEARNED_BY).model_dump(mode="json")}
    explainer = Explainer.open(write_model(folder, names=NAMES, training=training), conf=0.5)
    boxes = np.array([[20, 20, 60, 70], [100, 10, 104, 14], [130, 50, 170, 90]], np.float32)
    truth = Sample(folder / FILE, boxes, np.array([0, 1, 2]), crowd=np.array([False, False, True]))
    explained = explainer(folder / FILE, truth, features=True)
    assert explained.truth is not None
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


def test_names_with_html_are_shown_as_text(seen: Opened) -> None:
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


def test_the_sliders_work_with_many_boxes(seen: Opened, found: Explanation) -> None:
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
        found = [
            each for each in expected.positives if each.position[0] == scale and each.position[3] == anchor
        ]
        assert cells[1] == "{}, {}".format(*expected.cells[scale])
        assert cells[2] == f"{iou:.3f}"
        assert cells[4] == (found[0].reason if found else "no")

    for i, positive in enumerate(expected.positives):
        page.locator("#positive").select_option(index=i)
        shown = _results(seen, "#object")
        assert positive.losses is not None
        assert shown["GIoU"] == pytest.approx(positive.giou, abs=1e-4)
        assert shown["box scale"] == pytest.approx(positive.box_scale, abs=1e-4)
        assert shown["box loss"] == pytest.approx(positive.losses.giou, abs=2e-4)
        targets = page.locator("#object table").nth(1).locator("tbody tr")
        for row, expected_target in ((2, positive.target_raw[2]), (4, positive.iou)):
            shown_target = targets.nth(row).locator("td").first.inner_text().replace("−", "-")
            assert float(shown_target) == pytest.approx(expected_target, abs=6e-4)


def _results(seen: Opened, inside: str) -> dict[str, float]:
    steps = seen.page.locator(f"{inside} [data-result]")
    texts = steps.evaluate_all("all => all.map(each => [each.dataset.result, each.textContent])")
    return {name: float(text.replace("−", "-").removeprefix("  = ")) for name, text in texts}


def test_the_page_says_which_settings_it_uses(seen: Opened) -> None:
    section = seen.page.locator("#assignment")
    said = section.inner_text()
    assert "The model file records the settings it was trained with" in said
    assert "is the IoU of its predicted box with the object" in said
    assert (
        "Other differences from the classic recipe: loss.ignore_iou=0.2, loss.box=ciou, loss.giou=1.5."
        in said
    )
    section.locator("summary").click()
    rows = section.locator("details tr.chosen").all_inner_texts()
    assert [row.split() for row in rows] == [
        ["loss.ignore_iou", "0.2", "0.5", "0.5"],
        ["loss.box", "ciou", "giou", "giou"],
        ["loss.objectness", "iou", "one", "iou"],
        ["loss.giou", "1.5", "1.0", "1.0"],
    ]
    section.locator("summary").click()


def positions_of_each_role(found: Explanation) -> list[Position]:
    """Return some positive, some ignored and some other positions on every scale."""
    assert found.truth is not None
    positions: list[Position] = []
    for number, scale in enumerate(found.truth.scales):
        for role in (scale.positive, scale.ignored, ~scale.positive & ~scale.ignored):
            for row, column, anchor in np.argwhere(role)[:3].tolist():
                positions.append((number, row, column, anchor))
    return positions


def go_to_loss(seen: Opened, position: Position) -> None:
    controls = seen.page.locator("#loss-controls")
    controls.locator("select").nth(1).select_option(index=3 * position[0] + position[3])
    for number, value in enumerate(position[1:3]):
        field = controls.locator("input").nth(number)
        field.fill(str(value))
        field.dispatch_event("change")


def test_every_cell_shows_its_loss(seen: Opened, found: Explanation) -> None:
    assert found.truth is not None
    owners = {
        positive.position: positive
        for each in found.truth.objects
        for positive in each.positives
        if positive.losses
    }
    positions = positions_of_each_role(found)
    assert len(positions) > 10
    for position in positions:
        go_to_loss(seen, position)
        shown, scale, at = _results(seen, "#loss-cell"), found.truth.scales[position[0]], position[1:]
        assert scale.focal is not None
        assert scale.cross_entropy is not None
        assert scale.conf is not None
        role = "positive" if scale.positive[at] else "ignored" if scale.ignored[at] else "background"
        assert seen.page.locator("#loss-cell .tag").inner_text() == role
        for name, values in (
            ("best IoU", scale.best_iou),
            ("target o", scale.target),
            ("focal factor", scale.focal),
            ("cross-entropy", scale.cross_entropy),
            ("conf", scale.conf),
        ):
            assert shown[name] == pytest.approx(float(values[at]), rel=6e-4, abs=1e-12), (position, name)
        # the product of the factors shown is the number shown, or 0 if the cell is ignored
        product = 0 if role == "ignored" else shown["focal factor"] * shown["cross-entropy"]
        assert shown["conf"] == pytest.approx(product, rel=2e-3)
        if position not in owners:
            assert "prob" not in shown
            continue
        losses, terms = owners[position].losses, owners[position].class_terms
        assert losses is not None
        assert terms is not None
        assert shown["box loss"] == pytest.approx(losses.giou, abs=1e-4)
        assert shown["prob"] == pytest.approx(losses.prob, rel=6e-4)
        assert shown["loss of this position"] == pytest.approx(losses.total, rel=6e-4)
        rows = seen.page.locator("#loss-cell .terms tbody tr").all()
        listed = [float(row.locator("td").last.inner_text()) for row in rows]
        assert listed == pytest.approx(sorted(terms.tolist(), reverse=True), rel=6e-4)
        assert sum(listed) == pytest.approx(losses.prob, rel=2e-3)


def test_the_sums_add_up(seen: Opened) -> None:
    for table in ("#loss-scales", "#loss-objects"):
        rows = [
            [float(cell) for cell in row.locator("td").all_inner_texts()]
            for row in seen.page.locator(f"{table} tbody tr").all()
        ]
        for column in range(4):
            total = sum(row[column] for row in rows[:-1])
            assert total == pytest.approx(rows[-1][column], abs=1e-4 * len(rows))
        for giou, conf, prob, together in rows:
            assert giou + conf + prob == pytest.approx(together, abs=2e-4)


def test_shapes_are_listed(seen: Opened, found: Explanation) -> None:
    assert found.truth is not None
    seen.page.locator("#losses summary").last.click()
    shown = seen.page.locator("#shapes tbody tr").evaluate_all(
        "all => all.map(row => row.cells[2].textContent)"
    )
    assert shown == [str(each.shape) for each in found.truth.shapes]
    seen.page.locator("#losses summary").last.click()


def test_a_crowd_is_not_trained_on(seen: Opened) -> None:
    seen.page.locator("#objects button").nth(2).click()
    assert "not used in training" in seen.page.locator("#object").inner_text()


def test_the_loss_map_counts_positive_and_ignored_cells(seen: Opened, found: Explanation) -> None:
    assert found.truth is not None
    for number, scale in enumerate(found.truth.scales):
        assert scale.conf is not None
        for anchor in range(3):
            go_to_loss(seen, (number, 0, 0, anchor))
            said = seen.page.locator("#loss-map + p").inner_text()
            positive, ignored = scale.positive[..., anchor].sum(), scale.ignored[..., anchor].sum()
            assert said.startswith(
                f"Positive: {positive}, ignored: {ignored}, of {scale.positive[..., 0].size} "
            )
            conf = float(said.partition("conf of this map: ")[2].split()[0].rstrip("."))
            assert conf == pytest.approx(scale.conf[..., anchor].sum(), rel=1e-3)


def test_keys_and_clicks_choose_the_cell_whose_loss_is_shown(seen: Opened) -> None:
    go_to_loss(seen, (0, 2, 3, 1))
    grid = seen.page.locator("#loss-map > svg")
    grid.focus()
    seen.page.keyboard.press("ArrowDown")
    seen.page.keyboard.press("ArrowRight")
    heading = seen.page.locator("#loss-cell h3")
    assert heading.inner_text().startswith("Stride 16, row 3, column 4, anchor")
    frame = grid.bounding_box()
    assert frame is not None
    grid.click(position={"x": frame["width"] * 1.5 / 8, "y": frame["height"] * 4.5 / 6})
    assert heading.inner_text().startswith("Stride 16, row 4, column 1, anchor")
    seen.page.locator("#loss-cell button", has_text="Decode this cell").click()
    assert "row 4, column 1" in seen.page.locator("#formulas h3").inner_text()


def test_a_verdict_links_to_its_object(seen: Opened) -> None:
    seen.page.locator("#verdicts [data-object='1']").click()
    assert seen.page.evaluate("document.activeElement.id") == "assignment-title"
    assert seen.page.locator("#object h3").first.inner_text() == f"Object 1: {HOSTILE}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(seen: Opened, scheme: str) -> None:
    seen.page.emulate_media(color_scheme=scheme)
    assert seen.page.evaluate(CONTRAST) == []


def test_the_page_fits_a_phone(seen: Opened) -> None:
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
