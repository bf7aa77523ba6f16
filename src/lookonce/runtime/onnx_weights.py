"""The numbers in an `.onnx` file, checked before an engine gets them: finite, and all in this file.

Importing `onnx` takes half as long as opening a small model, so usual files are checked without it: their
protobuf fields are walked over in place. Unusual files are left to the library, which also words the error
messages.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path

import numpy as np

from lookonce._files import open_input
from lookonce.errors import ModelFileError
from lookonce.runtime.backends import describe_content

# field numbers of onnx.proto: model.graph, graph.node, graph.initializer, node.attribute, attribute.t
GRAPH, NODE, INITIALIZER, ATTRIBUTE, TENSOR = 7, 1, 5, 5, 5
DATA_TYPE, RAW_DATA, EXTERNAL_DATA, DATA_LOCATION = 2, 9, 13, 14
FLOATS = {1: np.float32, 10: np.float16, 11: np.float64}  # TensorProto.DataType
WHOLE_NUMBERS = {2, 3, 4, 5, 6, 7, 9, 12, 13}  # and bool


def check_weights(path: Path) -> None:
    """Check every number in the file, which no engine does.

    Raises:
        ModelFileError: damaged, weights in another file, infinite or not a number.
    """
    with open_input(path, ModelFileError) as stream:
        try:
            # mapped, not read: filling new memory takes ten times as long as looking at the numbers
            usual = _all_finite(Message(memoryview(mmap(stream.fileno(), 0, access=ACCESS_READ))))
        except (ValueError, IndexError, OSError):  # empty, damaged, not such a file, or a file system without
            usual = False
    if usual:
        return
    import onnx  # slow to import

    try:
        graph = onnx.load(path, load_external_data=False).graph
        constants = [a.t for node in graph.node if node.op_type == "Constant" for a in node.attribute]
        tensors = [*graph.initializer, *constants]
        outside = any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in tensors)
        arrays = [] if outside else [(each.name, onnx.numpy_helper.to_array(each)) for each in tensors]
    except Exception as error:  # protobuf's and onnx's exceptions share no base below Exception
        raise ModelFileError(
            f"{path}: expected an ONNX model, found {describe_content(path, error)}"
        ) from error
    if outside:
        raise ModelFileError(f"{path}: expected an ONNX model in one file, found weights in another")
    for name, array in arrays:
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ModelFileError(f"{path}: {name} holds numbers that are infinite or not a number")


@dataclass(frozen=True, slots=True)
class Message:
    """A protobuf message, read in place."""

    data: memoryview

    def fields(self) -> Iterator[tuple[int, int | memoryview]]:
        """Yield (number, value) of each field: numbers as such, all else as its bytes."""
        at = 0
        while at < len(self.data):
            key, at = self.varint(at)
            match key & 7:
                case 0:
                    value, at = self.varint(at)
                    yield key >> 3, value
                case 1 | 5 as width:
                    at += 8 if width == 1 else 4
                case 2:
                    length, at = self.varint(at)
                    if at + length > len(self.data):
                        raise ValueError("cut short")
                    yield key >> 3, self.data[at : at + length]
                    at += length
                case other:
                    raise ValueError(f"wire type {other}")

    def messages(self, field: int) -> Iterator["Message"]:
        """Yield the messages in a field."""
        for number, value in self.fields():
            if number == field and isinstance(value, memoryview):
                yield Message(value)

    def varint(self, at: int) -> tuple[int, int]:
        """Return the number at a position, and the position behind it."""
        number = shift = 0
        while True:
            byte = self.data[at]
            number |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                return number, at
            if shift > 63:
                raise ValueError("a number of more than ten bytes")


def _all_finite(model: Message) -> bool:
    """Return whether all tensors are of usual form and all their numbers finite."""
    for graph in model.messages(GRAPH):
        constants = (
            tensor
            for node in graph.messages(NODE)
            for attribute in node.messages(ATTRIBUTE)
            for tensor in attribute.messages(TENSOR)
        )
        for tensor in (*graph.messages(INITIALIZER), *constants):
            content = dict(tensor.fields())
            if EXTERNAL_DATA in content or content.get(DATA_LOCATION):
                return False
            kind = content.get(DATA_TYPE)
            if kind in WHOLE_NUMBERS:
                continue
            raw = content.get(RAW_DATA)
            if kind not in FLOATS or not isinstance(raw, memoryview):
                return False
            if not np.isfinite(np.frombuffer(raw, FLOATS[kind])).all():
                return False
    return True
