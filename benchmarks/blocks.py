"""Time of 3x3 convolutions by their number of channels: how many does the engine compute at once?

    python benchmarks/blocks.py [--engine openvino]

Four convolutions of equal width with leaky ReLU, in float32 on all cores; the widths take turns, and the
lower quartile of the times counts. `lookonce slim` removes channels in steps of
`Cpu.channels_at_once` for this reason.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import onnxruntime
import openvino
from machine import machine_line
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

LAYERS = 4
WIDTHS = {160: (8, 16, 24, 32), 40: (40, 48, 56, 64, 72, 80), 20: (104, 112, 120, 128)}  # by side of the maps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--engine", choices=ENGINES, default="onnxruntime")
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args()
    print(machine_line(options.engine, "numpy"))
    print("\n| maps | channels | ms |")
    print("|---|---|---|")
    for side, widths in WIDTHS.items():
        loaded = [ENGINES[options.engine](convolutions(width, side)) for width in widths]
        inputs = [np.ones((1, width, side, side), np.float32) for width in widths]
        seconds: list[list[float]] = [[] for _ in widths]
        for _ in range(1 + options.rounds):
            for run, given, times in zip(loaded, inputs, seconds, strict=True):
                start = time.perf_counter()
                run(given)
                times.append(time.perf_counter() - start)
        for width, times in zip(widths, seconds, strict=True):
            print(f"| {side}x{side} | {width} | {1000 * np.percentile(times[1:], 25):.2f} |", flush=True)


def convolutions(width: int, side: int) -> bytes:
    """Return the network as ONNX; its input and output are (1, width, side, side)."""
    random = np.random.default_rng(0)
    nodes, weights = [], []
    for layer in range(LAYERS):
        kernel = random.normal(0, 1 / np.sqrt(9 * width), (width, width, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"kernel{layer}"))
        inputs = [f"x{layer}", f"kernel{layer}"]
        nodes.append(helper.make_node("Conv", inputs, [f"y{layer}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("LeakyRelu", [f"y{layer}"], [f"x{layer + 1}"], alpha=0.1))
    shape = [1, width, side, side]
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)] for name in ("x0", f"x{LAYERS}")]
    graph = helper.make_graph(nodes, "convolutions", *ends, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def in_onnx_runtime(model: bytes) -> Callable[[NDArray[np.float32]], object]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return lambda given: session.run(None, {"x0": given})


def in_openvino(model: bytes) -> Callable[[NDArray[np.float32]], object]:
    """Load a model as lookonce does."""
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.compile_model(openvino.Core().read_model(model), "CPU", hints).create_infer_request()
    return lambda given: request.infer([given])


ENGINES = {"onnxruntime": in_onnx_runtime, "openvino": in_openvino}


if __name__ == "__main__":
    main()
