"""A float graph as int8: what the ways for ONNX and for OpenVINO share.

Everything behind the last convolutions (decoding) stays float, and those convolutions (the heads) too. What
else does is each engine's own matter; docs/int8.md has the measurements.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import TypeVar

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from lookonce.metadata import METADATA_KEY, ModelInfo

Inputs = NDArray[np.uint8]  # (P, H, W, 3) RGB
Watch = Callable[[Sequence[Inputs]], Iterable[Inputs]]  # passes on what it is given; shows how far it is

Node = TypeVar("Node")


def unwatched(batches: Sequence[Inputs]) -> Iterable[Inputs]:
    """Show nothing."""
    return batches


def batches_of_one(inputs: Inputs) -> list[Inputs]:
    """P times (1, H, W, 3): views."""
    return [inputs[place : place + 1] for place in range(len(inputs))]


def back_to_heads(
    ends: Iterable[Node], before: Callable[[Node], Iterable[Node]], is_convolution: Callable[[Node], bool]
) -> list[Node]:
    """The heads and all behind them: from the graph's ends back to the first convolution on each way."""
    found: list[Node] = []
    waiting = list(ends)
    while waiting:
        node = waiting.pop()
        if node in found:
            continue
        found.append(node)
        if not is_convolution(node):
            waiting += before(node)
    return found


def with_note(info: ModelInfo, package: str, images: int, float_layers: str) -> ModelInfo:
    """The description of the int8 file: the float model's, and how it became int8."""
    note: dict[str, int | str] = {
        "tool": f"{package} {version(package)}",
        "images": images,
        "float": float_layers,
    }
    return replace(info, training={**info.training, "int8": note})


def description(graph: onnx.ModelProto) -> str:
    """What a graph of ours says of itself, as JSON."""
    return str(next(entry.value for entry in graph.metadata_props if entry.key == METADATA_KEY))


def describe(graph: onnx.ModelProto, info: ModelInfo) -> None:
    """Set what a graph says of itself, and nothing else."""
    helper.set_model_props(graph, {METADATA_KEY: info.to_json()})
