"""`lookonce rename`: other class names in a model file, whose weights stay as they are, byte for byte."""

import json
import shutil
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from lookonce._files import TEXT_LIMIT, open_input, read_bytes, replacing, write_text
from lookonce._outputs import Outputs
from lookonce._terminal import say, terminal
from lookonce.commands import options as shared
from lookonce.errors import ConfigError, ModelFileError
from lookonce.metadata import METADATA_KEY, ModelInfo

HEADER_LIMIT = 100_000_000  # bytes of a safetensors header; the format's own limit
ONNX_LIMIT = 2 << 30  # bytes; protobuf's own limit
FOREIGN = f"expected a model that lookonce wrote, found no entry {METADATA_KEY!r}"
Change = Callable[[tuple[str, ...]], tuple[str, ...]]  # old class names -> new ones


def rename(
    model: shared.ModelArgument,
    names: Annotated[list[str], typer.Argument(metavar="OLD=NEW...", help="Class names to change.")],
    out: Annotated[Path, typer.Option(help="New model file, with the suffix of MODEL.")],
    force: shared.ForceOption = False,
) -> int:
    """Change class names in a model file. The weights stay byte for byte.

    A .cfg is copied with its .weights and gets a new .names; an OpenVINO .xml is copied with its .bin.

    Example: lookonce rename runs/mine/best.safetensors dgo=dog --out dogs.safetensors
    """
    model = model.with_suffix(".cfg") if model.suffix == ".weights" else model
    out = out.with_suffix(".cfg") if out.suffix == ".weights" else out
    if model.suffix not in WRITERS:
        raise ModelFileError(f"{model}: expected {', '.join(WRITERS)}, found {model.suffix or 'no suffix'}")
    if out.suffix != model.suffix:
        raise ConfigError(f"--out {out}: expected a file like {out.with_suffix(model.suffix)}")
    wanted = shared.pairs(names)
    partners = [suffix for suffix in (".weights", ".bin", ".names") if model.with_suffix(suffix).is_file()]
    inputs = [model, *(model.with_suffix(suffix) for suffix in partners)]
    files = [out, *(out.with_suffix(suffix) for suffix in (*partners, ".names"))]
    with Outputs("rename", files=dict.fromkeys(files), inputs=inputs, force=force):
        written = WRITERS[model.suffix](model, out, lambda found: renamed(found, wanted, model))
    say(f"{out}: {', '.join(written)}", terminal())
    return 0


def renamed(found: Sequence[str], wanted: dict[str, str], model: Path) -> tuple[str, ...]:
    """Return class names with some replaced, all at once: `a=b b=a` exchanges two.

    Raises:
        ConfigError: a name that the model does not have, or a name that would occur twice.
    """
    if unknown := [name for name in wanted if name not in found]:
        raise ConfigError(f"{unknown[0]}: expected a class of {model}, which has {', '.join(found)}"[:500])
    changed = tuple(wanted.get(name, name) for name in found)
    if double := next((name for name in changed if changed.count(name) > 1), None):
        raise ConfigError(f"{double}: expected a name that no other class has; a model cannot merge classes")
    return changed


def _described(text: str, change: Change, model: Path) -> tuple[str, tuple[str, ...]]:
    """Return a model's description with other class names, and these; check both."""
    info = ModelInfo.from_json(text, str(model))
    changed = replace(info, names=change(info.names)).to_json()
    return changed, ModelInfo.from_json(changed, str(model)).names


def _safetensors(model: Path, out: Path, change: Change) -> tuple[str, ...]:
    """Write the JSON header anew, and copy what follows."""
    with open_input(model, ModelFileError) as stream:
        try:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > HEADER_LIMIT:
                raise ValueError(f"a header of {length:,} bytes")
            header = json.loads(stream.read(length))
            header["__metadata__"][METADATA_KEY], names = _described(
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
    return names


def _onnx(model: Path, out: Path, change: Change) -> tuple[str, ...]:
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
    entry.value, names = _described(entry.value, change, model)
    with replacing(out) as temporary:
        temporary.write_bytes(graph.SerializeToString())
    return names


def _openvino(model: Path, out: Path, change: Change) -> tuple[str, ...]:
    """Replace one attribute of the graph, and copy the weights."""
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
    entry.attrib["value"], names = _described(entry.attrib["value"], change, model)
    _copy(model, out, ".bin")
    with replacing(out) as temporary:
        temporary.write_bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))
    return names


def _darknet(model: Path, out: Path, change: Change) -> tuple[str, ...]:
    """Copy the `.cfg` and its weights beside a new list of names."""
    from lookonce.darknet.files import open_darknet
    from lookonce.darknet.write import names_text

    found = open_darknet(model)
    names = change(found.info.names)
    text = names_text(out.with_suffix(".names"), names)
    _copy(model, out, ".weights")
    write_text(out.with_suffix(".names"), text)
    _copy(model, out, ".cfg")
    return names


def _copy(model: Path, out: Path, suffix: str) -> None:
    """Copy the part of a model with this suffix, whole or not at all."""
    source, target = model.with_suffix(suffix), out.with_suffix(suffix)
    with (
        open_input(source, ModelFileError) as stream,
        replacing(target) as temporary,
        temporary.open("wb") as written,
    ):
        shutil.copyfileobj(stream, written)


WRITERS = {".safetensors": _safetensors, ".onnx": _onnx, ".xml": _openvino, ".cfg": _darknet}
