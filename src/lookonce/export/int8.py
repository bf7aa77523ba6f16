"""Quantize a model to int8, with images for calibration, and accept the result only if AP does not drop."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, TypeVar

import onnx
from rich.console import Console

from lookonce._counted import counted
from lookonce._files import replacing_together
from lookonce._optional import require
from lookonce._terminal import progress_bar, say
from lookonce.annotations import load_samples, open_annotations
from lookonce.annotations.report import say_problems
from lookonce.errors import AnnotationError, GateDataError, ImageError, NoAnnotationsError
from lookonce.evaluate.classes import SharedClasses, listed
from lookonce.export.calibrate import IMAGES, read_inputs, spread
from lookonce.export.graph import GraphForm
from lookonce.export.quantize import Inputs, Watch
from lookonce.export.verify import Original, prove
from lookonce.gate import MAX_DROP, Comparison, compare_files, time_both, unseen
from lookonce.images import list_images
from lookonce.metadata import ModelInfo
from lookonce.samples import Sample, SampleSet

ENGINES = {".onnx": "onnxruntime", ".xml": "openvino"}
REJECTED = ".rejected"  # part of a rejected file's name, before the suffix

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Int8:
    """Options of quantization.

    Attributes:
        calibrate: annotations, `annotations/split`, or a folder of images, to calibrate on.
        gate_on: annotations or `annotations/split` to measure AP on; None for those of `calibrate`.
        max_drop: largest accepted loss of AP.
        gate: whether to compare AP.
        names: file with class names, for annotations that only have class numbers.
    """

    calibrate: Path
    gate_on: Path | None = None
    max_drop: float = MAX_DROP
    gate: bool = True
    names: Path | None = None


class QuantizationImages(NamedTuple):
    """The images for calibration and for the gate.

    Attributes:
        inputs: (P, H, W, 3) uint8 RGB images to calibrate on.
        compared_on: annotated images for the gate; None without a gate.
    """

    inputs: Inputs
    compared_on: Sequence[Sample] | None


class Quantized(NamedTuple):
    """A quantized file.

    Attributes:
        path: path of the file; the name of a rejected file has `REJECTED` in it.
        calibrated: number of calibration images.
        share: size of the file divided by the size of the float file.
        speed_up: time of the float file divided by the time of this file, in the same engine.
        compared: AP of both files; None without a gate.
        accepted: whether AP did not drop by more than accepted, or was not compared.
    """

    path: Path
    calibrated: int
    share: float
    speed_up: float
    compared: Comparison | None
    accepted: bool


def export_int8(
    original: Original,
    graph: onnx.ModelProto,
    form: GraphForm,
    path: Path,
    options: Int8,
    console: Console,
) -> Quantized:
    """Write a graph in int8 and compare it with the float graph.

    Args:
        original: model of the graph, and images on which the float graph is first verified.
        graph: float graph with candidates as its output.
        form: form of the graph's input and output.
        path: file to write, `.onnx` or `.xml`; `REJECTED` is added to the name of a rejected file.
        options: options of quantization.
        console: console for messages and progress.

    Raises:
        GateDataError: there are no annotations for measuring AP.
        LookonceError: the data cannot be used.
        MissingExtraError: a package for quantization or evaluation is not installed.
    """
    if path.suffix == ".xml":  # fail before any image is read
        from lookonce.export.quantize_openvino import import_nncf

        import_nncf()
    if options.gate:
        require("faster_coco_eval", "evaluate")
    inputs, compared_on = choose_images(options, original.info, console)
    from lookonce.export.files import write_onnx

    with TemporaryDirectory(prefix="lookonce-") as folder, replacing_together(path) as made:
        before = Path(folder) / f"{path.stem}.onnx"
        write_onnx(graph, before)
        prove(original, before, form)
        write_int8(graph, inputs, made, watched(console, "calibrating"))
        share = sum(each.stat().st_size for each in made.parent.iterdir()) / before.stat().st_size
        speed_up = time_both(before, made, inputs, ENGINES[made.suffix]).speed_up
        compared = None
        if compared_on is not None:
            watched_samples = watched(console, "comparing")(compared_on)
            compared = compare_files(before, made, watched_samples, ENGINES[made.suffix])
        accepted = compared is None or compared.drop <= options.max_drop  # NaN is rejected
        if not accepted:
            for each in list(made.parent.iterdir()):
                each.rename(each.with_suffix(f"{REJECTED}{each.suffix}"))
            path = path.with_suffix(f"{REJECTED}{path.suffix}")
    return Quantized(path, len(inputs), share, speed_up, compared, accepted)


def write_int8(
    graph: onnx.ModelProto,
    inputs: Inputs,
    path: Path,
    watch: Watch,
    *,
    symmetric: bool = False,
    first: bool = False,
) -> None:
    """Write a graph in int8, as `.onnx` for ONNX Runtime or as `.xml` and `.bin` for OpenVINO.

    Args:
        graph: float graph with candidates as its output.
        inputs: (P, H, W, 3) uint8 RGB images to calibrate on.
        path: file to write.
        watch: function that yields the images and shows the progress.
        symmetric: whether ranges of activations are symmetric around 0.
        first: whether to quantize the first convolution too; only for `.xml`, see `quantize_openvino`.
    """
    if path.suffix == ".xml":
        from lookonce.export.quantize_openvino import quantize_openvino

        quantize_openvino(graph, inputs, path, watch, symmetric=symmetric, first=first)
    else:
        from lookonce.export.files import write_onnx
        from lookonce.export.quantize_onnx import quantize_onnx

        write_onnx(quantize_onnx(graph, inputs, watch, symmetric=symmetric), path)


def choose_images(options: Int8, info: ModelInfo, console: Console) -> QuantizationImages:
    """Choose and read the images for calibration and for the gate, and print the choice.

    Raises:
        LookonceError: the data cannot be used, or annotations for the gate are missing.
    """
    data, split = _split_of(options.calibrate)
    try:
        splits = open_annotations(data).splits
        found = load_samples(data, (split or "train") if splits else None, options.names)
    except NoAnnotationsError:  # a folder of images
        found = None
    paths = list_images(data) if found is None else [sample.path for sample in found.samples]
    images = found.describe() if found else f"{counted(len(paths), 'image')} in {data}"
    say(f"calibrating on: {images}", console)
    compared_on = _gate_samples(options, data, found, info, console) if options.gate else None
    own = {sample.path.absolute() for sample in compared_on or ()}
    rest = [path for path in paths if path.absolute() not in own]
    # if there is only one set for both purposes, half of it is for the gate
    count = IMAGES if rest else min(IMAGES, max(1, len(paths) // 2))
    chosen = spread(rest or paths, count)
    inputs, unreadable = read_inputs(watched(console, "reading")(chosen), info)
    say_problems([*(found.problems if found else ()), *unreadable], console)
    if not len(inputs):
        raise ImageError(f"{options.calibrate}: expected images to calibrate on, found none that can be read")
    if compared_on is not None and not (left := unseen(compared_on, chosen)):
        say("gate: no images other than those calibrated on, so it underestimates the loss", console)
    elif compared_on is not None:
        compared_on = left
        say(f"gate: {counted(len(compared_on), 'image')} that were not calibrated on", console)
    return QuantizationImages(inputs, compared_on)


def _gate_samples(
    options: Int8, data: Path, calibrated: SampleSet | None, info: ModelInfo, console: Console
) -> list[Sample]:
    """Return the annotated images for the gate, before calibration images are removed."""
    if options.gate_on is not None:
        gate_data, split = _split_of(options.gate_on)
        found = load_samples(gate_data, split or "val", options.names)
    elif calibrated is None:
        raise GateDataError(f"{data}: expected annotations, to measure the loss of int8; found only images")
    else:
        has_val = "val" in open_annotations(data).splits
        found = load_samples(data, "val", options.names) if has_val else calibrated
    say(f"gate on: {found.describe()}", console)
    if found is not calibrated:  # `choose_images` prints the problems of `calibrated`
        say_problems(found.problems, console)
    shared = SharedClasses.match(info.names, found.names, found.origin)
    if shared.unknown:
        say(f"skipped: the model does not know {listed(shared.unknown)}", console)
    return [shared.sample(sample, to=info.names) for sample in found.samples]


def _split_of(given: Path) -> tuple[Path, str | None]:
    """Return (DATA, split) for `DATA/split` if DATA has such a split; else the path and None."""
    if given.exists():
        return given, None
    try:
        known = open_annotations(given.parent).splits
    except AnnotationError:
        known = ()
    return (given.parent, given.name) if given.name in known else (given, None)


def watched(console: Console, description: str) -> Callable[[Sequence[T]], Iterator[T]]:
    """Return a function that yields the items of a sequence and shows the progress on a console."""

    def watch(items: Sequence[T]) -> Iterator[T]:
        with progress_bar(console) as progress:
            yield from progress.track(items, description=description)

    return watch
