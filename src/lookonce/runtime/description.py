"""The description in a model file, replaced without touching the weights."""

import json
import struct
from pathlib import Path

import defusedxml.ElementTree as ElementTree

from lookonce._files import replacing
from lookonce.errors import ModelFileError
from lookonce.metadata import METADATA_KEY, ModelInfo

LONGEST_HEADER = 100_000_000  # bytes; safetensors' own limit


def write_info(path: Path, info: ModelInfo) -> None:
    """Replace the description in a model file; the weights stay byte for byte.

    Args:
        path: `.safetensors`, `.onnx` or OpenVINO `.xml` that lookonce wrote.
        info: new description.

    Raises:
        ModelFileError: another kind of file, or one without a description.
    """
    writers = {".safetensors": _safetensors, ".onnx": _onnx, ".xml": _openvino}
    if path.suffix.lower() not in writers:
        raise ModelFileError(f"{path}: expected a file with a description, one of {', '.join(writers)}")
    try:
        content = writers[path.suffix.lower()](path.read_bytes(), info.to_json())
    except (ValueError, KeyError, StopIteration, struct.error, ElementTree.ParseError) as error:
        raise ModelFileError(f"{path}: expected a model that lookonce wrote, found none") from error
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _safetensors(content: bytes, text: str) -> bytes:
    """Replace the entry in the header: its length in 8 bytes, JSON padded to eighths, then tensors."""
    (length,) = struct.unpack("<Q", content[:8])
    if length > min(LONGEST_HEADER, len(content)):
        raise ValueError("header too long")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"][METADATA_KEY] = text
    made = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    made += b" " * (-len(made) % 8)
    return struct.pack("<Q", len(made)) + made + content[8 + length :]


def _onnx(content: bytes, text: str) -> bytes:
    import onnx

    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's errors have no common base here
        raise ValueError(str(error)) from error
    entry = next(entry for entry in model.metadata_props if entry.key == METADATA_KEY)
    entry.value = text
    made: bytes = model.SerializeToString()
    return made


def _openvino(content: bytes, text: str) -> bytes:
    tree = ElementTree.fromstring(content)
    entry = tree.find(f"./rt_info/framework/{METADATA_KEY}")
    if entry is None:
        raise KeyError(METADATA_KEY)
    entry.set("value", text)
    made: bytes = ElementTree.tostring(tree, encoding="utf-8", xml_declaration=True)
    return made
