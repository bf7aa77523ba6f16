"""Test that `.safetensors` models with a wrong description or wrong numbers are refused before building."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lookonce.errors import ModelFileError
from lookonce.model.files import load_model, load_weights, save_model
from tests.export.models import INFO, write_model


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_is_named(tmp_path: Path, number: float) -> None:
    weights, info = load_weights(write_model(tmp_path / "good.safetensors"))
    weights["coarse.conv.weight"][0, 0, 0, 0] = number
    save_model(tmp_path / "bad.safetensors", weights, info)

    with pytest.raises(ModelFileError, match=r"bad\.safetensors: coarse\.conv\.weight holds numbers"):
        load_model(tmp_path / "bad.safetensors")


def test_a_negative_variance_is_named(tmp_path: Path) -> None:
    weights, info = load_weights(write_model(tmp_path / "good.safetensors"))
    weights["coarse.bn.running_var"][0] = -1
    save_model(tmp_path / "bad.safetensors", weights, info)

    with pytest.raises(ModelFileError, match="running_var"):
        load_model(tmp_path / "bad.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 64.0}, "weights do not fit yolov3-tiny at width 64"),
        ({"names": ("cat",)}, "weights do not fit"),
        ({"strides": (8, 16)}, r"expected strides \(16, 32\), found \(8, 16\)"),
        ({"anchors": (INFO.anchors[0], INFO.anchors[1][:1])}, "expected 2 anchors in each scale"),
        ({"architecture": "resnet"}, "found 'resnet'"),
    ],
)
def test_a_description_of_another_network_is_refused_without_allocating(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, object], message: str
) -> None:
    weights, info = load_weights(write_model(tmp_path / "good.safetensors"))
    save_model(tmp_path / "bad.safetensors", weights, replace(info, **change))
    devices = []
    convolution = torch.nn.Conv2d.__init__

    def watched(self: torch.nn.Conv2d, *args: object, **options: object) -> None:
        convolution(self, *args, **options)
        devices.append(self.weight.device.type)

    monkeypatch.setattr(torch.nn.Conv2d, "__init__", watched)
    with pytest.raises(ModelFileError, match=rf"bad\.safetensors: .*{message}"):
        load_model(tmp_path / "bad.safetensors")
    assert set(devices) <= {"meta"}
