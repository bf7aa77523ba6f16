"""`lookonce evaluate`: how good a model is on annotated images."""

import math
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from lookonce._files import write_text
from lookonce._optional import require
from lookonce.annotations import load_samples
from lookonce.commands.evaluate_errors import Explaining, write_errors
from lookonce.commands.opening import read_options
from lookonce.commands.report import count_problems, say, say_problems
from lookonce.detections import Detections
from lookonce.errors import ImageError
from lookonce.evaluate.classes import SharedClasses, listed
from lookonce.evaluate.curves import OperatingPoint
from lookonce.evaluate.report import PRECISION, Evaluation, evaluate_detections, write_report
from lookonce.images import read_image
from lookonce.runtime.detector import Detector
from lookonce.runtime.pipeline import Plan, in_parallel
from lookonce.samples import Problem, Sample

CONF = 0.001  # low, since AP counts every detection
EXPLAINED = 6  # images; each takes some seconds and a few megabytes


def evaluate(
    model: Path,
    data: Path,
    out: Path,
    *,
    split: str,
    names: Path | None = None,
    json_file: Path | None = None,
    strict: bool = False,
    explain: int = EXPLAINED,
    **values: Any,
) -> int:
    """Detect on annotated images, compare, print and write what came out.

    Args:
        model: any model file that lookonce reads.
        data: annotations, in any form.
        out: folder of the report.
        split: the part of the data to measure on.
        names: file of class names, where the annotations have numbers alone.
        json_file: a further place for the numbers.
        strict: stop at the first bad row or image.
        explain: so many of the worst images, each on a page of its own.
        **values: how to detect, see `opening.read_options`; `conf` is 0.001 unless given.

    Returns:
        0 done, 1 if rows or images had to be skipped.

    Raises:
        ConfigError: a bad size or threshold, or no class in common.
        ImageError: not one image could be read.
        MissingExtraError: what measures or plots is not installed.
    """
    console = Console()
    for package in ("faster_coco_eval", "matplotlib"):  # before all the detecting, not after it
        require(package, extra="train")
    annotated = load_samples(data, split, names, strict)
    say(f"{split}: {annotated.describe()}", console)
    plan = Plan.of(len(annotated.samples))
    options = read_options(**{"conf": CONF, **values})
    with Detector.open(model, options, threads=plan.threads) as detector:
        shared = SharedClasses.match(detector.names, annotated.names, data)
        if shared.unknown:
            say(f"left out: the model does not know {listed(shared.unknown)}", console)
        if shared.unused:
            say(f"left out: the data does not have {listed(shared.unused)}", console)
        measured, found, unreadable = _detect(detector, annotated.samples, plan, console, strict=strict)
        size = detector.size
        explaining = Explaining(model, detector.names, size, options.iou, explain)
    problems = [*annotated.problems, *unreadable]
    exit_code = say_problems(problems, console)
    if not measured:
        raise ImageError(f"{data}: expected images to measure on, found none that can be read")
    about = {"model": str(model), "data": str(data), "split": split, **options.as_record(), "size": size}
    if options.tiles is None:
        about["overlap"] = None
    about["problems"] = count_problems(problems)
    truth = [shared.sample(sample) for sample in measured]
    compared = [shared.detections(each) for each in found]
    _report(out, json_file, truth, compared, shared.names, about, explaining, console)
    return exit_code


def _report(
    out: Path,
    json_file: Path | None,
    truth: Sequence[Sample],
    found: Sequence[Detections],
    names: Sequence[str],
    about: dict[str, Any],
    explaining: Explaining,
    console: Console,
) -> None:
    """Measure, write and print."""
    evaluation = evaluate_detections(truth, found, names)
    numbers = write_report(out, evaluation, about)
    if json_file is not None:
        write_text(json_file, numbers)
    write_errors(out, truth, found, evaluation, about, explaining, console)
    _print(evaluation, console)
    say(f"report: {out}, its errors: {out / 'errors.html'}", console)


def _detect(
    detector: Detector, samples: Sequence[Sample], plan: Plan, console: Console, *, strict: bool
) -> tuple[list[Sample], list[Detections], list[Problem]]:
    """Samples whose image could be read, what was found in each, and what was wrong with the others."""
    measured: list[Sample] = []
    found: list[Detections] = []
    unreadable: list[Problem] = []
    results = in_parallel(samples, partial(_attempt, detector), plan.workers)
    with _progress(console) as progress, closing(results):
        tracked = progress.track(results, total=len(samples), description="detecting")
        for sample, result in zip(samples, tracked, strict=True):
            if isinstance(result, ImageError):
                if strict:
                    raise result
                unreadable.append(Problem(str(sample.path), str(result)))
                continue
            measured.append(sample)
            found.append(result)
    return measured, found, unreadable


def _attempt(detector: Detector, sample: Sample) -> Detections | ImageError:
    """Read and detect; an image that cannot be read is a result too."""
    try:
        return detector(read_image(sample.path))
    except ImageError as error:
        return error


class _Rate(ProgressColumn):
    """Images a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} images/s" if speed else "")


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,  # a log file gets no bar
    )


def _print(evaluation: Evaluation, console: Console) -> None:
    """The tables: by class, then COCO's numbers."""
    metrics, overall = evaluation.metrics, evaluation.curves.overall
    table = Table("class", box=None, header_style="bold", title_justify="left")
    for heading in ("objects", "AP", "AP50", "VOC AP50", "best F1", "at conf", f"recall@P{PRECISION}"):
        table.add_column(heading, justify="right")
    rows = zip(metrics.classes, evaluation.voc_ap50, evaluation.curves.classes, strict=True)
    for row, voc, curve in rows:
        points = _cells(curve.best(), curve.at_precision(PRECISION), curve.objects)
        table.add_row(
            Text(row.name), str(row.objects), _number(row.ap), _number(row.ap50), _number(voc), *points
        )
    if len(metrics.classes) > 1:
        means = _number(metrics.ap), _number(metrics.ap50), _number(evaluation.to_dict()["voc_ap50"])
        points = _cells(overall.best(), overall.at_precision(PRECISION), overall.objects)
        table.add_row("all", str(metrics.objects), *means, *points, style="bold")
    console.print(table)
    say(_by_size(evaluation), console)
    if metrics.crowded:
        say(
            f"images with more than 100 objects of one class: {metrics.crowded}; COCO counts 100 "
            f"detections there, with all it is AP {_number(metrics.ap_uncapped)}, "
            f"AR {_number(metrics.ar_uncapped)}",
            console,
        )


def _by_size(evaluation: Evaluation) -> str:
    m = evaluation.metrics
    return (
        f"AP75 {_number(m.ap75)}; AP small {_number(m.ap_small)}, medium {_number(m.ap_medium)}, "
        f"large {_number(m.ap_large)}\n"
        f"AR at 1 {_number(m.ar_1)}, 10 {_number(m.ar_10)}, 100 {_number(m.ar_100)}; "
        f"small {_number(m.ar_small)}, medium {_number(m.ar_medium)}, large {_number(m.ar_large)}"
    )


def _cells(best: OperatingPoint, precise: OperatingPoint, objects: int) -> tuple[str, str, str]:
    """Best F1, its confidence, and recall at the precision: 0 where that is never reached."""
    recall = 0.0 if objects and math.isnan(precise.recall) else precise.recall
    return _number(best.f1), _number(best.threshold), _number(recall)


def _number(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"
