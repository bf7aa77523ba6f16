"""`lookonce export --int8`: calibrated on images, and kept only if it still finds what the model finds."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, TypeVar

import onnx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from lookonce._files import replacing_together
from lookonce._optional import require
from lookonce.annotations import load_samples, open_annotations
from lookonce.commands.report import say, say_problems
from lookonce.errors import AnnotationError, ConfigError, ImageError
from lookonce.evaluate.classes import SharedClasses, listed
from lookonce.export.calibrate import IMAGES, read_inputs, spread
from lookonce.export.quantize import Inputs
from lookonce.export.verify import prove
from lookonce.gate import CONFIDENCE, MAX_DROP, Comparison, compare, unseen
from lookonce.images import list_images
from lookonce.metadata import ModelInfo
from lookonce.runtime.detector import Detector
from lookonce.samples import Sample, SampleSet

ENGINES = {".onnx": "onnxruntime", ".xml": "openvino"}
REJECTED = ".rejected"  # in the name of a file that lost too much

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Int8:
    """What the command line says of int8.

    Attributes:
        calibrate: DATA or DATA/split; or a plain folder of images.
        gate_on: DATA or DATA/split; None: what belongs to `calibrate`.
        max_drop: the AP that may be lost.
        gate: whether AP is compared at all.
        names: a file of class names, where the annotations have numbers alone.
    """

    calibrate: Path
    gate_on: Path | None = None
    max_drop: float = MAX_DROP
    gate: bool = True
    names: Path | None = None


def checked_options(
    int8: bool,
    calibrate: Path | None,
    gate_on: Path | None,
    max_drop: float | None,
    names: Path | None,
    *,
    no_gate: bool,
) -> Int8 | None:
    """What the command line asks for; None for no int8.

    Raises:
        ConfigError: options that do not belong together.
    """
    if not int8:
        if no_gate or any(value is not None for value in (calibrate, gate_on, max_drop, names)):
            raise ConfigError(
                "--calibrate, --gate-on, --max-drop, --no-gate and --names: they go with --int8"
            )
        return None
    if calibrate is None:
        raise ConfigError("--int8: expected images like those it will see, by --calibrate DATA")
    if no_gate and (gate_on is not None or max_drop is not None):
        raise ConfigError("--no-gate: expected neither --gate-on nor --max-drop beside it")
    return Int8(calibrate, gate_on, MAX_DROP if max_drop is None else max_drop, not no_gate, names)


class Plan(NamedTuple):
    """Which images are for what.

    Attributes:
        inputs: (P, H, W, 3), to calibrate on.
        judged: annotated images for the gate; None for no gate.
    """

    inputs: Inputs
    judged: Sequence[Sample] | None


def export_int8(
    model: Path,
    path: Path,
    graph: onnx.ModelProto,
    info: ModelInfo,
    options: Int8,
    proof: Sequence[Inputs],
    *,
    static: bool,
) -> int:
    """Write the graph in int8 and compare it with the float one.

    Args:
        model: what the graph was made from.
        path: the file to write, `.onnx` or `.xml`.
        graph: float, with candidates as its output.
        info: the description in it.
        options: see `Int8`.
        proof: images on which the float graph is first compared with the model.
        static: the graph's shapes are fixed.

    Returns:
        0: written; 1: it lost too much, and stands under another name.

    Raises:
        LookonceError: data that cannot be used, or nothing to compare on.
        MissingExtraError: what quantises or measures is not installed.
    """
    _require(path, options)
    console = Console(file=sys.stdout)  # bound now: the tools' own output is kept back later
    inputs, judged = plan(options, info, console)
    from lookonce.export.files import write_onnx

    with TemporaryDirectory(prefix="lookonce-") as folder, replacing_together(path) as made:
        before = Path(folder) / f"{path.stem}.onnx"
        write_onnx(graph, before)
        prove(model, before, info, proof, static=static)
        _quantize(graph, inputs, made, console)
        share = _size(made) / before.stat().st_size
        compared = None if judged is None else _compare(before, made, judged, console)
        refused = compared is not None and not compared.drop <= options.max_drop
        if refused:
            path = _reject(made, path)
    say(f"int8, calibrated on {len(inputs)} images: {path}, {share:.2f} x the float file", console)
    return _judge(compared, options, refused, console)


def _require(path: Path, options: Int8) -> None:
    """Before all the reading, not after it."""
    if path.suffix == ".xml":
        from lookonce.export.quantize_openvino import import_nncf

        import_nncf()
    if options.gate:
        require("faster_coco_eval", "train")


def plan(options: Int8, info: ModelInfo, console: Console | None = None) -> Plan:
    """Choose and read the images, and say which.

    Raises:
        LookonceError: data that cannot be used, or annotations missing that the gate needs.
    """
    console = console or Console()
    data, split = _split_of(options.calibrate)
    found = _annotated(data, split or "train", options.names)
    paths = list_images(data) if found is None else [sample.path for sample in found.samples]
    say(f"calibrating on: {found.describe() if found else f'{len(paths)} images in {data}'}", console)
    judged = _judged(options, data, found, info, console) if options.gate else None
    own = {sample.path.absolute() for sample in judged or ()}
    rest = [path for path in paths if path.absolute() not in own]
    # where one set must serve both, half of it is for the gate
    count = IMAGES if rest else min(IMAGES, max(1, len(paths) // 2))
    chosen = spread(rest or paths, count)
    inputs, unreadable = read_inputs(_watched(console, "reading")(chosen), info)
    say_problems([*(found.problems if found else ()), *unreadable], console)
    if not len(inputs):
        raise ImageError(f"{options.calibrate}: expected images to calibrate on, found none that can be read")
    if judged is not None and not (left := unseen(judged, chosen)):
        say("gate: there are no images but those calibrated on, so it sees less loss than there is", console)
    elif judged is not None:
        judged = left
        say(f"gate: {len(judged)} images that were not calibrated on", console)
    return Plan(inputs, judged)


def _judged(
    options: Int8, data: Path, calibrated: SampleSet | None, info: ModelInfo, console: Console
) -> list[Sample]:
    """The annotated images to compare on, before those calibrated on are left out."""
    if options.gate_on is not None:
        place, split = _split_of(options.gate_on)
        found = load_samples(place, split or "val", options.names)
    elif calibrated is None:
        raise ConfigError(
            f"{data}: expected annotations, found images alone: without them nobody knows what int8 loses; "
            "name annotated data with --gate-on, or go without by --no-gate"
        )
    else:
        has_val = "val" in open_annotations(data).splits
        found = load_samples(data, "val", options.names) if has_val else calibrated
    say(f"gate on: {found.describe()}", console)
    say_problems(found.problems, console)
    shared = SharedClasses.match(info.names, found.names, found.origin)
    if shared.unknown:
        say(f"left out: the model does not know {listed(shared.unknown)}", console)
    return [shared.sample(sample, to=info.names) for sample in found.samples]


def _split_of(given: Path) -> tuple[Path, str | None]:
    """`DATA/split` apart, where DATA has such a split; what exists under its whole name is no split."""
    if given.exists():
        return given, None
    try:
        known = open_annotations(given.parent).splits
    except AnnotationError:
        known = ()
    return (given.parent, given.name) if given.name in known else (given, None)


def _annotated(data: Path, split: str, names: Path | None) -> SampleSet | None:
    """The images with their annotations; None for a folder that has images alone."""
    try:
        splits = open_annotations(data).splits
    except AnnotationError:
        if data.is_dir() and list_images(data):
            return None
        raise
    return load_samples(data, split if splits else None, names)


def _quantize(graph: onnx.ModelProto, inputs: Inputs, made: Path, console: Console) -> None:
    watch = _watched(console, "calibrating")
    if made.suffix == ".xml":
        from lookonce.export.quantize_openvino import quantize_openvino

        quantize_openvino(graph, inputs, made, watch)
    else:
        from lookonce.export.files import write_onnx
        from lookonce.export.quantize_onnx import quantize_onnx

        write_onnx(quantize_onnx(graph, inputs, watch), made)


def _compare(before: Path, after: Path, judged: Sequence[Sample], console: Console) -> Comparison:
    """Both through the engine that the file is for."""
    engine = ENGINES[after.suffix]
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(Detector.open(each, conf=CONFIDENCE, backend=engine))
            for each in (before, after)
        )
        return compare(first, second, _watched(console, "comparing")(judged))


def _judge(compared: Comparison | None, options: Int8, refused: bool, console: Console) -> int:
    """Say what came out; the exit code."""
    if compared is None:
        say("not compared with the float model (--no-gate): what it loses is not known", console)
        return 0
    say_problems(compared.unreadable, console)
    console.print(_table(compared))
    drop = f"AP {compared.before.ap:.4f} in float, {compared.after.ap:.4f} in int8"
    if refused:
        say(f"refused: {drop}; it may lose {options.max_drop:g} (--max-drop)", console)
        return 1
    say(f"accepted: {drop}; it may lose {options.max_drop:g}", console)
    return 0


def _reject(made: Path, path: Path) -> Path:
    """Rename what was made; the new path of what will stand there."""
    for each in list(made.parent.iterdir()):
        each.rename(each.with_suffix(f"{REJECTED}{each.suffix}"))
    return path.with_suffix(f"{REJECTED}{path.suffix}")


def _size(made: Path) -> int:
    return sum(each.stat().st_size for each in made.parent.iterdir())


def _table(compared: Comparison) -> Table:
    table = Table("class", box=None, header_style="bold")
    for heading in ("objects", "AP float", "int8", "change", "AP50 float", "int8", "change"):
        table.add_column(heading, justify="right")
    for before, after in zip(compared.before.classes, compared.after.classes, strict=True):
        if before.objects:
            cells = _cells((before.ap, after.ap), (before.ap50, after.ap50))
            table.add_row(Text(before.name), str(before.objects), *cells)
    whole, now = compared.before, compared.after
    if table.row_count > 1:
        cells = _cells((whole.ap, now.ap), (whole.ap50, now.ap50))
        table.add_row("all", str(whole.objects), *cells, style="bold")
    return table


def _cells(*pairs: tuple[float, float]) -> list[str]:
    return [
        text
        for before, after in pairs
        for text in (f"{before:.4f}", f"{after:.4f}", f"{after - before:+.4f}")
    ]


def _watched(console: Console, description: str) -> Callable[[Sequence[T]], Iterator[T]]:
    """What passes on the items of a sequence and shows, on a terminal, how far it is."""

    def watch(items: Sequence[T]) -> Iterator[T]:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            yield from progress.track(items, description=description)

    return watch
