import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lookonce.annotations.collect import Collector
from lookonce.annotations.records import Box, Parsed, Record, Row, hull
from lookonce.errors import AnnotationError
from lookonce.images import read_image
from lookonce.samples import SampleSet

from .conftest import ImageMaker

SOUND = Row("f:1: box 1", (10, 10, 30, 40), 0)
NAN = math.nan


def gather(*records: Record, strict: bool = False, form: str = "lines") -> SampleSet:
    images = [Path(record.image) for record in records]
    return Collector(Parsed(form, records, Path(), Path()), ("cat", "dog"), strict).collect(images)


def collect(image: Path, *rows: Row, strict: bool = False, **options: Any) -> SampleSet:
    return gather(Record("f:1", image, rows, **options), strict=strict)


def test_no_records_give_no_samples() -> None:
    found = gather()
    assert (found.samples, found.problems, found.names) == ([], [], ("cat", "dog"))


def test_a_valid_image_has_no_problems(image: ImageMaker) -> None:
    found = collect(image("a.png"), SOUND, Row("", (0, 0, 80, 60), 1, True, True), image_id=7)
    (sample,) = found.samples
    assert sample.boxes.tolist() == [[10, 10, 30, 40], [0, 0, 80, 60]]
    assert sample.boxes.dtype == "float32"
    assert sample.labels.tolist() == [0, 1]
    assert sample.difficult.tolist() == sample.crowd.tolist() == [False, True]
    assert (sample.size, sample.image_id) == ((60, 80), 7)
    assert found.problems == []


def test_a_background_image_is_kept_and_noted(image: ImageMaker) -> None:
    found = collect(image("a.png"), strict=True)
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
        ((80, 10, 90, 40), "[80, 10, 90, 40] lies outside the 60x80 image"),
        ((-20, 10, -5, 40), "lies outside"),
        ((10, 60, 20, 1e30), "lies outside"),
    ],
)
def test_an_unusable_box_is_skipped_and_named(image: ImageMaker, box: Box, what: str) -> None:
    path, row = image("a.png"), Row("f:1: box 2", box, 1)
    found = collect(path, SOUND, row)
    assert found.samples[0].boxes.tolist() == [[10, 10, 30, 40]]
    assert found.samples[0].labels.tolist() == [0]
    (problem,) = found.problems
    assert (problem.place, problem.outcome) == ("f:1: box 2", "skipped")
    assert what in problem.what
    with pytest.raises(AnnotationError, match="f:1: box 2"):
        collect(path, SOUND, row, strict=True)


@pytest.mark.parametrize("label", [-1, 2, 1000])
def test_a_class_out_of_range_is_skipped_and_named(image: ImageMaker, label: int) -> None:
    found = collect(image("a.png"), SOUND, Row("f:1: box 2", (1, 2, 3, 4), label))
    assert len(found.samples[0].boxes) == 1
    assert [str(p) for p in found.problems] == [
        f"f:1: box 2: expected a class number from 0 to 1, found {label}"
    ]


def test_a_box_across_the_border_is_clipped(image: ImageMaker) -> None:
    row = Row("f:1: box 1", (-5, -6, 100, 70), 0)
    found = collect(image("a.png"), row)
    assert found.samples[0].boxes.tolist() == [[0, 0, 80, 60]]
    assert [(p.outcome, p.what) for p in found.problems] == [
        ("repaired", "[-5, -6, 100, 70] reaches over the 60x80 image: cut to [0, 0, 80, 60]")
    ]
    with pytest.raises(AnnotationError, match="reaches over"):
        collect(image("b.png"), row, strict=True)


def test_one_pixel_over_the_border_is_reported(image: ImageMaker) -> None:
    found = collect(image("a.png"), Row("f:1: box 1", (10, 10, 81, 40), 0))
    assert [p.outcome for p in found.problems] == ["repaired"]


def test_a_rounding_error_at_the_border_is_clipped_silently(image: ImageMaker) -> None:
    found = collect(image("a.png"), Row("", (-0.3, 0, 80.4, 60), 0), strict=True)
    assert found.samples[0].boxes.tolist() == [[0, 0, 80, 60]]
    assert found.problems == []


def test_an_image_with_only_unusable_boxes_is_skipped(image: ImageMaker) -> None:
    rows = Row("f:1: box 1", (5, 5, 5, 5), 0), Row("f:1: box 2", fault="expected numbers")
    found = collect(image("a.png"), *rows)
    assert found.samples == []
    assert [p.place for p in found.problems] == ["f:1: box 2", "f:1: box 1", "f:1"]
    assert "none of its 2 boxes is usable" in found.problems[-1].what


def test_a_missing_image_is_skipped_and_named(tmp_path: Path) -> None:
    found = collect(tmp_path / "no.png", SOUND)
    assert found.samples == []
    (problem,) = found.problems
    assert problem.place == "f:1"
    assert "no.png: cannot be read: No such file or directory" in problem.what


def test_an_html_page_in_place_of_an_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("<html>404</html>")
    assert "HTML page" in collect(tmp_path / "a.png", SOUND).problems[0].what


def test_an_image_listed_twice_is_used_once(image: ImageMaker) -> None:
    path = image("a.png")
    found = gather(Record("f:1", path, [SOUND]), Record("f:9", path, [SOUND]))
    assert len(found.samples) == 1
    assert [str(p) for p in found.problems] == ["f:9: a.png is listed again; the entry at f:1 is used"]


def test_boxes_of_an_image_listed_twice_are_merged(image: ImageMaker) -> None:
    path, more = image("a.png"), Row("f:9: box 1", (1, 2, 30, 40), 1)
    records = Record("f:1", path), Record("f:7", path, [SOUND]), Record("f:9", path, [SOUND, more])
    found = gather(*records)
    assert found.samples[0].boxes.tolist() == [[10, 10, 30, 40], [1, 2, 30, 40]]
    assert [(p.kind, p.place, p.what[-18:]) for p in found.problems] == [
        ("listed-twice", "f:7", "2 like this in all")
    ]


def test_an_image_of_another_size_than_declared_is_skipped(image: ImageMaker) -> None:
    for declared, what in (
        ((600, 800), "declares 600x800, the image has 60x80: the image is skipped"),
        ((80, 60), "declares 80x60, the image has 60x80 (height and width swapped): the image is skipped"),
    ):
        found = collect(image("a.png"), SOUND, declared=declared)
        assert found.samples == []
        assert [(p.outcome, p.kind, p.what) for p in found.problems] == [("skipped", "wrong-size", what)]


def test_a_declared_size_of_zero_is_corrected(image: ImageMaker) -> None:
    found = collect(image("a.png"), SOUND, declared=(0, 0))
    assert found.samples[0].size == (60, 80)
    assert [(p.outcome, p.what) for p in found.problems] == [
        ("repaired", "declares 0x0, the image has 60x80")
    ]
    assert collect(image("b.png"), SOUND, declared=(60, 80)).problems == []


def turned_image(folder: Path, orientation: int, width: int = 80, height: int = 60) -> Path:
    """Make an image with a dark mark at [10, 5, 30, 20] of its stored pixels."""
    pixels = np.full((height, width, 3), 255, np.uint8)
    pixels[5:20, 10:30] = 0
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = folder / f"{orientation}-{width}.jpg"
    Image.fromarray(pixels).save(path, exif=exif, quality=95)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_drawn_on_stored_pixels_rotate_with_the_image(tmp_path: Path, orientation: int) -> None:
    """The box is where OpenCV shows the mark; an image rotated by 90 degrees decides for the others."""
    mark = Row("f:1: box 1", (10, 5, 30, 20))
    path, proof = turned_image(tmp_path, orientation), turned_image(tmp_path, 6, 90)
    found = gather(
        Record("f:1", path, [mark], declared=(60, 80)), Record("f:2", proof, [mark], declared=(60, 90))
    )
    left, top, right, bottom = found.samples[0].boxes[0].astype(int).tolist()
    shown = read_image(path)
    assert shown.shape[:2] == found.samples[0].size
    assert shown[top + 2 : bottom - 2, left + 2 : right - 2].max() < 60
    assert (shown < 128).all(axis=2).sum() == (right - left) * (bottom - top)
    assert [p.kind for p in found.problems] == ["exif-boxes"]
    assert f"{1 + (orientation > 1)} like this in all" in found.problems[0].what


def test_boxes_of_a_half_turn_are_kept_if_others_were_drawn_upright(tmp_path: Path) -> None:
    mark = Row("f:1: box 1", (10, 5, 30, 20))
    path, upright, raw = (turned_image(tmp_path, *kind) for kind in ((3, 80), (6, 90), (6, 100)))
    sizes = {path: (60, 80), upright: (90, 60), raw: (60, 100)}
    records = [Record(f"f:{image.name}", image, [mark], declared=size) for image, size in sizes.items()]
    found = gather(*records)
    assert [sample.boxes[0].tolist() for sample in found.samples] == [
        [10, 5, 30, 20],
        [10, 5, 30, 20],
        [40, 10, 55, 30],
    ]


def test_an_ambiguous_half_turn_is_noted(tmp_path: Path) -> None:
    mark = Row("f:1: box 1", (10, 5, 30, 20))
    records = [Record(f"f:{o}", turned_image(tmp_path, o), [mark], declared=(60, 80)) for o in (2, 3, 4)]
    found = gather(*records)
    assert [sample.boxes[0].tolist() for sample in found.samples] == [[10, 5, 30, 20]] * 3
    assert [(p.kind, p.outcome) for p in found.problems] == [("exif-unknown", "noted")]
    assert "3 like this in all" in found.problems[0].what


def test_fractions_of_stored_pixels_rotate_with_the_image(tmp_path: Path) -> None:
    """Label Studio's boxes are such fractions if it declares the size of the stored pixels."""
    path = turned_image(tmp_path, 6)
    row = Row("f:1: box 1", (20 / 80, 12.5 / 60, 20 / 80, 15 / 60))
    found = gather(Record("f:1", path, [row], declared=(60, 80), relative=True), form="labelstudio")
    assert found.samples[0].boxes.tolist() == [[40, 10, 55, 30]]


def test_a_rotated_image_of_another_size_is_skipped(tmp_path: Path) -> None:
    found = collect(turned_image(tmp_path, 6), SOUND, declared=(600, 800))
    assert (found.samples, found.problems[0].kind) == ([], "wrong-size")


def test_rotated_images_without_a_declared_size_are_counted(tmp_path: Path) -> None:
    paths = [turned_image(tmp_path, orientation) for orientation in (1, 3, 6)]
    records = [
        Record(f"f:{i}", path, [Row("", (0.5, 0.5, 0.2, 0.2))], relative=True) for i, path in enumerate(paths)
    ]
    found = gather(*records, form="yolo")
    assert [(p.kind, p.outcome) for p in found.problems] == [("exif-unknown", "noted")]
    assert "2 like this in all" in found.problems[0].what


@pytest.mark.parametrize(
    "box", [(0.1, 0.2, 0.3, 0.4), (0.2, 0.3, 0.1, 0.1), (0, 0, 1, 0.5), (0.1, 0.1, 1.02, 1)]
)
def test_fractions_are_not_read_as_pixels(image: ImageMaker, box: Box) -> None:
    found = collect(image("a.png"), SOUND, Row("f:1: box 2", box))
    assert len(found.samples[0].boxes) == 1
    assert [(p.kind, p.place) for p in found.problems] == [("fractions", "f:1: box 2")]
    assert "are these fractions of the image's sides?" in found.problems[0].what


def test_a_unit_box_is_a_fraction_unless_the_set_has_pixels(image: ImageMaker) -> None:
    whole = Row("f:1: box 1", (0, 0, 1, 1))
    assert collect(image("a.png"), whole).samples == []
    assert len(collect(image("a.png"), whole, SOUND).samples[0].boxes) == 2


def test_polygons_are_noted_once_with_their_count(image: ImageMaker) -> None:
    row = Row("f:1: box 1", (10, 10, 30, 40), polygon=True)
    found = gather(*(Record(f"f:{i}", image(f"{i}.png"), [row]) for i in range(3)))
    assert [(p.kind, p.outcome, p.what[-18:]) for p in found.problems] == [
        ("polygon", "noted", "3 like this in all")
    ]


@pytest.mark.parametrize("place", range(6))
def test_a_polygon_with_a_nan_is_skipped(image: ImageMaker, place: int) -> None:
    numbers = [10.0, 10, 30, 40, 20, 35]
    assert hull(list(zip(numbers[::2], numbers[1::2], strict=True))) == (10, 10, 30, 40)
    numbers[place] = math.nan
    row = Row("f:1: box 1", hull(list(zip(numbers[::2], numbers[1::2], strict=True))), polygon=True)

    found = gather(Record("f:1", image("a.png"), [row]), Record("f:2", image("b.png"), [SOUND]))

    assert [sample.path.name for sample in found.samples] == ["b.png"]
    assert "is not made of numbers" in found.problems[0].what


def test_relative_boxes_are_scaled_to_pixels(image: ImageMaker) -> None:
    found = collect(image("a.png"), Row("", (0.5, 0.5, 0.25, 0.5), 0), relative=True)
    assert found.samples[0].boxes.tolist() == [[30, 15, 50, 45]]
