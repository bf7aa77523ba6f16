"""The networks that have a readable model here: names, strides and published anchors."""

from dataclasses import dataclass
from typing import Literal

from lookonce.geometry.anchors import YOLOV3, YOLOV3_TINY, Anchors

NetworkName = Literal["yolov3", "yolov3-spp", "yolov3-tiny"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Scales of a network, finest first.

    Attributes:
        strides: pixels of the input per cell.
        anchors: published anchors, (width, height) in pixels of the input.
    """

    strides: tuple[int, ...]
    anchors: Anchors


NETWORKS: dict[str, Layout] = {
    "yolov3": Layout((8, 16, 32), YOLOV3),
    "yolov3-spp": Layout((8, 16, 32), YOLOV3),
    "yolov3-tiny": Layout((16, 32), YOLOV3_TINY),
}
