"""Explainers shared by several tests, because opening one takes a second."""

from dataclasses import replace
from pathlib import Path

import pytest

from lookonce.explain import Explainer
from lookonce.export.source import read_source
from tests.explain.models import write_model

NANO = "MobileNetV2-YOLOv3-Nano-coco.cfg"


@pytest.fixture(scope="session")
def nano(data: Path) -> Explainer:
    """Open a real network trained on COCO, whose offsets are stretched (scale_x_y)."""
    source = read_source(data / "darknet" / NANO)
    letterboxed = replace(source, info=replace(source.info, fit="letterbox"))  # the file has `stretch`
    return Explainer(letterboxed, file=str(data / "darknet" / NANO))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Explainer:
    """Open a yolov3-tiny of three classes with random weights."""
    return Explainer.open(write_model(tmp_path_factory.mktemp("tiny")), conf=0.5)
