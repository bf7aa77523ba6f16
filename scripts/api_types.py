"""Write src/lookonce/__init__.pyi, the types of `import lookonce`, from the commands themselves.

    python scripts/api_types.py

The command line passes parsed values to a command, such as a `Path`, or a size as text. For calls from
Python, `_callable.py` also accepts a path as `str`, a size as a number or a pair, and settings as a mapping.
Type checkers and editors read the stub. A test compares it with the commands.
"""

import subprocess
from enum import StrEnum
from importlib import import_module
from inspect import Parameter, signature
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

from lookonce import _COMMANDS, _HOMES, __all__

STUB = Path(__file__).parent.parent / "src" / "lookonce" / "__init__.pyi"
HEAD = '''\
"""Types of `import lookonce`. Made by `python scripts/api_types.py`."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Literal

from lookonce.commands.results import Evaluated, Exported, Trained
'''
PATH, SIZE = "str | PathLike[str]", "int | tuple[int, int] | str"
# types in Python of parameters that are text on the command line
WIDER = {
    "size": SIZE,
    "tiles": SIZE,
    "batch": "int | str",
    "conf": "float | Mapping[str, float] | str",
    "model": PATH,
}


def stub() -> str:
    """Return the formatted stub."""
    lines = [HEAD]
    lines += [f"from {_HOMES[name]} import {name} as {name}" for name in __all__ if name in _HOMES]
    lines += ["", "__version__: str", f"__all__ = {list(__all__)!r}", ""]
    lines += [_function(verb) for verb in _COMMANDS]
    text = "\n".join(lines)
    for step in (["check", "--quiet", "--fix", "--select=I"], ["format"]):
        command = ["ruff", *step, "--stdin-filename", str(STUB), "-"]
        text = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    return text


def _function(verb: str) -> str:
    """Return the stub of a command: its signature and docstring."""
    function = getattr(import_module(f"lookonce.commands.{verb}"), verb)
    parameters = signature(function).parameters.values()
    given = [f"{each.name}: {_type(each)}{_default(each)}" for each in parameters]
    summary, _, example = (function.__doc__ or "").strip().partition("\n")
    doc = [f'    """{summary}', "", "    Args:"]
    doc += [f"        {each.name}: {_help(each)}" for each in parameters]
    result = signature(function).return_annotation
    returns = getattr(result, "__name__", str(result))
    doc += ["", f"    {example.strip()}", '    """']
    return "\n".join([f"def {verb}({', '.join(given)}) -> {returns}:", *doc, ""])


def _type(parameter: Parameter) -> str:
    kind = get_args(parameter.annotation)[0] if get_origin(parameter.annotation) else parameter.annotation
    kinds = set(get_args(kind)) or {kind}
    optional = " | None" if NoneType in kinds else ""
    if Path in kinds:
        return PATH + optional
    if str in kinds:
        return WIDER.get(parameter.name, "str") + optional
    if any(get_origin(each) is list for each in kinds):
        return f"Mapping[str, object] | Sequence[str]{optional}"
    (plain,) = kinds - {NoneType}
    if hasattr(plain, "__members__"):
        return f"Literal[{', '.join(repr(each.value) for each in plain)}]"
    return f"{plain.__name__}{optional}"


def _default(parameter: Parameter) -> str:
    if (value := parameter.default) is Parameter.empty:
        return ""
    plain = str(value) if isinstance(value, Path | StrEnum) else value
    return f" = {plain!r}"


def _help(parameter: Parameter) -> str:
    notes: tuple[Any, ...] = get_args(parameter.annotation)[1:]
    return next((" ".join(note.help.split()) for note in notes if getattr(note, "help", None)), "")


if __name__ == "__main__":
    STUB.write_text(stub())
