"""Darknet-53, the backbone of YOLOv3: 52 convolutions and three outputs."""

from collections.abc import Callable

from torch import Tensor, nn

from lookonce.metadata import BN_EPSILON, DARKNET53_STAGES
from lookonce.model.blocks import ConvBlock, Residual


class Darknet53(nn.Module):
    """Backbone that computes feature maps of strides 8, 16 and 32 from images (B, 3, H, W).

    At 416 and full width, they are (B, 256, 52, 52), (B, 512, 26, 26) and (B, 1024, 13, 13). The write-up
    calls them route_1, route_2 and conv.
    """

    def __init__(self, channels: Callable[[int], int], *, bn_epsilon: float = BN_EPSILON) -> None:
        """Create the layers.

        Args:
            channels: function that scales the number of channels of the full width.
            bn_epsilon: see `model.blocks.ConvBlock`.
        """
        super().__init__()
        self.stem = ConvBlock(3, channels(32), 3, bn_epsilon=bn_epsilon)
        self.stages = nn.ModuleList(
            nn.Sequential(
                ConvBlock(channels(wide // 2), channels(wide), 3, stride=2, bn_epsilon=bn_epsilon),
                *(Residual(channels(wide), bn_epsilon=bn_epsilon) for _ in range(repeats)),
            )
            for repeats, wide in DARKNET53_STAGES
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the outputs of the last three stages, finest first."""
        x = self.stem(x)
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs[2], outputs[3], outputs[4]
