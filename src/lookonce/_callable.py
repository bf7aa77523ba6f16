"""Packages that can be called: `lookonce.train(data)` runs the command, `lookonce.train.loop` is a module.

The package itself has to be callable: importing `lookonce.train.loop` binds `lookonce.train` to the package,
and would replace a function of that name.
"""

import math
import reprlib
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from importlib import import_module
from inspect import Signature, signature
from numbers import Integral, Real
from os import PathLike, fspath
from pathlib import Path
from types import ModuleType, NoneType, UnionType
from typing import Annotated, Any, get_args, get_origin

from lookonce.errors import ConfigError


class CallablePackage(ModuleType):
    """A package that runs the command of the same name when it is called."""

    def __call__(self, *given: Any, **named: Any) -> Any:
        """Run the command with its own parameters; see `lookonce VERB -h`.

        A string is accepted as a path, a number or (height, width) as a size, and a mapping as settings or
        thresholds. `scripts/api_types.py` gives type checkers the same rules.

        Raises:
            TypeError: a value has the wrong type; the message names the parameter.
            LookonceError: the command failed.
        """
        function = self._command()
        parameters = signature(function).parameters
        bound = signature(function).bind(*given, **named)
        values = {
            name: _typed(name, value, parameters[name].annotation) for name, value in bound.arguments.items()
        }
        return function(**values)

    @property
    def __signature__(self) -> Signature:
        return signature(self._command())

    def _command(self) -> Callable[..., Any]:
        verb = self.__name__.rpartition(".")[2]
        function: Callable[..., Any] = getattr(import_module(f"lookonce.commands.{verb}"), verb)
        return function


def make_callable(package: str) -> None:
    """Make a package run the command of the same name when it is called."""
    sys.modules[package].__class__ = CallablePackage


EXPECTED = {  # by the type of a parameter
    bool: "True or False",
    Path: "a path",
    int: "a whole number",
    float: "a number",
    str: "text, numbers or a mapping",
    list: "a list of text",
}


def _typed(name: str, value: Any, annotation: Any) -> Any:
    """Convert a value to the type that the parameter has once the command line is parsed.

    Raises:
        TypeError: the value has another type.
        ConfigError: the number is out of the parameter's range.
    """
    hint, *notes = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    kind, *others = get_args(hint) if isinstance(hint, UnionType) else (hint,)  # of `str | None`: str
    kind = get_origin(kind) or kind  # of `list[str]`: list
    if value is None and NoneType in others:
        return None
    if issubclass(kind, Enum) and value is not None:
        return kind(value)
    taken = _converted(kind, value)
    if taken is None:
        expected = "a value" if value is None else EXPECTED[kind]
        raise TypeError(f"{name}: expected {expected}, found {reprlib.repr(value)}")
    parser = next((note.parser for note in notes if getattr(note, "parser", None)), None)
    if parser or kind is Path:
        return (parser or Path)(taken)
    least = max((note.min for note in notes if getattr(note, "min", None) is not None), default=-math.inf)
    most = min((note.max for note in notes if getattr(note, "max", None) is not None), default=math.inf)
    if (least, most) != (-math.inf, math.inf) and not least <= taken <= most:  # NaN lies in no range
        raise ConfigError(f"{name}: expected a number from {least:g} to {most:g}, found {taken:g}")
    return taken


def _converted(kind: type, value: Any) -> Any:
    """Return the value as the command line would pass it to a parameter of this type; None if it cannot."""
    match value:
        case bool():  # Python counts it as a number
            return value if kind is bool else None
        case Integral() if kind is int:
            return int(value)
        case Real() if kind is float:
            return float(value)
        case str() | PathLike() if kind is Path:
            text = str(fspath(value))  # for the parser: `./coco` is a folder, `coco` the built-in network
            return text if text and "\0" not in text else None
        case str() | PathLike() | Real() if kind is str:
            return str(value)
        case tuple() | list() if kind is str and all(isinstance(each, Real) for each in value):
            return "x".join(map(str, value))
        case Mapping() if kind in (str, list):
            pairs = [f"{key}={each}" for key, each in value.items()]
            return ",".join(pairs) if kind is str else pairs
        case Sequence() if kind is list and all(isinstance(each, str) for each in value):
            return None if isinstance(value, str) else value
    return None
