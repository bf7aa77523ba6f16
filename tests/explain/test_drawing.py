"""Blocks of the drawing, and the arithmetic of each layer, for widely used networks."""

import re
from pathlib import Path

import pytest

from lookonce.darknet.cfg import parse_cfg
from lookonce.darknet.resolve import resolve
from lookonce.explain.drawing import arithmetic, blocks_of
from lookonce.explain.layers import describe_layers
from lookonce.explain.records import NetworkLayer

NETWORKS = {
    "yolov3": "yolov3",
    "yolov3-spp": "yolov3-spp",
    "yolov3-tiny": "yolov3-tiny",
    "MobileNetV2-YOLOv3-Nano-coco": "darknet",
    "yolo-fastest-1.1-xl": "darknet",
}


def layers_of(data: Path, name: str, size: tuple[int, int] = (416, 416)) -> tuple[NetworkLayer, ...]:
    text = (data / "darknet" / f"{name}.cfg").read_text()
    return describe_layers(resolve(parse_cfg(text, name), size), NETWORKS[name], {}, 0)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_is_in_one_block_and_edges_start_at_block_outputs(data: Path, name: str) -> None:
    layers = layers_of(data, name)
    blocks = blocks_of(layers)
    assert [index for block in blocks for index in block.layers] == [layer.index for layer in layers]
    outputs = {block.layers[-1] for block in blocks} | {-1}
    for block in blocks:
        assert set(block.inputs) <= outputs
        assert len({layers[index].shape[1:] for index in block.layers}) == 1


def test_yolov3_has_its_known_blocks(data: Path) -> None:
    layers = layers_of(data, "yolov3")
    found = [(block.part, block.layers[0], block.layers[-1], block.inputs) for block in blocks_of(layers)]
    assert found == [
        ("backbone", 0, 0, (-1,)),
        ("backbone", 1, 4, (0,)),
        ("backbone", 5, 11, (4,)),
        ("backbone", 12, 36, (11,)),
        ("backbone", 37, 61, (36,)),
        ("backbone", 62, 74, (61,)),
        ("neck", 75, 79, (74,)),
        ("head", 80, 82, (79,)),
        ("neck", 83, 84, (79,)),
        ("neck", 85, 91, (84, 61)),
        ("head", 92, 94, (91,)),
        ("neck", 95, 96, (91,)),
        ("neck", 97, 104, (96, 36)),
        ("head", 105, 106, (104,)),
    ]
    assert [layers[index].shape for index in (36, 61, 74)] == [(256, 52, 52), (512, 26, 26), (1024, 13, 13)]


def sums(layers: tuple[NetworkLayer, ...], image: tuple[int, int, int]) -> list[str]:
    """Return all lines of arithmetic, after checking each sum."""
    lines = [line for layer in layers for line in arithmetic(layer, layers, image)]
    for line in lines:
        for sum_, result in re.findall(
            r"([\d(][\d ()*+/-]*?)(?: of batch normalization| biases)? = ([\d,]+)", line
        ):
            assert eval(sum_) == int(result.rstrip(",").replace(",", "")), line
    return lines


@pytest.mark.parametrize("name", NETWORKS)
def test_the_arithmetic_adds_up(data: Path, name: str) -> None:
    assert sums(layers_of(data, name, (320, 416)), (3, 320, 416))


CONVOLUTIONS = """
[net]
width=64
height=32
channels=3
[convolutional]
filters=8
size=3
[convolutional]
batch_normalize=1
filters=8
size=3
padding=3
stride=2
[convolutional]
filters=8
size=3
pad=1
dilation=2
[convolutional]
filters=8
size=3
share_index=-1
pad=1
dilation=2
[convolutional]
filters=6
[yolo]
classes=1
anchors=10,10
mask=0
"""


def test_the_arithmetic_of_padding_dilation_and_shared_weights() -> None:
    layers = describe_layers(resolve(parse_cfg(CONVOLUTIONS, "x.cfg")), "darknet", {}, 0)
    assert sums(layers[:4], (3, 32, 64)) == [
        "height: (32 + 2 * 0 - 3) // 1 + 1 = 30, width: (64 + 2 * 0 - 3) // 1 + 1 = 62",
        "parameters: 8 * 3 * 3 * 3 + 8 biases = 224",
        "multiply-adds: 30 * 62 * 8 * 3 * 3 * 3 = 401,760",
        "height: (30 + 2 * 3 - 3) // 2 + 1 = 17, width: (62 + 2 * 3 - 3) // 2 + 1 = 33",
        "parameters: 8 * 8 * 3 * 3 + 4 * 8 of batch normalization = 608",
        "multiply-adds: 17 * 33 * 8 * 8 * 3 * 3 = 323,136",
        "window: 2 * (3 - 1) + 1 = 5",
        "height: (17 + 2 * 2 - 5) // 1 + 1 = 17, width: (33 + 2 * 2 - 5) // 1 + 1 = 33",
        "parameters: 8 * 8 * 3 * 3 + 8 biases = 584",
        "multiply-adds: 17 * 33 * 8 * 8 * 3 * 3 = 323,136",
        "window: 2 * (3 - 1) + 1 = 5",
        "height: (17 + 2 * 2 - 5) // 1 + 1 = 17, width: (33 + 2 * 2 - 5) // 1 + 1 = 33",
        "parameters: those of layer 2",
        "multiply-adds: 17 * 33 * 8 * 8 * 3 * 3 = 323,136",
    ]
    assert [layer.parameters for layer in layers[:4]] == [224, 608, 584, 0]
