"""Small models to export, with weights under which a network answers with something."""

from pathlib import Path

from lookonce.metadata import ModelInfo
from lookonce.model.files import save_model
from lookonce.model.network import build
from tests.model.reference_weights import fill

INFO = ModelInfo(
    "yolov3-tiny",
    names=("cat", "dog", "eel"),
    anchors=(((10.0, 13.0), (16.0, 30.0)), ((62.0, 45.0), (59.0, 119.0))),
    strides=(16, 32),
    input_size=(64, 96),
    width=0.15,
    bn_epsilon=1e-3,
)


def write_model(path: Path, info: ModelInfo = INFO) -> Path:
    """A `.safetensors` model with seeded weights."""
    network = build(info).eval()
    fill(network)
    save_model(path, network.state_dict(), info)
    return path
