"""Building blocks of the networks.

Legend: **B** batch, **C** channels, **H**, **W** height and width.

Networks create their modules in the order of the Darknet weight file, so iterating over the convolutions of a
network follows that file.
"""

import torch
from torch import Tensor, nn

from lookonce.config import BatchNormSettings
from lookonce.metadata import BN_EPSILON, LEAKY_SLOPE

KERNEL_DEVIATION = 0.01  # standard deviation of initial kernels in the reference, whose biases start at 0


class Convolution(nn.Module):
    """Convolution with optional batch normalization: one entry of a Darknet weight file.

    Attributes:
        conv: convolution, with a bias if it has no batch normalization.
        bn: batch normalization; `nn.Identity` if there is none or once it is folded.
    """

    conv: nn.Conv2d
    bn: nn.Module


class ConvBlock(Convolution):
    """Convolution, batch normalization, leaky ReLU: (B, C, H, W) -> (B, out, H/stride, W/stride)."""

    def __init__(
        self, channels: int, out: int, kernel: int, stride: int = 1, *, bn_epsilon: float = BN_EPSILON
    ) -> None:
        """Create the layers with initial weights.

        Args:
            channels: number of input channels, C.
            out: number of output channels.
            kernel: side of the kernel in cells, odd; padding keeps the size at stride 1.
            stride: stride in cells.
            bn_epsilon: epsilon of batch normalization.
        """
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=bn_epsilon)
        self.activation = nn.LeakyReLU(LEAKY_SLOPE, inplace=True)
        nn.init.normal_(self.conv.weight, std=KERNEL_DEVIATION)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block: (B, C, H, W) -> (B, out, H/stride, W/stride)."""
        y: Tensor = self.activation(self.bn(self.conv(x)))
        return y


class Head(nn.Conv2d):
    """Last 1x1 convolution of a scale, with bias and no activation: (B, in, H, W) -> (B, A*(5+C), H, W)."""

    def __init__(self, channels: int, anchors: int, num_classes: int) -> None:
        """Create the layer with a bias of 0.

        Args:
            channels: number of input channels.
            anchors: number of anchors of the scale, A.
            num_classes: number of classes, C.
        """
        super().__init__(channels, anchors * (5 + num_classes), kernel_size=1)
        self.anchors = anchors
        nn.init.normal_(self.weight, std=KERNEL_DEVIATION)
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    def objectness_bias(self) -> Tensor:
        """Return the bias of each anchor's objectness as a view, (A,)."""
        assert self.bias is not None
        return self.bias.view(self.anchors, -1)[:, 4]


class Residual(nn.Module):
    """Residual block: squeeze to half the channels, expand, add the input; the shape is kept.

    There is no activation after the sum.
    """

    def __init__(self, channels: int, *, bn_epsilon: float = BN_EPSILON) -> None:
        """Create both convolutions.

        Args:
            channels: number of input and output channels, even.
            bn_epsilon: see `ConvBlock`.
        """
        super().__init__()
        self.squeeze = ConvBlock(channels, channels // 2, 1, bn_epsilon=bn_epsilon)
        self.expand = ConvBlock(channels // 2, channels, 3, bn_epsilon=bn_epsilon)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block: (B, C, H, W) -> the same shape."""
        y: Tensor = x + self.expand(self.squeeze(x))
        return y


class SpatialPyramidPooling(nn.Module):
    """Max pooling over windows of 13, 9 and 5 cells, concatenated with the input.

    (B, C, H, W) -> (B, 4C, H, W), in the order of `yolov3-spp.cfg`: 13, 9, 5, input.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pools = nn.ModuleList(nn.MaxPool2d(k, stride=1, padding=k // 2) for k in (13, 9, 5))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block: (B, C, H, W) -> (B, 4C, H, W)."""
        return torch.cat([*(pool(x) for pool in self.pools), x], dim=1)


def follow_statistics(network: nn.Module, batch: int, settings: BatchNormSettings) -> None:
    """Set the momentum of the running statistics of batch normalization for the next batch.

    With a fixed momentum, the running variance would start at 1, far above the actual variance of these
    networks, and early in a run the network would detect nothing in evaluation mode. With `average_first`,
    the statistics are instead the plain average of the first batches.

    Args:
        network: network whose batch normalization is set.
        batch: number of the next batch, counted from 1 among those in the statistics of this run.
        settings: momentum, and whether to average first.
    """
    momentum = max(settings.momentum, 1 / batch) if settings.average_first else settings.momentum
    for block in network.modules():
        if isinstance(block, nn.BatchNorm2d):
            block.momentum = momentum


def fold_batch_norm(network: nn.Module) -> None:
    """Fold each batch normalization into its convolution, in place, for inference.

    kernel' = kernel * gamma / sqrt(var + eps), bias' = beta - mean * gamma / sqrt(var + eps).
    """
    for block in network.modules():
        if isinstance(block, Convolution) and isinstance(block.bn, nn.BatchNorm2d):
            block.conv = nn.utils.fuse_conv_bn_eval(block.conv.eval(), block.bn.eval())
            block.bn = nn.Identity()
