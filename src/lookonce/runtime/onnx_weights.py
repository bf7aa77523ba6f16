"""Check the weights in an `.onnx` file before an engine reads them: all must be finite, and in this file.

Importing `onnx` takes half as long as opening a small model, so usual files are checked without it, by
walking through their protobuf fields. Unusual files are checked with `onnx`, for its error messages.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from lookonce._files import open_input
from lookonce.errors import ModelFileError
from lookonce.runtime.backends import describe_content

# Field numbers in onnx.proto: model.graph, graph.node, graph.initializer, node.attribute, attribute.t
GRAPH, NODE, INITIALIZER, ATTRIBUTE, TENSOR = 7, 1, 5, 5, 5
DATA_TYPE, RAW_DATA, EXTERNAL_DATA, DATA_LOCATION = 2, 9, 13, 14
# TensorProto.DataType
FLOATS: dict[int, type[np.floating[Any]]] = {1: np.float32, 10: np.float16, 11: np.float64}
WHOLE_NUMBERS = {2, 3, 4, 5, 6, 7, 9, 12, 13}  # and bool

LONGEST_HEAD = 20  # bytes of a field's key and length
PIECE = 1 << 17  # bytes that fit into a core's cache


def check_weights(path: Path) -> None:
    """Check that every weight in a file is finite, which no engine does.

    Raises:
        ModelFileError: the file is damaged, its weights are in another file, or a weight is infinite or NaN.
    """
    with open_input(path, ModelFileError) as stream:
        try:
            usual = _all_finite(Message(stream, 0, os.fstat(stream.fileno()).st_size))
        except (ValueError, IndexError, OSError):  # empty, damaged or not ONNX
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
        real = array.dtype.kind in "fV"  # V: bfloat16 and the 8-bit floats of ml_dtypes
        if real and not np.isfinite(array.astype(np.float32)).all():
            raise ModelFileError(f"{path}: {name} holds numbers that are infinite or not a number")


@dataclass(frozen=True, slots=True)
class Message:
    """A protobuf message in an open file, from byte `start` to before byte `end`.

    It is read in small pieces, not memory-mapped: if the file is truncated meanwhile, a read returns less,
    whereas access to a mapped file would kill the process (SIGBUS).
    """

    file: BufferedReader
    start: int
    end: int

    def fields(self) -> Iterator[tuple[int, "int | Message"]]:
        """Yield (number, value) of each field: a varint as an integer, a length-delimited field as a message.

        Raises:
            ValueError, IndexError: the message is damaged.
        """
        at = self.start
        while at < self.end:
            self.file.seek(at)
            head = self.file.read(min(LONGEST_HEAD, self.end - at))
            key, begin = varint(head, 0)
            match key & 7:
                case 0:
                    value, begin = varint(head, begin)
                    at += begin
                    yield key >> 3, value
                case 1 | 5 as width:
                    at += begin + (8 if width == 1 else 4)
                case 2:
                    length, begin = varint(head, begin)
                    inside = Message(self.file, at + begin, at + begin + length)
                    if inside.end > self.end:
                        raise ValueError("cut short")
                    yield key >> 3, inside
                    at = inside.end
                case other:
                    raise ValueError(f"wire type {other}")

    def messages(self, field: int) -> Iterator["Message"]:
        """Yield the messages in the fields with a given number."""
        for number, value in self.fields():
            if number == field and isinstance(value, Message):
                yield value


def are_finite(
    file: BufferedReader, length: int, buffer: memoryview, kind: type[np.floating[Any]] = np.float32
) -> bool:
    """Return whether the next numbers in a file are all finite.

    Args:
        file: open file, at the first number.
        length: size of all numbers, in bytes.
        buffer: memory to read into, part by part.
        kind: type of the numbers.

    Raises:
        ValueError: the file ends too early.
    """
    while length:
        part = buffer[: min(length, len(buffer))]
        if file.readinto(part) < len(part):
            raise ValueError("cut short")
        if not np.isfinite(np.frombuffer(part, kind)).all():
            return False
        length -= len(part)
    return True


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the varint at a position, and the position after it.

    Raises:
        ValueError: the number has more than ten bytes.
        IndexError: the data ends within the number.
    """
    if data[at] < 0x80:  # one byte, as in most cases
        return data[at], at + 1
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
        if shift > 63:
            raise ValueError("a number of more than ten bytes")


def _all_finite(model: Message) -> bool:
    """Return whether all tensors have the usual form and finite numbers."""
    buffer = memoryview(bytearray(PIECE))  # reused, because filling new memory takes longer than the check
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
            if kind not in FLOATS or not isinstance(raw, Message):
                return False
            raw.file.seek(raw.start)
            if not are_finite(raw.file, raw.end - raw.start, buffer, FLOATS[kind]):
                return False
    return True
