"""A `.cfg` with its `.weights` as an ONNX graph, with batch normalization folded and decoding included.

As in `runtime.backends.Backend`, the inputs are uint8 RGB images and the outputs candidates in input pixels.
Batch, height and width are open, and the grid of cells is computed from the actual shapes. If the input is in
planes, for OpenCV and other engines, all shapes are fixed instead.

Legend: **B** batch, **H**, **W** input height and width, **A** anchors of a scale, **K** candidates,
**C** classes.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lookonce.darknet.network import IMAGE, LUMA, Layer, Network, Shape
from lookonce.darknet.onnx_decode import add_decoding
from lookonce.darknet.onnx_nodes import Nodes
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
from lookonce.darknet.weights import ConvWeights, Floats, folded_arrays
from lookonce.metadata import LEAKY_SLOPE, METADATA_KEY, ModelInfo

OPSET, IR_VERSION = 17, 8  # supported by ONNX Runtime 1.18, the oldest version allowed


def build_onnx(
    network: Network,
    weights: Sequence[ConvWeights],
    info: ModelInfo,
    *,
    raw_maps: bool = False,
    planes: bool = False,
) -> onnx.ModelProto:
    """Build the ONNX graph of a network.

    Args:
        network: resolved `.cfg`, with at least one [yolo].
        weights: weights of `network.convolutions`, checked by `weights.check_weights`.
        info: description for the metadata, with the `bn_epsilon` of the weights.
        raw_maps: whether to add each scale's raw map (B, A*columns, H/stride, W/stride) as an output, finest
            first.
        planes: whether the input is (1, 3, H, W) float32 in [0, 1] at the network's size, instead of images
            (B, H, W, 3) uint8 of any size.
    """
    model = helper.make_model(
        onnx.GraphProto(name="darknet"),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="lookonce",
    )
    helper.set_model_props(model, {METADATA_KEY: info.to_json()})
    nodes = Nodes(model.graph)
    image = "images"
    if not planes:  # uint8 (B, H, W, 3) -> float (B, 3, H, W) in [0, 1]
        image = nodes.add("Cast", nodes.add("Transpose", image, perm=[0, 3, 1, 2]), to=TensorProto.FLOAT)
        image = nodes.add("Div", image, nodes.floats(255))
    if network.cfg.net.channels == 1:
        luma = nodes.constant(np.array(LUMA, np.float32).reshape(1, 3, 1, 1))
        image = nodes.add("Conv", image, luma, kernel_shape=[1, 1])  # OpenCV 4.12 needs the attribute
    outputs = {IMAGE: image}
    folded = {
        spec.layer: folded_arrays(each, info.bn_epsilon)
        for spec, each in zip(network.convolutions, weights, strict=True)
    }
    for layer in network.layers:
        nodes.prefix = f"{layer.index}_{type(layer.section).__name__.lower()}"
        inputs = [outputs[source] for source in layer.sources]
        if isinstance(layer.section, Convolutional):
            owner = network.shared.get(layer.index, layer.index)
            outputs[layer.index] = convolution(nodes, layer.section, folded[owner], inputs[0])
        else:
            outputs[layer.index] = weightless(nodes, network, layer, inputs, static=planes)
    raw = [outputs[scale.source] for scale in network.scales]
    candidates = add_decoding(nodes, network, raw, static=planes)
    graph = model.graph
    graph.node.append(helper.make_node("Identity", [candidates], ["candidates"], name="candidates"))
    value = helper.make_tensor_value_info
    net, shape = network.cfg.net, list[str | int | None](["batch", "count", 5 + network.classes])
    if planes:
        graph.input.append(value("images", TensorProto.FLOAT, [1, 3, net.height, net.width]))
        shape[:2] = 1, network.candidates
    else:
        graph.input.append(value("images", TensorProto.UINT8, ["batch", "height", "width", 3]))
    graph.output.append(value("candidates", TensorProto.FLOAT, shape))
    for scale, name in zip(network.scales, raw if raw_maps else [], strict=False):
        sides = [f"{name}/rows", f"{name}/columns"]
        shape = ["batch", len(scale.anchors) * scale.columns, *sides]
        graph.output.append(value(name, TensorProto.FLOAT, shape))
    return model


def read_convolutions(graph: onnx.GraphProto) -> list[ConvWeights]:
    """Return the folded kernel and bias of each convolution in a graph from `build_onnx`, in file order."""
    arrays = {tensor.name: tensor for tensor in graph.initializer}
    inputs = [node.input[1:] for node in graph.node if node.op_type == "Conv" and len(node.input) == 3]
    return [
        ConvWeights(numpy_helper.to_array(arrays[kernel]), numpy_helper.to_array(arrays[bias]))
        for kernel, bias in inputs
        if kernel in arrays and bias in arrays
    ]


def convolution(nodes: Nodes, section: Convolutional, folded: tuple[Floats, Floats], source: str) -> str:
    """Add a convolution with its activation; return its output's name."""
    kernel, bias = folded
    if section.xnor:
        magnitude = np.abs(kernel).mean(axis=(1, 2, 3), keepdims=True)
        kernel = np.where(kernel > 0, magnitude, -magnitude)
        source = nodes.add(
            "Where", nodes.add("Greater", source, nodes.floats(0)), *map(nodes.floats, (1, -1))
        )
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
    return activated(nodes, section.activation, made)


def activated(nodes: Nodes, name: str, x: str) -> str:
    """Add an activation, given by its name in a `.cfg`; return its output's name."""
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


def weightless(nodes: Nodes, network: Network, layer: Layer, inputs: Sequence[str], *, static: bool) -> str:
    """Add a layer other than a convolution; a [dropout] or [yolo] returns its input."""
    match layer.section:
        case Shortcut(_, activation):
            total, wanted = inputs[0], layer.shape.channels
            for source, other in zip(layer.sources[1:], inputs[1:], strict=True):
                missing = wanted - network.shape(source).channels  # missing channels count as 0
                if missing > 0:
                    other = nodes.add("Pad", other, nodes.integers(0, 0, 0, 0, 0, missing, 0, 0))
                elif missing < 0:
                    other = nodes.channels(other, 0, wanted)
                total = nodes.add("Add", total, other)
            return activated(nodes, activation, total)
        case ScaleChannels(_, activation) | Sam(_, activation):
            return activated(nodes, activation, nodes.add("Mul", inputs[1], inputs[0]))
        case Reorg(stride, scrambled):
            if not scrambled:
                return nodes.add("SpaceToDepth", inputs[0], blocksize=stride)
            return reorganized(nodes, inputs[0], stride, network.shape(layer.sources[0]) if static else None)
        case Route(_, groups, group_id):
            parts = inputs
            if groups > 1:
                sizes = [network.shape(source).channels // groups for source in layer.sources]
                cuts = [(part, size * group_id, size * (group_id + 1))
                        for part, size in zip(inputs, sizes, strict=True)]  # fmt: skip
                parts = [nodes.channels(*cut) for cut in cuts]
            return nodes.add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
        case MaxPool(size, stride, padding) | LocalAvgPool(size, stride, padding):
            before = (
                padding // 2
            )  # the odd cell goes right and below; padding is never the maximum, nor in a mean
            pads = [before, before, padding - before, padding - before]
            operator = "MaxPool" if isinstance(layer.section, MaxPool) else "AveragePool"
            return nodes.add(operator, inputs[0], kernel_shape=[size] * 2, strides=[stride] * 2, pads=pads)
        case Upsample(stride):
            factors = nodes.floats(1, 1, stride, stride)
            return nodes.add(
                "Resize", inputs[0], "", factors, mode="nearest", nearest_mode="floor",
                coordinate_transformation_mode="asymmetric",
            )  # fmt: skip
        case AvgPool():
            return nodes.add("GlobalAveragePool", inputs[0])
    return inputs[0]


def reorganized(nodes: Nodes, x: str, stride: int, fixed: Shape | None) -> str:
    """Add a [reorg]: (B, C, H, W) -> (B, C*stride², H/stride, W/stride).

    By mistake, Darknet treats the input as (C/stride², H*stride, W*stride), reorganizes it to (C, H, W), and
    treats that as the result.
    """
    square = stride * stride
    if fixed is not None:
        channels, height, width = fixed
        longer = nodes.integers(1, channels // square, height * stride, width * stride)
        moved = nodes.add("SpaceToDepth", nodes.add("Reshape", x, longer), blocksize=stride)
        shorter = nodes.integers(1, channels * square, height // stride, width // stride)
        return nodes.add("Reshape", moved, shorter)
    shape = nodes.add("Shape", x)
    longer = nodes.add("Mul", shape, nodes.integers(1, 1, stride, stride))
    longer = nodes.add("Div", longer, nodes.integers(1, square, 1, 1))
    moved = nodes.add("SpaceToDepth", nodes.add("Reshape", x, longer), blocksize=stride)
    shorter = nodes.add("Mul", shape, nodes.integers(1, square, 1, 1))
    return nodes.add("Reshape", moved, nodes.add("Div", shorter, nodes.integers(1, 1, stride, stride)))
