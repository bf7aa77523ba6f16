"""YOLOv3-tiny: seven convolutions with max pooling as the backbone, and two or three scales.

Legend: **B** batch, **A** = 3 anchors, **C** classes, **H**, **W** input height and width.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import pad

from lookonce.metadata import BN_EPSILON, scaled_channels
from lookonce.model.blocks import ConvBlock, Head
from lookonce.model.yolov3 import join


class YOLOv3Tiny(nn.Module):
    """Tiny network: (B, 3, H, W) float in [0, 1] -> raw maps (B, A*(5+C), H/s, W/s), strides s 16, 32."""

    def __init__(
        self, num_classes: int, *, width: float = 1.0, bn_epsilon: float = BN_EPSILON, anchors: int = 3
    ) -> None:
        """Create the layers with initial weights.

        Args:
            num_classes: number of classes, C.
            width: factor on the number of channels.
            bn_epsilon: see `model.blocks.ConvBlock`.
            anchors: number of anchors per scale, A.
        """
        super().__init__()
        channels, eps = partial(scaled_channels, width=width), bn_epsilon
        self.backbone = TinyBackbone(channels, bn_epsilon=eps)
        self.squeeze = ConvBlock(channels(1024), channels(256), 1, bn_epsilon=eps)
        self.coarse = ConvBlock(channels(256), channels(512), 3, bn_epsilon=eps)
        self.coarse_head = Head(channels(512), anchors, num_classes)
        self.to_fine = ConvBlock(channels(256), channels(128), 1, bn_epsilon=eps)
        self.fine = ConvBlock(channels(128) + channels(256), channels(256), 3, bn_epsilon=eps)
        self.fine_head = Head(channels(256), anchors, num_classes)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the raw maps, finest first."""
        _, skip, deep = self.backbone(x)
        features = self.squeeze(deep)
        coarse = self.coarse_head(self.coarse(features))
        fine = self.fine_head(self.fine(join(self.to_fine(features), skip)))
        return [fine, coarse]


class YOLOv3Tiny3l(nn.Module):
    """Tiny network: (B, 3, H, W) float in [0, 1] -> raw maps (B, A*(5+C), H/s, W/s), strides s 8, 16, 32.

    The scale of stride 8 detects small objects: it uses the output of the fourth convolution as YOLOv3-tiny
    uses that of the fifth.
    """

    def __init__(
        self, num_classes: int, *, width: float = 1.0, bn_epsilon: float = BN_EPSILON, anchors: int = 3
    ) -> None:
        """Create the layers with initial weights.

        Args:
            num_classes: number of classes, C.
            width: factor on the number of channels.
            bn_epsilon: see `model.blocks.ConvBlock`.
            anchors: number of anchors per scale, A.
        """
        super().__init__()
        channels, eps = partial(scaled_channels, width=width), bn_epsilon
        self.backbone = TinyBackbone(channels, bn_epsilon=eps)
        self.squeeze = ConvBlock(channels(1024), channels(256), 1, bn_epsilon=eps)
        self.coarse = ConvBlock(channels(256), channels(512), 3, bn_epsilon=eps)
        self.coarse_head = Head(channels(512), anchors, num_classes)
        self.to_medium = ConvBlock(channels(256), channels(128), 1, bn_epsilon=eps)
        self.medium = ConvBlock(channels(128) + channels(256), channels(256), 3, bn_epsilon=eps)
        self.medium_head = Head(channels(256), anchors, num_classes)
        self.to_fine = ConvBlock(channels(256), channels(128), 1, bn_epsilon=eps)
        self.fine = ConvBlock(channels(128) + channels(128), channels(128), 3, bn_epsilon=eps)
        self.fine_head = Head(channels(128), anchors, num_classes)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the raw maps, finest first."""
        fine_skip, medium_skip, deep = self.backbone(x)
        features = self.squeeze(deep)
        coarse = self.coarse_head(self.coarse(features))
        features = self.medium(join(self.to_medium(features), medium_skip))
        medium = self.medium_head(features)
        fine = self.fine_head(self.fine(join(self.to_fine(features), fine_skip)))
        return [fine, medium, coarse]


class TinyBackbone(nn.Module):
    """Backbone that computes feature maps of strides 8, 16 and 32 from images (B, 3, H, W).

    They are the outputs of the fourth, the fifth and the last convolution.
    """

    def __init__(self, channels: Callable[[int], int], *, bn_epsilon: float = BN_EPSILON) -> None:
        """Create the layers.

        Args:
            channels: function that scales the number of channels of the full width.
            bn_epsilon: see `model.blocks.ConvBlock`.
        """
        super().__init__()
        sizes = [3, *(channels(c) for c in (16, 32, 64, 128, 256, 512, 1024))]
        self.convs = nn.ModuleList(
            ConvBlock(before, after, 3, bn_epsilon=bn_epsilon) for before, after in pairwise(sizes)
        )
        self.halve = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (fine skip, medium skip, deep)."""
        for conv in self.convs[:3]:
            x = self.halve(conv(x))
        fine: Tensor = self.convs[3](x)
        medium: Tensor = self.convs[4](self.halve(fine))
        x = self.convs[5](self.halve(medium))
        # Darknet's max pooling with stride 1 keeps the size: it pads one cell right and below with -inf
        x = nn.functional.max_pool2d(pad(x, (0, 1, 0, 1), value=float("-inf")), 2, stride=1)
        return fine, medium, self.convs[6](x)
