import math
from pathlib import Path

import pytest

from lookonce.annotations.collect import Box, Collector, Row
from lookonce.errors import AnnotationError

from .conftest import ImageMaker

SOUND = Row("f:1: box 1", (10, 10, 30, 40), 0)
NAN = math.nan


def collect(image: Path, *rows: Row, strict: bool = False, **options: object) -> Collector:
    collector = Collector(("cat", "dog"), strict)
    collector.add(image, rows, "f:1", **options)  # type: ignore[arg-type]
    return collector


def test_no_images() -> None:
    found = Collector(("cat",), False).result("lines", "nothing")
    assert (found.samples, found.problems, found.names) == ([], [], ("cat",))


def test_a_sound_image(image: ImageMaker) -> None:
    found = collect(image("a.png"), SOUND, Row("", (0, 0, 80, 60), 1, True, True), image_id=7)
    (sample,) = found.result("lines", "").samples
    assert sample.boxes.tolist() == [[10, 10, 30, 40], [0, 0, 80, 60]]
    assert sample.boxes.dtype == "float32"
    assert sample.labels.tolist() == [0, 1]
    assert sample.difficult.tolist() == sample.crowd.tolist() == [False, True]
    assert (sample.size, sample.image_id) == ((60, 80), 7)
    assert found.result("lines", "").problems == []


def test_a_background_image_is_kept_and_noted(image: ImageMaker) -> None:
    found = collect(image("a.png"), strict=True).result("lines", "")
    assert found.samples[0].boxes.shape == (0, 4)
    assert [(p.outcome, p.place) for p in found.problems] == [("noted", "f:1")]


@pytest.mark.parametrize(
    ("box", "what"),
    [
        ((30, 10, 30, 40), "[30, 10, 30, 40] has no area"),
        ((10, 40, 30, 40), "[10, 40, 30, 40] has no area"),
        ((30, 10, 10, 40), "inverted"),
        ((10, 40, 30, 10), "inverted"),
        ((NAN, 10, 30, 40), "not made of numbers"),
        ((10, 10, math.inf, 40), "not made of numbers"),
        ((80, 10, 90, 40), "[80, 10, 90, 40] lies outside the 80x60 image"),
        ((-20, 10, -5, 40), "lies outside"),
        ((10, 60, 20, 1e30), "lies outside"),
    ],
)
def test_an_unusable_box_is_set_aside(image: ImageMaker, box: Box, what: str) -> None:
    path, row = image("a.png"), Row("f:1: box 2", box, 1)
    found = collect(path, SOUND, row).result("lines", "")
    assert found.samples[0].boxes.tolist() == [[10, 10, 30, 40]]
    assert found.samples[0].labels.tolist() == [0]
    (problem,) = found.problems
    assert (problem.place, problem.outcome) == ("f:1: box 2", "skipped")
    assert what in problem.what
    with pytest.raises(AnnotationError, match="f:1: box 2"):
        collect(path, SOUND, row, strict=True)


@pytest.mark.parametrize("label", [-1, 2, 1000])
def test_a_class_out_of_range(image: ImageMaker, label: int) -> None:
    found = collect(image("a.png"), SOUND, Row("f:1: box 2", (1, 2, 3, 4), label)).result("lines", "")
    assert len(found.samples[0].boxes) == 1
    assert [str(p) for p in found.problems] == [
        f"f:1: box 2: expected a class number from 0 to 1, found {label}"
    ]


def test_a_box_over_the_border_is_cut(image: ImageMaker) -> None:
    row = Row("f:1: box 1", (-5, -6, 100, 70), 0)
    found = collect(image("a.png"), row).result("lines", "")
    assert found.samples[0].boxes.tolist() == [[0, 0, 80, 60]]
    assert [(p.outcome, p.what) for p in found.problems] == [
        ("repaired", "[-5, -6, 100, 70] reaches over the 80x60 image: cut to [0, 0, 80, 60]")
    ]
    with pytest.raises(AnnotationError, match="reaches over"):
        collect(image("b.png"), row, strict=True)


def test_a_pixel_over_the_border_is_no_rounding(image: ImageMaker) -> None:
    found = collect(image("a.png"), Row("f:1: box 1", (10, 10, 81, 40), 0)).result("lines", "")
    assert [p.outcome for p in found.problems] == ["repaired"]


def test_a_rounding_over_the_border_is_cut_without_a_word(image: ImageMaker) -> None:
    found = collect(image("a.png"), Row("", (-0.3, 0, 80.4, 60), 0), strict=True).result("lines", "")
    assert found.samples[0].boxes.tolist() == [[0, 0, 80, 60]]
    assert found.problems == []


def test_a_image_none_of_whose_boxes_is_usable_is_no_background(image: ImageMaker) -> None:
    rows = Row("f:1: box 1", (5, 5, 5, 5), 0), Row("f:1: box 2", fault="expected numbers")
    found = collect(image("a.png"), *rows).result("lines", "")
    assert found.samples == []
    assert [p.place for p in found.problems] == ["f:1: box 2", "f:1: box 1", "f:1"]
    assert "none of its 2 boxes is usable" in found.problems[-1].what


def test_a_missing_image(tmp_path: Path) -> None:
    found = collect(tmp_path / "no.png", SOUND).result("lines", "")
    assert found.samples == []
    (problem,) = found.problems
    assert problem.place == "f:1"
    assert "no.png: expected an image, found no such file" in problem.what


def test_a_image_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("<html>404</html>")
    assert "HTML page" in collect(tmp_path / "a.png", SOUND).result("lines", "").problems[0].what


def test_a_image_listed_twice(image: ImageMaker) -> None:
    collector = collect(path := image("a.png"), SOUND)
    collector.add(path, [SOUND], "f:9")
    found = collector.result("lines", "")
    assert len(found.samples) == 1
    assert [str(p) for p in found.problems] == ["f:9: a.png is listed again; it counts as on f:1"]


@pytest.mark.parametrize(
    ("declared", "what"),
    [
        ((0, 0), "declares 0x0, the image has 80x60"),
        ((600, 800), "declares 800x600, the image has 80x60"),
        ((80, 60), "declares 60x80, the image has 80x60 (turned by EXIF, or height and width exchanged)"),
    ],
)
def test_a_wrong_size_gives_way_to_the_true_one(
    image: ImageMaker, declared: tuple[int, int], what: str
) -> None:
    found = collect(image("a.png"), SOUND, declared=declared).result("voc", "")
    assert found.samples[0].size == (60, 80)
    assert [(p.outcome, p.what) for p in found.problems] == [("repaired", what)]
    assert collect(image("b.png"), SOUND, declared=(60, 80)).result("voc", "").problems == []


def test_boxes_in_fractions(image: ImageMaker) -> None:
    found = collect(image("a.png"), Row("", (0.5, 0.5, 0.25, 0.5), 0), relative=True).result("yolo", "")
    assert found.samples[0].boxes.tolist() == [[30, 15, 50, 45]]
