"""Run a network so that every tensor can be seen, and time its layers.

The graph is the one that detects (`darknet.onnx_graph`), with more outputs. Its nodes are named after the
layers, `{index}_{kind}/...`, and ONNX Runtime keeps these names when it fuses nodes.

Legend: **A** anchors of a scale, **C** classes, **K** candidates of all scales.
"""

import json
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from lookonce._onnxruntime import ort
from lookonce.darknet.cfg import Yolo
from lookonce.darknet.network import Network, resolve
from lookonce.darknet.onnx_graph import build_onnx
from lookonce.explain.records import Timing
from lookonce.export.source import Source

RUNS = 5
ORT_FATAL = 4  # log level: what goes wrong is raised
METHOD = (
    "ONNX Runtime's profile of each operator on one processor thread, median of {runs} runs after one that "
    "does not count. Batch normalisation and activation are fused into their convolution, and so is the sum "
    "of a shortcut, which then shows no time of its own; a [yolo]'s time is its decoding."
)

_LAYER = re.compile(r"(\d+)_[a-z]+/")
_DECODING = re.compile(r"decode_\d+_(\d+)/")


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What one image gave.

    Attributes:
        candidates: (K, 5+C) float32 xyxy in input pixels, objectness, class probabilities.
        raw_maps: per scale (A*(5+C), S, T) float32, finest first.
    """

    candidates: NDArray[np.float32]
    raw_maps: tuple[NDArray[np.float32], ...]


class Tracer:
    """One model at one input size.

    Attributes:
        network: with its shapes at that size.
    """

    def __init__(self, source: Source, size: tuple[int, int]) -> None:
        """Resolve the network at (height, width).

        Raises:
            ModelFileError: the network's layers do not fit together at this size.
        """
        self.network = at_size(source.network, size)
        self._source = source
        self._session: ort.InferenceSession | None = None
        self._layers_session: ort.InferenceSession | None = None
        self._timing: tuple[Timing, dict[int, float]] | None = None

    def run(self, pixels: NDArray[np.uint8]) -> Run:
        """Send (height, width, 3) uint8 RGB of the network's size through; the bits are the Detector's."""
        if self._session is None:
            self._session = _open(self._graph(), ort.SessionOptions())
        candidates, *raw_maps = self._session.run(None, {"images": pixels[None]})
        return Run(candidates[0], tuple(raw_map[0] for raw_map in raw_maps))

    def outputs(self, pixels: NDArray[np.uint8]) -> dict[int, NDArray[np.float32]]:
        """The output (channels, rows, columns) of every layer that computes something, by its number.

        A graph of its own: with so many outputs fewer nodes can be fused, which changes the last bits.
        """
        if self._layers_session is None:
            self._layers_session = _open(with_layer_outputs(self._graph()), ort.SessionOptions())
        session = self._layers_session
        layers = {
            output.name: int(match[1])
            for output in session.get_outputs()
            if (match := _LAYER.match(output.name))
        }
        found = session.run(list(layers), {"images": pixels[None]})
        return {layer: output[0] for layer, output in zip(layers.values(), found, strict=True)}

    def timing(self) -> tuple[Timing, dict[int, float]]:
        """Seconds by layer, measured once: they hardly depend on the image."""
        if self._timing is None:
            self._timing = self._measure()
        return self._timing

    def _graph(self) -> onnx.ModelProto:
        return build_onnx(self.network, self._source.weights, self._source.info, raw_maps=True)

    def _measure(self) -> tuple[Timing, dict[int, float]]:
        noise = np.random.default_rng(0).integers(0, 256, (1, *self._input_size(), 3), np.uint8)
        with TemporaryDirectory() as folder:
            options = ort.SessionOptions()
            options.intra_op_num_threads = 1
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / "profile")
            session = _open(self._graph(), options)
            for _ in range(1 + RUNS):
                session.run(["candidates"], {"images": noise})
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        layers, other = layer_seconds(events, self.network, 1 + RUNS)
        total = sum(layers.values()) + other
        return Timing(METHOD.format(runs=RUNS), RUNS, total, other), layers

    def _input_size(self) -> tuple[int, int]:
        net = self.network.cfg.net
        return net.height, net.width


def _open(graph: onnx.ModelProto, options: ort.SessionOptions) -> ort.InferenceSession:
    options.log_severity_level = ORT_FATAL
    return ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])


def at_size(network: Network, size: tuple[int, int]) -> Network:
    """The same layers for another (height, width) of the input."""
    height, width = size
    return resolve(replace(network.cfg, net=replace(network.cfg.net, height=height, width=width)))


def with_layer_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """Make the output of every layer that computes something an output of the graph, in place.

    A layer's output is that of its last node. Layers without one ([route] to one layer, [dropout], [yolo])
    hand on another's.
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
    """Seconds by layer, and of all the rest, from a profile of so many runs; the first one is left out.

    Each is the median over the runs.
    """
    kernels = [e for e in events if e.get("cat") == "Node" and e["name"].endswith("_kernel_time")]
    decoders = {layer.sources[0]: layer.index for layer in network.layers if isinstance(layer.section, Yolo)}
    a_run = len(kernels) // runs  # one thread: the operators of a run follow each other
    sums: dict[int | None, list[float]] = defaultdict(lambda: [0.0] * runs)
    for place, event in enumerate(kernels):
        sums[_layer_of(event["name"], decoders)][place // a_run] += event["dur"] / 1e6
    seconds = {layer: median(each[1:]) for layer, each in sums.items()}
    other = seconds.pop(None, 0.0)
    return {layer: each for layer, each in seconds.items() if layer is not None}, other


def _layer_of(name: str, decoders: dict[int, int]) -> int | None:
    if match := _LAYER.match(name):
        return int(match[1])
    if match := _DECODING.match(name):
        return decoders[int(match[1])]
    return None
