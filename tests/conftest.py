"""Where the real pictures, models and reference numbers lie. Tests that need them skip without them."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

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
    """Real annotated pictures, photographs and Darknet models."""
    return _folder("data")


@pytest.fixture(scope="session")
def reference() -> Path:
    """Numbers of the original TensorFlow code."""
    return _folder("reference")
