"""The page of a model whose classes have different score thresholds, in a real browser."""

from pathlib import Path

from lookonce.explain import Explainer
from lookonce.explain.page import write_page
from tests.browser import opened
from tests.explain.page_reader import slide


def test_the_page_first_shows_the_thresholds_by_class(data: Path, tmp_path: Path) -> None:
    conf = {"dog": 0.98, "bicycle": 0.0201234567}
    explainer = Explainer.open(data / "darknet" / "MobileNetV2-YOLOv3-Nano-coco.cfg", conf=conf)
    found = explainer(data / "photos" / "dog.jpg")
    write_page(found, tmp_path / "page.html")
    with opened(tmp_path / "page.html") as window:
        own = window.page.get_by_role("button", name="one threshold per class, as in the summary")
        kept = "all => all.filter(e => e.textContent.startsWith('detection')).length"
        rows = window.page.locator("#candidates tbody td")

        maps = window.page.locator("button.map small").all_inner_texts()
        assert {text.rpartition(" above ")[2] for text in maps} == {"0.02"}
        assert window.page.locator("#score_threshold + input").input_value() == "0.02"
        assert own.get_attribute("aria-pressed") == "true"
        assert rows.evaluate_all(kept) == len(found.detections) > 1
        (listed,) = slide(window, [(0.25, 0.45)])
        assert own.get_attribute("aria-pressed") == "false"
        assert len([row for row in listed if row[2].startswith("detection")]) != len(found.detections)
        own.click()
        assert rows.evaluate_all(kept) == len(found.detections)
        assert "score thresholds by class (person 0.25" in window.page.locator("p.summary").inner_text()
        assert (window.errors, window.requests) == ([], [])
