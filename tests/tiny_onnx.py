"""A tiny hand-written network with the inputs and outputs of an exported model.

Each 32-pixel cell of the input is one candidate. Its box is the cell, and its objectness is 2 x red - 1, so
the gray of the letterbox has none. Its classes are `green` and `blue`, and the probability of each is the
brightness of the color: a yellow cell is a `green` object, and a magenta cell is a `blue` object.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lookonce.metadata import METADATA_KEY, ModelInfo

CELL = 32
YELLOW, MAGENTA, BLACK = (255, 255, 0), (255, 0, 255), (0, 0, 0)

INFO = ModelInfo(
    architecture="cells",
    names=("green", "blue"),
    anchors=(((CELL, CELL),),),
    strides=(CELL,),
    input_size=(64, 96),
)


def write_tiny_model(
    path: Path,
    info: ModelInfo | None = INFO,
    shape: tuple[int | str, int | str, int | str] = ("batch", "height", "width"),
) -> Path:
    """Write the network for a fixed or open (B, H, W), with its description; None leaves it out."""
    constants = {
        "range": np.float32(255),
        "two": np.float32(2),
        "one": np.float32(1),
        "cell": np.float32(CELL),
        "rows_axis": np.int64(2),
        "columns_axis": np.int64(3),
        "flat": np.array([0, -1, 7], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Div", ["planes", "range"], ["colors"]),
        helper.make_node(
            "AveragePool", ["colors"], ["means"], kernel_shape=[CELL, CELL], strides=[CELL, CELL]
        ),
        helper.make_node("Split", ["means"], ["red", "green", "blue"], axis=1, num_outputs=3),
        helper.make_node("Mul", ["red", "two"], ["twice"]),
        helper.make_node("Sub", ["twice", "one"], ["signed"]),
        helper.make_node("Relu", ["signed"], ["objectness"]),
        helper.make_node("Sub", ["red", "red"], ["zeros"]),
        helper.make_node("Add", ["zeros", "cell"], ["side"]),
        helper.make_node("CumSum", ["side", "columns_axis"], ["right"]),
        helper.make_node("CumSum", ["side", "rows_axis"], ["bottom"]),
        helper.make_node("Sub", ["right", "cell"], ["left"]),
        helper.make_node("Sub", ["bottom", "cell"], ["top"]),
        helper.make_node(
            "Concat",
            ["left", "top", "right", "bottom", "objectness", "green", "blue"],
            ["maps"],
            axis=1,
        ),
        helper.make_node("Transpose", ["maps"], ["rows"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["rows", "flat"], ["candidates"]),
    ]
    graph = helper.make_graph(
        nodes,
        "cells",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, [*shape, 3])],
        [helper.make_tensor_value_info("candidates", TensorProto.FLOAT, ["batch", "candidates", 7])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if info is not None:
        helper.set_model_props(model, {METADATA_KEY: info.to_json()})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def image(
    size: tuple[int, int], *objects: tuple[tuple[int, int, int, int], tuple[int, int, int]]
) -> np.ndarray:
    """Return a black image (H, W, 3) with rectangles, each as (left, top, right, bottom) and a color."""
    canvas = np.zeros((*size, 3), np.uint8)
    for (left, top, right, bottom), color in objects:
        canvas[top:bottom, left:right] = color
    return canvas


def grained(pixels: np.ndarray) -> np.ndarray:
    """Return the image with noise, so that it matters how many of its pixels are read."""
    noise = np.random.default_rng(0).integers(-60, 61, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)
