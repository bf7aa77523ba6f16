"""The table of layers, compared with the reference, published numbers and the readable networks."""

import json
from pathlib import Path

import pytest
from torch import nn

from lookonce.darknet.cfg import parse_cfg, read_cfg
from lookonce.darknet.classic import classic_cfg
from lookonce.darknet.described import describe
from lookonce.darknet.resolve import resolve
from lookonce.explain.layers import describe_layers
from lookonce.explain.records import NetworkLayer
from lookonce.model.blocks import ConvBlock, Head
from lookonce.model.network import build
from lookonce.networks import NETWORKS
from tests.explain.models import info_of


def official(data: Path, name: str, side: int = 416, width: int | None = None) -> tuple[NetworkLayer, ...]:
    network = resolve(read_cfg(data / "darknet" / f"{name}.cfg"))
    architecture = describe(network, ("",) * network.classes).architecture
    return describe_layers(resolve(network.cfg, (side, width or side)), architecture, {}, 0.0)


def test_shapes_match_the_write_up(data: Path) -> None:
    shapes = {layer.title: layer.shape for layer in official(data, "yolov3") if layer.title}

    assert shapes == {
        "route_1": (256, 52, 52),
        "route_2": (512, 26, 26),
        "conv": (1024, 13, 13),
        "conv_sbbox": (255, 52, 52),
        "conv_mbbox": (255, 26, 26),
        "conv_lbbox": (255, 13, 13),
    }


def test_every_convolution_equals_the_reference(data: Path, reference: Path) -> None:
    expected = json.loads((reference / "layers.json").read_text())["80"]["convolutions"]
    found = [layer for layer in official(data, "yolov3") if layer.kind == "convolutional"]

    assert len(found) == len(expected) == 75
    for layer, row in zip(found, expected, strict=True):
        out, inputs, rows, columns = row["kernel"]
        height, width = row["output_hw"]
        assert layer.shape == (out, height, width)
        assert layer.parameters == row["values_in_weight_file"]
        assert layer.multiply_adds == out * inputs * rows * columns * height * width


def test_routes_are_the_ends_of_the_last_three_backbone_stages(data: Path) -> None:
    names = {layer.title: layer.name for layer in official(data, "yolov3") if layer.title}

    assert names["route_1"] == "backbone.stages.2.8"
    assert names["route_2"] == "backbone.stages.3.8"
    assert names["conv"] == "backbone.stages.4.4"


def test_multiply_adds_grow_with_the_width_of_the_input(data: Path) -> None:
    square, wide = (official(data, "yolov3", 320, width) for width in (320, 416))

    for one, other in zip(square, wide, strict=True):
        assert other.multiply_adds * 320 == one.multiply_adds * 416


@pytest.mark.parametrize(
    ("name", "parameters", "trainable"),
    [("yolov3", 62_001_757, 61_949_149), ("yolov3-tiny", 8_858_734, 8_852_366)],
)
def test_parameter_counts_match_the_published_ones(
    data: Path, name: str, parameters: int, trainable: int
) -> None:
    layers = official(data, name)

    assert sum(layer.parameters for layer in layers) == parameters
    assert sum(layer.trainable for layer in layers) == trainable


@pytest.mark.parametrize(
    ("name", "side", "billions"),
    [
        ("yolov3", 320, 38.97),
        ("yolov3", 416, 65.86),
        ("yolov3", 608, 140.69),
        ("yolov3-tiny", 416, 5.56),
        ("yolov3-spp", 608, 141.45),
    ],
)
def test_multiply_adds_equal_the_published_figures(data: Path, name: str, side: int, billions: float) -> None:
    # the table at pjreddie.com/darknet/yolo counts a multiplication and an addition as two
    found = 2e-9 * sum(layer.multiply_adds for layer in official(data, name, side))

    assert found == pytest.approx(billions, abs=0.006)


@pytest.mark.parametrize("architecture", NETWORKS)
def test_layers_have_the_names_of_the_readable_network(architecture: str) -> None:
    info = info_of(architecture)
    network = resolve(parse_cfg(classic_cfg(info), "classic"))
    layers = describe_layers(network, architecture, {}, 0.0)
    modules = dict(build(info).named_modules())

    assert [layer.name for layer in layers if layer.kind == "convolutional"] == [
        name for name, module in modules.items() if isinstance(module, ConvBlock | Head)
    ]
    for layer in layers:
        assert not layer.name or isinstance(modules[layer.name], nn.Module)
        assert (
            layer.part == "head"
            or (layer.part == "backbone") == layer.name.startswith("backbone")
            or (not layer.name)
        )


def test_yolov3_divides_into_backbone_and_heads(data: Path) -> None:
    layers = official(data, "yolov3")

    assert [layer.index for layer in layers if layer.part == "backbone"] == list(range(75))
    assert [layer.index for layer in layers if layer.part == "head"] == [81, 82, 93, 94, 105, 106]


def test_any_network_divides_into_backbone_and_heads(data: Path) -> None:
    layers = official(data, "MobileNetV2-YOLOv3-Nano-coco", 320)

    assert {layer.part for layer in layers[:48]} == {"backbone"}  # both scales read layer 47
    assert [layer.index for layer in layers if layer.part == "head"] == [68, 69, 78, 79]
    assert not any(layer.name or layer.title for layer in layers)


def test_layers_have_details_and_inputs(data: Path) -> None:
    layers = official(data, "yolov3-spp")

    assert layers[1].detail == "3x3 / 2, 64 filters, batch norm, leaky"
    assert layers[4].detail == "sum"
    assert layers[0].inputs == (-1,)
    assert layers[4].inputs == (3, 1)
    assert [layer.name for layer in layers if layer.kind == "maxpool"] == [
        f"coarse.five.3.pools.{number}" for number in (2, 1, 0)
    ]
    assert next(layer for layer in layers if len(layer.inputs) == 4).name == "coarse.five.3"
    assert layers[-1].detail == "3 anchors, 80 classes"
