"""Test findings about boxes at a planned input size, computed by hand."""

from pathlib import Path

import numpy as np

from lookonce.doctor.boxes import lost_objects, misshapen_boxes, repeated_boxes, repeats, small_boxes
from lookonce.doctor.findings import with_line
from lookonce.doctor.planned_network import PlannedNetwork
from lookonce.geometry.boxes import pairwise_iou
from lookonce.samples import Sample, SampleSet

# half the size of the images below; one anchor on cells of 16 pixels
NETWORK = PlannedNetwork("x", (96, 128), (((20.0, 20.0),),), (16,))


def case(
    boxes: list[list[float]], labels: list[int] | None = None, crowd: int = 0
) -> tuple[SampleSet, Sample]:
    n = len(boxes)
    sample = Sample(
        Path("a.jpg"),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(labels or [0] * n, np.int64),
        crowd=np.arange(n) < crowd,
        size=(192, 256),
    )
    return SampleSet(("cat", "dog"), [sample], [], "lines"), sample


def test_no_boxes_give_no_findings() -> None:
    found, sample = case([])
    assert list(repeated_boxes(found, sample)) == list(small_boxes(found, sample, NETWORK)) == []
    assert list(misshapen_boxes(found, sample, NETWORK)) == []
    assert lost_objects(found, sample, NETWORK) == (0, [])


def test_sizes_are_measured_in_the_network_input() -> None:
    found, sample = case([[0, 0, 5, 40], [0, 0, 31, 40], [0, 0, 32, 40], [0, 0, 6, 40]])
    kinds = [(each.kind, each.place) for each in small_boxes(found, sample, NETWORK)]
    assert kinds == [
        ("tiny", "a.jpg: box 1"),  # 2.5 pixels wide
        ("below-stride", "a.jpg: box 2"),  # 15.5
        ("below-stride", "a.jpg: box 4"),  # 3
    ]


def test_a_shape_that_no_anchor_fits_is_a_finding() -> None:
    # against 20 x 20: 20 x 6.5 has IoU 0.325, 20 x 5.5 has 0.275
    found, sample = case([[0, 0, 40, 13], [0, 0, 40, 11]])
    assert [each.what for each in misshapen_boxes(found, sample, NETWORK)] == [
        "20.0 x 5.5 pixels at 96x128; the best anchor reaches IoU 0.28"
    ]


def test_the_later_object_takes_the_cell() -> None:
    found, sample = case([[0, 0, 30, 30], [100, 100, 130, 130], [2, 2, 28, 28], [1, 1, 29, 29]])
    lost, objects = lost_objects(found, sample, NETWORK)
    assert lost == 2
    assert [each.place for each in objects] == ["a.jpg: box 1", "a.jpg: box 3"]


def test_of_equal_boxes_the_earlier_one_is_lost() -> None:
    found, sample = case([[0, 0, 30, 30], [0, 0, 30, 30]])
    assert [each.place for each in lost_objects(found, sample, NETWORK)[1]] == ["a.jpg: box 1"]


def test_an_object_that_keeps_another_anchor_is_not_lost() -> None:
    """The first box fits both anchors, 20 x 20 and 30 x 30; the second, 50 x 50, fits only the larger."""
    two = PlannedNetwork("x", (96, 128), (((20.0, 20.0), (30.0, 30.0)),), (16,))
    found, sample = case([[26, 26, 70, 70], [0, 0, 100, 100]])
    assert lost_objects(found, sample, two) == (1, [])


def test_crowds_are_left_out() -> None:
    found, sample = case([[0, 0, 5, 5], [0, 0, 5, 5]], crowd=1)
    assert [each.place for each in small_boxes(found, sample, NETWORK)] == ["a.jpg: box 2"]
    assert [each.place for each in misshapen_boxes(found, sample, NETWORK)] == ["a.jpg: box 2"]
    assert list(repeated_boxes(found, sample)) == []
    assert lost_objects(found, sample, NETWORK) == (0, [])


def test_boxes_that_nearly_coincide_are_repeats() -> None:
    _, sample = case([[0, 0, 100, 100], [0, 0, 100, 90], [0, 0, 100, 89]])
    assert repeats(sample) == [(0, 1), (1, 2)]


def test_a_box_is_reported_once_with_the_first_match_of_its_class() -> None:
    box, beside = [0, 0, 100, 100], [200, 0, 300, 100]
    _, sample = case([box, beside, box, box, beside, box], [0, 0, 1, 1, 0, 0])
    # cat 0 and cat 5; dog 2 and dog 3; cats 1 and 4; and dog 2 lies on cat 0
    assert repeats(sample) == [(0, 2), (2, 3), (1, 4), (0, 5)]


def test_repeats_equal_those_of_an_exhaustive_search() -> None:
    rng = np.random.default_rng(0)
    low = rng.integers(0, 20, (300, 2)) * 10.0
    boxes = np.concatenate([low, low + 40], axis=1) + rng.uniform(-0.6, 0.6, (300, 4))
    _, sample = case(boxes.tolist())
    overlap = np.tril(pairwise_iou(*2 * [sample.boxes.astype(np.float64)]), -1) >= 0.9
    expected = [(int(row.argmax()), later) for later, row in enumerate(overlap) if row.any()]
    assert len(expected) > 50
    assert repeats(sample) == expected


def test_many_equal_boxes_take_no_quadratic_time() -> None:
    _, sample = case([[0, 0, 100, 100]] * 20_000)
    assert repeats(sample) == [(0, later) for later in range(1, 20_000)]


def test_the_line_of_a_voc_object_is_found(tmp_path: Path) -> None:
    file = tmp_path / "a b.xml"
    file.write_text(
        "<annotation>\n<!-- <object>\n</object> -->\n<object>\n</object><object></object>\n<objects/>"
    )
    assert with_line(f"{file}: object 1") == f"{file}:4: object 1"
    assert with_line(f"{file}: object 2") == f"{file}:5: object 2"
    assert with_line(f"{file}: object 3") == f"{file}: object 3"  # there is none
    assert with_line("train.txt:3: box 2") == "train.txt:3: box 2"
    assert with_line(f"{tmp_path / 'gone.xml'}: object 1") == f"{tmp_path / 'gone.xml'}: object 1"
