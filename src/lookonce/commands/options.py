"""Define the options that several commands share, and parse their values."""

import shlex
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, overload

import typer

from lookonce._files import write_json_file
from lookonce._terminal import print_json
from lookonce.errors import ConfigError, LookonceError
from lookonce.evaluate.classes import listed
from lookonce.geometry.sizes import size_text
from lookonce.metadata import ModelInfo
from lookonce.networks import model_path
from lookonce.runtime.options import DetectOptions
from lookonce.runtime.tiles import parse_tiles

if TYPE_CHECKING:
    from lookonce.annotations import GivenData
    from lookonce.runtime.detector import Detector

STANDARD_OUTPUT = Path("-")
OWN = "as in the model"  # default shown for options whose value comes from the model file

ModelArgument = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        parser=model_path,
        help="Model: coco (built in), or a .safetensors, .onnx, OpenVINO .xml, ncnn .param or .cfg.",
    ),
]
DataArgument = Annotated[
    Path,
    typer.Argument(metavar="DATA", help="Annotations in any format: folder, file or .zip."),
]
NamesOption = Annotated[
    Path | None, typer.Option(help="File of class names, for annotations that have only numbers.")
]
ImagesOption = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder of the images, if they are elsewhere.")
]


def group_option(text: str) -> str:
    """Check `--group` and return it.

    Raises:
        ConfigError: the text is neither `folder` nor a regular expression.
    """
    from lookonce.config import group_pattern  # slow to import

    try:
        return group_pattern(text)
    except ValueError as error:
        raise ConfigError(f"--group: {error}") from error


GroupOption = Annotated[
    str,
    typer.Option(
        metavar="BY",
        parser=group_option,
        help="Images that belong together: folder, or a regular expression on the path.",
        show_default="none",
    ),
]
TrainGroupOption = Annotated[
    str,
    typer.Option(
        "--group",
        metavar="BY",
        parser=group_option,
        help="Images held out together: folder, or a regular expression on the path.",
        show_default="only near-duplicates and neighboring frames",
    ),
]
StrictOption = Annotated[bool, typer.Option("--strict", help="Stop at the first bad row or image.")]
JsonOption = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="File for the result as JSON; - for standard output."),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace files that this command did not write.")]
SplitOption = Annotated[
    str | None,
    typer.Option(help="Images to measure on: a split, held-out or all.", show_default="val, else held-out"),
]
SizeOption = Annotated[
    str | None, typer.Option(help="Network input: 416, or 320x416 (height x width).", show_default=OWN)
]
ConfsOption = Annotated[
    str | None,
    typer.Option(
        metavar="SCORE",
        help="Score threshold, such as 0.3 or, by class, dog=0.4,cat=0.2.",
        show_default="the model's own, else 0.25",
    ),
]
IouOption = Annotated[float, typer.Option(help="IoU threshold of NMS.")]
FitOption = Annotated[
    str | None, typer.Option(help="Fit of images to the input: letterbox or stretch.", show_default=OWN)
]
RectOption = Annotated[
    bool, typer.Option("--rect", help="No letterbox padding: faster on wide or tall images.")
]
ReduceJpegOption = Annotated[
    bool,
    typer.Option(
        "--reduce-jpeg",
        help="Decode large JPEGs at a half to an eighth of their size: faster, less accurate.",
    ),
]
TilesOption = Annotated[
    str | None,
    typer.Option(help="Tiles to process as well, for small objects: 2x3 (rows x columns), or 640 (pixels)."),
]
OverlapOption = Annotated[float, typer.Option(help="Overlap of neighboring tiles, as a share of their side.")]
SoftNmsOption = Annotated[bool, typer.Option("--soft-nms", help="Soft-NMS instead of --iou.")]
MultiLabelOption = Annotated[
    bool,
    typer.Option("--multi-label", help="Detect every class of a box above --conf, not only the best."),
]
PrecisionOption = Annotated[
    str,
    typer.Option(
        metavar="PRECISION", help="auto (the plan of tune, else float32), float32, bfloat16 or int8."
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        metavar="DEVICE",
        help="auto (CUDA, else the CPU), cpu, cuda, cuda:1, mps (Apple), or gpu or npu (Intel, OpenVINO).",
    ),
]
WeightsOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Weights of a .cfg.", show_default="the .weights beside it"),
]


def read_options(
    *,
    size: str | None = None,
    classes: str | None = None,
    tiles: str | None = None,
    conf: str | float | None = None,
    **values: Any,
) -> DetectOptions:
    """Convert detection options from their form on the command line.

    Args:
        size: `416` or `320x416`; None for the model's own size.
        classes: names or numbers, separated by commas; None for all.
        tiles: `2x3` or `640`; None for no tiles.
        conf: a number, or `dog=0.4,cat=0.2`; None for the model's own thresholds.
        **values: other fields of `DetectOptions`, already converted.

    Raises:
        ConfigError: a text cannot be parsed, or a value is out of range; the message names the option.
    """
    sides = input_size(size)
    with options_named():
        return DetectOptions(
            size=sides,
            classes=None if classes is None else [name.strip() for name in classes.split(",")],
            tiles=None if tiles is None else parse_tiles(tiles),
            conf=parse_conf(conf) if isinstance(conf, str) else conf,
            **values,
        )


def parse_conf(text: str) -> float | dict[str, float]:
    """Parse `--conf`: `0.3` or `dog=0.4,cat=0.2`.

    Raises:
        ConfigError: the text has another form, or names a class twice.
    """
    pairs = [part.rpartition("=") for part in text.split(",")]
    try:
        if len(pairs) == 1 and not pairs[0][1]:
            return float(text)
        found = {name.strip(): float(score) for name, equals, score in pairs if equals}
    except ValueError:
        found = {}
    if len(found) != len(pairs):
        expected = "expected a number, or numbers by class such as dog=0.4,cat=0.2"
        raise ConfigError(f"conf: {expected}, found {text!r}")
    return found


def describe_thresholds(info: ModelInfo, used: Sequence[float], *, given: bool) -> str:
    """Return a line with the score thresholds; empty if one threshold applies and the model has none.

    Args:
        info: description of the model.
        used: score threshold of each class.
        given: whether the user set any of them.
    """
    if not info.thresholds and len(set(used)) < 2:
        return ""
    if len(set(used)) == 1 and given:
        return f"score threshold: {used[0]:g}, instead of the model's own"
    source = "" if given else " of the model (--conf overrides)"
    each = [f"{name} {threshold:.2f}" for name, threshold in zip(info.names, used, strict=True)]
    return f"score thresholds{source}: {listed(each)}"


def open_detector(model: Path, options: DetectOptions, threads: int | None) -> "Detector":
    """Open a model file with a number of engine threads; None lets the engine decide.

    Raises:
        LookonceError: the model cannot be opened with these options; a message about an option names it.
    """
    from lookonce.runtime.detector import Detector

    with options_named():
        return Detector.with_options(model, replace(options, threads=threads))


def command_line(*words: object, data: "GivenData | None" = None) -> str:
    """Return a lookonce command, quoted for the shell, with the options that its data needs at the end."""
    options: list[object] = []
    if data is not None:
        options += ["--names", data.names] if data.names else []
        options += ["--images", data.images] if data.images else []
        options += ["--strict"] if data.strict else []
    return shlex.join(["lookonce", *map(str, [*words, *options])])


@contextmanager
def options_named(
    fields: Container[str] = frozenset(DetectOptions.__dataclass_fields__),
) -> Iterator[None]:
    """Replace the field at the start of an error message with the option of the command.

    Args:
        fields: fields that are options of the command; by default, those of `DetectOptions`.

    Raises:
        LookonceError: the same error, for example with `--soft-nms` for `soft_nms`.
    """
    try:
        yield
    except LookonceError as error:
        field, colon, rest = str(error).partition(":")
        if field not in fields:
            raise
        raise type(error)(f"--{field.replace('_', '-')}{colon}{rest}") from error


def pairs(texts: Iterable[str], *, empty: bool = False) -> dict[str, str]:
    """Parse texts such as `OLD=NEW`, and return OLD -> NEW.

    Args:
        texts: values from the command line.
        empty: whether NEW may be empty.

    Raises:
        ConfigError: a text has another form, or two texts have the same OLD.
    """
    found: dict[str, str] = {}
    for text in texts:
        old, sign, new = (part.strip() for part in text.partition("="))
        if not (old and sign and (new or empty)):
            raise ConfigError(f"{text}: expected OLD=NEW, such as dgo=dog")
        if old in found:
            raise ConfigError(f"{text}: expected one new name for {old}, found {found[old]!r} too")
        found[old] = new
    return found


@overload
def input_size(text: str) -> tuple[int, int]: ...


@overload
def input_size(text: None) -> None: ...


def input_size(text: str | None) -> tuple[int, int] | None:
    """Parse `--size`, `416` or `320x416`, as (height, width); None for None.

    Raises:
        ConfigError: the text has another form.
    """
    if text is None:
        return None
    from lookonce.config import parse_size  # slow to import

    try:
        return parse_size(text)
    except ValueError as error:
        raise ConfigError(f"--size: {error}") from error


def json_file(target: Path | None) -> Path | None:
    """Return the file given with `--json`; None without the option or for standard output."""
    return None if target == STANDARD_OUTPUT else target


def write_json(target: Path, tree: object, indent: int | None = 2) -> None:
    """Write a result as JSON to a file, or to standard output if the target is `-`."""
    if json_file(target) is None:
        print_json(tree, indent)
    else:
        write_json_file(target, tree, indent)


def height_width(size: tuple[int, int]) -> str:
    """Format (height, width) for messages: `320x416 (height x width)`."""
    return f"{size_text(size)} (height x width)"
