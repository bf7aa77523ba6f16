"""`lookonce evaluate`: how good a model is on annotated images.

DIR/
    report.html            everything on one page, with the worst and the best images
    report.json            its numbers
    metrics.json, *.png    metrics and curves alone
    explained/             a page for each of the very worst, opened from the report
"""

import json
import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lookonce._optional import require
from lookonce._outputs import Outputs
from lookonce._terminal import printable, progress_bar, say, terminal
from lookonce.annotations import open_annotations
from lookonce.annotations.files import read_names
from lookonce.annotations.report import count_problems, say_problems
from lookonce.commands import options as shared
from lookonce.commands.results import Evaluated
from lookonce.detections import Detections
from lookonce.doctor.diagnose import diagnose
from lookonce.doctor.planned_network import PlannedNetwork
from lookonce.errors import ConfigError, ImageError, LookonceError
from lookonce.evaluate.bootstrap import Interval
from lookonce.evaluate.classes import SharedClasses, listed
from lookonce.evaluate.counting import CountingError
from lookonce.evaluate.curves import OperatingPoint
from lookonce.evaluate.part import choose_part
from lookonce.evaluate.report import PRECISION, Evaluation, evaluate_detections, write_report
from lookonce.images import Values
from lookonce.report.training import training_record
from lookonce.report.write import write_report_page
from lookonce.runtime.description import rewrite
from lookonce.runtime.detector import Detector
from lookonce.runtime.devices import AUTO
from lookonce.runtime.options import CONF, EVALUATION_CONF, IOU, DetectOptions
from lookonce.runtime.pipeline import Plan, each_image
from lookonce.runtime.processor import usable_cores
from lookonce.runtime.tiles import OVERLAP
from lookonce.samples import Problem, Sample, group_numbers
from lookonce.seen import Seen
from lookonce.values import measure_values

EXPLAINED = 6  # images; each takes some seconds and a few megabytes


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
    """Measure how good a model is and what goes wrong: COCO's numbers, curves, errors.

    Example: lookonce evaluate runs/mine/best.safetensors my-images/ --split test --out runs/test
    """
    options = shared.read_options(
        size=size,
        conf=conf,
        iou=iou,
        fit=fit,
        rect=rect,
        tiles=tiles,
        overlap=overlap,
        soft_nms=soft_nms,
        multi_label=multi_label,
        weights=weights,
        precision=precision,
        device=device,
    )
    for package in ("faster_coco_eval", "matplotlib"):  # checked before detecting, not after
        require(package, extra="evaluate")
    console = terminal(stderr=json_to == shared.STANDARD_OUTPUT)
    inputs = [model, data, names, weights]
    with Outputs("evaluate", folder=out, files=[shared.json_file(json_to)], inputs=inputs, force=force):
        annotations = open_annotations(data, images)
        given = read_names(names) if names else None
        plan = Plan.of(usable_cores())  # many images: one core each
        with shared.open_detector(model, options, plan.threads) as detector:
            info = detector.info
            part = choose_part(annotations, split, Seen.of(info.training), given, strict)
            annotated = part.found
            say(f"{part.name}: {annotated.describe()}", console)
            if warning := part.warning():
                say(warning, console)
            if set_thresholds and part.learned:
                expected = "expected images that the model has not learned from"
                raise ConfigError(f"--set-thresholds: {expected}, found {part.learned} that it has")
            classes = SharedClasses.match(detector.names, annotated.names, data)
            if classes.renamed:
                pairs = ", ".join(f"{old} as {new}" for old, new in classes.renamed)
                say(f"classes of the model under the data's names: {pairs}", console)
            if classes.unknown:
                say(f"left out: the model does not know {listed(classes.unknown)}", console)
            if classes.unused:
                say(f"left out: the data does not have {listed(classes.unused)}", console)
            paths = [sample.path for sample in annotated.samples]
            values, remark = measure_values(paths, detector.info.values)
            if remark:
                say(remark, console)
            measured, raw, unreadable = _detect(
                detector, annotated.samples, plan, console, values, strict=strict
            )
            size_used, info = detector.size, detector.info
            to_model = np.array([classes.model.index(name) for name in classes.names])
            thresholds = [info.thresholds[i] for i in to_model] if info.thresholds else None
        problems = [*annotated.problems, *unreadable]
        exit_code = say_problems(problems, console)
        if not measured:
            raise ImageError(f"{data}: expected images to measure on, found none that can be read")
        about = {"model": str(model), "data": str(data), "split": part.name, **options.as_record()}
        about |= {"size": size_used, "overlap": None if tiles is None else overlap}
        about |= {"learned_from": part.learned, "validated_on": part.validated, "group": group or None}
        about["problems"] = count_problems(problems)
        truth = [classes.sample(sample) for sample in measured]
        found = [classes.detections(each) for each in raw]
        groups = group_numbers([sample.path for sample in truth], group) if group else None
        evaluation = evaluate_detections(truth, found, classes.names, thresholds, groups)
        numbers = write_report(out, evaluation, about)
        if json_to is not None:
            shared.write_json(json_to, json.loads(numbers))

        def explained(worst: Sequence[int], threshold: float) -> tuple[list[str], str]:
            samples = [truth[number] for number in worst[:explain]]
            own = [replace(each, labels=to_model[each.labels]) for each in samples]
            return _explain(model, options, size_used, threshold, own, out, console)

        sentence = write_report_page(
            out,
            truth,
            found,
            evaluation,
            about,
            training=training_record(model, info),
            diagnosis=diagnose({part.name: annotated}, PlannedNetwork.of_model(info, size_used)),
            explain=explained,
        )
        _print(evaluation, console)
        print_counts(evaluation, console)
        if set_thresholds:
            chosen = dict(zip(info.names, info.thresholds or [CONF] * len(info.names), strict=True))
            best = zip(to_model, evaluation.best_thresholds, strict=True)
            chosen |= {info.names[number]: threshold for number, threshold in best}
            rewrite(model, model, lambda info: replace(info, thresholds=tuple(chosen.values())))
            shown = listed([f"{name} {threshold:.2f}" for name, threshold in chosen.items()])
            say(f"{model}: score thresholds are now {shown}", console)
        say(sentence, console)
        say(f"report: {out / 'report.html'}", console)
    return Evaluated(out, evaluation, exit_code)


def _detect(
    detector: Detector,
    samples: Sequence[Sample],
    plan: Plan,
    console: Console,
    values: Values | None,
    *,
    strict: bool,
) -> tuple[list[Sample], list[Detections], list[Problem]]:
    """Return the samples with a readable image, their detections, and the problems of the others."""
    measured: list[Sample] = []
    found: list[Detections] = []
    unreadable: list[Problem] = []
    paths = [sample.path for sample in samples]
    results = each_image(paths, detector, unreadable, plan, values=values, strict=strict)
    with progress_bar(console) as progress, closing(results):
        for number, each in progress.track(results, total=len(samples), description="detecting"):
            measured.append(samples[number])
            found.append(each)
    return measured, found, unreadable


def _explain(
    model: Path,
    options: DetectOptions,
    size: tuple[int, int],
    threshold: float,
    samples: Sequence[Sample],
    out: Path,
    console: Console,
) -> tuple[list[str], str]:
    """Write a page per image; return links to them, and a remark for the report.

    If the layers of the model cannot be read, the report is complete without explanations.
    """
    if not samples:
        return [], ""
    from lookonce.explain.explainer import Explainer
    from lookonce.explain.page import write_page

    links: list[str] = []
    try:
        explainer = Explainer.open(
            model, size=size, conf=threshold, iou=options.iou, fit=options.fit, weights=options.weights
        )
        say(f"explaining the worst images: {len(samples)}", console)
        for i, sample in enumerate(samples, start=1):
            link = f"explained/{i:02}.html"
            write_page(explainer(sample.path, sample, features=True), out / link)
            links.append(link)
    except LookonceError as error:
        say(f"not explained: {error}", console)
        return links, f"Not explained: {error}. A .safetensors, a .cfg or a float .onnx can be."
    return links, (
        "Those with a link open a page that says at which stage of the model each object was lost, on the "
        "whole image, with one class per box and plain suppression."
    )


def _print(evaluation: Evaluation, console: Console) -> None:
    """Print a table by class, then COCO's numbers."""
    metrics, overall = evaluation.metrics, evaluation.curves.overall
    table = Table("class", box=None, header_style="bold", title_justify="left")
    for heading in ("objects", "AP", "AP50", "VOC AP50", "best F1", "at conf", f"recall@P{PRECISION}"):
        table.add_column(heading, justify="right")
    rows = zip(metrics.classes, evaluation.voc_ap50, evaluation.curves.classes, strict=True)
    for row, voc, curve in rows:
        points = _points(curve.best(), curve.at_precision(PRECISION), curve.objects)
        numbers = (row.ap, row.ap50, voc, *points)
        table.add_row(Text(printable(row.name)), str(row.objects), *map(_number, numbers))
    if len(metrics.classes) > 1:
        points = _points(overall.best(), overall.at_precision(PRECISION), overall.objects)
        numbers = (metrics.ap, metrics.ap50, evaluation.to_dict()["voc_ap50"], *points)
        table.add_row("all", str(metrics.objects), *map(_number, numbers), style="bold")
    console.print(table)
    spread = evaluation.intervals
    unit = "groups" if spread.grouped else "images"
    say(
        f"AP {spread.overall.ap.around(metrics.ap)}, AP50 {spread.overall.ap50.around(metrics.ap50)}: "
        f"95 % intervals over {spread.units} {unit}",
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
            f"images with more than 100 objects of one class: {metrics.crowded}; COCO counts 100 "
            f"detections there, with all it is AP {m['ap_uncapped']}, AR {m['ar_uncapped']}",
            console,
        )


def print_counts(evaluation: Evaluation, console: Console) -> None:
    """Print a table of annotated and counted objects by class, and where its thresholds come from."""
    counting, spread = evaluation.counting, evaluation.intervals
    table = Table("counts", box=None, header_style="bold")
    for heading in ("at conf", "annotated", "counted", "error", "95 %", "MAE", "bias"):
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
        say("the model has no thresholds: chosen on these images, for each half on the other half", console)


def _points(best: OperatingPoint, precise: OperatingPoint, objects: int) -> tuple[float, float, float]:
    """Return the best F1, its score threshold, and the recall at the precision; 0 if never reached."""
    recall = 0.0 if objects and math.isnan(precise.recall) else precise.recall
    return best.f1, best.threshold, recall


def _number(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"
