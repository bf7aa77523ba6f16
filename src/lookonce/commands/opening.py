"""Options of the command line as values: how to detect, the size of the input."""

from typing import Any, overload

from lookonce.errors import ConfigError
from lookonce.runtime.options import DetectOptions
from lookonce.runtime.tiles import parse_tiles


def read_options(
    *, size: str | None = None, classes: str | None = None, tiles: str | None = None, **values: Any
) -> DetectOptions:
    """Read the options of a detection as the command line has them.

    Args:
        size: `416` or `320x416`; None: the model's own.
        classes: names or numbers with commas between; None for all.
        tiles: `2x3` or `640`; None: no tiles.
        **values: further fields of `DetectOptions`, read already.

    Raises:
        ConfigError: a text that cannot be read, or a value out of its range; the message names the option.
    """
    return DetectOptions(
        size=input_size(size),
        classes=None if classes is None else [name.strip() for name in classes.split(",")],
        tiles=None if tiles is None else parse_tiles(tiles),
        **values,
    )


@overload
def input_size(text: str) -> tuple[int, int]: ...


@overload
def input_size(text: None) -> None: ...


def input_size(text: str | None) -> tuple[int, int] | None:
    """(height, width) of `--size`: `416` or `320x416`; None for None.

    Raises:
        ConfigError: it is neither.
    """
    if text is None:
        return None
    from lookonce.config import parse_size  # slow to import

    try:
        return parse_size(text)
    except ValueError as error:
        raise ConfigError(f"--size: {error}") from error
