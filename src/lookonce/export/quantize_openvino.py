"""Quantize for OpenVINO with NNCF: symmetric weights per channel, asymmetric activations, corrected biases.

The first convolution stays float, as do heads and decoding. CPUs without VNNI add two products of bytes in
16 bits, which overflow with the large values of an image: in int8, this layer alone costs 0.058 AP there,
which a gate on a CPU with VNNI does not notice. With 7-bit weights, NNCF's own remedy, it costs 0.005
everywhere (docs/int8.md).

Depthwise convolutions stay float too: their channels differ so much in range that int8 costs a network of
them 0.013 AP, and it saves no time. In such a network, sums overflow in other layers as well, so its weights
have 7 bits, unless `first` is set for a CPU on which sums cannot overflow (benchmarks/int8.md).
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx

from lookonce._optional import require
from lookonce.export.files import read_openvino, save_openvino
from lookonce.export.quantize import (
    Inputs,
    Watch,
    back_to_heads,
    batches_of_one,
    description,
    unwatched,
    with_note,
)
from lookonce.metadata import METADATA_KEY, ModelInfo

CONVOLUTIONS = ("Convolution", "GroupConvolution")


def quantize_openvino(
    graph: onnx.ModelProto,
    inputs: Inputs,
    path: Path,
    watch: Watch = unwatched,
    *,
    symmetric: bool = False,
    first: bool = False,
) -> None:
    """Write a graph in int8, as an `.xml` file and the `.bin` beside it.

    Args:
        graph: float graph from `graph.export_graph`, without NMS.
        inputs: (P, H, W, 3) uint8 RGB images to calibrate on, at least one.
        path: `.xml` file to write.
        watch: function that yields the images and shows the progress.
        symmetric: whether ranges of activations are symmetric around 0, which some CPUs multiply faster.
        first: whether to quantize the first convolution too; only for CPUs on which sums cannot overflow.

    Raises:
        MissingExtraError: OpenVINO or NNCF is not installed.
    """
    nncf = import_nncf()
    model = read_openvino(graph)
    info = ModelInfo.from_json(description(graph), str(path))
    has_depthwise = any(map(is_depthwise, model.get_ordered_ops()))
    seven_bits = nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE)
    with redirect_stdout(StringIO()):  # hides NNCF's progress bars; `watch` shows its own
        quantized = nncf.quantize(
            model,
            nncf.Dataset(_Watched(batches_of_one(inputs), watch)),
            preset=nncf.QuantizationPreset.PERFORMANCE if symmetric else nncf.QuantizationPreset.MIXED,
            subset_size=len(inputs),
            ignored_scope=nncf.IgnoredScope(names=float_nodes(model, first=first), validate=False),
            advanced_parameters=seven_bits if has_depthwise and not first else None,
        )
    kept = "heads, decoding" if first else "first convolution, heads, decoding"
    kept = f"depthwise convolutions, {kept}" if has_depthwise else kept
    noted = with_note(info, "nncf", len(inputs), kept)
    del quantized.rt_info["nncf"]  # names nodes by counters, which change from run to run
    quantized.set_rt_info(noted.to_json(), ["framework", METADATA_KEY])
    save_openvino(quantized, path)


def import_nncf() -> ModuleType:
    """Import NNCF, and turn off its messages.

    Raises:
        MissingExtraError: OpenVINO or NNCF is not installed.
    """
    require("openvino", "export")
    nncf = require("nncf", "export")
    logging.getLogger("nncf").setLevel(logging.ERROR)  # NNCF's own function would silence other loggers too
    return nncf


def float_nodes(model: Any, *, first: bool = False) -> list[str]:
    """Return the names of the nodes that stay float.

    These are heads, decoding, depthwise convolutions and, unless `first` is set, the first convolution.
    """
    nodes = {node.get_friendly_name(): node for node in model.get_ordered_ops()}
    before = {
        name: [port.get_source_output().get_node().get_friendly_name() for port in node.inputs()]
        for name, node in nodes.items()
    }

    def is_convolution(name: str) -> bool:
        return nodes[name].get_type_name() in CONVOLUTIONS

    ends = [result.get_friendly_name() for result in model.get_results()]
    kept = set(back_to_heads(ends, before.__getitem__, is_convolution))
    kept.update(name for name, node in nodes.items() if is_depthwise(node))
    if not first:
        kept.add(next(name for name in nodes if is_convolution(name)))
    return [name for name in nodes if name in kept]


def is_depthwise(node: Any) -> bool:
    """Return whether a node is a depthwise convolution, whose kernels are (C, M, 1, H, W)."""
    is_grouped: bool = node.get_type_name() == "GroupConvolution"
    return is_grouped and bool(node.input(1).get_partial_shape()[2] == 1)


class _Watched:
    """Images that NNCF can count and iterate over repeatedly, with progress."""

    def __init__(self, batches: Sequence[Inputs], watch: Watch) -> None:
        self._batches = batches
        self._watch = watch

    def __iter__(self) -> Iterator[Inputs]:
        yield from self._watch(self._batches)

    def __len__(self) -> int:
        return len(self._batches)
