"""Blocks shared by all named networks.

Legend: **B** batch, **C** channels, **H**, **W** height and width.

Modules are created in the order in which a Darknet weight file lists them, so iterating over a network's
`ConvBlock`s follows the file.
"""

import torch
from torch import Tensor, nn

from lookonce.config import BatchNormSettings
from lookonce.metadata import BN_EPSILON, LEAKY_SLOPE

KERNEL_DEVIATION = 0.01  # the reference's initialization: normal, biases 0


class Convolution(nn.Module):
    """A convolution and its batch normalization, as a Darknet weight file lists them.

    Attributes:
        conv: the convolution, with a bias if it has no normalization.
        bn: the normalization; `nn.Identity` for none, or once it is folded.
    """

    conv: nn.Conv2d
    bn: nn.Module


class ConvBlock(Convolution):
    """Convolution, batch normalization, leaky ReLU: (B, C, H, W) -> (B, out, H/stride, W/stride)."""

    def __init__(
        self, channels: int, out: int, kernel: int, stride: int = 1, *, bn_epsilon: float = BN_EPSILON
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=bn_epsilon)
        self.activation = nn.LeakyReLU(LEAKY_SLOPE, inplace=True)
        nn.init.normal_(self.conv.weight, std=KERNEL_DEVIATION)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        y: Tensor = self.activation(self.bn(self.conv(x)))
        return y


class Head(nn.Conv2d):
    """The last 1x1 convolution of a scale, with bias and no activation: -> (B, A*(5+C), S, S)."""

    def __init__(self, channels: int, anchors: int, num_classes: int) -> None:
        super().__init__(channels, anchors * (5 + num_classes), kernel_size=1)
        self.anchors = anchors
        nn.init.normal_(self.weight, std=KERNEL_DEVIATION)
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    def objectness_bias(self) -> Tensor:
        """Return the bias of each anchor's objectness, (A,), a view."""
        assert self.bias is not None
        return self.bias.view(self.anchors, -1)[:, 4]


class Residual(nn.Module):
    """Squeeze to half the channels, expand, add; no activation after the sum. Shape is kept."""

    def __init__(self, channels: int, *, bn_epsilon: float = BN_EPSILON) -> None:
        super().__init__()
        self.squeeze = ConvBlock(channels, channels // 2, 1, bn_epsilon=bn_epsilon)
        self.expand = ConvBlock(channels // 2, channels, 3, bn_epsilon=bn_epsilon)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        y: Tensor = x + self.expand(self.squeeze(x))
        return y


class SpatialPyramidPooling(nn.Module):
    """Maxima over 5, 9 and 13 cells around each cell, and the cell itself: (B, C, H, W) -> (B, 4C, H, W).

    The order of the four parts is that of `yolov3-spp.cfg`: 13, 9, 5, input.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pools = nn.ModuleList(nn.MaxPool2d(k, stride=1, padding=k // 2) for k in (13, 9, 5))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        return torch.cat([*(pool(x) for pool in self.pools), x], dim=1)


def follow_statistics(network: nn.Module, batch: int, settings: BatchNormSettings) -> None:
    """Set the momentum of the running statistics for a batch.

    With a fixed momentum the initial variance of 1 stays in the average; activations here start far below it,
    so early in a run the network in evaluation mode would find nothing. `average_first` therefore makes them
    the plain average of the first batches.

    Args:
        network: network whose batch normalization is set.
        batch: number of the coming batch, counted from 1 over the run.
        settings: momentum, and whether to average first.
    """
    momentum = max(settings.momentum, 1 / batch) if settings.average_first else settings.momentum
    for block in network.modules():
        if isinstance(block, nn.BatchNorm2d):
            block.momentum = momentum


def fold_batch_norm(network: nn.Module) -> None:
    """Fold each batch normalization into the convolution before it, in place, for inference.

    kernel' = kernel * gamma / sqrt(var + eps), bias' = beta - mean * gamma / sqrt(var + eps).
    """
    for block in network.modules():
        if isinstance(block, Convolution) and isinstance(block.bn, nn.BatchNorm2d):
            block.conv = nn.utils.fuse_conv_bn_eval(block.conv.eval(), block.bn.eval())
            block.bn = nn.Identity()
