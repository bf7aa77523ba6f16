"""Darknet-53, the backbone: 52 convolutions, three outputs."""

from torch import Tensor, nn

from lookonce.metadata import BN_EPSILON, DARKNET53_STAGES, scaled_channels
from lookonce.model.blocks import ConvBlock, Residual


class Darknet53(nn.Module):
    """(B, 3, H, W) -> feature maps of strides 8, 16 and 32.

    At 416 and full width: (B, 256, 52, 52), (B, 512, 26, 26), (B, 1024, 13, 13), called route_1, route_2
    and conv in the write-up.
    """

    def __init__(self, channels: "ScaledChannels", *, bn_epsilon: float = BN_EPSILON) -> None:
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
        """Return the outputs of the last three stages."""
        x = self.stem(x)
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs[2], outputs[3], outputs[4]


class ScaledChannels:
    """Function from a channel count to its count at a width factor: a multiple of 8, at least 8."""

    def __init__(self, width: float) -> None:
        self.width = width

    def __call__(self, full: int) -> int:
        """Return the scaled count for `full` channels."""
        return scaled_channels(full, self.width)
