"""Change the description in a model file, and leave the weights as they are."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

from lookonce._files import TEXT_LIMIT, open_input, read_bytes, read_text, replacing, write_text
from lookonce.errors import ModelFileError
from lookonce.metadata import METADATA_KEY, PARAM_DESCRIPTION, ModelInfo

HEADER_LIMIT = 100_000_000  # bytes of a safetensors header; the format's own limit
ONNX_LIMIT = 2 << 30  # bytes; protobuf's own limit
FOREIGN = f"expected a model that lookonce wrote, found no entry {METADATA_KEY!r}"
REWRITABLE = (".safetensors", ".onnx", ".xml", ".param")  # suffixes
Change = Callable[[ModelInfo], ModelInfo]


def rewrite(model: Path, out: Path, change: Change) -> ModelInfo:
    """Write a model file with a changed description and the same weights, byte for byte.

    Args:
        model: `.safetensors`, `.onnx`, OpenVINO `.xml` or ncnn `.param` file that lookonce wrote.
        out: file to write, with the same suffix; may be the model itself.
        change: function from the old description to the new one.

    Returns:
        The new description, read back from the file.

    Raises:
        ModelFileError: the file is of another kind, is damaged, or has no description.
    """
    check_rewritable(model)
    writers = {".safetensors": _safetensors, ".onnx": _onnx, ".xml": _openvino, ".param": _ncnn}
    return writers[model.suffix.lower()](model, out, change)


def check_rewritable(model: Path) -> None:
    """Check by its suffix that a file has a description that can be changed.

    Raises:
        ModelFileError: the file has no description, like a `.cfg`, or belongs to the package, like `coco`.
    """
    if model.suffix.lower() not in REWRITABLE:
        raise ModelFileError(f"{model}: expected a file with a description, one of {', '.join(REWRITABLE)}")


def _described(text: str, change: Change, model: Path) -> tuple[str, ModelInfo]:
    """Return the changed description, as text and as read back, which checks it."""
    changed = change(ModelInfo.from_json(text, str(model))).to_json()
    return changed, ModelInfo.from_json(changed, str(model))


def _safetensors(model: Path, out: Path, change: Change) -> ModelInfo:
    """Write a new JSON header, and copy the rest."""
    with open_input(model, ModelFileError) as stream:
        try:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > HEADER_LIMIT:
                raise ValueError(f"a header of {length:,} bytes")
            header = json.loads(stream.read(length))
            header["__metadata__"][METADATA_KEY], info = _described(
                header["__metadata__"][METADATA_KEY], change, model
            )
        except (ValueError, KeyError, TypeError, struct.error) as error:
            what = f"expected a lookonce model (.safetensors): {str(error)[:200]}"
            raise ModelFileError(f"{model}: {what}") from error
        written = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        written += b" " * (-len(written) % 8)  # the tensors start at a multiple of 8 bytes
        with replacing(out) as temporary, temporary.open("wb") as target:
            target.write(struct.pack("<Q", len(written)) + written)
            shutil.copyfileobj(stream, target)
    return info


def _onnx(model: Path, out: Path, change: Change) -> ModelInfo:
    """Replace one entry of the metadata."""
    import onnx

    content = read_bytes(model, ModelFileError, limit=ONNX_LIMIT)
    try:
        graph = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's and onnx's exceptions share no base below Exception
        raise ModelFileError(f"{model}: expected ONNX, found it damaged or cut short") from error
    entry = next((each for each in graph.metadata_props if each.key == METADATA_KEY), None)
    if entry is None:
        raise ModelFileError(f"{model}: {FOREIGN}")
    entry.value, info = _described(entry.value, change, model)
    with replacing(out) as temporary:
        temporary.write_bytes(graph.SerializeToString())
    return info


def _openvino(model: Path, out: Path, change: Change) -> ModelInfo:
    """Replace one attribute in the XML; the weights are in another file."""
    from xml.etree import ElementTree as ET

    from defusedxml import ElementTree as SafeET
    from defusedxml.common import DefusedXmlException

    try:
        root = SafeET.fromstring(read_bytes(model, ModelFileError, limit=TEXT_LIMIT))
    except (ET.ParseError, DefusedXmlException, ValueError) as error:
        raise ModelFileError(f"{model}: expected OpenVINO's XML: {str(error)[:200]}") from error
    entry = root.find(f"rt_info/framework/{METADATA_KEY}")
    if entry is None or "value" not in entry.attrib:
        raise ModelFileError(f"{model}: {FOREIGN}")
    entry.attrib["value"], info = _described(entry.attrib["value"], change, model)
    with replacing(out) as temporary:
        temporary.write_bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))
    return info


def _ncnn(model: Path, out: Path, change: Change) -> ModelInfo:
    """Replace the last line; the weights are in another file."""
    *layers, last = read_text(model, ModelFileError, limit=TEXT_LIMIT).rstrip("\n").split("\n")
    if not last.startswith(PARAM_DESCRIPTION):
        raise ModelFileError(f"{model}: {FOREIGN}")
    text, info = _described(last.removeprefix(PARAM_DESCRIPTION), change, model)
    write_text(out, "\n".join([*layers, PARAM_DESCRIPTION + text, ""]))
    return info
