"""Quantize for ONNX Runtime with its own tools: statically, with quantize-dequantize pairs per operator.

Choices by measurement (docs/int8.md): unsigned activations, which x86 multiplies faster than signed ones;
weights per channel in 7 bits, so that 16-bit sums do not overflow on any CPU; ranges from the smallest to the
largest value. The first convolution is int8 too, because float would take a third more time without a gain.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from lookonce.export.quantize import (
    Inputs,
    Watch,
    back_to_heads,
    batches_of_one,
    describe,
    description,
    unwatched,
    with_note,
)
from lookonce.metadata import ModelInfo


def quantize_onnx(
    graph: onnx.ModelProto, inputs: Inputs, watch: Watch = unwatched, *, symmetric: bool = False
) -> onnx.ModelProto:
    """Return a graph in int8, with heads and decoding in float.

    Args:
        graph: float graph from `graph.export_graph`, without NMS.
        inputs: (P, H, W, 3) uint8 RGB images to calibrate on, at least one.
        watch: function that yields the images and shows the progress.
        symmetric: whether activations are signed with ranges symmetric around 0, which some CPUs multiply
            faster.
    """
    info = ModelInfo.from_json(description(graph), graph.producer_name)
    prepared = onnx.ModelProto()
    prepared.CopyFrom(graph)
    add_pre_process_metadata(prepared)  # silences advice to simplify the graph, which is already simple
    with TemporaryDirectory(prefix="lookonce-") as folder:
        made = Path(folder) / "int8.onnx"
        quantize_static(
            prepared,
            made,
            _Reader(watch(batches_of_one(inputs)), graph.graph.input[0].name),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=float_nodes(graph.graph),
            extra_options={"ActivationSymmetric": symmetric},
        )
        quantized = onnx.load(made)
    quantized.producer_name, quantized.producer_version = graph.producer_name, graph.producer_version
    describe(quantized, with_note(info, "onnxruntime", len(inputs), "heads, decoding"))
    return quantized


def float_nodes(graph: onnx.GraphProto) -> list[str]:
    """Return the names of the nodes that stay float, which are heads and decoding."""
    makers = {output: number for number, node in enumerate(graph.node) for output in node.output}

    def before(number: int) -> Iterator[int]:
        return (makers[name] for name in graph.node[number].input if name in makers)

    ends = [makers[output.name] for output in graph.output]
    kept = back_to_heads(ends, before, lambda number: graph.node[number].op_type == "Conv")
    return [graph.node[number].name for number in sorted(kept)]


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # untyped base
    """Provides the images to the tool, one at a time."""

    def __init__(self, batches: Iterable[Inputs], name: str) -> None:
        self._batches = iter(batches)
        self._name = name

    def get_next(self) -> dict[str, Any] | None:
        """Return the next image as the graph's input; None at the end."""
        batch = next(self._batches, None)
        return None if batch is None else {self._name: batch}
