from pathlib import Path

import pytest

from lookonce.annotations import load_splits
from lookonce.doctor.diagnose import Diagnosis, diagnose
from lookonce.doctor.planned_network import PlannedNetwork

from .faults import everything_wrong

NETWORK = PlannedNetwork.published("yolov3-tiny", (416, 416))


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a VOC folder with one defect of each kind."""
    folder = tmp_path_factory.mktemp("faulty")
    return everything_wrong(folder / "voc", folder)


@pytest.fixture(scope="session")
def diagnosis(faulty: Path) -> Diagnosis:
    return diagnose(load_splits(faulty), NETWORK)
