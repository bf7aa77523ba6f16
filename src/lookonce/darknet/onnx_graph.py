"""A `.cfg` with its `.weights` as an ONNX graph: batch normalization folded, decoding included.

The graph obeys `runtime.backends.Backend`: uint8 RGB images in, candidates in input pixels out. Batch, height
and width are open: the grid of cells is computed from the actual shapes.

Legend: **B** batch, **H**, **W** input height and width, **A** anchors of a scale, **K** candidates,
**C** classes.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lookonce.darknet.cfg import (
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
from lookonce.darknet.network import IMAGE, Layer, Network
from lookonce.darknet.onnx_decode import add_decoding
from lookonce.darknet.onnx_nodes import Nodes
from lookonce.darknet.weights import ConvWeights, Floats
from lookonce.metadata import LEAKY_SLOPE, METADATA_KEY, ModelInfo

LUMA = 0.299, 0.587, 0.114  # weights of red, green and blue in grey, as in Darknet's image readers
OPSET, IR_VERSION = 17, 8  # old enough for ONNX Runtime 1.18, the oldest allowed


def build_onnx(
    network: Network, weights: Sequence[ConvWeights], info: ModelInfo, *, raw_maps: bool = False
) -> onnx.ModelProto:
    """Build the graph.

    Args:
        network: the resolved `.cfg`, with at least one [yolo].
        weights: weights of `network.convolutions`; see `weights.check_weights`.
        info: goes into the file's metadata; its `bn_epsilon` belongs to the weights.
        raw_maps: add each scale's raw map, (B, A*(5+C), H/s, W/s), as a further output, finest first.
    """
    model = helper.make_model(
        onnx.GraphProto(name="darknet"),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="lookonce",
    )
    helper.set_model_props(model, {METADATA_KEY: info.to_json()})
    nodes = Nodes(model.graph)
    outputs = {IMAGE: _image(nodes, network.cfg.net.channels)}
    folded = {
        spec.layer: _folded(each, info.bn_epsilon)
        for spec, each in zip(network.convolutions, weights, strict=True)
    }
    for layer in network.layers:
        nodes.prefix = f"{layer.index}_{type(layer.section).__name__.lower()}"
        inputs = [outputs[source] for source in layer.sources]
        if isinstance(layer.section, Convolutional):
            owner = network.shared.get(layer.index, layer.index)
            outputs[layer.index] = _convolution(nodes, layer.section, folded[owner], inputs[0])
        else:
            outputs[layer.index] = _weightless(nodes, network, layer, inputs)
    raw = [outputs[scale.source] for scale in network.scales]
    candidates = add_decoding(nodes, network.scales, raw)
    _declare(model.graph, network, candidates, raw if raw_maps else [])
    return model


def read_convolutions(graph: onnx.GraphProto) -> list[ConvWeights]:
    """Return the folded arrays of a built graph's convolutions, in file order; without other constants."""
    arrays = {tensor.name: tensor for tensor in graph.initializer}
    inputs = [node.input[1:] for node in graph.node if node.op_type == "Conv" and len(node.input) == 3]
    return [
        ConvWeights(numpy_helper.to_array(arrays[kernel]), numpy_helper.to_array(arrays[bias]))
        for kernel, bias in inputs
        if kernel in arrays and bias in arrays
    ]


def _image(nodes: Nodes, channels: int) -> str:
    """uint8 (B, H, W, 3) -> float (B, 3, H, W) in [0, 1], or one channel of grey."""
    planes = nodes.add("Transpose", "images", perm=[0, 3, 1, 2])
    scaled = nodes.add("Div", nodes.add("Cast", planes, to=TensorProto.FLOAT), nodes.floats(255))
    if channels == 3:
        return scaled
    return nodes.add("Conv", scaled, nodes.constant(np.array(LUMA, np.float32).reshape(1, 3, 1, 1)))


def _folded(weights: ConvWeights, epsilon: float) -> tuple[Floats, Floats]:
    """Fold the batch normalization into kernel and bias.

    kernel' = kernel * gamma / sqrt(var + eps), bias' = beta - mean * gamma / sqrt(var + eps).
    """
    norm = weights.batch_norm
    if norm is None:
        return weights.kernel, weights.bias
    factor = (norm.gamma / np.sqrt(norm.variance.astype(np.float64) + epsilon)).astype(np.float32)
    return weights.kernel * factor[:, None, None, None], weights.bias - norm.mean * factor


def _convolution(nodes: Nodes, section: Convolutional, folded: tuple[Floats, Floats], source: str) -> str:
    kernel, bias = folded
    made = nodes.add(
        "Conv",
        source,
        nodes.constant(kernel),
        nodes.constant(bias),
        kernel_shape=[section.size] * 2,
        strides=[section.stride] * 2,
        pads=[section.padding * section.dilation] * 4,
        dilations=[section.dilation] * 2,
        group=section.groups,
    )
    return _activation(nodes, section.activation, made)


def _activation(nodes: Nodes, name: str, x: str) -> str:
    match name:
        case "leaky":
            return nodes.add("LeakyRelu", x, alpha=LEAKY_SLOPE)
        case "relu":
            return nodes.add("Relu", x)
        case "relu6":
            return nodes.add("Clip", x, nodes.floats(0), nodes.floats(6))
        case "logistic":
            return nodes.add("Sigmoid", x)
        case "swish":
            return nodes.add("Mul", x, nodes.add("Sigmoid", x))
        case "mish":
            return nodes.add("Mul", x, nodes.add("Tanh", nodes.add("Softplus", x)))
        case "tanh":
            return nodes.add("Tanh", x)
        case "elu":
            return nodes.add("Elu", x)
    return x  # linear


def _weightless(nodes: Nodes, network: Network, layer: Layer, inputs: Sequence[str]) -> str:
    """Add any layer but a convolution; [dropout] and [yolo] pass on their input."""
    match layer.section:
        case Shortcut(_, activation):
            total, wanted = inputs[0], layer.shape.channels
            for source, other in zip(layer.sources[1:], inputs[1:], strict=True):
                total = nodes.add("Add", total, _fitted(nodes, other, network.shape(source).channels, wanted))
            return _activation(nodes, activation, total)
        case ScaleChannels(_, activation) | Sam(_, activation):
            return _activation(nodes, activation, nodes.add("Mul", inputs[1], inputs[0]))
        case Reorg(stride, scrambled):
            return _reorg(nodes, inputs[0], stride, scrambled=scrambled)
        case Route(_, groups, group_id):
            parts = inputs
            if groups > 1:
                channels = [network.shape(source).channels for source in layer.sources]
                parts = [_part(nodes, *each, groups, group_id) for each in zip(inputs, channels, strict=True)]
            return nodes.add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
        case MaxPool(size, stride, padding):
            before = padding // 2  # the odd cell goes right and below; padding never wins
            pads = [before, before, padding - before, padding - before]
            return nodes.add("MaxPool", inputs[0], kernel_shape=[size] * 2, strides=[stride] * 2, pads=pads)
        case LocalAvgPool(size, stride, padding):
            before = padding // 2
            pads = [before, before, padding - before, padding - before]
            window = {"kernel_shape": [size] * 2, "strides": [stride] * 2, "pads": pads}
            return nodes.add("AveragePool", inputs[0], **window)
        case Upsample(stride):
            factors = nodes.floats(1, 1, stride, stride)
            return nodes.add(
                "Resize", inputs[0], "", factors, mode="nearest", nearest_mode="floor",
                coordinate_transformation_mode="asymmetric",
            )  # fmt: skip
        case AvgPool():
            return nodes.add("GlobalAveragePool", inputs[0])
    return inputs[0]


def _fitted(nodes: Nodes, x: str, channels: int, wanted: int) -> str:
    """Cut channels off, or add channels of 0."""
    if channels < wanted:
        return nodes.add("Pad", x, nodes.integers(0, 0, 0, 0, 0, wanted - channels, 0, 0))
    if channels > wanted:
        return nodes.add("Slice", x, nodes.integers(0), nodes.integers(wanted), nodes.integers(1))
    return x


def _reorg(nodes: Nodes, x: str, stride: int, *, scrambled: bool) -> str:
    """(B, C, H, W) -> (B, C*stride², H/stride, W/stride).

    The mistake of [reorg]: it treats its input as (C/stride², H*stride, W*stride), and its result, of shape
    (C, H, W), as the correct shape.
    """
    if not scrambled:
        return nodes.add("SpaceToDepth", x, blocksize=stride)
    square, shape = stride * stride, nodes.add("Shape", x)
    longer = nodes.add("Mul", shape, nodes.integers(1, 1, stride, stride))
    longer = nodes.add("Div", longer, nodes.integers(1, square, 1, 1))
    moved = nodes.add("SpaceToDepth", nodes.add("Reshape", x, longer), blocksize=stride)
    shorter = nodes.add("Mul", shape, nodes.integers(1, square, 1, 1))
    return nodes.add("Reshape", moved, nodes.add("Div", shorter, nodes.integers(1, 1, stride, stride)))


def _part(nodes: Nodes, source: str, channels: int, groups: int, group_id: int) -> str:
    """Add the selection of one of `groups` equal parts of the channels."""
    part = channels // groups
    first, last = nodes.integers(part * group_id), nodes.integers(part * (group_id + 1))
    return nodes.add("Slice", source, first, last, nodes.integers(1))


def _declare(graph: onnx.GraphProto, network: Network, candidates: str, raw_maps: Sequence[str]) -> None:
    """Name the graph's input and outputs."""
    graph.input.append(_value("images", TensorProto.UINT8, "batch", "height", "width", 3))
    graph.node.append(helper.make_node("Identity", [candidates], ["candidates"], name="candidates"))
    columns = 5 + network.classes
    graph.output.append(_value("candidates", TensorProto.FLOAT, "batch", "count", columns))
    for scale, raw in zip(network.scales, raw_maps, strict=False):
        channels = len(scale.anchors) * scale.columns
        graph.output.append(
            _value(raw, TensorProto.FLOAT, "batch", channels, f"{raw}/rows", f"{raw}/columns")
        )


def _value(name: str, kind: int, *shape: str | int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)
