"""Packages that can be called: `lookonce.train(data)` runs the command, `lookonce.train.loop` is a module.

Importing `lookonce.train.loop` makes `lookonce.train` the package, whatever else had that name, so the
package itself is what is called.
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
from types import ModuleType, NoneType
from typing import Annotated, Any, get_args, get_origin

from lookonce.errors import ConfigError


class CallablePackage(ModuleType):
    """A package with the name of a command, which it runs when called."""

    def __call__(self, *given: Any, **named: Any) -> Any:
        """Run the command with its own parameters; see `lookonce VERB -h`.

        Strings are accepted as paths, a number or (height, width) as a size, and mappings
        as settings and thresholds. `scripts/api_types.py` has the same rules for type checkers.

        Raises:
            TypeError: a value of another type; the parameter is named.
            LookonceError: as the command raises it.
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
    """Make a package run the command of its name when it is called."""
    sys.modules[package].__class__ = CallablePackage


def _typed(name: str, value: Any, annotation: Any) -> Any:
    """Convert a value to the type that a command's parameter has after the command line was parsed.

    Raises:
        TypeError: a value of another type.
        ConfigError: a number out of the parameter's range.
    """
    kind, *notes = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    kinds = set(get_args(kind)) or {kind}
    parser = next((note.parser for note in notes if getattr(note, "parser", None)), None)
    is_flag = isinstance(value, bool)
    expected, taken = "", value
    if value is None:
        expected = "" if NoneType in kinds else "a value"
    elif bool in kinds:
        expected = "" if is_flag else "True or False"
    elif Path in kinds:
        if isinstance(value, str | PathLike) and (text := str(fspath(value))) and "\0" not in text:
            return (parser or Path)(value)
        expected = "a path"
    elif int in kinds:
        expected = "" if isinstance(value, Integral) and not is_flag else "a whole number"
        taken = value if expected else _in_range(name, int(value), notes)
    elif float in kinds:
        expected = "" if isinstance(value, Real) and not is_flag else "a number"
        taken = value if expected else _in_range(name, float(value), notes)
    elif isinstance(value, Mapping):
        pairs = [f"{each}={setting}" for each, setting in value.items()]
        return ",".join(pairs) if str in kinds else pairs
    elif str in kinds:
        if isinstance(value, tuple | list) and all(isinstance(each, Real) for each in value):
            taken = "x".join(map(str, value))
        elif isinstance(value, str | PathLike | Real) and not is_flag:
            taken = str(value)
        else:
            expected = "text, numbers or a mapping"
        taken = parser(taken) if parser and not expected else taken
    elif isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    elif isinstance(value, str) or not (
        isinstance(value, Sequence) and all(isinstance(each, str) for each in value)
    ):
        expected = "a list of text"
    if expected:
        raise TypeError(f"{name}: expected {expected}, found {reprlib.repr(value)}")
    return taken


def _in_range(name: str, number: float, notes: Sequence[Any]) -> float:
    """Return the number, if it is within the limits that the command line has for it.

    Raises:
        ConfigError: it is out of range, or NaN.
    """
    least = max((note.min for note in notes if getattr(note, "min", None) is not None), default=-math.inf)
    most = min((note.max for note in notes if getattr(note, "max", None) is not None), default=math.inf)
    if (least, most) != (-math.inf, math.inf) and not least <= number <= most:
        raise ConfigError(f"{name}: expected a number from {least:g} to {most:g}, found {number:g}")
    return number
