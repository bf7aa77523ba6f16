"""The networks that have a readable model here: names, layers, strides and published anchors."""

from dataclasses import dataclass
from typing import Literal

from lookonce.geometry.anchors import YOLOV3, YOLOV3_TINY, Anchors

NetworkName = Literal["yolov3", "yolov3-spp", "yolov3-tiny"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Layers and scales of a network.

    Attributes:
        convolutions: number of convolutions.
        backbone: convolutions before the first head.
        strides: pixels of the input per cell, finest scale first.
        anchors: published anchors per scale, finest first: (width, height) in pixels of the input.
    """

    convolutions: int
    backbone: int
    strides: tuple[int, ...]
    anchors: Anchors


NETWORKS: dict[str, Layout] = {
    "yolov3": Layout(75, 52, (8, 16, 32), YOLOV3),
    "yolov3-spp": Layout(76, 52, (8, 16, 32), YOLOV3),
    "yolov3-tiny": Layout(13, 7, (16, 32), YOLOV3_TINY),
}
