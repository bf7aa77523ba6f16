"""What a `Detector` may be told, checked before the first image: a message names the option."""

from collections.abc import Collection
from math import lcm
from typing import get_args

from lookonce.errors import ConfigError
from lookonce.metadata import Fit, ModelInfo
from lookonce.runtime.backends import Backend

COARSEST_STRIDE = 32  # of all three networks
LARGEST_SIDE = 8192  # pixels; a larger one is a slip, and would take all memory


def multiple_of_sides(info: ModelInfo) -> int:
    """What an input's sides must be multiples of: 32, but for a Darknet model with a coarser scale."""
    return lcm(COARSEST_STRIDE, *info.strides)


def checked_size(size: int | tuple[int, int] | None, backend: Backend) -> tuple[int, int]:
    """(height, width) of the input: as asked for, else as the file is fixed, else as the model was made.

    Raises:
        ConfigError: no multiples of 32 (see `multiple_of_sides`), far too large, or not what the file is
            fixed to.
    """
    _, *fixed = backend.input_shape
    expected = tuple(side or usual for side, usual in zip(fixed, backend.info.input_size, strict=True))
    height, width = (size, size) if isinstance(size, int) else size or expected
    multiple = multiple_of_sides(backend.info)
    if not all(0 < side <= LARGEST_SIDE and side % multiple == 0 for side in (height, width)):
        raise ConfigError(
            f"size: expected multiples of {multiple} up to {LARGEST_SIDE}, "
            f"found {width} wide and {height} high"
        )
    if any(side not in (None, given) for side, given in zip(fixed, (height, width), strict=True)):
        raise ConfigError(
            f"size: this file is fixed to an input {expected[1]} wide and {expected[0]} high, "
            f"found {width} wide and {height} high; a model exported with an open size takes any"
        )
    return height, width


def checked_rect(rect: bool, fit: Fit, backend: Backend) -> bool:
    """Whether padding is left out.

    Raises:
        ConfigError: there is none, or the file's input is fixed.
    """
    if rect and fit == "stretch":
        raise ConfigError(
            "rect: leaves out the padding of a letterbox, but here images are stretched to the input, "
            "without padding; expected fit 'letterbox'"
        )
    if rect and backend.input_shape[1:] != (None, None):
        raise ConfigError(
            "rect: expected a model whose input takes any height and width, found a file fixed to "
            f"{backend.input_shape[1]}x{backend.input_shape[2]} (height x width); export it with an open size"
        )
    return rect


def checked_share(setting: str, value: float) -> float:
    """A threshold.

    Raises:
        ConfigError: not from 0 to 1.
    """
    if not 0 <= value <= 1:
        raise ConfigError(f"{setting}: expected a number from 0 to 1, found {value}")
    return value


def checked_fit(fit: Fit) -> Fit:
    """How images get to the input's size.

    Raises:
        ConfigError: no such way.
    """
    if fit not in get_args(Fit):
        raise ConfigError(f"fit: expected {' or '.join(get_args(Fit))}, found {fit!r}")
    return fit


def class_numbers(classes: Collection[str | int], names: tuple[str, ...]) -> tuple[int, ...]:
    """Numbers of classes given by name or number; a text of digits is a number unless it is a name.

    Raises:
        ConfigError: no such class.
    """
    numbers = {str(number): number for number in range(len(names))}
    numbers |= {name: number for number, name in enumerate(names)}
    found = []
    for wanted in classes:
        number = numbers.get(wanted) if isinstance(wanted, str) else wanted
        if number is None or not 0 <= number < len(names):
            raise ConfigError(f"classes: expected some of {', '.join(names)}; found {wanted!r}")
        found.append(int(number))
    return tuple(found)
