"""What the command line gives, as the rest takes it: a Detector, the size of its input."""

from pathlib import Path
from typing import Any, overload

from lookonce.errors import ConfigError
from lookonce.runtime.detector import Detector
from lookonce.runtime.tiles import parse_tiles


def open_detector(
    model: Path,
    *,
    size: str | None = None,
    classes: str | None = None,
    tiles: str | None = None,
    **options: Any,
) -> Detector:
    """Open a model.

    Args:
        model: any model file.
        size: `416` or `320x416`; None as the model was made.
        classes: names or numbers with commas between; None for all.
        tiles: `2x3` or `640`; None: no tiles.
        **options: of `Detector.open`.

    Raises:
        ConfigError: a text that cannot be read as what it should be; the option is named.
        ModelFileError: as `Detector.open`.
    """
    if classes is not None:
        options["classes"] = [name.strip() for name in classes.split(",")]
    if tiles is not None:
        options["tiles"] = parse_tiles(tiles)
    return Detector.open(model, size=input_size(size), **options)


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
