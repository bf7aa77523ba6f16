"""Convert records to plain data for JSON.

A dataclass becomes an object, a tuple becomes a list, and NaN and infinity become null. An array becomes
`{"dtype": "float32", "shape": [...], "base64": "..."}` with little-endian numbers in row-major order, which
is exact and a fifth as long as decimal numbers. Fields marked with `NOT_IN_JSON` are left out.
"""

import math
from base64 import b64encode
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

NOT_IN_JSON = {"json": False}  # metadata of a dataclass field

# Types of JavaScript's typed arrays, which have no 64-bit integers (as plain numbers) and no booleans.
_WRITTEN_AS = {"i": "<i4", "f": "<f4", "b": "u1", "u": "u1"}


def plain(value: Any) -> Any:
    """Convert a record, or part of one, to plain data for `json.dumps`.

    Raises:
        TypeError: the value has a type that does not occur in records.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Path():
            return str(value)
        case np.ndarray():
            return packed(value)
        case tuple() | list():
            return [plain(each) for each in value]
        case dict():
            return {str(key): plain(each) for key, each in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: plain(getattr(value, field.name))
            for field in fields(value)
            if field.metadata.get("json", True)
        }
    raise TypeError(f"expected a record, found {type(value).__name__}")


def packed(array: NDArray[Any]) -> dict[str, Any]:
    """Encode an array as base64 text of float32, int32 or uint8."""
    written = np.ascontiguousarray(array, np.dtype(_WRITTEN_AS[array.dtype.kind]))
    return {
        "dtype": written.dtype.name,
        "shape": list(array.shape),
        "base64": b64encode(written.tobytes()).decode("ascii"),
    }
