"""Run a network with additional outputs, and measure the time of its layers.

The graph is the same as for detection (`darknet.onnx_graph`), with more outputs. Its nodes are named after
the layers, `{index}_{kind}/...`, and ONNX Runtime keeps these names when it fuses nodes.

Legend: **A** anchors of a scale, **C** classes, **K** candidates of all scales.
"""

import json
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from lookonce._onnxruntime import ort
from lookonce.darknet.network import Network
from lookonce.darknet.onnx_graph import build_onnx
from lookonce.darknet.resolve import resolve
from lookonce.darknet.sections import Yolo
from lookonce.explain.records import Timing
from lookonce.export.source import FloatModel

RUNS = 5
ORT_FATAL = 4  # log level; errors are raised, so nothing needs to be printed
METHOD = (
    "ONNX Runtime's profile of each operator on one CPU thread, median of {runs} runs after a warm-up run. "
    "Batch normalization and activation are fused into their convolution, and so is the sum "
    "of a shortcut, which then shows no time of its own; a [yolo]'s time is its decoding."
)

_LAYER = re.compile(r"(\d+)_[a-z]+/")
_DECODING = re.compile(r"decode_\d+_(\d+)/")


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """The output of a network for one image.

    Attributes:
        candidates: (K, 5+C) float32: xyxy in input pixels, objectness, class probabilities.
        raw_maps: (A*columns, S, T) float32 for each scale, finest first.
    """

    candidates: NDArray[np.float32]
    raw_maps: tuple[NDArray[np.float32], ...]


class Tracer:
    """Runs one model at one input size.

    Attributes:
        network: layers of the model, with their shapes at that size.
    """

    def __init__(self, source: FloatModel, size: tuple[int, int]) -> None:
        """Prepare the network for an input of (height, width).

        Raises:
            ModelFileError: the layers do not fit together at this size.
        """
        self.network = resolve(source.network.cfg, size)
        self._source = source
        self._session: ort.InferenceSession | None = None
        self._layers_session: ort.InferenceSession | None = None
        self._timing: tuple[Timing, dict[int, float]] | None = None

    def run(self, pixels: NDArray[np.uint8]) -> Run:
        """Run the network on (height, width, 3) uint8 RGB; the output is exactly that of `OnnxBackend`."""
        if self._session is None:
            self._session = self._open()
        candidates, *raw_maps = self._session.run(None, {"images": pixels[None]})
        return Run(candidates[0], tuple(raw_map[0] for raw_map in raw_maps))

    def outputs(self, pixels: NDArray[np.uint8]) -> dict[int, NDArray[np.float32]]:
        """Return the outputs (channels, rows, columns) of all layers that compute something, by number.

        This uses a second graph, because with more outputs fewer nodes are fused, which changes the last
        bits of the result.
        """
        if self._layers_session is None:
            self._layers_session = self._open(every_layer=True)
        session = self._layers_session
        layers = {
            output.name: int(match[1])
            for output in session.get_outputs()
            if (match := _LAYER.match(output.name))
        }
        found = session.run(list(layers), {"images": pixels[None]})
        return {layer: output[0] for layer, output in zip(layers.values(), found, strict=True)}

    def timing(self) -> tuple[Timing, dict[int, float]]:
        """Return the timing, and the seconds by layer number.

        The measurement is done only once, on noise, because times hardly depend on the image.
        """
        if self._timing is not None:
            return self._timing
        net = self.network.cfg.net
        noise = np.random.default_rng(0).integers(0, 256, (1, net.height, net.width, 3), np.uint8)
        with TemporaryDirectory() as folder:
            options = ort.SessionOptions()
            options.intra_op_num_threads = 1
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / "profile")
            session = self._open(options)
            for _ in range(1 + RUNS):
                session.run(["candidates"], {"images": noise})
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        layers, other = layer_seconds(events, self.network, 1 + RUNS)
        total = sum(layers.values()) + other
        self._timing = Timing(METHOD.format(runs=RUNS), RUNS, total, other), layers
        return self._timing

    def _open(
        self, options: ort.SessionOptions | None = None, *, every_layer: bool = False
    ) -> ort.InferenceSession:
        """Open the network with its raw maps, or the outputs of every layer, as additional outputs."""
        graph = build_onnx(self.network, self._source.weights, self._source.info, raw_maps=True)
        if every_layer:
            graph = with_layer_outputs(graph)
        options = options or ort.SessionOptions()
        options.log_severity_level = ORT_FATAL
        return ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])


def with_layer_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """Add the outputs of all layers that compute something to the outputs of the graph, in place.

    The output of a layer is that of its last node. Layers without a node ([route] to one layer, [dropout],
    [yolo]) return the output of another layer.
    """
    last = {match[1]: node.output[0] for node in model.graph.node if (match := _LAYER.match(node.name))}
    declared = {output.name for output in model.graph.output}
    for name in last.values():
        if name not in declared:
            model.graph.output.append(
                onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None] * 4)
            )
    return model


def layer_seconds(
    events: list[dict[str, Any]], network: Network, runs: int
) -> tuple[dict[int, float], float]:
    """Return the seconds by layer number, and those of no layer, from a profile of several runs.

    Each value is the median over all runs except the first, which is a warm-up.
    """
    kernels = [e for e in events if e.get("cat") == "Node" and e["name"].endswith("_kernel_time")]
    decoders = {layer.sources[0]: layer.index for layer in network.layers if isinstance(layer.section, Yolo)}
    a_run = len(kernels) // runs  # operators per run; on one thread, all of a run precede those of the next
    sums: dict[int | None, list[float]] = defaultdict(lambda: [0.0] * runs)
    for number, event in enumerate(kernels):
        layer: int | None = None
        if match := _LAYER.match(event["name"]):
            layer = int(match[1])
        elif match := _DECODING.match(event["name"]):
            layer = decoders[int(match[1])]
        sums[layer][number // a_run] += event["dur"] / 1e6
    seconds = {index: median(each[1:]) for index, each in sums.items()}
    other = seconds.pop(None, 0.0)
    return {index: each for index, each in seconds.items() if index is not None}, other
