import json
from pathlib import Path

import pytest

from lookonce.darknet.cfg import parse_cfg, read_cfg
from lookonce.darknet.network import Network, Shape
from lookonce.darknet.resolve import resolve
from lookonce.errors import ModelFileError

NET = "[net]\nwidth=416\nheight=320\n"  # three lines; the text after it begins on line 4
CONV = "[convolutional]\nfilters=8\nsize=3\npad=1\n"
HEAD = "[convolutional]\nfilters=7\nsize=32\nstride=32\n"
YOLO = "[yolo]\nanchors=1,2\nclasses=2\n"


def network(text: str) -> Network:
    return resolve(parse_cfg(NET + text, "x.cfg"))


@pytest.mark.parametrize(
    ("name", "convolutions", "file_size", "strides"),
    [
        ("yolov3", 75, 248_007_048, [8, 16, 32]),  # sizes of the official weight files in bytes
        ("yolov3-spp", 76, 252_209_544, [8, 16, 32]),
        ("yolov3-tiny", 13, 35_434_956, [16, 32]),
        ("MobileNetV2-YOLOv3-Nano-coco", 59, 3_564_300, [16, 32]),
        ("yolo-fastest-1.1-xl", 84, 3_693_964, [16, 32]),
    ],
)
def test_real_networks_are_resolved(
    data: Path, name: str, convolutions: int, file_size: int, strides: list[int]
) -> None:
    real = resolve(read_cfg(data / "darknet" / f"{name}.cfg"))

    assert len(real.convolutions) == convolutions
    assert 20 + 4 * real.numbers == file_size
    assert [scale.stride for scale in real.scales] == strides
    assert real.classes == 80


def test_convolutions_of_yolov3_equal_the_reference(data: Path, reference: Path) -> None:
    text = (data / "darknet" / "yolov3.cfg").read_text().replace("608", "416")
    real = resolve(parse_cfg(text, "yolov3.cfg"))
    table = json.loads((reference / "layers.json").read_text())["80"]["convolutions"]

    assert len(table) == len(real.convolutions)
    for spec, row in zip(real.convolutions, table, strict=True):
        assert list(spec.kernel_shape) == row["kernel"]
        assert spec.batch_normalize == row["batch_norm"]
        assert spec.numbers == row["values_in_weight_file"]
        assert list(real.shape(spec.layer)[1:]) == row["output_hw"]


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        ("[convolutional]\nfilters=4\nsize=3\nstride=2", Shape(4, 159, 207)),
        ("[convolutional]\nfilters=4\nsize=3\nstride=2\npad=1", Shape(4, 160, 208)),
        ("[convolutional]\nfilters=6\ngroups=3\nsize=4\npad=1", Shape(6, 321, 417)),
        ("[maxpool]\nsize=2\nstride=1", Shape(3, 320, 416)),
        ("[maxpool]\nsize=2\nstride=2", Shape(3, 160, 208)),
        ("[maxpool]\nsize=3\nstride=2", Shape(3, 160, 208)),
        ("[maxpool]\nsize=3\nstride=2\npadding=0", Shape(3, 159, 207)),
        ("[upsample]\nstride=3", Shape(3, 960, 1248)),
        ("[avgpool]", Shape(3, 1, 1)),
        ("[dropout]", Shape(3, 320, 416)),
    ],
)
def test_each_layer_has_its_output_shape(layer: str, expected: Shape) -> None:
    assert network(layer).layers[0].shape == expected


def test_routes_and_shortcuts_take_relative_and_absolute_layers() -> None:
    layers = network(
        CONV * 3 + "[shortcut]\nfrom=-2,0\n[route]\nlayers=-1,1\n[route]\nlayers=4\ngroups=4\n"
    ).layers

    assert layers[3].sources == (2, 1, 0)
    assert layers[4].sources == (3, 1)
    assert layers[4].shape == Shape(16, 320, 416)
    assert layers[5].shape == Shape(4, 320, 416)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CONV + "[route]\nlayers=1", r"x.cfg:8: \[route\] points to layer 1; this is layer 1"),
        (CONV + "[route]\nlayers=5", "points to layer 5; this is layer 1"),
        (CONV + "[route]\nlayers=-2", "points to layer -2; this is layer 1"),
        (CONV + "[shortcut]\nfrom=1", "points to layer 1; this is layer 1"),
        ("[shortcut]\nfrom=-1", "points to layer -1; this is layer 0"),
        (CONV + "[maxpool]\nstride=2\n[shortcut]\nfrom=-2", "different sizes: 8x160x208, 8x320x416"),
        (CONV + "[maxpool]\nstride=2\n[route]\nlayers=-1,-2", "different sizes: 8x160x208, 8x320x416"),
        (CONV + "[route]\nlayers=-1\ngroups=3", "cuts 8x320x416 into groups=3"),
        ("[convolutional]\nfilters=8\ngroups=2", "groups=2, 3 channels and filters=8"),
        ("[convolutional]\nfilters=8\ngroups=3", "groups=3, 3 channels and filters=8"),
        ("[convolutional]\nfilters=8\nsize=500", "would give an output of 8x-179x-83"),
        (CONV + "[upsample]\nstride=1000", r"output of 8x320000x416000; expected 1 to 268,435,456 numbers"),
        (CONV + "[route]\nlayers=-1,-1,-1,-1,-1,-1,-1,-1\n" * 15, r"x.cfg:\d+: .*would give an output of"),
        ("[convolutional]\nfilters=65536\n[convolutional]\nfilters=8192\nsize=3", "x.cfg:4: .*would give"),
        (
            "[avgpool]\n[convolutional]\nfilters=65536\n[convolutional]\nfilters=65536",
            "expected at most 500,000,000 weights, found 4,29",
        ),
        (HEAD + "[yolo]\nanchors=1,2\nclasses=3", "with 3 classes and 1 anchor needs filters=8 .*found 7"),
        (HEAD + YOLO + CONV, r"x.cfg:11: \[convolutional\] reads layer 1, which has no output"),
        (HEAD + YOLO + "[route]\nlayers=-1", r"reads layer 1, which has no output"),
        (
            HEAD + YOLO + "[route]\nlayers=0\n[convolutional]\nfilters=8\n[yolo]\nanchors=1,2\nclasses=3",
            "has 3 classes, the first .* 2",
        ),
        (CONV + "[maxpool]\nstride=2\n[scale_channels]\nfrom=0", r"\[scale_channels\] cannot scale"),
        (HEAD + YOLO.replace("[yolo]", "[Gaussian_yolo]"), r"\[Gaussian_yolo\] with .* needs filters"),
        ("[avgpool]\n" + HEAD.replace("32", "1") + YOLO, "the input of 320x416 into 1x1 cells"),
        (HEAD.replace("32", "100") + YOLO, "the input of 320x416 into 3x4 cells"),
        (HEAD.replace("stride=32", "stride=150\npad=1") + YOLO, "the input of 320x416 into 3x3 cells"),
        (
            "[upsample]\nstride=22\n" + "[dropout]\n" * 2 + "[shortcut]\nfrom=0,1\n",
            "numbers in memory; expected",
        ),
    ],
)
def test_layers_that_do_not_fit_name_their_line(text: str, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        network(text)
