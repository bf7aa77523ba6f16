"""`lookonce rename`: change class names in a model file; the weights stay identical byte for byte."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from lookonce._files import open_input, replacing, write_text
from lookonce._outputs import Outputs
from lookonce._terminal import say, terminal
from lookonce.commands import options as shared
from lookonce.darknet.beside import SUFFIXES as DARKNET
from lookonce.darknet.beside import find_cfg, find_weights
from lookonce.errors import ConfigError, ModelFileError
from lookonce.metadata import WEIGHTS_BESIDE
from lookonce.runtime.description import rewrite

SUFFIXES = (".safetensors", ".onnx", ".xml", ".param", ".cfg")


def rename(
    model: shared.ModelArgument,
    names: Annotated[list[str], typer.Argument(metavar="OLD=NEW", help="Class names to change.")],
    out: Annotated[Path, typer.Option(help="Model file to write, with the suffix of MODEL.")],
    force: shared.ForceOption = False,
) -> int:
    """Change class names in a copy of a model file; the weights stay identical.

    A .cfg is copied with its .weights and gets a new .names; an OpenVINO .xml or ncnn .param is copied with
    its weights.

    Example: lookonce rename runs/mine/best.safetensors dgo=dog --out dogs.safetensors
    """
    out = out.with_suffix(".cfg") if out.suffix.lower() == ".weights" else out
    weights = find_weights(model) if model.suffix.lower() in DARKNET and model.is_file() else None
    model = find_cfg(model)
    suffix = model.suffix.lower()
    if suffix not in SUFFIXES:
        raise ModelFileError(f"{model}: expected {', '.join(SUFFIXES)}, found {model.suffix or 'no suffix'}")
    if out.suffix.lower() != suffix:
        raise ConfigError(f"--out {out}: expected a file like {out.with_suffix(model.suffix)}")
    beside = WEIGHTS_BESIDE.get(suffix)
    if beside and not model.with_suffix(beside).is_file():
        raise ModelFileError(
            f"{model}: expected its weights as {model.with_suffix(beside).name} beside it, found none"
        )
    wanted = shared.pairs(names)
    partners = [suffix for suffix in (".bin", ".ncnn.bin", ".names") if model.with_suffix(suffix).is_file()]
    inputs = [model, *(model.with_suffix(suffix) for suffix in partners), *([weights] if weights else [])]
    made = [*partners, ".names", *([".weights"] if weights else [])]
    files = [out, *(out.with_suffix(suffix) for suffix in made)]
    with Outputs("rename", files=dict.fromkeys(files), inputs=inputs, force=force):
        if suffix == ".cfg":
            from lookonce.darknet.files import open_darknet
            from lookonce.darknet.write import names_text

            found = open_darknet(model, weights)
            written = renamed(found.info.names, wanted, model)
            listed = names_text(out.with_suffix(".names"), written)  # may fail, so it comes before writing
            _copy(found.weights, out.with_suffix(".weights"))
            write_text(out.with_suffix(".names"), listed)
            _copy(model, out)
        else:
            info = rewrite(model, out, lambda info: replace(info, names=renamed(info.names, wanted, model)))
            written = info.names
            if beside:
                _copy(model.with_suffix(beside), out.with_suffix(beside))
    say(f"{out}: {', '.join(written)}", terminal())
    return 0


def renamed(found: Sequence[str], wanted: dict[str, str], model: Path) -> tuple[str, ...]:
    """Return the class names with all replacements made at once, so that `a=b b=a` swaps two names.

    Raises:
        ConfigError: the model does not have a name, or a name would occur twice.
    """
    if unknown := [name for name in wanted if name not in found]:
        raise ConfigError(f"{unknown[0]}: expected a class of {model}, which has {', '.join(found)}"[:500])
    changed = tuple(wanted.get(name, name) for name in found)
    if double := next((name for name in changed if changed.count(name) > 1), None):
        raise ConfigError(f"{double}: expected a name that no other class has; a model cannot merge classes")
    return changed


def _copy(source: Path, target: Path) -> None:
    """Copy a file of a model; the target gets its name when it is complete."""
    with (
        open_input(source, ModelFileError) as stream,
        replacing(target) as temporary,
        temporary.open("wb") as written,
    ):
        shutil.copyfileobj(stream, written)
