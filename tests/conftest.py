"""Fixtures: real images, models and reference numbers, and a small model."""

import os
from collections.abc import Iterator
from os import PathLike
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from lookonce._interrupts import SecondCtrlC
from lookonce.darknet.cfg import parse_cfg
from lookonce.darknet.classic import classic_cfg
from lookonce.darknet.resolve import resolve
from lookonce.darknet.write import write_darknet
from lookonce.metadata import ModelInfo
from tests.darknet.oracle import random_weights

# No deadline, because the time of an example depends more on other work than on the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1] / "shared" / "data"


class RealData(type(Path())):  # type: ignore[misc]  # Path itself cannot be derived from before Python 3.12
    """Files of `tests/data` or, if missing there, of the larger collection; otherwise the test is skipped."""

    def __truediv__(self, name: str | PathLike[str]) -> Path:
        committed = Path(self, name)
        if committed.is_dir():
            return RealData(committed)
        if committed.exists():
            return committed
        other = SHARED / committed.relative_to(HERE / "data")
        if not other.exists():
            pytest.skip(f"needs {other.relative_to(SHARED)}, which the repository does not hold")
        return other


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give the session a cache of its own, shared by its processes, so that the user's is not changed."""
    base = tmp_path_factory.getbasetemp()
    cache = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "lookonce-cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOOKONCE_CACHE", str(cache))
        yield


@pytest.fixture(autouse=True)
def no_watch_left() -> Iterator[None]:
    """End the watch for a second Ctrl-C, which would end the test process after a signal."""
    yield
    SecondCtrlC.forget()


@pytest.fixture(scope="session")
def data() -> Path:
    """Return the real annotated images, photographs and Darknet models."""
    return RealData(HERE / "data")


@pytest.fixture(scope="session")
def photographs() -> list[Path]:
    """Return at least two photographs of everyday objects."""
    return sorted(each for folder in (HERE / "data", SHARED) for each in (folder / "photos").glob("*.jpg"))


@pytest.fixture(scope="session")
def reference() -> Path:
    """Return the reference numbers of the original TensorFlow code; see their README."""
    return HERE / "reference"


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write `small.cfg` and its random weights: a narrow yolov3-tiny with two classes and a wide input."""
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
