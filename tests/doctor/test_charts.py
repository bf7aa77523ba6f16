"""Compare the plots with values computed by hand."""

from pathlib import Path

import numpy as np

from lookonce.doctor.advice import advise
from lookonce.doctor.charts import CELLS, Bar, Plots, plots
from lookonce.doctor.planned_network import PlannedNetwork
from lookonce.samples import Sample, SampleSet

NETWORK = PlannedNetwork.published("yolov3-tiny", (416, 416))


def drawn(*samples: Sample) -> Plots:
    found = SampleSet(("cat", "dog"), list(samples), [], "lines")
    return plots(found, NETWORK, advise(found.samples, NETWORK))


def sample(boxes: list[list[float]], labels: list[int]) -> Sample:
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    return Sample(Path("a.jpg"), corners, np.array(labels, np.int64), size=(208, 416))


def test_no_boxes_give_empty_charts() -> None:
    shown = drawn()
    assert shown.per_image == shown.sizes == shown.positions == shown.shapes == ()
    assert shown.classes == (Bar("cat", "0 (0%)", 0), Bar("dog", "0 (0%)", 0))


def test_bars_count_classes_images_and_sizes() -> None:
    shown = drawn(sample([[0, 0, 10, 10], [0, 0, 20, 20], [5, 5, 15, 15]], [1, 1, 0]), sample([], []))
    assert shown.classes == (Bar("cat", "1 (33%)", 0.5), Bar("dog", "2 (67%)", 1))
    assert [(bar.label, bar.text) for bar in shown.per_image] == [
        ("0", "1 (50%)"),
        ("1", "0 (0%)"),
        ("2", "0 (0%)"),
        ("3 to 4", "1 (50%)"),
    ]
    assert [(bar.label, bar.text) for bar in shown.sizes] == [
        ("8 to 12", "2 (67%)"),
        ("12 to 16", "0 (0%)"),
        ("16 to 24", "1 (33%)"),
    ]


def test_positions_are_fractions_of_the_image() -> None:
    """In an image of width 416 and height 208, (312, 26) is three quarters across and an eighth down."""
    (cell,) = drawn(sample([[308, 22, 316, 30]], [0])).positions
    assert (cell.column, cell.row, cell.strength) == (CELLS * 3 // 4, CELLS // 8, 1)


def test_wide_shapes_are_to_the_right_and_tall_ones_above() -> None:
    wide, high = drawn(sample([[0, 0, 200, 10], [0, 0, 10, 200]], [0, 0])).shapes[::-1]
    assert (wide.column > 15, wide.row > 15) == (True, True)
    assert (high.column < 9, high.row < 9) == (True, True)
