"""Network of a planned training run: the properties against which boxes are checked."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookonce.darknet.described import published_scales, published_size
from lookonce.data.assign import Column, Positives, assign
from lookonce.eight_bits import Values
from lookonce.errors import ConfigError
from lookonce.geometry.anchors import Anchors
from lookonce.geometry.letterbox import Fit, Letterbox
from lookonce.geometry.sizes import size_text
from lookonce.metadata import ModelInfo
from lookonce.networks import MODELS, is_network, model_name
from lookonce.samples import Sample


@dataclass(frozen=True, slots=True)
class PlannedNetwork:
    """Input size, anchors and strides of a network.

    Attributes:
        model: name of the architecture.
        size: (height, width) of the input.
        anchors: (width, height) of each anchor per scale, finest first, in pixels of the input.
        strides: input pixels per cell, per scale.
        fit: method of fitting an image to the input.
        values: pixel values that become 0 and 255 in images of more than 8 bits; None if unknown.
    """

    model: str
    size: tuple[int, int]
    anchors: Anchors
    strides: tuple[int, ...]
    fit: Fit = "letterbox"
    values: Values | None = None

    @classmethod
    def published(cls, model: str, size: tuple[int, int] | None = None) -> "PlannedNetwork":
        """Return a named network, or the network of a `.cfg`, with its published anchors.

        Args:
            model: name of a network, or path of a `.cfg`.
            size: (height, width) of the input; None for that of the file, or 416 for a named network.

        Raises:
            ConfigError: the name is unknown.
            ModelFileError: the file cannot be used.
        """
        if not is_network(model):
            raise ConfigError(f"model: expected {MODELS}, found {model!r}")
        return cls(
            model_name(Path(model)), size or published_size(model) or (416, 416), *published_scales(model)
        )

    @classmethod
    def of_model(cls, info: ModelInfo, size: tuple[int, int]) -> "PlannedNetwork":
        """Return the network of a trained model with an input of (height, width)."""
        return cls(info.architecture, size, info.anchors, info.strides, info.fit, info.values)

    def __str__(self) -> str:
        return f"{self.model} at {size_text(self.size)}"

    def boxes(self, sample: Sample) -> NDArray[np.float32]:
        """Return all boxes of a sample, (N, 4) xyxy in pixels of the input."""
        return Letterbox.for_policy(self.fit, sample.image_size, self.size).boxes_in(sample.boxes)

    def assign(self, sample: Sample) -> Positives[Column]:
        """Return the cells and anchors that training assigns to the boxes of a sample, without crowds."""
        one = ~sample.crowd
        boxes = self.boxes(sample)[one]
        return assign(boxes, sample.labels[one], self.anchors, self.strides, self.size)
