"""Test data sets whose numbers have a meaning other than that of their format."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookonce.annotations import load_samples
from lookonce.annotations.misread import CENTERED, CORNERS, MEANINGS, SIZED, WRITTEN, other_meaning

NAMES = ("cat", "dog")
SIZE = (400, 300)
# left, top, right, bottom of six boxes on three images of 400x300
BOXES = {"a": [(20, 30, 90, 80), (250, 150, 390, 270)], "b": [(10, 200, 70, 290), (150, 100, 230, 190)],
         "c": [(300, 20, 380, 60), (100, 120, 250, 280)]}  # fmt: skip


def numbers(box: tuple[int, int, int, int], meaning: str) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    return {
        CORNERS: (left, top, right, bottom),
        SIZED: (left, top, right - left, bottom - top),
        CENTERED: ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top),
    }[meaning]


def write(folder: Path, form: str, meaning: str, scale: float = 1) -> Path:
    """Write the boxes in a format, with numbers in another meaning, and perhaps in percent."""
    width, height = SIZE
    per = np.array([width, height] * 2) / scale if scale != 1 else np.ones(4)
    given = {stem: [numbers(box, meaning) / per for box in found] for stem, found in BOXES.items()}
    for stem in BOXES:
        Image.new("RGB", SIZE).save(folder / f"{stem}.png")
    if form == "yolo":
        (folder / "classes.txt").write_text("cat\ndog\n")
        for stem, found in given.items():
            rows = (" ".join(["0", *map(str, box / np.array([width, height] * 2))]) for box in found)
            (folder / f"{stem}.txt").write_text("\n".join(rows))
    elif form == "coco":
        found_of = [(i, box.tolist()) for i, found in enumerate(given.values()) for box in found]
        tree = {
            "images": [{"id": i, "file_name": f"{stem}.png"} for i, stem in enumerate(given)],
            "annotations": [{"id": k, "image_id": i, "category_id": 1, "bbox": box}
                            for k, (i, box) in enumerate(found_of)],
            "categories": [{"id": 1, "name": "cat"}],
        }  # fmt: skip
        (folder / "r.json").write_text(json.dumps(tree))
    elif form == "voc":
        for stem, found in given.items():
            objects = "".join(
                "<object><name>cat</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax>"
                "</bndbox></object>".format(*box)
                for box in found
            )
            (folder / f"{stem}.xml").write_text(f"<annotation>{objects}</annotation>")
    else:
        rows = [f"{stem}.png,{','.join(map(str, box))},cat" for stem, found in given.items() for box in found]
        (folder / "t.csv").write_text("\n".join(rows))
    return folder


@pytest.mark.parametrize("meaning", MEANINGS)
@pytest.mark.parametrize("form", ["yolo", "coco", "voc", "retinanet"])
def test_boxes_of_another_meaning_are_skipped(tmp_path: Path, form: str, meaning: str) -> None:
    found = load_samples(write(tmp_path, form, meaning), names=NAMES)
    skipped = [p for p in found.problems if p.outcome == "skipped" and p.kind == "meaning"]
    if meaning == WRITTEN[form]:
        assert [len(sample.boxes) for sample in found.samples] == [2, 2, 2]
        assert not skipped
        return
    assert not found.samples
    assert len(skipped) == 6
    assert f"expected {WRITTEN[form]}" in skipped[0].what
    assert f"fit as {meaning}" in skipped[0].what


@pytest.mark.parametrize("form", ["coco", "voc", "retinanet"])
def test_percentages_are_not_read_as_pixels(tmp_path: Path, form: str) -> None:
    found = load_samples(write(tmp_path, form, WRITTEN[form], scale=100))
    assert not found.samples
    assert [p.kind for p in found.problems if p.outcome == "skipped"].count("fractions") == 6
    assert "percent" in next(p.what for p in found.problems if p.kind == "fractions")


def test_small_objects_at_one_place_are_pixels(tmp_path: Path) -> None:
    """An example is the clock in the corner of a camera's images."""
    write(tmp_path, "voc", CORNERS)
    for file in tmp_path.glob("*.xml"):
        sides = "<xmin>10.5</xmin><ymin>8.2</ymin><xmax>90.1</xmax><ymax>30.7</ymax>"
        text = f"<object><name>cat</name><bndbox>{sides}</bndbox></object>"
        file.write_text(f"<annotation>{text * 2}</annotation>")
    assert [len(sample.boxes) for sample in load_samples(tmp_path).samples] == [2, 2, 2]


def test_a_few_boxes_over_the_border_do_not_change_the_meaning() -> None:
    rng = np.random.default_rng(0)
    centers, half = rng.uniform(0, 1, (200, 2)) * SIZE, rng.uniform(2, 40, (200, 2))
    corners = np.hstack([centers - half, centers + half])
    sizes = np.broadcast_to(np.array(SIZE, float), (200, 2))
    assert [other_meaning(form, corners, sizes) for form in WRITTEN] == [""] * len(WRITTEN)
