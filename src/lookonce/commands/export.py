"""`lookonce export`: a model in the form that another program reads, proved before it gets its name."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from lookonce._files import replacing_together
from lookonce._optional import require
from lookonce.commands.export_int8 import Int8, export_int8
from lookonce.commands.opening import input_size
from lookonce.commands.report import say
from lookonce.errors import ConfigError, LookonceError
from lookonce.export.nms import Suppression
from lookonce.export.verify import BOX_TOLERANCE, SCORE_TOLERANCE, Proof, prove
from lookonce.metadata import ModelInfo

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "darknet": ".cfg"}


@dataclass(frozen=True, slots=True)
class Form:
    """How an engine's file is to be.

    Attributes:
        size: (height, width) that it names as its own; None: the model's.
        static: fix batch 1 and that size.
        suppression: in the graph; None for none.
    """

    size: tuple[int, int] | None = None
    static: bool = False
    suppression: Suppression | None = None


def export(
    model: Path,
    to: str,
    out: Path,
    *,
    size: str | None = None,
    static: bool = False,
    nms: bool = False,
    confidence: float | None = None,
    iou: float | None = None,
    verify_on: Path | None = None,
    int8: Int8 | None = None,
) -> int:
    """Write a model for another program, run both, and keep the file if they agree.

    Args:
        model: `.safetensors`, `.cfg` with its `.weights`, or an `.onnx` file that lookonce wrote.
        to: one of `SUFFIXES`.
        out: the file, or a folder for it.
        size: `416` or `320x416`, as the file's own size; None: the model's.
        static: fix batch 1 and that size.
        nms: put suppression into the graph.
        confidence: its threshold; None for the Detector's.
        iou: likewise.
        verify_on: images to compare on; None for rendered ones.
        int8: write int8, in this way; None: float32.

    Returns:
        0: what was written computes what the model does; 1: int8 that loses too much of it.

    Raises:
        LookonceError: not such a model, an impossible option, a place that cannot be written, or a comparison
            that failed.
        MissingExtraError: torch or OpenVINO is needed and not installed.
    """
    form = _form(size, static, nms, confidence, iou)
    path = _target(model, to, out, ".int8" if int8 else "")
    if int8 and nms:
        raise ConfigError("--int8 and --nms: the gate compares what suppression has not yet thinned out")
    try:
        if to == "darknet":
            if form != Form() or verify_on is not None or int8:
                raise ConfigError("--to darknet: such files have no place for the other options of export")
            _export_darknet(model, path)
        else:
            return _export_graph(model, path, form, verify_on, int8)
    except OSError as error:
        raise LookonceError(f"{out}: the model cannot be written: {error.strerror or error}") from error
    return 0


def _export_graph(model: Path, path: Path, form: Form, verify_on: Path | None, int8: Int8 | None) -> int:
    if path.suffix == ".xml":
        require("openvino", "openvino")  # before all the reading, not after it
    from lookonce.export.files import write_onnx, write_openvino
    from lookonce.export.graph import export_graph, with_size
    from lookonce.export.proof_images import proof_images
    from lookonce.export.source import read_source

    source = read_source(model)
    if form.size is not None:
        source = with_size(source, form.size)
    graph = export_graph(source, static=form.static, suppression=form.suppression)
    images = proof_images(verify_on, source.info)
    if int8 is not None:
        return export_int8(model, path, graph, source.info, int8, images, static=form.static)
    with replacing_together(path) as made:
        (write_openvino if path.suffix == ".xml" else write_onnx)(graph, made)
        proof = prove(model, made, source.info, images, static=form.static, suppression=form.suppression)
    _report(model, path, source.info, form, proof)
    return 0


def _export_darknet(model: Path, cfg: Path) -> None:
    """`.cfg`, `.weights` and `.names`; the raw maps are compared, on noise."""
    require("torch", "train")
    from lookonce.model.darknet_io import largest_difference, save_darknet
    from lookonce.model.files import load_model

    network, info = load_model(model)
    with replacing_together(cfg) as made:
        save_darknet(made, network, info)
        difference = largest_difference(made, network)
    console = Console()
    say(f"{info.architecture}, {len(info.names)} classes, written as {cfg}, .weights and .names", console)
    say(
        f"read back and run on noise: the raw maps differ by at most {difference:.1e} of the largest", console
    )


def _form(size: str | None, static: bool, nms: bool, confidence: float | None, iou: float | None) -> Form:
    """What the command line asks for.

    Raises:
        ConfigError: a size or threshold that cannot be, or thresholds without suppression.
    """
    thresholds = {"confidence": confidence, "iou": iou}
    given = {name: value for name, value in thresholds.items() if value is not None}
    if given and not nms:
        raise ConfigError("--conf and --iou: thresholds of suppression in the graph, which --nms asks for")
    return Form(input_size(size), static, Suppression(**given) if nms else None)


def _target(model: Path, to: str, out: Path, mark: str) -> Path:
    """The file to write: `out` itself if it is called so, else one with the model's name in the folder `out`.

    The mark follows the model's name.

    Raises:
        ConfigError: `out` is called as another kind of file, or is the model.
    """
    suffix = SUFFIXES[to]
    path = out if out.suffix == suffix else out / f"{model.stem}{mark}{suffix}"
    if path is not out and out.suffix in SUFFIXES.values():
        raise ConfigError(f"--out {out}: expected a folder, or a file that ends in {suffix}")
    if path.resolve() == model.resolve():
        raise ConfigError(f"--out {out}: expected another file than the model itself")
    return path


def _report(model: Path, path: Path, info: ModelInfo, form: Form, proof: Proof) -> None:
    console = Console()
    height, width = info.input_size
    shapes = "batch 1 and size fixed" if form.static else "any batch and size"
    name = f"{path} and .bin" if path.suffix == ".xml" else str(path)
    classes = f"{len(info.names)} class{'es' if len(info.names) > 1 else ''}"
    say(
        f"{info.architecture}, {classes}, input {height}x{width} (height x width), {shapes}, "
        f"written as {name}",
        console,
    )
    say(
        f"read back and run beside {model} on {proof.images} images: boxes differ by at most "
        f"{proof.boxes:.1e} pixels, scores by {proof.scores:.1e} (allowed: {BOX_TOLERANCE:g}, "
        f"{SCORE_TOLERANCE:g})",
        console,
    )
    if proof.detections is not None:
        say(f"suppression inside: the same {proof.detections} detections as lookonce's own", console)
