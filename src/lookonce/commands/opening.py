"""A Detector from what the command line gives."""

from pathlib import Path
from typing import Any

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
    if size is not None:
        from lookonce.config import parse_size  # slow to import

        try:
            options["size"] = parse_size(size)
        except ValueError as error:
            raise ConfigError(f"--size: {error}") from error
    if classes is not None:
        options["classes"] = [name.strip() for name in classes.split(",")]
    if tiles is not None:
        options["tiles"] = parse_tiles(tiles)
    return Detector.open(model, **options)
