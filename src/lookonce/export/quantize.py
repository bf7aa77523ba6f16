"""Quantize a float graph to int8: code shared by ONNX Runtime and OpenVINO.

The last convolutions (the heads) and everything after them (decoding) stay float. Other layers may stay float
as well, depending on the engine; the measurements are in docs/int8.md.
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
Watch = Callable[[Sequence[Inputs]], Iterable[Inputs]]  # yields the items and shows the progress

Node = TypeVar("Node")


def unwatched(batches: Sequence[Inputs]) -> Iterable[Inputs]:
    """Return the batches, without showing progress."""
    return batches


def batches_of_one(inputs: Inputs) -> list[Inputs]:
    """Split images (P, H, W, 3) into P views (1, H, W, 3)."""
    return [inputs[number : number + 1] for number in range(len(inputs))]


def back_to_heads(
    ends: Iterable[Node], before: Callable[[Node], Iterable[Node]], is_convolution: Callable[[Node], bool]
) -> list[Node]:
    """Return the heads and everything after them, walking from the outputs back to the first convolutions.

    Args:
        ends: nodes of the outputs.
        before: function from a node to those that it reads.
        is_convolution: function that returns whether a node is a convolution.
    """
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
    """Return the description of the int8 file: that of the float model, with a note about quantization."""
    note: dict[str, int | str] = {
        "tool": f"{package} {version(package)}",
        "images": images,
        "float": float_layers,
    }
    return replace(info, training={**info.training, "int8": note})


def description(graph: onnx.ModelProto) -> str:
    """Return the description in a graph that lookonce built, as JSON."""
    return str(next(entry.value for entry in graph.metadata_props if entry.key == METADATA_KEY))


def describe(graph: onnx.ModelProto, info: ModelInfo) -> None:
    """Replace the metadata of a graph with a description."""
    helper.set_model_props(graph, {METADATA_KEY: info.to_json()})
