"""Any Darknet network as a torch module, built from the graph of `darknet.network`.

`model.yolov3` and `model.tiny` write four of these graphs out as code; both compute the same raw maps.

Legend: **B** batch, **C** channels, **H**, **W** height and width, **A** anchors of a scale.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from lookonce.darknet.network import IMAGE, LUMA, ConvSpec, Layer, Network, Scale
from lookonce.darknet.sections import (
    AvgPool,
    Convolutional,
    LocalAvgPool,
    MaxPool,
    Reorg,
    Route,
    Sam,
    ScaleChannels,
    Shortcut,
    Upsample,
)
from lookonce.errors import ModelFileError
from lookonce.metadata import BN_EPSILON, LEAKY_SLOPE
from lookonce.model.blocks import KERNEL_DEVIATION, Convolution

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    # in place if the gradient does not need the input, which is a new tensor at every call
    "leaky": partial(F.leaky_relu, negative_slope=LEAKY_SLOPE, inplace=True),
    "relu": partial(F.relu, inplace=True),
    "relu6": F.relu6,
    "logistic": torch.sigmoid,
    "swish": F.silu,
    "mish": F.mish,
    "tanh": torch.tanh,
    "elu": F.elu,
}


class GraphConvolution(Convolution):
    """Weights of a [convolutional], which several layers may share with their own stride and activation.

    Attributes:
        scale: scale whose raw map the convolution computes, or None.
    """

    def __init__(self, spec: ConvSpec, scale: Scale | None, *, bn_epsilon: float) -> None:
        """Create the layers with initial weights.

        Args:
            spec: shape of the kernel, groups, and whether there is batch normalization.
            scale: scale whose raw map the convolution computes, or None.
            bn_epsilon: epsilon of batch normalization.
        """
        super().__init__()
        self.scale = scale
        normalized = spec.batch_normalize
        out, inputs, size, _ = spec.kernel_shape
        self.conv = nn.Conv2d(spec.channels, out, size, groups=spec.groups, bias=not normalized)
        self.bn = nn.BatchNorm2d(out, eps=bn_epsilon) if normalized else nn.Identity()
        # without batch normalization the weights must keep the variance: use Darknet's scale, except in heads
        keeps_size = (2 / (inputs * size * size)) ** 0.5
        nn.init.normal_(
            self.conv.weight, std=KERNEL_DEVIATION if normalized or scale is not None else keeps_size
        )
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor, section: Convolutional) -> Tensor:
        """Apply the weights with the stride, padding and activation of a layer: -> (B, out, H', W')."""
        padding = section.padding * section.dilation
        conv, kernel = self.conv, self.conv.weight
        if section.xnor:  # straight-through: gradients ignore the binarization of kernel and input (in -1..1)
            magnitude = kernel.abs().mean(dim=(1, 2, 3), keepdim=True)
            kernel = kernel + (torch.where(kernel > 0, magnitude, -magnitude) - kernel).detach()
            passing = F.hardtanh(x)
            x = passing + (torch.where(x > 0, 1.0, -1.0) - passing).detach()
        shape = section.stride, padding, section.dilation, section.groups
        # On CPUs, the gradients of these depthwise convolutions are slow in bfloat16 (for the effect on
        # training, see benchmarks/start.md).
        slow = kernel.shape[1] == 1 and (section.stride > 1 or section.size > 3)
        if slow and x.is_cpu and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                x = F.conv2d(x.float(), kernel, conv.bias, *shape).to(x.dtype)
        else:
            x = F.conv2d(x, kernel, conv.bias, *shape)
        if type(self.bn) is nn.BatchNorm2d and self.bn.training and x.numel() == x.shape[1]:
            # One cell of one image, as after [avgpool], has no deviation; SyncBatchNorm2d sees more images.
            # With batches of one image, the running statistics stay at 0 and 1.
            norm = self.bn
            x = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
        else:
            x = self.bn(x)
        return ACTIVATIONS[section.activation](x)

    def objectness_bias(self) -> Tensor | None:
        """Return the bias of each anchor's objectness as a view, (A,); None if this computes no raw map."""
        if self.scale is None:
            return None
        bias = self.conv.bias if self.conv.bias is not None else self.bn.bias
        assert isinstance(bias, Tensor)
        return bias.view(len(self.scale.anchors), -1)[:, self.scale.decoding.columns - 1]


class DarknetGraph(nn.Module):
    """Network of any `.cfg`: (B, 3, H, W) float in [0, 1] -> raw maps (B, A*(5+C), H/s, W/s), finest first.

    Attributes:
        network: layers and scales.
        layers: convolutions with weights of their own, by Darknet's layer number.
    """

    def __init__(self, network: Network, *, bn_epsilon: float = BN_EPSILON) -> None:
        """Build the modules with initial weights.

        Args:
            network: layers and scales.
            bn_epsilon: epsilon of batch normalization.

        Raises:
            ModelFileError: a scale's raw map holds probabilities, not logits, or its classes form a tree.
        """
        super().__init__()
        for scale in network.scales:
            if scale.section.parents:
                raise ModelFileError(
                    f"{network.cfg.file}:{scale.section.line}: [region] has a tree of classes: lookonce "
                    "detects with this network, but trains it only for other classes, without the tree"
                )
            if scale.activated:
                raise ModelFileError(
                    f"{network.cfg.file}:{scale.section.line}: [yolo] with new_coords=1: expected a "
                    "[convolutional] with activation=logistic before it, read by nothing else"
                )
        self.network = network
        by_source = {scale.source: scale for scale in network.scales}
        self.layers = nn.ModuleDict(
            {
                str(spec.layer): GraphConvolution(spec, by_source.get(spec.layer), bn_epsilon=bn_epsilon)
                for spec in network.convolutions
            }
        )
        needed = network.needs(by_source)
        owners = {network.shared.get(index, index) for index in needed}
        for name, module in self.layers.items():
            if int(name) not in owners:  # no raw map depends on it, for example if it feeds a [contrastive]
                module.requires_grad_(False)
        self._order = [layer for layer in network.layers if layer.index in needed]
        self._last_reader = {source: layer.index for layer in self._order for source in layer.sources}

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the raw maps, finest first; the output of a layer is freed after its last use."""
        if self.network.cfg.net.channels == 1:
            x = (x * x.new_tensor(LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
        wanted = [scale.source for scale in self.network.scales]
        outputs = {IMAGE: x}
        for layer in self._order:
            inputs = [outputs[source] for source in layer.sources]
            if isinstance(layer.section, Convolutional):
                owner = self.network.shared.get(layer.index, layer.index)
                outputs[layer.index] = self.layers[str(owner)](inputs[0], layer.section)
            else:
                outputs[layer.index] = weightless(layer, inputs)
            for source in layer.sources:
                if self._last_reader[source] == layer.index and source not in wanted:
                    outputs.pop(source, None)
        return [outputs[source] for source in wanted]


def weightless(layer: Layer, inputs: list[Tensor]) -> Tensor:
    """Compute a layer without weights.

    [dropout] returns its input even in training: published files set it for runs of hundreds of epochs.
    """
    x = inputs[0]
    match layer.section:
        case Shortcut(_, activation):
            for other in inputs[1:]:
                missing = x.shape[1] - other.shape[1]
                # channels that another layer lacks count as 0
                x = x + (F.pad(other, (0, 0, 0, 0, 0, missing)) if missing > 0 else other[:, : x.shape[1]])
            return ACTIVATIONS[activation](x)
        case ScaleChannels(_, activation) | Sam(_, activation):
            return ACTIVATIONS[activation](inputs[1] * x)
        case Reorg(stride, scrambled):
            return reorganized(x, stride, scrambled=scrambled)
        case Route(_, groups, group_id):
            parts = inputs
            if groups > 1:
                parts = [part.chunk(groups, dim=1)[group_id] for part in inputs]
            return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]
        case MaxPool(size, stride, padding):
            # an odd cell of padding goes right and below; -inf is never the maximum
            return F.max_pool2d(F.pad(x, sides(padding), value=float("-inf")), size, stride)
        case LocalAvgPool(size, stride, padding):
            ones = F.pad(torch.ones_like(x[:1, :1]), sides(padding))
            inside = F.avg_pool2d(ones, size, stride)  # share of the window inside the map
            return F.avg_pool2d(F.pad(x, sides(padding)), size, stride) / inside
        case Upsample(stride):
            return F.interpolate(x, scale_factor=float(stride), mode="nearest")
        case AvgPool():
            return x.mean(dim=(2, 3), keepdim=True)
    return x


def sides(padding: int) -> tuple[int, int, int, int]:
    """Split the total padding of a pooling layer into cells left, right, above and below."""
    before = padding // 2
    return before, padding - before, before, padding - before


def reorganized(x: Tensor, stride: int, *, scrambled: bool) -> Tensor:
    """Turn squares of cells into channels: (B, C, H, W) -> (B, C*stride², H/stride, W/stride).

    Darknet's [reorg] has a bug, which `scrambled` reproduces: it reads its input as
    (C/stride², H*stride, W*stride), and its result, of shape (C, H, W), as if it had the right shape.
    """
    b, c, h, w = x.shape
    square = stride * stride
    if scrambled:
        longer = x.reshape(b, c // square, h * stride, w * stride)
        return space_to_depth(longer, stride).reshape(b, c * square, h // stride, w // stride)
    return space_to_depth(x, stride)


def space_to_depth(x: Tensor, stride: int) -> Tensor:
    """Turn squares of cells into channels, (B, C, H, W) -> (B, stride²*C, H/stride, W/stride).

    Channels are ordered by position within the square first.
    """
    b, c, h, w = x.shape
    squares = x.reshape(b, c, h // stride, stride, w // stride, stride)
    return squares.permute(0, 3, 5, 1, 2, 4).reshape(b, stride * stride * c, h // stride, w // stride)
