"""How good the network is right now, measured as `lookonce evaluate` measures it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import nn

from lookonce.detections import Detections
from lookonce.draw.grid import compare, grid
from lookonce.evaluate.coco import Metrics, evaluate
from lookonce.images import read_image
from lookonce.metadata import ModelInfo
from lookonce.model.backend import TorchBackend
from lookonce.runtime.detector import Detector
from lookonce.samples import Sample

CONFIDENCE = 0.001  # low enough for the whole precision-recall curve
SHOWN_CONFIDENCE = 0.25
SHOWN, CELL = 9, (320, 320)  # pictures of predictions, and their size


def validate(
    network: nn.Module, info: ModelInfo, samples: Sequence[Sample], batch: int
) -> tuple[Metrics, list[Detections]]:
    """Detect on annotated pictures with the network as it stands; its mode is put back afterwards."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        detector = Detector(TorchBackend(network, info), confidence=CONFIDENCE)
        detections = list(detector.detect_many((sample.path for sample in samples), batch=batch))
    finally:
        for module, training in modes.items():
            module.training = training
    return evaluate(samples, detections, info.names), detections


def prediction_sheet(
    samples: Sequence[Sample], detections: Sequence[Detections], names: Sequence[str]
) -> NDArray[np.uint8]:
    """Truth and confident detections on the first pictures, as one picture (H, W, 3)."""
    return grid(
        [
            compare(read_image(sample.path), found[found.scores > SHOWN_CONFIDENCE], sample, names, CELL)
            for sample, found in zip(samples[:SHOWN], detections, strict=False)
        ],
        CELL,
    )
