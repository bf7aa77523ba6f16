"""The weights before the first step, where the settings want others than the reference's."""

import math

import torch
from torch import nn

from lookonce.config import TrainSettings
from lookonce.metadata import LEAKY_SLOPE
from lookonce.model.blocks import ConvBlock, Head


@torch.no_grad()
def initialise(network: nn.Module, settings: TrainSettings) -> nn.Module:
    """Set first kernels and objectness biases in place.

    `build` leaves the reference's: kernels normal with deviation 0.01, biases 0, so that every cell answers
    with objectness 0.5. By fan-in, a kernel's deviation is sqrt(2 / (1 + slope^2) / inputs), which keeps the
    activations' spread from layer to layer (He et al. 2015). A bias of log(p / (1 - p)) lets every cell
    answer p (Lin et al. 2017, section 4.1).
    """
    for block in network.modules():
        if isinstance(block, ConvBlock) and settings.init == "he":
            nn.init.kaiming_normal_(block.conv.weight, a=LEAKY_SLOPE)
        if isinstance(block, Head):
            assert block.bias is not None
            anchor = settings.objectness_prior
            block.bias.view(block.anchors, -1)[:, 4] = math.log(anchor / (1 - anchor))
    return network
