from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lookonce.images import write_image

ImageMaker = Callable[..., Path]


@pytest.fixture
def image(tmp_path: Path) -> ImageMaker:
    """Return a function that makes an image below the test's folder."""

    def make(name: str, height: int = 60, width: int = 80) -> Path:
        path = tmp_path / name
        write_image(path, np.full((height, width, 3), 90, np.uint8))
        return path

    return make
