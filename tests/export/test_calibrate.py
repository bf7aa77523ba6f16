from pathlib import Path

import numpy as np
import pytest

from lookonce.export.calibrate import read_inputs, spread
from lookonce.images import write_image
from lookonce.metadata import ModelInfo
from lookonce.runtime.detector import Detector
from tests.export.models import INFO


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, []), (1, ["0"]), (3, ["0", "4", "9"]), (10, [*"0123456789"]), (99, [*"0123456789"])],
)
def test_images_are_chosen_evenly(count: int, expected: list[str]) -> None:
    assert spread([Path(digit) for digit in "0123456789"], count) == [Path(name) for name in expected]


class _Seen:
    """A backend that records the images it gets from the Detector."""

    info: ModelInfo = INFO
    input_shape = None, None, None

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.images = images.copy()
        return np.zeros((len(images), 0, 5 + len(INFO.names)), np.float32)

    def close(self) -> None:
        pass


def test_calibration_images_equal_the_input_of_the_detector(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    write_image(tmp_path / "wide.png", rng.integers(0, 256, (50, 170, 3), np.uint8))
    backend = _Seen()
    Detector(backend)(tmp_path / "wide.png")

    inputs, unreadable = read_inputs([tmp_path / "wide.png"], INFO)

    assert inputs.shape == (1, 64, 96, 3)
    assert np.array_equal(inputs, backend.images)
    assert not unreadable


def test_unreadable_images_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no image")

    inputs, unreadable = read_inputs([tmp_path / "text.jpg", tmp_path / "absent.png"], INFO)

    assert inputs.shape == (0, 64, 96, 3)
    assert [problem.place for problem in unreadable] == [
        str(tmp_path / "text.jpg"),
        str(tmp_path / "absent.png"),
    ]
