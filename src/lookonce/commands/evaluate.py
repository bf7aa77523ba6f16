"""`lookonce evaluate`: measure a model on annotated images.

DIR/
    report.html            everything on one page, with the worst and the best images
    report.json            all numbers of the page
    metrics.json, *.png    metrics and curves
    explained/             pages that explain the worst images, linked from the report
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lookonce._counted import counted
from lookonce._optional import require
from lookonce._outputs import Outputs
from lookonce._terminal import printable, progress_bar, say, terminal
from lookonce.annotations import GivenData
from lookonce.annotations.report import count_problems, say_problems
from lookonce.commands import options as shared
from lookonce.commands.results import Evaluated
from lookonce.detections import Detections
from lookonce.doctor.diagnose import diagnose
from lookonce.doctor.planned_network import PlannedNetwork
from lookonce.errors import ConfigError, ImageError, LookonceError
from lookonce.evaluate.bootstrap import Interval
from lookonce.evaluate.classes import SharedClasses, listed
from lookonce.evaluate.coco import ClassMetrics, Metrics
from lookonce.evaluate.counting import CountingError
from lookonce.evaluate.curves import Curve
from lookonce.evaluate.part import MeasuredPart, choose_part
from lookonce.evaluate.report import PRECISION, Evaluation, evaluate_detections, write_report
from lookonce.gate import detect_samples
from lookonce.metadata import ModelInfo
from lookonce.report.figures import Subject
from lookonce.report.training import training_record
from lookonce.report.write import write_report_page
from lookonce.runtime.cpu import usable_cores
from lookonce.runtime.description import check_rewritable, rewrite
from lookonce.runtime.devices import AUTO
from lookonce.runtime.options import CONF, EVALUATION_CONF, IOU, DetectOptions
from lookonce.runtime.pipeline import Parallel
from lookonce.runtime.tiles import OVERLAP
from lookonce.samples import Problem, Sample, group_numbers
from lookonce.seen import Seen
from lookonce.values import measure_values

EXPLAINED = 6  # worst images to explain; each takes a few seconds and a few megabytes


def evaluate(
    model: shared.ModelArgument,
    data: shared.DataArgument,
    split: shared.SplitOption = None,
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("runs/evaluate"),
    names: shared.NamesOption = None,
    images: shared.ImagesOption = None,
    json_to: shared.JsonOption = None,
    size: shared.SizeOption = None,
    conf: Annotated[float, typer.Option(help="Minimum score; keep it low for AP.")] = EVALUATION_CONF,
    iou: shared.IouOption = IOU,
    fit: shared.FitOption = None,
    rect: shared.RectOption = False,
    reduce_jpeg: shared.ReduceJpegOption = False,
    tiles: shared.TilesOption = None,
    overlap: shared.OverlapOption = OVERLAP,
    soft_nms: shared.SoftNmsOption = False,
    multi_label: shared.MultiLabelOption = False,
    weights: shared.WeightsOption = None,
    precision: shared.PrecisionOption = "auto",
    device: shared.DeviceOption = AUTO,
    group: shared.GroupOption = "",
    strict: shared.StrictOption = False,
    set_thresholds: Annotated[
        bool, typer.Option("--set-thresholds", help="Store the best score thresholds in the model file.")
    ] = False,
    explain: Annotated[int, typer.Option(min=0, help="Number of the worst images to explain.")] = EXPLAINED,
    force: shared.ForceOption = False,
) -> Evaluated:
    """Measure a model on annotated images: COCO's metrics, curves, counts and errors.

    Example: lookonce evaluate runs/mine/best.safetensors my-images/ --split test --out runs/test
    """
    options = shared.read_options(
        size=size,
        conf=conf,
        iou=iou,
        fit=fit,
        rect=rect,
        reduce_jpeg=reduce_jpeg,
        tiles=tiles,
        overlap=overlap,
        soft_nms=soft_nms,
        multi_label=multi_label,
        weights=weights,
        precision=precision,
        device=device,
    )
    if set_thresholds:  # fail before detecting
        check_rewritable(model)
    for package in ("faster_coco_eval", "matplotlib"):
        require(package, extra="evaluate")
    console = terminal(stderr=json_to == shared.STANDARD_OUTPUT)
    inputs = [model, data, names, weights]
    with Outputs("evaluate", folder=out, files=[shared.json_file(json_to)], inputs=inputs, force=force):
        given = GivenData(data, names, images, strict)
        measured = measure(model, given, split, options, console, fresh=set_thresholds)
        exit_code = say_problems(measured.problems, console)
        part, truth, found = measured.part, measured.truth, measured.found
        about = {"model": str(model), "data": str(data), "split": part.name, **options.as_record()}
        about |= {"size": measured.size, "overlap": None if tiles is None else overlap}
        about |= {"learned_from": part.learned, "validated_on": part.validated, "group": group or None}
        about["problems"] = count_problems(measured.problems)
        groups = group_numbers([sample.path for sample in truth], group) if group else None
        evaluation = evaluate_detections(truth, found, measured.names, measured.thresholds, groups)
        numbers = write_report(out, evaluation, about)
        if json_to is not None:
            shared.write_json(json_to, numbers)

        network = PlannedNetwork.of_model(measured.info, measured.size)
        subject = Subject(
            about,
            training_record(model, measured.info),
            diagnose({part.name: part.found}, network),
            measured.info.values,
        )
        explaining = partial(_explain, model, options, measured, out, console, explain)
        sentence = write_report_page(out, truth, found, evaluation, subject, explaining)
        _print(evaluation, console)
        print_counts(evaluation, console)
        if set_thresholds:
            store_thresholds(model, measured, evaluation.best_thresholds, console)
        say(sentence, console)
        say(f"report: {out / 'report.html'}", console)
    return Evaluated(out, evaluation, exit_code)


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """The detections of a model on annotated images.

    Attributes:
        part: split or other choice of images, and how many of them the model was trained on.
        truth: annotated images that could be read, with labels that index `names`.
        found: detections on these images, with labels that index `names`.
        names: names in the data of the classes that the model and the data have in common.
        numbers: (C,) int64 number in the model of each of these classes.
        info: description of the model.
        size: (height, width) of the network's input.
        problems: everything that was skipped or repaired.
    """

    part: MeasuredPart
    truth: list[Sample]
    found: list[Detections]
    names: tuple[str, ...]
    numbers: NDArray[np.int64]
    info: ModelInfo
    size: tuple[int, int]
    problems: list[Problem]

    @property
    def thresholds(self) -> list[float] | None:
        """Return the score threshold of each class from the model file; None if it has none."""
        stored = self.info.thresholds
        return [stored[number] for number in self.numbers] if stored else None


def measure(
    model: Path,
    data: GivenData,
    split: str | None,
    options: DetectOptions,
    console: Console,
    *,
    fresh: bool,
) -> Measured:
    """Detect on the images to measure on, and print what is measured and what is left out.

    Args:
        model: model file.
        data: annotated images.
        split: images to measure on; None to choose them.
        options: detection options.
        console: console for messages and progress.
        fresh: whether images that the model was trained on are an error.

    Raises:
        LookonceError: the model, the data or an option cannot be used.
    """
    annotations, names = data.open(), data.class_names()
    parallel = Parallel.of(usable_cores())  # one core per image
    with shared.open_detector(model, options, parallel.threads) as detector:
        info = detector.info
        part = choose_part(annotations, split, Seen.of(info.training), names, data.strict)
        say(f"{part.name}: {part.found.describe()}", console)
        if warning := part.warning():
            say(warning, console)
        if fresh and part.learned:
            expected = "expected images that the model has not learned from"
            raise ConfigError(f"--set-thresholds: {expected}, found {part.learned} that it has")
        classes = SharedClasses.match(detector.names, part.found.names, data.path)
        if classes.renamed:
            pairs = ", ".join(f"{old} as {new}" for old, new in classes.renamed)
            say(f"classes of the model under the data's names: {pairs}", console)
        if classes.unknown:
            say(f"skipped: the model does not know {listed(classes.unknown)}", console)
        if classes.unused:
            say(f"skipped: the data does not have {listed(classes.unused)}", console)
        samples = part.found.samples
        values, remark = measure_values([sample.path for sample in samples], info.values)
        if remark:
            say(remark, console)
        least = detector.least_size if options.reduce_jpeg else None
        with progress_bar(console) as progress:
            bar = progress.add_task("detecting", total=len(samples))
            done = partial(progress.advance, bar)
            detected = detect_samples(
                detector, samples, values, parallel, done, least=least, strict=data.strict
            )
        size = detector.size
    problems = [*part.found.problems, *detected.unreadable]
    if not detected.samples:
        say_problems(problems, console)
        raise ImageError(f"{data.path}: expected images to measure on, found none that can be read")
    truth = [classes.sample(sample) for sample in detected.samples]
    found = [classes.detections(each) for each in detected.found]
    numbers = np.array([classes.model.index(name) for name in classes.names])
    return Measured(part, truth, found, classes.names, numbers, info, size, problems)


def store_thresholds(model: Path, measured: Measured, best: Sequence[float], console: Console) -> None:
    """Store the best score thresholds of the measured classes in the model file; others keep theirs."""
    names, stored = measured.info.names, measured.info.thresholds
    chosen = dict(zip(names, stored or [CONF] * len(names), strict=True))
    chosen |= {names[number]: threshold for number, threshold in zip(measured.numbers, best, strict=True)}
    rewrite(model, model, lambda info: replace(info, thresholds=tuple(chosen.values())))
    shown = listed([f"{name} {threshold:.2f}" for name, threshold in chosen.items()])
    say(f"{model}: score thresholds are now {shown}", console)


def _explain(
    model: Path,
    options: DetectOptions,
    measured: Measured,
    out: Path,
    console: Console,
    most: int,
    worst: Sequence[int],
    threshold: float,
) -> tuple[list[str], str]:
    """Write a page for each of the `most` worst images; return the links, and a remark for the report.

    If the model cannot be explained, the report is complete except for the explanations.
    """
    samples = [measured.truth[number] for number in worst[:most]]
    if not samples:
        return [], ""
    from lookonce.explain.explainer import Explainer
    from lookonce.explain.page import write_page

    links: list[str] = []
    try:
        explainer = Explainer.open(
            model,
            size=measured.size,
            conf=threshold,
            iou=options.iou,
            fit=options.fit,
            weights=options.weights,
        )
        say(f"explaining the worst images: {len(samples)}", console)
        for i, sample in enumerate(samples, start=1):
            link = f"explained/{i:02}.html"
            sample = replace(sample, labels=measured.numbers[sample.labels])
            write_page(explainer(sample.path, sample, features=True), out / link)
            links.append(link)
    except LookonceError as error:
        say(f"not explained: {error}", console)
        return links, f"Not explained: {error}. Pass a .safetensors, a .cfg or a float .onnx."
    return links, (
        "Linked images open a page that names the stage of the model at which each object was lost. It uses "
        "the whole image, one class per box and plain NMS."
    )


def _print(evaluation: Evaluation, console: Console) -> None:
    """Print a table by class, and COCO's overall metrics below it."""
    metrics = evaluation.metrics
    table = Table("class", box=None, header_style="bold", title_justify="left")
    for heading in ("objects", "AP", "AP50", "VOC AP50", "best F1", "at conf", f"recall@P{PRECISION}"):
        table.add_column(heading, justify="right")
    classes = zip(metrics.classes, evaluation.voc_ap50, evaluation.curves.classes, strict=True)
    rows: list[tuple[str, Metrics | ClassMetrics, float | None, Curve]] = [
        (row.name, row, voc, curve) for row, voc, curve in classes
    ]
    if len(rows) > 1:
        rows.append(("all", metrics, evaluation.to_dict()["voc_ap50"], evaluation.curves.overall))
    for name, row, voc, curve in rows:
        best, recall = curve.best(), curve.at_precision(PRECISION).recall
        if curve.objects and math.isnan(recall):  # no threshold gives this precision
            recall = 0.0
        numbers = (row.ap, row.ap50, voc, best.f1, best.threshold, recall)
        style = "bold" if row is metrics else None
        table.add_row(Text(printable(name)), str(row.objects), *map(_number, numbers), style=style)
    console.print(table)
    spread = evaluation.intervals
    units = counted(spread.units, "group" if spread.grouped else "image")
    say(
        f"AP {spread.overall.ap.around(metrics.ap)}, AP50 {spread.overall.ap50.around(metrics.ap50)}: "
        f"95% intervals over {units}",
        console,
    )
    m = {name: _number(getattr(metrics, name)) for name in metrics.__dataclass_fields__ if name[0] == "a"}
    say(
        f"AP75 {m['ap75']}; AP small {m['ap_small']}, medium {m['ap_medium']}, large {m['ap_large']}", console
    )
    say(
        f"AR at 1 {m['ar_1']}, 10 {m['ar_10']}, 100 {m['ar_100']}; "
        f"small {m['ar_small']}, medium {m['ar_medium']}, large {m['ar_large']}",
        console,
    )
    if metrics.crowded:
        say(
            f"images with more than 100 objects of one class: {metrics.crowded}; COCO counts only 100 "
            f"detections there; with all of them, AP {m['ap_uncapped']}, AR {m['ar_uncapped']}",
            console,
        )


def print_counts(evaluation: Evaluation, console: Console) -> None:
    """Print a table of annotated and counted objects by class, and the origin of the thresholds."""
    counting, spread = evaluation.counting, evaluation.intervals
    table = Table("counts", box=None, header_style="bold")
    for heading in ("at conf", "annotated", "counted", "error", "95%", "MAE", "bias"):
        table.add_column(heading, justify="right")

    def add(name: str, threshold: str, error: CountingError, interval: Interval, style: str = "") -> None:
        ends = "–" if math.isnan(interval.low) else f"{interval.low:+.0%} to {interval.high:+.0%}"
        relative = "–" if math.isnan(error.relative) else f"{error.relative:+.0%}"
        row = threshold, str(error.annotated), str(error.counted), relative, ends
        table.add_row(Text(printable(name)), *row, f"{error.mae:.2f}", f"{error.bias:+.2f}", style=style)

    for c, name in enumerate(counting.names):
        add(name, f"{counting.thresholds[c]:.2f}", counting.of(c), spread.classes[c].relative)
    if len(counting.names) > 1:
        add("all", "", counting.of(), spread.overall.relative, "bold")
    console.print(table)
    if counting.source == "these images":
        say(
            "the model has no thresholds; each half of the images uses those chosen on the other half",
            console,
        )


def _number(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"
