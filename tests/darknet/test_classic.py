from pathlib import Path

import pytest

from lookonce.darknet.cfg import parse_cfg, read_cfg
from lookonce.darknet.classic import classic_cfg, recognize
from lookonce.darknet.resolve import resolve
from lookonce.metadata import ModelInfo
from lookonce.networks import NETWORKS

ANCHORS = (((10.0, 13.0), (16.5, 30.25)), ((33.0, 23.0), (30.0, 61.0)), ((62.0, 45.0), (59.0, 119.0)))


def described(architecture: str, width: float = 1.0) -> ModelInfo:
    scales = 2 if architecture == "yolov3-tiny" else 3
    return ModelInfo(
        architecture,
        names=("cat", "dog", "cow"),
        anchors=ANCHORS[:scales],
        strides=(8, 16, 32)[-scales:],
        input_size=(320, 416),
        width=width,
    )


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("yolov3", "yolov3"),
        ("yolov3-voc", "yolov3"),
        ("yolov3-openimages", "yolov3"),
        ("yolov3-spp", "yolov3-spp"),
        ("yolov3-tiny", "yolov3-tiny"),
        ("zoo/yolov3-tiny_3l", "yolov3-tiny-3l"),
    ],
)
def test_official_files_are_recognized(data: Path, name: str, architecture: str) -> None:
    assert recognize(resolve(read_cfg(data / "darknet" / f"{name}.cfg"))) == (architecture, 1.0)


@pytest.mark.parametrize("name", ["MobileNetV2-YOLOv3-Nano-coco", "yolo-fastest-1.1-xl"])
def test_other_networks_are_not_recognized(data: Path, name: str) -> None:
    assert recognize(resolve(read_cfg(data / "darknet" / f"{name}.cfg"))) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("activation=leaky", "activation=mish"),
        ("layers = -1, 36", "layers = -1, 33"),
        ("classes=80", "classes=80\nscale_x_y=1.1"),
        ("channels=3", "channels=1"),
    ],
)
def test_a_network_that_differs_a_little_is_not_recognized(data: Path, old: str, new: str) -> None:
    text = (data / "darknet" / "yolov3.cfg").read_text()
    assert old in text

    assert recognize(resolve(parse_cfg(text.replace(old, new), "x.cfg"))) is None


def test_an_impossible_size_is_not_recognized() -> None:
    body = "[convolutional]\nfilters=8\nbatch_normalize=1\n" * 12
    head = "[convolutional]\nfilters=6\n[yolo]\nanchors=1,2\nclasses=1\n"
    text = f"[net]\nwidth=33\nheight=33\n{body}{head}[route]\nlayers=12\n{head.partition('[yolo]')[1]}"
    text += head.partition("[yolo]")[2]

    assert recognize(resolve(parse_cfg(text, "x.cfg"))) is None


@pytest.mark.parametrize("architecture", NETWORKS)
@pytest.mark.parametrize("width", [1.0, 0.75, 0.5, 0.3, 0.25, 0.125, 0.15, 1.5])
def test_written_text_is_read_as_the_same_network(architecture: str, width: float) -> None:
    info = described(architecture, width)

    network = resolve(parse_cfg(classic_cfg(info), "x.cfg"))

    assert recognize(network) == (architecture, width)
    assert tuple(scale.section.anchors for scale in network.scales) == info.anchors
    assert tuple(scale.stride for scale in network.scales) == info.strides
    assert network.classes == 3
    assert (network.cfg.net.height, network.cfg.net.width) == (320, 416)


def test_scales_are_written_from_coarse_to_fine() -> None:
    layers = resolve(parse_cfg(classic_cfg(described("yolov3", 0.25)), "x.cfg")).layers

    yolos = [layer for layer in layers if type(layer.section).__name__ == "Yolo"]
    assert [(layer.index, layer.shape.height) for layer in yolos] == [(82, 10), (94, 20), (106, 40)]
