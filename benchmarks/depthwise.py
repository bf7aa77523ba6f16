"""AP of a network with depthwise convolutions in int8, with different parts in float32 (see int8.md).

    python benchmarks/depthwise.py MODEL DATA

The networks are calibrated on 100 images of the train split of DATA, and evaluated on its val split.
"""

import argparse
import logging
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nncf
import numpy as np
import onnx
from machine import machine_line
from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

from lookonce._terminal import terminal
from lookonce.evaluate.coco import evaluate
from lookonce.export import quantize_onnx
from lookonce.export.files import read_openvino, save_openvino, write_onnx
from lookonce.export.graph import export_graph
from lookonce.export.int8 import Int8, choose_images
from lookonce.export.quantize_openvino import CONVOLUTIONS, float_nodes, is_depthwise
from lookonce.export.source import read_source
from lookonce.gate import detect_samples, own_values
from lookonce.metadata import METADATA_KEY
from lookonce.runtime.detector import Detector
from lookonce.runtime.options import EVALUATION_CONF

MOST_IMAGES = 100  # for calibration


@dataclass(frozen=True)
class OpenVino:
    """A way to quantize for OpenVINO.

    Attributes:
        depthwise: whether all depthwise convolutions are float; the first convolution always is.
        kinds: further node types that are float.
        seven_bits: whether weights use seven bits.
        symmetric: whether activations have symmetric ranges.
        bias: method of bias correction: fast, exact or none.
    """

    depthwise: bool = False
    kinds: tuple[str, ...] = ()
    seven_bits: bool = False
    symmetric: bool = False
    bias: str = "fast"  # fast, exact, none

    def write(self, graph: onnx.ModelProto, images: NDArray[np.uint8], path: Path) -> None:
        model = read_openvino(graph)
        note = model.get_rt_info(["framework", METADATA_KEY]).astype(str)
        nodes = {node.get_friendly_name(): node for node in model.get_ordered_ops()}
        kept = [
            name
            for name in float_nodes(model)
            if self.depthwise or not is_depthwise(nodes[name]) or name == first_convolution(nodes)
        ]
        kept += [name for name, node in nodes.items() if node.get_type_name() in self.kinds]
        with redirect_stdout(StringIO()):  # progress bars
            quantized = nncf.quantize(
                model,
                nncf.Dataset([image[None] for image in images]),
                preset=(
                    nncf.QuantizationPreset.PERFORMANCE if self.symmetric else nncf.QuantizationPreset.MIXED
                ),
                subset_size=len(images),
                fast_bias_correction=self.bias != "exact",
                ignored_scope=nncf.IgnoredScope(names=list(dict.fromkeys(kept)), validate=False),
                advanced_parameters=AdvancedQuantizationParameters(
                    overflow_fix=OverflowFix.ENABLE if self.seven_bits else None,
                    disable_bias_correction=self.bias == "none",
                ),
            )
        quantized.set_rt_info(note, ["framework", METADATA_KEY])
        save_openvino(quantized, path)


def first_convolution(nodes: dict[str, Any]) -> str:
    return next(name for name, node in nodes.items() if node.get_type_name() in CONVOLUTIONS)


def write_onnxruntime(
    graph: onnx.ModelProto,
    images: NDArray[np.uint8],
    path: Path,
    *,
    kept: Callable[[onnx.NodeProto], bool] = lambda node: False,
    seven_bits: bool = True,
    percentile: float | None = None,
) -> None:
    """Quantize for ONNX Runtime; heads, decoding and nodes for which `kept` returns True stay float."""
    reader = quantize_onnx._Reader([image[None] for image in images], graph.graph.input[0].name)
    prepared = onnx.ModelProto()
    prepared.CopyFrom(graph)  # `quantize_static` changes its argument
    quantize_static(
        prepared,
        path,
        reader,
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=seven_bits,
        calibrate_method=CalibrationMethod.Percentile if percentile else CalibrationMethod.MinMax,
        nodes_to_exclude=[
            *quantize_onnx.float_nodes(graph.graph),
            *(node.name for node in graph.graph.node if kept(node)),
        ],
        extra_options={"CalibPercentile": percentile} if percentile else {},
    )


def is_grouped(node: onnx.NodeProto) -> bool:
    return node.op_type == "Conv" and any(each.name == "group" and each.i > 1 for each in node.attribute)


FIRST, DEPTHWISE = "openvino, first convolution float", "openvino, depthwise float too"
OPENVINO = {
    FIRST: OpenVino(),
    f"{FIRST}, weights 7 bits": OpenVino(seven_bits=True),
    f"{FIRST}, sums float": OpenVino(kinds=("Add",)),
    DEPTHWISE: OpenVino(depthwise=True),
    f"{DEPTHWISE}, weights 7 bits": OpenVino(depthwise=True, seven_bits=True),
    f"{DEPTHWISE}, symmetric activations": OpenVino(depthwise=True, symmetric=True),
    f"{DEPTHWISE}, exact bias correction": OpenVino(depthwise=True, bias="exact"),
    f"{DEPTHWISE}, no bias correction": OpenVino(depthwise=True, bias="none"),
    f"{DEPTHWISE}, concatenation, pooling and resizing float": OpenVino(
        depthwise=True, kinds=("Concat", "MaxPool", "Interpolate")
    ),
    f"{DEPTHWISE}, sums float": OpenVino(depthwise=True, kinds=("Add",)),
}
ONNXRUNTIME: dict[str, dict[str, Any]] = {
    "onnxruntime, as for other networks": {},
    "onnxruntime, weights 8 bits": {"seven_bits": False},
    "onnxruntime, depthwise float": {"kept": is_grouped},
    "onnxruntime, sums float": {"kept": lambda node: node.op_type == "Add"},
    "onnxruntime, ranges by percentile 99.999": {"percentile": 99.999},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    options = parser.parse_args()
    logging.getLogger("nncf").setLevel(logging.ERROR)
    print(machine_line("onnxruntime", "openvino", "nncf", "numpy"))
    source = read_source(options.model)
    images, samples = choose_images(Int8(options.data), source.info, terminal())
    assert samples, "expected a val split"
    images, graph = images[:MOST_IMAGES], export_graph(source)
    with TemporaryDirectory() as folder:

        def show(label: str, path: Path) -> None:
            with Detector.open(path, conf=EVALUATION_CONF) as detector:
                results = detect_samples(detector, samples, own_values(detector, samples))
                ap = evaluate(results.samples, results.found, detector.names).ap
            print(f"{ap:.4f}  {label}", flush=True)

        write_onnx(graph, onnx_file := Path(folder) / "float.onnx")
        show("float32", onnx_file)
        for label, way in OPENVINO.items():
            way.write(graph, images, xml_file := Path(folder) / "int8.xml")
            show(label, xml_file)
        for label, choices in ONNXRUNTIME.items():
            write_onnxruntime(graph, images, onnx_file := Path(folder) / "int8.onnx", **choices)
            show(label, onnx_file)


if __name__ == "__main__":
    main()
