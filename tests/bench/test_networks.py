"""The choice of a network by its time."""

import csv
from pathlib import Path

import numpy as np
import pytest

from lookonce.bench.networks import CHOICES, NetworkChoice, most_accurate, sizes_for
from lookonce.errors import AnnotationError
from lookonce.networks import BUILT_IN
from lookonce.samples import Sample

COARSE = NetworkChoice("yolov3-tiny", 1, 0.5, 0.1)
FINE = NetworkChoice("yolov3-tiny-3l", 0.5, 0.4, 0.2)
FAST = NetworkChoice("yolov3-tiny", 0.25, 0.3, 0.05)
TIMES = {COARSE: 9.0, FINE: 6.0, FAST: 2.0}


@pytest.mark.parametrize(
    ("limit", "small", "expected"),
    [
        (100, False, COARSE),
        (100, True, FINE),
        (9, False, COARSE),
        (8, False, FINE),
        (5, True, FAST),
        (1, False, None),
    ],
)
def test_the_most_accurate_network_within_the_limit_is_chosen(
    limit: float, small: bool, expected: NetworkChoice | None
) -> None:
    assert most_accurate(TIMES, limit, small=small) is expected


def sample(*sides: float) -> Sample:
    boxes = np.array([[0, 0, side, side] for side in sides], np.float32).reshape(-1, 4)
    return Sample("a.png", boxes, np.zeros(len(sides), int), size=(416, 416))


def test_small_objects_need_a_large_input_and_large_ones_do_not() -> None:
    assert [fit.side for fit in sizes_for([sample(100, 200)])] == [320]
    assert [fit.side for fit in sizes_for([sample(9, 10)])] == [608, 416, 320]
    assert sizes_for([sample(9, 10)])[1].below_16 == 1
    assert sizes_for([sample(20)], (416, 416))[0].below_16 == 0
    assert sizes_for([sample(20)], (160, 416))[0].below_16 == 1  # the image is reduced to the height


def test_without_boxes_there_is_no_advice() -> None:
    with pytest.raises(AnnotationError, match="expected boxes to train on, found none in 1 image"):
        sizes_for([sample()])


def test_every_choice_is_an_option_of_train() -> None:
    assert {choice.options for choice in CHOICES} >= {("--weights", "coco"), ("--model", "yolov3-tiny")}
    assert len({choice.options for choice in CHOICES}) == len(CHOICES)


@pytest.mark.parametrize(("images", "kind"), [(233, "ap"), (420, "ap_small")])
def test_ap_matches_the_two_minute_rows_of_the_benchmark(images: int, kind: str) -> None:
    page = (Path(__file__).parents[2] / "benchmarks" / "start.md").read_text()
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith(f"| {images} | 2 | ")]
    measured = {row[2]: float(row[5].split(", ")[1].strip(" |*")) for row in rows}
    titles = {}
    for choice in CHOICES:
        narrow = "" if choice.width == 1 else f", width {choice.width:g}"
        built_in = choice.model in BUILT_IN
        title = f"`--weights {choice.model}`" if built_in else f"random weights, {choice.model}{narrow}"
        titles[title] = getattr(choice, kind)
    assert titles == measured
    assert [choice.ap for choice in CHOICES] == sorted((choice.ap for choice in CHOICES), reverse=True)


def test_the_readme_has_the_numbers_of_the_benchmark() -> None:
    root = Path(__file__).parents[2]
    rows = [
        line.strip("| ").split(" | ") for line in (root / "benchmarks" / "start.md").read_text().split("\n")
    ]
    measured = {
        (row[0], row[1], row[2]): row[5].split(", ")[1].strip("*")
        for row in rows
        if len(row) == 6 and row[0].isdecimal()
    }
    shown, images = {}, ""
    table = (root / "README.md").read_text().partition("| AP, built-in network |")[2].split("\n\n")[0]
    for line in table.splitlines()[2:]:
        data, _, minutes, *both = (cell.strip() for cell in line.strip("|").split("|"))
        images = data.split()[-2] if data else images
        for start, ap in zip(("`--weights coco`", "random weights, yolov3-tiny"), both, strict=True):
            shown[images, minutes, start] = ap
    assert len(shown) == 14
    assert shown == {row: measured[row] for row in shown}


@pytest.mark.parametrize("data", ["bccd", "heads", "heads-int8"])
def test_the_pareto_page_has_the_rows_of_its_csv(data: str) -> None:
    folder = Path(__file__).parents[2] / "benchmarks"
    page = (folder / "pareto.md").read_text()
    with (folder / f"pareto-{data}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    for row in rows:
        cells = row["name"], row["size"], f"{int(row['parameters']):,}", f"{float(row['multiple']):.2f}"
        accuracy = f"{float(row['ap50']):.3f} | {float(row['ap']):.3f}"
        assert f"| {' | '.join(cells)} | {accuracy} | " in page


def test_the_readme_has_the_pareto_numbers_of_heads() -> None:
    root = Path(__file__).parents[2]
    with (root / "benchmarks" / "pareto-heads.csv").open(newline="") as file:
        aps = {row["name"]: f"{float(row['ap']):.3f}" for row in csv.DictReader(file)}
    said = (root / "README.md").read_text().partition("Small objects need")[2].split("\n\n")[0]
    assert f"an AP of {aps['from COCO, 10 minutes, at 608']} at 608" in said
    assert f"{aps['from COCO, 22 minutes, at 800']} at 800" in said
