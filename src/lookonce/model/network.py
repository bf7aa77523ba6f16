"""Build networks from their description, and convert images to network input."""

import torch
from torch import Tensor, nn

from lookonce.darknet.described import network_of
from lookonce.errors import ModelFileError
from lookonce.metadata import ModelInfo
from lookonce.model.graph import DarknetGraph
from lookonce.model.tiny import YOLOv3Tiny, YOLOv3Tiny3l
from lookonce.model.yolov3 import YOLOv3
from lookonce.networks import NETWORKS


def build(info: ModelInfo) -> nn.Module:
    """Build the network that `info` describes, with initial weights, in channels-last memory.

    Raises:
        ModelFileError: the architecture is unknown, its strides or number of anchors differ from those in
            `info`, or torch cannot build its `.cfg`.
    """
    published = NETWORKS.get(info.architecture)
    if published and info.strides != published.strides:
        raise ModelFileError(f"expected strides {published.strides}, found {info.strides}")
    anchors = len(info.anchors[0])
    if published and any(len(scale) != anchors for scale in info.anchors):
        raise ModelFileError(f"expected {anchors} anchors in each scale, found {[*map(len, info.anchors)]}")
    network: nn.Module
    match info.architecture:
        case "yolov3" | "yolov3-spp":
            network = YOLOv3(
                len(info.names),
                width=info.width,
                bn_epsilon=info.bn_epsilon,
                spp=info.architecture == "yolov3-spp",
                anchors=anchors,
            )
        case "yolov3-tiny" | "yolov3-tiny-3l":
            kind = YOLOv3Tiny if info.architecture == "yolov3-tiny" else YOLOv3Tiny3l
            network = kind(len(info.names), width=info.width, bn_epsilon=info.bn_epsilon, anchors=anchors)
        case _:
            network = DarknetGraph(network_of(info), bn_epsilon=info.bn_epsilon)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def to_input(images: Tensor) -> Tensor:
    """Convert (B, 3, H, W) uint8 to float32 in [0, 1], channels-last: RGB / 255, as in the reference."""
    return images.to(torch.float32, memory_format=torch.channels_last).div_(255)
