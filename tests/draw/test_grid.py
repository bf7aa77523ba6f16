"""Images in a grid."""

from pathlib import Path

import numpy as np
import pytest

from lookonce.detections import Detections
from lookonce.draw.grid import GAP, compare, grid
from lookonce.draw.palette import PALETTE
from lookonce.geometry.letterbox import GRAY
from lookonce.samples import Sample


def plain(height: int, width: int, value: int) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_a_grid_needs_an_image() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        grid([], (10, 10))


def test_images_keep_their_shape_in_the_grid() -> None:
    sheet = grid([plain(40, 80, 10), plain(80, 20, 20), plain(5, 5, 30)], (40, 60), columns=2)
    assert sheet.shape == (2 * 40 + GAP, 2 * 60 + GAP, 3)
    first, second, third = sheet[:40, :60], sheet[:40, 60 + GAP :], sheet[40 + GAP :, :60]
    assert (first[5:35] == 10).all()
    assert (first[:5] == GRAY).all()
    assert (second[:, 25:35] == 20).all()
    assert (third[:, 10:50] == 30).all()
    assert (sheet[40 + GAP :, 60 + GAP :] == 255).all()


@pytest.mark.parametrize(("count", "shape"), [(1, (1, 1)), (3, (2, 2)), (5, (2, 3)), (9, (3, 3))])
def test_the_grid_is_about_square(count: int, shape: tuple[int, int]) -> None:
    sheet = grid([plain(8, 8, 0)] * count, (10, 20))
    assert sheet.shape[:2] == (shape[0] * (10 + GAP) - GAP, shape[1] * (20 + GAP) - GAP)


def test_compare_scales_boxes_with_the_image() -> None:
    detections = Detections(
        np.array([[100, 100, 300, 200]], np.float32),
        np.array([0.9], np.float32),
        np.array([0]),
        ("cat", "dog"),
    )
    truth = Sample(Path("a.jpg"), np.array([[400, 100, 600, 200]], np.float32), np.array([1]))
    drawn = compare(plain(400, 800, 200), detections, truth, ("cat", "dog"), (300, 400))
    assert drawn.shape == (300, 400, 3)
    solid, dashed = ((drawn == PALETTE[label]).all(axis=2)[149] for label in (0, 1))  # 50 gray rows above
    assert solid[50:150].all()
    assert dashed[200:300].any()
    assert not dashed[200:300].all()
    assert truth.boxes[0, 0] == 400
