"""What the network of the planned training is going to see of the boxes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookonce.data.assign import Column, Positives, assign
from lookonce.errors import ConfigError
from lookonce.geometry.anchors import OFFICIAL, STRIDES, Anchors
from lookonce.geometry.letterbox import Fit, Letterbox
from lookonce.samples import Sample


@dataclass(frozen=True, slots=True)
class Network:
    """A network as far as boxes are concerned.

    Attributes:
        model: its name.
        size: (height, width) of the input.
        anchors: per scale, finest first: (width, height) in pixels of the input.
        strides: per scale, pixels a cell.
        fit: how an image gets to that size.
    """

    model: str
    size: tuple[int, int]
    anchors: Anchors
    strides: tuple[int, ...]
    fit: Fit = "letterbox"

    def boxes(self, sample: Sample) -> NDArray[np.float32]:
        """All boxes of a sample, (N, 4) xyxy in pixels of the input."""
        return Letterbox.for_policy(self.fit, sample.image_size, self.size).boxes_in(sample.boxes)

    def assign(self, sample: Sample) -> Positives[Column]:
        """The cells and anchors that must find the boxes of a sample, crowds left out as in training."""
        one = ~sample.crowd
        boxes = self.boxes(sample)[one]
        return assign(boxes, sample.labels[one], self.anchors, self.strides, self.size)


def official(model: str, size: tuple[int, int]) -> Network:
    """One of the published networks, with its published anchors.

    Raises:
        ConfigError: an unknown name.
    """
    if model not in OFFICIAL:
        raise ConfigError(f"--model: expected one of {', '.join(OFFICIAL)}, found {model!r}")
    return Network(model, size, OFFICIAL[model], STRIDES[model])
