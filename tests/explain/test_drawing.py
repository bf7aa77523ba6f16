"""Blocks of the drawing, and the arithmetic of each layer, on the networks that people use."""

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
def test_every_layer_is_in_one_block_and_an_edge_is_a_blocks_output(data: Path, name: str) -> None:
    layers = layers_of(data, name)
    blocks = blocks_of(layers)
    assert [index for block in blocks for index in block.layers] == [layer.index for layer in layers]
    outputs = {block.layers[-1] for block in blocks} | {-1}
    for block in blocks:
        assert set(block.inputs) <= outputs
        assert len({layers[index].shape[1:] for index in block.layers}) == 1


def test_yolov3(data: Path) -> None:
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


@pytest.mark.parametrize("name", NETWORKS)
def test_the_arithmetic_adds_up(data: Path, name: str) -> None:
    size = (320, 416)
    layers = layers_of(data, name, size)
    for layer in layers:
        for line in arithmetic(layer, layers, (3, *size)):
            for sum_, result in re.findall(
                r"([\d(][\d ()*+/-]*?)(?: of batch normalization| biases)? = ([\d,]+)", line
            ):
                assert eval(sum_) == int(result.rstrip(",").replace(",", "")), (layer.index, line)
