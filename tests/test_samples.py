from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np

from lookonce.doctor.kinds import KINDS
from lookonce.images import write_image
from lookonce.samples import ProblemKind, Sample, input_shapes, numbers_in

SAMPLE = Sample(
    Path("a.png"),
    np.array([[0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 3, 3]], np.float32),
    np.array([0, 1, 2]),
    difficult=np.array([True, False, True]),
    crowd=np.array([False, False, True]),
    size=(9, 9),
)


def test_pick_selects_in_every_column() -> None:
    picked = SAMPLE.pick(np.array([True, False, True]))

    assert picked.boxes[:, 2].tolist() == [1, 3]
    assert picked.labels.tolist() == [0, 2]
    assert picked.difficult.tolist() == [True, True]
    assert picked.crowd.tolist() == [False, True]
    assert (picked.path, picked.size) == (SAMPLE.path, (9, 9))


def test_joined_appends_the_boxes_of_another_sample() -> None:
    more = Sample(Path("b.png"), np.array([[5, 5, 6, 6]], np.float32), np.array([7]), crowd=np.array([True]))
    both = SAMPLE.joined(more)
    assert both.boxes[:, 2].tolist() == [1, 2, 3, 6]
    assert both.labels.tolist() == [0, 1, 2, 7]
    assert both.difficult.tolist() == [True, False, True, False]
    assert both.crowd.tolist() == [False, False, True, True]
    assert (both.path, both.size, both.scores) == (SAMPLE.path, (9, 9), None)

    scored = replace(more, scores=np.array([0.5], np.float32))
    assert scored.joined(more).scores is None
    twice = scored.joined(scored).scores
    assert twice is not None
    assert twice.tolist() == [0.5, 0.5]


def test_classes_are_renumbered_by_name() -> None:
    numbers = numbers_in(("dog", "cat"), others=("cat", "bird", "dog"))

    found = SAMPLE.renumbered(numbers)

    assert numbers.tolist() == [1, -1, 0]
    assert found.labels.tolist() == [1, 0]
    assert found.boxes[:, 2].tolist() == [1, 3]
    assert found.crowd.tolist() == [False, True]


def test_an_unknown_size_is_read_from_the_image(tmp_path: Path) -> None:
    no_boxes, no_labels = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    write_image(tmp_path / "a.png", np.zeros((40, 60, 3), np.uint8))
    read, missing = (Sample(tmp_path / name, no_boxes, no_labels) for name in ("a.png", "no.png"))
    assert SAMPLE.image_size == (9, 9)
    assert (read.image_size, read.is_readable, missing.is_readable) == ((40, 60), True, False)


def test_the_doctor_explains_every_kind_of_problem() -> None:
    assert set(get_args(ProblemKind)) - {"other"} <= set(KINDS)


def test_shapes_are_scaled_to_the_network_input() -> None:
    box = np.array([[0, 0, 100, 50]], np.float32)
    half = Sample(Path("a.png"), box, np.array([0]), size=(100, 200))  # fills the width
    crowd = Sample(Path("a.png"), box, np.array([0]), crowd=np.array([True]), size=(50, 100))
    assert input_shapes([half, crowd], (64, 100)).tolist() == [[50, 25]]
    assert input_shapes([], (64, 64)).shape == (0, 2)
