"""Build an ONNX graph node by node."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper


class Nodes:
    """Adds nodes and constants to a graph in place, so that large weights are not copied.

    Attributes:
        graph: graph to extend.
        prefix: prefix of the names of new outputs, such as a layer's.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.prefix = "input"

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Append a node with one output, and return the output's name."""
        return self.add_many(operator, *inputs, outputs=1, **attributes)[0]

    def add_many(self, operator: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """Append a node with several outputs, and return their names."""
        name = f"{self.prefix}/{operator.lower()}_{len(self.graph.node)}"
        made = [name] if outputs == 1 else [f"{name}_{number}" for number in range(outputs)]
        self.graph.node.append(helper.make_node(operator, inputs, made, name=name, **attributes))
        return made

    def constant(self, array: NDArray[Any]) -> str:
        """Append a constant, and return its name."""
        name = f"{self.prefix}/constant_{len(self.graph.initializer)}"
        tensor = self.graph.initializer.add(name=name)
        tensor.data_type = helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor.dims.extend(array.shape)
        tensor.raw_data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        return name

    def floats(self, *values: float) -> str:
        """Append a float32 constant, a scalar for one value and else a vector."""
        return self.constant(np.array(values[0] if len(values) == 1 else values, np.float32))

    def integers(self, *values: int) -> str:
        """Append an int64 vector."""
        return self.constant(np.array(values, np.int64))

    def channels(self, x: str, first: int, end: int) -> str:
        """Append the selection of the channels from `first` to before `end`."""
        return self.add("Slice", x, self.integers(first), self.integers(end), self.integers(1))

    def lengths(self, x: str, *axes: int) -> str:
        """Append the lengths of some axes, as a float32 vector."""
        return self.add("Cast", self.add("Gather", self.add("Shape", x), self.integers(*axes)), to=1)
