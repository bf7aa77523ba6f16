"""Make packages callable: `lookonce.train(data)` runs the command, and `lookonce.train.loop` is a module.

The package itself has to be callable, because importing `lookonce.train.loop` binds `lookonce.train` to the
package and would replace a function of that name.
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
from typing import Annotated, Any, NamedTuple, Self, get_args, get_origin

from lookonce.errors import ConfigError


class CallablePackage(ModuleType):
    """A package that runs the command of the same name when it is called."""

    def __call__(self, *given: Any, **named: Any) -> Any:
        """Run the command with the given parameters, which are those of `lookonce VERB -h`.

        A path may be a string, a size may be a number or (height, width), and settings or thresholds may be
        a mapping. `scripts/api_types.py` writes the same rules for type checkers.

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
    """Let a package run the command of the same name when it is called."""
    sys.modules[package].__class__ = CallablePackage


class _Parameter(NamedTuple):
    """The type, parser and range in the annotation of a command's parameter.

    Attributes:
        kind: the type, `list` for `list[str]`.
        optional: whether None is a valid value.
        parser: function that parses text to a value; None if there is none.
        least: smallest number; None without a range.
        most: largest number; None without a range.
    """

    kind: type
    optional: bool
    parser: Callable[[Any], Any] | None
    least: float | None
    most: float | None

    @classmethod
    def of(cls, annotation: Any) -> Self:
        """Read an annotation such as `Annotated[float | None, typer.Option(min=0)]`."""
        hint, *notes = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
        kind, *others = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        kind = get_origin(kind) or kind
        parser, least, most = (
            next((given for note in notes if (given := getattr(note, key, None)) is not None), None)
            for key in ("parser", "min", "max")
        )
        return cls(kind, NoneType in others, parser or (Path if kind is Path else None), least, most)


EXPECTED = {  # description of the accepted values, by the type of a parameter
    bool: "True or False",
    Path: "a path",
    int: "a whole number",
    float: "a number",
    str: "text, numbers or a mapping",
    list: "a list of text",
}


def _typed(name: str, value: Any, annotation: Any) -> Any:
    """Convert a value to the type of its parameter, as the parser of the command line does.

    Raises:
        TypeError: the value cannot be converted.
        ConfigError: the number is out of the parameter's range.
    """
    kind, optional, parser, least, most = _Parameter.of(annotation)
    if value is None and optional:
        return None
    converted = None if value is None else _converted(kind, value)
    if converted is None:
        expected = "a value" if value is None else EXPECTED[kind]
        raise TypeError(f"{name}: expected {expected}, found {reprlib.repr(value)}")
    if parser:
        return parser(converted)
    if (least, most) != (None, None):
        low, high = -math.inf if least is None else least, math.inf if most is None else most
        if not low <= converted <= high:  # NaN is in no range
            raise ConfigError(f"{name}: expected a number from {low:g} to {high:g}, found {converted:g}")
    return converted


def _converted(kind: type, value: Any) -> Any:
    """Return a value as the command line would pass it to a parameter of this type; None if impossible.

    Raises:
        ValueError: there is no such member of an enumeration.
    """
    if issubclass(kind, Enum):
        return kind(value)
    if kind is bool or isinstance(value, bool):  # a bool is a number in Python
        return value if kind is bool and isinstance(value, bool) else None
    if kind is int:
        return int(value) if isinstance(value, Integral) else None
    if kind is float:
        return float(value) if isinstance(value, Real) else None
    if kind is Path:  # as text, because `./coco` is a folder and `coco` the built-in network
        text = str(fspath(value)) if isinstance(value, str | PathLike) else ""
        return text if text and "\0" not in text else None
    if isinstance(value, Mapping):
        pairs = [f"{key}={each}" for key, each in value.items()]
        return pairs if kind is list else ",".join(pairs)
    is_sequence = isinstance(value, Sequence) and not isinstance(value, str)
    if kind is list:
        return value if is_sequence and all(isinstance(each, str) for each in value) else None
    if isinstance(value, tuple | list) and all(isinstance(each, Real) for each in value):
        return "x".join(map(str, value))  # a size
    return str(value) if isinstance(value, str | PathLike | Real) else None
