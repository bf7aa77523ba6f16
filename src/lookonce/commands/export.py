"""`lookonce export`: write a model for other programs, and verify the file before it gets its final name."""

import os
import shlex
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lookonce._counted import counted
from lookonce._files import check_utf8, replacing_together
from lookonce._optional import require
from lookonce._outputs import Outputs
from lookonce._terminal import printable, say, terminal
from lookonce.annotations.report import say_problems
from lookonce.commands import options as shared
from lookonce.commands.results import Exported
from lookonce.errors import ConfigError, GateDataError, LookonceError
from lookonce.evaluate.coco import ClassMetrics, Metrics
from lookonce.export.int8 import REJECTED, Int8, Quantized, export_int8
from lookonce.export.nms import GraphNms
from lookonce.export.verify import BOX_TOLERANCE, SCORE_TOLERANCE, Original, Proof, prove
from lookonce.gate import MAX_DROP, Comparison
from lookonce.geometry.letterbox import Fit
from lookonce.metadata import BN_EPSILON, WEIGHTS_BESIDE, ModelInfo
from lookonce.networks import model_name, model_path
from lookonce.runtime.options import IOU, DetectOptions

# Suffixes of the files of each form; the first is that of the main file.
SUFFIXES = {
    "onnx": (".onnx",),
    "openvino": (".xml", WEIGHTS_BESIDE[".xml"]),
    "ncnn": (".param", WEIGHTS_BESIDE[".param"]),
    "darknet": (".cfg", ".weights", ".names"),
}


class ExportTarget(StrEnum):
    """The forms of a model that can be written."""

    ONNX = "onnx"
    OPENVINO = "openvino"
    NCNN = "ncnn"
    DARKNET = "darknet"


class Layout(StrEnum):
    """The order of the input's axes."""

    NHWC = "nhwc"
    NCHW = "nchw"


@dataclass(frozen=True, slots=True)
class Form:
    """The options for a file that an engine runs.

    Attributes:
        size: (height, width) of the input; None for the model's own size.
        fit: how images are fitted to that size; None for the model's own.
        static: whether the batch size is fixed to 1 and the input to that size.
        planes: whether the input is float planes of that size; see `runtime.backends.as_planes`.
        nms: options with the thresholds of NMS in the graph; None for no NMS.
    """

    size: tuple[int, int] | None = None
    fit: Fit | None = None
    static: bool = False
    planes: bool = False
    nms: DetectOptions | None = None


def export(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", parser=model_path, help="coco, .safetensors, .cfg or .onnx.")
    ],
    to: Annotated[ExportTarget, typer.Option(help="Format to write.")],
    out: Annotated[Path, typer.Option(help="Folder, or name of the file.")] = Path("exported"),
    size: shared.SizeOption = None,
    fit: shared.FitOption = None,
    static: Annotated[
        bool,
        typer.Option("--static", help="Fix batch size 1 and the input size; by default both are variable."),
    ] = False,
    layout: Annotated[
        Layout,
        typer.Option(
            help="Input: nhwc for uint8 images, or nchw for float32 planes of fixed size, as OpenCV needs."
        ),
    ] = Layout.NHWC,
    nms: Annotated[bool, typer.Option("--nms", help="Include NMS in the graph.")] = False,
    conf: Annotated[
        str | None,
        typer.Option(
            metavar="SCORE",
            help="With --nms: score threshold, such as 0.3 or, by class, dog=0.4,cat=0.2.",
            show_default="the model's own, else 0.25",
        ),
    ] = None,
    iou: Annotated[
        float | None, typer.Option(help="With --nms: IoU threshold of NMS.", show_default=str(IOU))
    ] = None,
    verify_on: Annotated[
        Path | None,
        typer.Option(help="Images for the comparison.", show_default="rendered images and noise"),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(metavar="PRECISION", help="float32, or int8: quantized, and rejected if AP drops."),
    ] = "float32",
    int8: Annotated[bool, typer.Option("--int8", help="Short for --precision int8.")] = False,
    calibrate: Annotated[
        Path | None, typer.Option(help="With --int8: images to calibrate on: DATA, DATA/split, or a folder.")
    ] = None,
    gate_on: Annotated[
        Path | None,
        typer.Option(
            help="With --int8: DATA or DATA/split to measure AP on.", show_default="val of --calibrate"
        ),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="With --int8: largest drop in AP.", show_default=str(MAX_DROP)),
    ] = None,
    no_gate: Annotated[
        bool, typer.Option("--no-gate", help="With --int8: skip the comparison of AP.")
    ] = False,
    names: shared.NamesOption = None,
    weights: shared.WeightsOption = None,
    force: shared.ForceOption = False,
) -> Exported:
    """Export a model for another program, and check that it gives the same results.

    Example: lookonce export runs/mine/best.safetensors --to onnx --out mine.onnx
    """
    if precision not in ("float32", "int8"):
        raise ConfigError(
            f"--precision: expected float32 or int8, found {precision!r}: a file holds one of these, and "
            "`lookonce detect --precision bfloat16` computes a float32 file in bfloat16"
        )
    int8 = int8 or precision == "int8"
    if not (conf is None and iou is None) and not nms:
        raise ConfigError("--conf and --iou: expected --nms with them, since they are its thresholds")
    options = shared.read_options(fit=fit, conf=conf, iou=IOU if iou is None else iou)
    planes = layout == Layout.NCHW
    form = Form(shared.input_size(size), options.fit, static, planes, options if nms else None)
    quantization = int8_options(
        calibrate, gate_on, max_drop, names, int8=int8, no_gate=no_gate, nms=nms, planes=planes
    )
    if to == "darknet" and (form != Form(fit=form.fit) or verify_on or weights or int8):
        raise ConfigError("--to darknet: expected no further option but --fit, --out and --force")
    if to == "ncnn" and (int8 or static or planes or nms):
        raise ConfigError("--to ncnn: expected neither --int8, --static, --layout nchw nor --nms with it")
    path = _target(model, to.value, out, ".int8" if int8 else "")
    check_utf8(path, ConfigError)
    files = [
        path.with_suffix(mark + suffix)
        for mark in (("", REJECTED) if int8 else ("",))
        for suffix in SUFFIXES[to]
    ]
    with Outputs("export", files=files, inputs=[model, *([weights] if weights else [])], force=force):
        try:
            if to == "darknet":
                _export_darknet(model, path, form.fit)
                return Exported(path)
            return _export_graph(model, weights, path, form, verify_on, quantization)
        except GateDataError as error:
            raise ConfigError(f"{error}; name annotated data with --gate-on, or use --no-gate") from error
        except OSError as error:
            raise LookonceError(f"{out}: the model cannot be written: {error.strerror or error}") from error


def int8_options(
    calibrate: Path | None,
    gate_on: Path | None,
    max_drop: float | None,
    names: Path | None,
    *,
    int8: bool,
    no_gate: bool,
    nms: bool,
    planes: bool,
) -> Int8 | None:
    """Return the options for quantizing to int8; None without --int8.

    Raises:
        ConfigError: they are incomplete, are given without --int8, or exclude each other.
    """
    if not int8:
        if no_gate or any(value is not None for value in (calibrate, gate_on, max_drop, names)):
            raise ConfigError(
                "--calibrate, --gate-on, --max-drop, --no-gate and --names: expected --int8 with them"
            )
        return None
    if calibrate is None:
        raise ConfigError("--int8: expected --calibrate DATA, images like those that the model will see")
    if no_gate and (gate_on is not None or max_drop is not None):
        raise ConfigError("--no-gate: expected neither --gate-on nor --max-drop with it")
    if nms:
        raise ConfigError("--int8: expected no --nms with it, since the gate compares detections before NMS")
    if planes:
        raise ConfigError("--int8 and --layout nchw: expected nhwc, since int8 is calibrated on uint8 images")
    return Int8(calibrate, gate_on, MAX_DROP if max_drop is None else max_drop, not no_gate, names)


def _export_graph(
    model: Path, weights: Path | None, path: Path, form: Form, verify_on: Path | None, int8: Int8 | None
) -> Exported:
    """Write and verify a file for an engine, in float32 or quantized."""
    if path.suffix == ".xml":
        require("openvino", "openvino")  # fail before reading the model
    elif path.suffix == ".param":
        from lookonce.export.ncnn_backend import import_ncnn

        import_ncnn()
    from lookonce.darknet.ncnn_graph import write_ncnn
    from lookonce.export.files import write_onnx, write_openvino
    from lookonce.export.graph import GraphForm, export_graph, with_size
    from lookonce.export.proof_images import proof_images
    from lookonce.export.source import read_source

    with shared.options_named():
        source = read_source(model, weights)
    if form.fit is not None:
        source = replace(source, info=replace(source.info, fit=form.fit))
    if form.size is not None:
        source = with_size(source, form.size)
    nms = None
    if form.nms is not None:
        with shared.options_named():
            nms = GraphNms.of_model(source.info, form.nms.conf, form.nms.iou)
    shapes = GraphForm(form.static, form.planes, nms)
    if path.suffix != ".param":
        graph = export_graph(source, shapes)
    original = Original(model, source.info, proof_images(verify_on, source.info), weights)
    console = terminal()  # opened now, because the int8 tools run with stdout redirected
    if int8 is not None:
        made = export_int8(original, graph, shapes, path, int8, console)
        return Exported(made.path, int8=made, exit_code=_report_int8(made, int8.max_drop, console))
    with replacing_together(path) as temporary:
        if path.suffix == ".param":
            write_ncnn(source.network, source.weights, source.info, temporary)
        else:
            (write_openvino if path.suffix == ".xml" else write_onnx)(graph, temporary)
        proof = prove(original, temporary, shapes)
    if nms is not None:
        given = form.nms is not None and form.nms.conf is not None
        if told := shared.describe_thresholds(source.info, nms.conf, given=given):
            say(told, console)
    _report(model, path, source.info, form, proof, console)
    return Exported(path, proof)


def _export_darknet(model: Path, cfg: Path, fit: Fit | None) -> None:
    """Write `.cfg`, `.weights` and `.names`, and compare raw maps on an image of noise."""
    require("torch", "train")
    from lookonce.model.darknet_io import largest_difference, save_darknet
    from lookonce.model.files import load_model

    network, info = load_model(model)
    info = replace(info, fit=fit or info.fit)
    with replacing_together(cfg) as made:
        save_darknet(made, network, info)
        difference = largest_difference(made, network)
    console = terminal()
    say(
        f"{info.architecture}, {counted(len(info.names), 'class')}, written as {cfg}, .weights and .names",
        console,
    )
    if info.thresholds:
        pairs = zip(info.names, info.thresholds, strict=True)
        conf = shlex.quote(",".join(f"{name}={score:.2f}" for name, score in pairs))
        say(f"a .cfg cannot store the model's score thresholds: detect with --conf {conf}", console)
    if "seen" in info.training:
        say("a .cfg cannot record which images the model has learned from, so evaluate cannot warn", console)
    say(f"batch normalization: exact where {BN_EPSILON:g} is added to the variance, as in OpenCV", console)
    say(
        f"read back and run on noise: the raw maps differ by at most {difference:.1e} of the largest", console
    )


def _target(model: Path, to: str, out: Path, mark: str) -> Path:
    """Return the file to write: `out` if it has the suffix of the form, else a file in the folder `out`.

    A file in a folder is named after the model, followed by `mark`.

    Raises:
        ConfigError: `out` has the suffix of another kind of file, or is the model itself.
    """
    suffix = SUFFIXES[to][0]
    path = out if out.suffix == suffix else out / f"{model.stem}{mark}{suffix}"
    if path is not out and out.suffix.lower() in {main for main, *_ in SUFFIXES.values()}:
        raise ConfigError(f"--out {out}: expected a folder, or a file that ends in {suffix}")
    if os.path.realpath(path) == os.path.realpath(model):  # realpath also works in a loop of links
        raise ConfigError(f"--out {out}: expected another file than the model itself")
    return path


def _report(model: Path, path: Path, info: ModelInfo, form: Form, proof: Proof, console: Console) -> None:
    shapes = "batch 1 and size fixed" if form.static or form.planes else "any batch and size"
    opencv = form.planes and path.suffix == ".onnx" and proof.detections is None
    beside = WEIGHTS_BESIDE.get(path.suffix)
    name = f"{path} and {beside}" if beside else str(path)
    classes = counted(len(info.names), "class")
    size = shared.height_width(info.input_size)
    say(f"{info.architecture}, {classes}, input {size}, {shapes}, written as {name}", console)
    say(
        f"read back and run{', by OpenCV too,' if opencv else ''} beside {model_name(model)} on "
        f"{counted(proof.images, 'image')}: boxes differ by at most "
        f"{proof.boxes:.1e} pixels, scores by {proof.scores:.1e} (allowed: {BOX_TOLERANCE:g}, "
        f"{SCORE_TOLERANCE:g})",
        console,
    )
    if proof.detections is not None:
        say(f"NMS in the graph: the same {counted(proof.detections, 'detection')} as lookonce's own", console)


def _report_int8(made: Quantized, max_drop: float, console: Console) -> int:
    """Print the comparison of the int8 file with the float file; return the exit code."""
    say(
        f"int8, calibrated on {counted(made.calibrated, 'image')}: {made.path}, "
        f"{made.share:.2f} x the float file",
        console,
    )
    if made.speed_up > 1:
        say(f"on this machine: {made.speed_up:.2f} times as fast as in float32", console)
    else:
        say(f"not on this machine: it takes {1 / made.speed_up:.2f} times as long as float32", console)
    if made.compared is None:
        say("not compared with the float model (--no-gate): its loss of AP is unknown", console)
        return 0
    say_problems(made.compared.unreadable, console)
    console.print(_table(made.compared))
    aps = f"AP {made.compared.before.ap:.4f} in float, {made.compared.after.ap:.4f} in int8"
    if not made.accepted:
        say(f"rejected: {aps}; the largest accepted drop is {max_drop:g} (--max-drop)", console)
        return 1
    say(f"accepted: {aps}; the largest accepted drop is {max_drop:g}", console)
    return 0


def _table(compared: Comparison) -> Table:
    table = Table("class", box=None, header_style="bold")
    for heading in ("objects", "AP float", "int8", "change", "AP50 float", "int8", "change"):
        table.add_column(heading, justify="right")
    pairs = zip(compared.before.classes, compared.after.classes, strict=True)
    rows: list[tuple[str, Metrics | ClassMetrics, Metrics | ClassMetrics]] = [
        (before.name, before, after) for before, after in pairs if before.objects
    ]
    if len(rows) > 1:
        rows.append(("all", compared.before, compared.after))
    for name, before, after in rows:
        changes = [(before.ap, after.ap), (before.ap50, after.ap50)]
        cells = [text for old, new in changes for text in (f"{old:.4f}", f"{new:.4f}", f"{new - old:+.4f}")]
        style = "bold" if before is compared.before else None
        table.add_row(Text(printable(name)), str(before.objects), *cells, style=style)
    return table
