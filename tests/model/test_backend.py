"""Test the torch backend: its outputs are checked, and it can be closed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lookonce.errors import ModelFileError
from lookonce.metadata import ModelInfo
from lookonce.model.backend import TorchBackend
from lookonce.model.network import build

ANCHORS = (((10, 14), (23, 27), (37, 58)), ((81, 82), (135, 169), (344, 319)))
INFO = ModelInfo("yolov3-tiny", ("a", "b"), ANCHORS, (16, 32), (64, 64), width=0.25)
IMAGES = np.zeros((1, 64, 64, 3), np.uint8)


def network() -> nn.Module:
    torch.manual_seed(0)
    return build(INFO).eval()


def test_a_model_with_non_finite_results_is_refused() -> None:
    overflowing = network()
    with torch.no_grad():
        next(overflowing.parameters()).fill_(3e38)
    overflows = TorchBackend(overflowing, INFO, path=Path("big.safetensors"))
    for call in (overflows, overflows.with_features):
        with pytest.raises(ModelFileError, match=r"big\.safetensors: expected scores and boxes"):
            call(np.full_like(IMAGES, 255))


def test_a_closed_backend_says_so() -> None:
    backend = TorchBackend(network(), INFO, path=Path("m.safetensors"))
    assert backend(IMAGES).shape == (1, 60, 7)
    backend.close()
    backend.close()
    for call in (backend, backend.with_features):
        with pytest.raises(ValueError, match=r"m\.safetensors: this backend was closed"):
            call(IMAGES)
