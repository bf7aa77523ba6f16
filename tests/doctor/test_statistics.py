from pathlib import Path

import numpy as np

from lookonce.annotations import load_samples
from lookonce.doctor.statistics import Spread, statistics
from lookonce.samples import Sample, SampleSet


def sample(boxes: list[list[float]], labels: list[int], size: tuple[int, int], crowd: bool = False) -> Sample:
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    return Sample(
        Path("a.jpg"), corners, np.array(labels, np.int64), crowd=np.full(len(labels), crowd), size=size
    )


def test_an_empty_set_has_empty_statistics() -> None:
    found = statistics(SampleSet(("cat",), [], [], "voc"))
    assert (found.images, found.boxes, found.per_class) == (0, 0, {"cat": 0})
    assert found.box_width is None


def test_statistics_match_hand_counts() -> None:
    images = [
        sample([[0, 0, 31, 33], [0, 0, 32, 32], [0, 0, 96, 96]], [0, 0, 2], (100, 200)),
        sample([[10, 10, 20, 50]], [2], (300, 400), crowd=True),
        sample([], [], (50, 60)),
    ]
    found = statistics(SampleSet(("cat", "dog", "ape"), images, [], "coco"))
    assert (found.images, found.background, found.boxes, found.crowd, found.difficult) == (3, 1, 4, 1, 0)
    assert found.per_class == {"cat": 2, "dog": 0, "ape": 2}
    assert found.images_per_class == {"cat": 1, "dog": 0, "ape": 2}
    assert (found.small, found.medium, found.large) == (2, 1, 1)  # 31 x 33 = 1023; 32 x 32 is no longer small
    assert found.boxes_per_image == Spread(0, 1, 3)
    assert found.image_height == Spread(50, 100, 300)
    assert found.image_width == Spread(60, 200, 400)
    assert found.box_width == Spread(10, 31.5, 96)


def test_statistics_of_bccd_match_its_known_counts(data: Path) -> None:
    found = statistics(load_samples(data / "bccd"))
    assert found.per_class == {"Platelets": 361, "RBC": 4153, "WBC": 372}
    assert found.small + found.medium + found.large == 4886
