"""Compare the networks with the layer table and the numbers of the original code."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lookonce.errors import ModelFileError
from lookonce.geometry.boxes import xyxy_to_cxcywh
from lookonce.metadata import ModelInfo
from lookonce.model.blocks import ConvBlock, fold_batch_norm
from lookonce.model.decode import decode
from lookonce.model.network import build, to_input
from lookonce.model.tiny import YOLOv3Tiny, YOLOv3Tiny3l
from lookonce.model.yolov3 import YOLOv3
from lookonce.networks import NETWORKS
from tests.model.reference_weights import convolutions, fill

COCO = (
    ((10.0, 13.0), (16.0, 30.0), (33.0, 23.0)),
    ((30.0, 61.0), (62.0, 45.0), (59.0, 119.0)),
    ((116.0, 90.0), (156.0, 198.0), (373.0, 326.0)),
)


def info(architecture: str, classes: int = 2, width: float = 0.125) -> ModelInfo:
    tiny = architecture == "yolov3-tiny"
    return ModelInfo(
        architecture=architecture,
        names=tuple(f"class {i}" for i in range(classes)),
        anchors=COCO[:2] if tiny else COCO,
        strides=(16, 32) if tiny else (8, 16, 32),
        input_size=(64, 96),
        width=width,
    )


def counts(network: nn.Module) -> tuple[int, int]:
    """Count the trainable parameters, and these plus the running statistics."""
    trainable = sum(p.numel() for p in network.parameters())
    statistics = sum(b.numel() for name, b in network.named_buffers() if "running" in name)
    return trainable, trainable + statistics


def test_yolov3_has_the_layers_of_the_reference(reference: Path) -> None:
    table = json.loads((reference / "layers.json").read_text())["80"]
    layers = table["convolutions"]
    with torch.device("meta"):
        blocks = [block for block, _ in convolutions(YOLOv3(80))]
    convs = [block.conv if isinstance(block, ConvBlock) else block for block in blocks]
    assert [tuple(conv.weight.shape) for conv in convs] == [tuple(layer["kernel"]) for layer in layers]
    assert [conv.stride[0] for conv in convs] == [layer["stride"] for layer in layers]
    assert sum(isinstance(block, ConvBlock) for block in blocks) == 72


@pytest.mark.parametrize(
    ("make", "trainable", "with_statistics"),
    [
        (lambda: YOLOv3(80), 61_949_149, 62_001_757),
        # 252,209,544 bytes of the official yolov3-spp.weights less the 20-byte header, over 4
        (lambda: YOLOv3(80, spp=True), 62_998_749, 63_052_381),
        (lambda: YOLOv3Tiny(80), 8_852_366, 8_858_734),
        (lambda: YOLOv3Tiny3l(80), 9_213_453, 9_220_333),
    ],
    ids=NETWORKS,
)
def test_parameter_counts_match_the_published_ones(
    make: object, trainable: int, with_statistics: int
) -> None:
    with torch.device("meta"):
        assert counts(make()) == (trainable, with_statistics)  # type: ignore[operator]


@pytest.mark.parametrize("architecture", NETWORKS)
def test_maps_of_a_rectangular_input_have_their_shapes(architecture: str) -> None:
    described = info(architecture)
    network = build(described).eval()
    with torch.no_grad():
        maps = network(torch.rand(5, 3, 64, 96))
        decoded = decode(maps, described.anchors, described.strides)
    assert [tuple(m.shape) for m in maps] == [(5, 21, 64 // s, 96 // s) for s in described.strides]
    assert decoded.shape == (5, sum(3 * (64 // s) * (96 // s) for s in described.strides), 7)


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(ModelFileError, match="found 'yolov9'"):
        build(info("yolov9"))


@pytest.fixture(scope="module")
def stored(reference: Path) -> dict[str, np.ndarray]:
    return dict(np.load(reference / "network.npz"))


@pytest.fixture(scope="module")
def images(stored: dict[str, np.ndarray]) -> torch.Tensor:
    return to_input(torch.from_numpy(stored["images"]).permute(0, 3, 1, 2))


@pytest.mark.parametrize(("epsilon", "suffix"), [(1e-3, ""), (1e-5, "_eps1e-5")])
def test_heads_equal_the_reference(
    stored: dict[str, np.ndarray], images: torch.Tensor, epsilon: float, suffix: str
) -> None:
    network = YOLOv3(3, bn_epsilon=epsilon).to(memory_format=torch.channels_last)
    fill(network)
    network.eval()
    with torch.no_grad():
        routes = network.backbone(images)
        maps = network(images)
        fold_batch_norm(network)
        folded = network(images)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    for i, (raw, same) in enumerate(zip(maps, folded, strict=True)):
        expected = stored[f"head{i}{suffix}"]
        np.testing.assert_allclose(raw.permute(0, 2, 3, 1), expected, atol=1e-4)
        np.testing.assert_allclose(same.permute(0, 2, 3, 1), expected, atol=1e-4)
    if epsilon == 1e-3:
        for i, route in enumerate(routes, start=1):
            flat = route.permute(0, 2, 3, 1).reshape(-1)[stored[f"route_{i}_idx"]]
            np.testing.assert_allclose(flat, stored[f"route_{i}_val"], atol=1e-4)
        decoded = decode(maps, COCO, (8, 16, 32))
        rows = np.concatenate([stored[f"decoded{i}"].reshape(2, -1, 8) for i in range(3)], axis=1)
        np.testing.assert_allclose(xyxy_to_cxcywh(decoded[..., :4]), rows[..., :4], rtol=1e-3, atol=1e-2)
        np.testing.assert_allclose(decoded[..., 4:], rows[..., 4:], atol=1e-5)
