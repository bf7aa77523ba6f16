"""Small models with random weights, and a real network."""

from dataclasses import replace
from pathlib import Path

from lookonce.metadata import ModelInfo
from lookonce.model.files import save_model
from lookonce.model.network import build
from lookonce.networks import NETWORKS
from tests.model.reference_weights import fill

SIZE = (96, 128)  # not square


def info_of(architecture: str, names: tuple[str, ...] = ("disc", "bar", "ring")) -> ModelInfo:
    return ModelInfo(
        architecture, names, NETWORKS[architecture].anchors, NETWORKS[architecture].strides, SIZE, width=0.125
    )


def write_model(folder: Path, architecture: str = "yolov3-tiny", **fields: object) -> Path:
    """Write a model file whose detections are numerous noise."""
    info = replace(info_of(architecture), **fields)
    network = build(info)
    fill(network)
    path = folder / f"{architecture}.safetensors"
    save_model(path, network.state_dict(), info)
    return path
