"""Prepare the graph to export: build it with `darknet.onnx_graph`, set its shapes, add NMS, and check it."""

from dataclasses import dataclass, replace

import onnx

from lookonce.darknet.onnx_graph import build_onnx
from lookonce.darknet.resolve import resolve
from lookonce.errors import ConfigError
from lookonce.export.nms import GraphNms, add_nms
from lookonce.export.source import FloatModel
from lookonce.geometry.sizes import size_advice


@dataclass(frozen=True, slots=True)
class GraphForm:
    """The form of a graph's input and output.

    Attributes:
        static: whether the batch size is fixed to 1 and the input to the model's size, as some engines
            require.
        planes: whether the input is one image (1, 3, H, W) float32 in [0, 1] at the model's size, as for
            OpenCV, instead of (B, H, W, 3) uint8; see `runtime.backends.as_planes`.
        nms: thresholds of NMS in the graph; None for candidates as the output.
    """

    static: bool = False
    planes: bool = False
    nms: GraphNms | None = None


PLAIN = GraphForm()


def with_size(source: FloatModel, size: tuple[int, int]) -> FloatModel:
    """Return the same model with another input size (height, width).

    Raises:
        ConfigError: the network does not support this size.
    """
    coarsest = max(source.info.strides)
    if any(side % coarsest for side in size):
        raise ConfigError(
            f"size: expected multiples of {coarsest}, found {size[0]}x{size[1]}{size_advice(size, coarsest)}"
        )
    network = resolve(source.network.cfg, size)
    return replace(source, network=network, info=replace(source.info, input_size=size))


def export_graph(source: FloatModel, form: GraphForm = PLAIN) -> onnx.ModelProto:
    """Build the graph of a model, from RGB images to candidates or detections."""
    model = build_onnx(source.network, source.weights, source.info, planes=form.planes)
    if form.static and not form.planes:
        height, width = source.info.input_size
        ports = (
            (model.graph.input[0], (1, height, width)),
            (model.graph.output[0], (1, source.network.candidates)),
        )
        for value, sides in ports:
            for dimension, side in zip(value.type.tensor_type.shape.dim, sides, strict=False):
                dimension.dim_value = side
    if form.nms is not None:
        add_nms(model, form.nms)
    onnx.checker.check_model(model, full_check=True)  # including shapes; a failure is a bug of lookonce
    return model
