"""YOLOv3: backbone, neck, and heads.

Legend: **B** batch, **A** = 3 anchors, **C** classes, **H**, **W** input height and width.

```
            stride 32         16              8
 Darknet53 ──► conv        route_2         route_1
                │             │               │
              five ──► up ─► cat ─► five ─► up ─► cat ─► five
                │                     │                    │
             3x3, head            3x3, head            3x3, head      raw maps (B, A*(5+C), H/s, W/s)
```
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from lookonce.metadata import BN_EPSILON, scaled_channels
from lookonce.model.blocks import ConvBlock, Head, SpatialPyramidPooling
from lookonce.model.darknet53 import Darknet53


class YOLOv3(nn.Module):
    """YOLOv3: (B, 3, H, W) float in [0, 1] -> raw maps (B, A*(5+C), H/s, W/s), strides s 8, 16, 32.

    Modules are in Darknet's order, coarse scale first.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        width: float = 1.0,
        bn_epsilon: float = BN_EPSILON,
        spp: bool = False,
        anchors: int = 3,
    ) -> None:
        """Create the layers with initial weights.

        Args:
            num_classes: number of classes, C.
            width: factor on the number of channels.
            bn_epsilon: see `model.blocks.ConvBlock`.
            spp: whether to add spatial pyramid pooling within the coarse scale's five convolutions, as in
                `yolov3-spp.cfg`.
            anchors: number of anchors per scale, A.
        """
        super().__init__()
        channels, eps = partial(scaled_channels, width=width), bn_epsilon
        self.backbone = Darknet53(channels, bn_epsilon=eps)
        self.coarse = _Scale(channels(1024), channels(512), num_classes, anchors, eps, spp=spp)
        self.to_medium = ConvBlock(channels(512), channels(256), 1, bn_epsilon=eps)
        self.medium = _Scale(channels(256) + channels(512), channels(256), num_classes, anchors, eps)
        self.to_fine = ConvBlock(channels(256), channels(128), 1, bn_epsilon=eps)
        self.fine = _Scale(channels(128) + channels(256), channels(128), num_classes, anchors, eps)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the raw maps, finest first."""
        route_1, route_2, deep = self.backbone(x)
        coarse, features = self.coarse(deep)
        medium, features = self.medium(join(self.to_medium(features), route_2))
        fine, _ = self.fine(join(self.to_fine(features), route_1))
        return [fine, medium, coarse]


class _Scale(nn.Module):
    """Five convolutions, whose output the next finer scale also uses, then a 3x3 convolution and the head."""

    def __init__(
        self, channels: int, narrow: int, num_classes: int, anchors: int, eps: float, *, spp: bool = False
    ) -> None:
        """Create the layers: `channels` input, `narrow` output, and twice as many channels in between."""
        super().__init__()
        wide = 2 * narrow
        self.five = nn.Sequential(
            ConvBlock(channels, narrow, 1, bn_epsilon=eps),
            ConvBlock(narrow, wide, 3, bn_epsilon=eps),
            ConvBlock(wide, narrow, 1, bn_epsilon=eps),
            # pooling gives four times the channels, which one more convolution reduces, as in the .cfg
            *([SpatialPyramidPooling(), ConvBlock(4 * narrow, narrow, 1, bn_epsilon=eps)] if spp else []),
            ConvBlock(narrow, wide, 3, bn_epsilon=eps),
            ConvBlock(wide, narrow, 1, bn_epsilon=eps),
        )
        self.own = ConvBlock(narrow, wide, 3, bn_epsilon=eps)
        self.head = Head(wide, anchors, num_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the raw map and the features for the next finer scale."""
        features = self.five(x)
        return self.head(self.own(features)), features


def join(coarse: Tensor, skip: Tensor) -> Tensor:
    """Upsample the coarse map (nearest neighbor) and concatenate the skip connection, in Darknet's order."""
    return torch.cat([interpolate(coarse, scale_factor=2.0, mode="nearest"), skip], dim=1)
