"""Options that several commands share, and how to read those that are not plain values."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, overload

import typer

from lookonce.errors import ConfigError
from lookonce.runtime.options import DetectOptions
from lookonce.runtime.tiles import parse_tiles

if TYPE_CHECKING:
    from lookonce.runtime.detector import Detector

OWN = "as the model was made"  # default of options that a model file answers

ModelArgument = Annotated[
    Path, typer.Argument(metavar="MODEL", help="Model file: .safetensors, .onnx, OpenVINO .xml or .cfg.")
]
DataArgument = Annotated[
    Path,
    typer.Argument(metavar="DATA", help="Annotations in any format: folder, file or .zip."),
]
NamesOption = Annotated[
    Path | None, typer.Option(help="File of class names, for annotations that have numbers alone.")
]
ImagesOption = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder of the images, if they lie elsewhere.")
]
StrictOption = Annotated[bool, typer.Option("--strict", help="Stop at the first bad row or image.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
JsonFileOption = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="A further file for the numbers.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace files that this command did not write.")]
SizeOption = Annotated[
    str | None, typer.Option(help="Network input: 416, or 320x416 (height x width).", show_default=OWN)
]
ConfOption = Annotated[float, typer.Option(help="Score threshold.")]
IouOption = Annotated[float, typer.Option(help="IoU threshold of suppression.")]
RectOption = Annotated[
    bool, typer.Option("--rect", help="No letterbox padding: faster on wide or high images.")
]
TilesOption = Annotated[
    str | None,
    typer.Option(help="Detect in tiles too, for small objects: 2x3 (rows x columns), or 640 (pixels)."),
]
OverlapOption = Annotated[float, typer.Option(help="Share of a tile's side that the next one covers too.")]
SoftNmsOption = Annotated[bool, typer.Option("--soft-nms", help="Soft-NMS instead of --iou.")]


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
    sides = input_size(size)
    try:
        return DetectOptions(
            size=sides,
            classes=None if classes is None else [name.strip() for name in classes.split(",")],
            tiles=None if tiles is None else parse_tiles(tiles),
            **values,
        )
    except ConfigError as error:
        raise named(error) from error


def open_detector(model: Path, options: DetectOptions, threads: int | None) -> "Detector":
    """Open a model file; `threads` is the engine's number of threads.

    Raises:
        LookonceError: as `Detector.open`; a message on an option names it.
    """
    from lookonce.runtime.detector import Detector

    try:
        return Detector.open(model, options, threads=threads)
    except ConfigError as error:
        raise named(error) from error


def named(error: ConfigError) -> ConfigError:
    """Return the error of a field of `DetectOptions` with the option that sets it."""
    field, colon, rest = str(error).partition(":")
    fields = DetectOptions.__dataclass_fields__
    return ConfigError(f"--{field.replace('_', '-')}{colon}{rest}") if field in fields else error


@overload
def input_size(text: str) -> tuple[int, int]: ...


@overload
def input_size(text: None) -> None: ...


def input_size(text: str | None) -> tuple[int, int] | None:
    """Read `--size`: (height, width) of `416` or `320x416`; None for None.

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


def height_width(size: tuple[int, int]) -> str:
    """Return a size as it is printed everywhere."""
    return f"{size[0]}x{size[1]} (height x width)"
