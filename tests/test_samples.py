from pathlib import Path

import numpy as np

from lookonce.samples import Sample, numbers_in

SAMPLE = Sample(
    Path("a.png"),
    np.array([[0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 3, 3]], np.float32),
    np.array([0, 1, 2]),
    difficult=np.array([True, False, True]),
    crowd=np.array([False, False, True]),
    size=(9, 9),
)


def test_picking_keeps_what_belongs_together() -> None:
    picked = SAMPLE.pick(np.array([True, False, True]))

    assert picked.boxes[:, 2].tolist() == [1, 3]
    assert picked.labels.tolist() == [0, 2]
    assert picked.difficult.tolist() == [True, True]
    assert picked.crowd.tolist() == [False, True]
    assert (picked.path, picked.size) == (SAMPLE.path, (9, 9))


def test_other_class_numbers_by_name() -> None:
    numbers = numbers_in(("dog", "cat"), theirs=("cat", "bird", "dog"))

    found = SAMPLE.renumbered(numbers)

    assert numbers.tolist() == [1, -1, 0]
    assert found.labels.tolist() == [1, 0]
    assert found.boxes[:, 2].tolist() == [1, 3]
    assert found.crowd.tolist() == [False, True]
