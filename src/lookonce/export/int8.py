"""Quantize to int8, with images to calibrate on, and keep the result only if AP holds."""

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
REJECTED = ".rejected"  # in the name of a rejected file

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Int8:
    """Options of quantization.

    Attributes:
        calibrate: annotations, `annotations/split`, or a folder of images.
        gate_on: annotations or `annotations/split`; None: the same as `calibrate`.
        max_drop: largest loss of AP accepted.
        gate: whether to compare AP.
        names: file of class names, for annotations with class numbers only.
    """

    calibrate: Path
    gate_on: Path | None = None
    max_drop: float = MAX_DROP
    gate: bool = True
    names: Path | None = None


class QuantizationImages(NamedTuple):
    """Images and their purposes.

    Attributes:
        inputs: (P, H, W, 3) uint8 RGB, images to calibrate on.
        compared_on: annotated images for the gate; None for no gate.
    """

    inputs: Inputs
    compared_on: Sequence[Sample] | None


class Quantized(NamedTuple):
    """A file that was written.

    Attributes:
        path: path of the file; a rejected file has `REJECTED` in its name.
        calibrated: number of images that it was calibrated on.
        share: size of the file divided by that of the float file.
        speed_up: time of the float file in the same engine, divided by the time of this file.
        compared: AP of both files; None without a gate.
        accepted: whether AP held, or was not compared.
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
    """Write the graph in int8 and compare it with the float one.

    Args:
        original: model that the graph was made from, and images on which the two are first compared.
        graph: float graph with candidates as its output.
        form: shapes and ports of the graph.
        path: file to write, `.onnx` or `.xml`; `REJECTED` is added to the name of a rejected file.
        options: options of quantization.
        console: console for the choice of images and the progress.

    Raises:
        GateDataError: there are no annotations to compare AP on.
        LookonceError: the data cannot be used.
        MissingExtraError: a package that quantizes or measures is not installed.
    """
    if path.suffix == ".xml":  # fail before reading any image, not after
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
    """Write the graph in int8: `.onnx` for ONNX Runtime, or `.xml` and `.bin` for OpenVINO.

    Args:
        graph: float graph with candidates as its output.
        inputs: (P, H, W, 3) images to calibrate on.
        path: file to write.
        watch: function that passes images on and shows the progress.
        symmetric: see `quantize_onnx`.
        first: see `quantize_openvino`.
    """
    if path.suffix == ".xml":
        from lookonce.export.quantize_openvino import quantize_openvino

        quantize_openvino(graph, inputs, path, watch, symmetric=symmetric, first=first)
    else:
        from lookonce.export.files import write_onnx
        from lookonce.export.quantize_onnx import quantize_onnx

        write_onnx(quantize_onnx(graph, inputs, watch, symmetric=symmetric), path)


def choose_images(options: Int8, info: ModelInfo, console: Console) -> QuantizationImages:
    """Choose and read the images, and print the choice.

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
    # if one set must serve both purposes, half of it is for the gate
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
    """Return the annotated images to compare on, before calibration images are removed."""
    if options.gate_on is not None:
        gate_data, split = _split_of(options.gate_on)
        found = load_samples(gate_data, split or "val", options.names)
    elif calibrated is None:
        raise GateDataError(f"{data}: expected annotations, to measure the loss of int8; found only images")
    else:
        has_val = "val" in open_annotations(data).splits
        found = load_samples(data, "val", options.names) if has_val else calibrated
    say(f"gate on: {found.describe()}", console)
    if found is not calibrated:  # whose problems are printed with those of the images
        say_problems(found.problems, console)
    shared = SharedClasses.match(info.names, found.names, found.origin)
    if shared.unknown:
        say(f"skipped: the model does not know {listed(shared.unknown)}", console)
    return [shared.sample(sample, to=info.names) for sample in found.samples]


def _split_of(given: Path) -> tuple[Path, str | None]:
    """Split `DATA/split` if DATA has such a split; an existing path is not split."""
    if given.exists():
        return given, None
    try:
        known = open_annotations(given.parent).splits
    except AnnotationError:
        known = ()
    return (given.parent, given.name) if given.name in known else (given, None)


def watched(console: Console, description: str) -> Callable[[Sequence[T]], Iterator[T]]:
    """Return a function that yields the items of a sequence and shows the progress."""

    def watch(items: Sequence[T]) -> Iterator[T]:
        with progress_bar(console) as progress:
            yield from progress.track(items, description=description)

    return watch
