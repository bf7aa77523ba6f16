"""Real images, models and reference numbers (tests that need them skip without them); a small model."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from lookonce.darknet.cfg import parse_cfg
from lookonce.darknet.classic import classic_cfg
from lookonce.darknet.network import resolve
from lookonce.darknet.write import write_darknet
from lookonce.metadata import ModelInfo
from tests.darknet.oracle import random_weights

# How long an example takes says more about what else the machine does than about the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

SHARED = Path(__file__).resolve().parents[2] / "shared"


def _folder(name: str) -> Path:
    path = SHARED / name
    if not path.is_dir():
        pytest.skip(f"needs the shared folder {name}, not part of the repository")
    return path


@pytest.fixture(scope="session")
def data() -> Path:
    """Real annotated images, photographs and Darknet models."""
    return _folder("data")


@pytest.fixture(scope="session")
def reference() -> Path:
    """Numbers of the original TensorFlow code."""
    return _folder("reference")


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`small.cfg` and its weights: a narrow yolov3-tiny, two classes, a wide input, weights at random."""
    info = ModelInfo(
        "yolov3-tiny",
        names=("cat", "dog"),
        anchors=(((10.0, 13.0), (16.0, 30.0)), ((62.0, 45.0), (59.0, 119.0))),
        strides=(16, 32),
        input_size=(64, 96),
        width=0.25,
    )
    cfg = tmp_path_factory.mktemp("small") / "small.cfg"
    write_darknet(cfg, info, random_weights(resolve(parse_cfg(classic_cfg(info), "small"))))
    return cfg
