"""Check values read from JSON: each function returns the value with its type, or raises ValueError."""

import reprlib
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict


def need(expected: str, holds: bool, found: object) -> None:
    """Raise ValueError ("expected ..., found ...") unless a condition holds."""
    if not holds:
        raise ValueError(f"expected {expected}, found {reprlib.repr(found)}")


def number(what: str, value: object, highest: float) -> float:
    """Return a number above 0 and at most `highest`; NaN is rejected."""
    need(f"{what} above 0 and at most {highest}", type(value) in (int, float), value)
    assert isinstance(value, int | float)
    need(f"{what} above 0 and at most {highest}", 0 < value <= highest, value)  # false for NaN
    return float(value)


def whole(what: str, value: object, highest: int) -> int:
    """Return an integer from 1 to `highest`."""
    need(f"{what}: a whole number from 1 to {highest}", type(value) is int, value)
    assert isinstance(value, int)
    need(f"{what}: a whole number from 1 to {highest}", 1 <= value <= highest, value)
    return value


def items(what: str, value: object, fewest: int, most: int) -> list[Any]:
    """Return a list of `fewest` to `most` items."""
    need(f"{what}: a list of {fewest} to {most}", isinstance(value, list), value)
    assert isinstance(value, list)
    need(f"{what}: a list of {fewest} to {most}", fewest <= len(value) <= most, value)
    return value


def word(what: str, value: object, longest: int) -> str:
    """Return text of at most `longest` characters; surrogates are rejected, as UTF-8 cannot encode them."""
    need(f"{what}: text", isinstance(value, str), value)
    assert isinstance(value, str)
    surrogates = any("\ud800" <= letter <= "\udfff" for letter in value)
    need(f"{what}: at most {longest:,} characters, without surrogates",
          len(value) <= longest and not surrogates, value)  # fmt: skip
    return value


def typed(what: str, value: Any, kind: Any) -> Any:
    """Return a value that agrees with a TypedDict, a `dict[str, ...]`, a union or a plain type."""
    if is_typeddict(kind):
        need(f"{what}: an object", isinstance(value, dict), value)
        hints = get_type_hints(kind)
        unknown, missing = sorted(value.keys() - hints), sorted(kind.__required_keys__ - value.keys())
        need(f"{what}: some of {', '.join(hints)}", not unknown, unknown)
        need(f"{what}: {', '.join(missing)}", not missing, value)
        return {name: typed(f"{what}.{name}", each, hints[name]) for name, each in value.items()}
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    for mapping in (each for each in kinds if get_origin(each) is dict):
        if isinstance(value, dict) or len(kinds) == 1:
            need(f"{what}: an object", isinstance(value, dict), value)
            (_, inner) = get_args(mapping)
            return {name: typed(f"{what}.{name[:40]}", each, inner) for name, each in value.items()}
    expected = " or ".join("number" if each is float else each.__name__ for each in kinds)
    need(f"{what}: {expected}", type(value) in kinds or (float in kinds and type(value) is int), value)
    return value
