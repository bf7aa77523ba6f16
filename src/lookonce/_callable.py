"""Packages that can be called: `lookonce.train(data)` runs the command, `lookonce.train.loop` is a module.

Importing `lookonce.train.loop` makes `lookonce.train` the package, whatever else had that name, so the
package itself is what is called.
"""

import sys
from collections.abc import Callable, Mapping
from enum import Enum
from importlib import import_module
from inspect import Signature, signature
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, get_args, get_origin


class CallablePackage(ModuleType):
    """A package with the name of a command, which it runs when called."""

    def __call__(self, *given: Any, **named: Any) -> Any:
        """Run the command with its own parameters; see `lookonce VERB -h`.

        Strings are accepted as paths, a number or (height, width) as a size, and mappings
        as settings and thresholds. `scripts/api_types.py` has the same rules for type checkers.
        """
        function = self._command()
        parameters = signature(function).parameters
        bound = signature(function).bind(*given, **named)
        values = {name: _typed(value, parameters[name].annotation) for name, value in bound.arguments.items()}
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


def _typed(value: Any, annotation: Any) -> Any:
    """Convert a value to the type that a command's parameter has after the command line was parsed."""
    kind, *notes = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    kinds = set(get_args(kind)) or {kind}
    if value is None or isinstance(value, bool):
        return value
    if parser := next((note.parser for note in notes if getattr(note, "parser", None)), None):
        return parser(value)
    if Path in kinds:
        return Path(value)
    if isinstance(value, Mapping):
        pairs = [f"{name}={setting}" for name, setting in value.items()]
        return ",".join(pairs) if str in kinds else pairs
    if str in kinds:
        return "x".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    return value
