"""The graph to export: built by `darknet.onnx_graph`, given its shapes and checked here."""

from dataclasses import replace

import onnx

from lookonce.darknet.onnx_graph import build_onnx
from lookonce.errors import ConfigError
from lookonce.export.nms import GraphNms, add_suppression
from lookonce.export.source import FloatModel
from lookonce.geometry.sizes import size_advice


def with_size(source: FloatModel, size: tuple[int, int]) -> FloatModel:
    """Return the same model for another (height, width).

    Raises:
        ConfigError: the network does not support it.
    """
    coarsest = max(source.info.strides)
    if any(side % coarsest for side in size):
        raise ConfigError(
            f"size: expected multiples of {coarsest}, found {size[0]}x{size[1]}{size_advice(size, coarsest)}"
        )
    return replace(source, info=replace(source.info, input_size=size))


def export_graph(
    source: FloatModel, *, static: bool = False, suppression: GraphNms | None = None
) -> onnx.ModelProto:
    """Build one graph: uint8 RGB images in, candidates or detections out.

    Args:
        source: the model.
        static: fix the batch to 1 and the input to the model's size, for engines that require it.
        suppression: put it into the graph; see `nms.add_suppression`.
    """
    model = build_onnx(source.network, source.weights, source.info)
    if static:
        (height, width), scales = source.info.input_size, source.network.scales
        count = sum((height // s.stride) * (width // s.stride) * len(s.anchors) for s in scales)
        ports = (model.graph.input[0], (1, height, width)), (model.graph.output[0], (1, count))
        for value, sides in ports:
            for dimension, side in zip(value.type.tensor_type.shape.dim, sides, strict=False):
                dimension.dim_value = side
    if suppression is not None:
        add_suppression(model, suppression)
    onnx.checker.check_model(model, full_check=True)  # with all shapes; a failure is a bug here
    return model
