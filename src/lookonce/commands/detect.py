"""`lookonce detect`: find objects in images and videos; write annotated images and lists of detections."""

import sys
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from threading import Thread
from time import perf_counter
from typing import Annotated, Any

import typer

from lookonce._interrupts import Interrupts
from lookonce._outputs import Outputs, remove_leftovers
from lookonce._terminal import progress_bar, say, terminal
from lookonce.commands import options as shared
from lookonce.commands.detect_report import Tally, describe, report
from lookonce.commands.detect_results import Results
from lookonce.darknet.beside import SUFFIXES as DARKNET
from lookonce.darknet.beside import find_cfg, find_weights
from lookonce.detections import Detections
from lookonce.eight_bits import Values
from lookonce.errors import ConfigError, ImageError, LookonceError, ModelFileError
from lookonce.metadata import WEIGHTS_BESIDE
from lookonce.runtime.devices import AUTO
from lookonce.runtime.options import IOU, DetectOptions
from lookonce.runtime.pipeline import Parallel
from lookonce.runtime.pre_annotations import AnnotationWriter, DoubtWriter
from lookonce.runtime.resume import Done, read_done
from lookonce.runtime.sources import Frame, Reading, Sources
from lookonce.runtime.tiles import OVERLAP
from lookonce.runtime.video import is_video
from lookonce.runtime.video_checks import name_of
from lookonce.runtime.writers import Writer
from lookonce.samples import Problem
from lookonce.values import measure_values

MOST_OF_ONE_FILE = 20  # problems to print per file; `--json` lists all of them


def detect(
    model: shared.ModelArgument,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Files, folders, globs, videos, camera numbers, stream URLs; - (standard input), @list.txt.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("detections"),
    save: Annotated[
        str,
        typer.Option(
            help="Comma-separated results: images (annotated images and videos), json, csv, counts, coco, "
            "geojson; yolo, voc, cvat, labelme, labelstudio (boxes to correct in a labeling tool)."
        ),
    ] = "images,json",
    sure: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Minimum score of the boxes for a labeling tool; check.txt lists the images with objects "
            "below it.",
            show_default="all detections",
        ),
    ] = None,
    conf: shared.ConfsOption = None,
    iou: shared.IouOption = IOU,
    classes: Annotated[
        str | None, typer.Option(help="Classes to keep, by name or number: dog,cat.", show_default="all")
    ] = None,
    agnostic: Annotated[bool, typer.Option("--agnostic", help="Apply NMS across classes.")] = False,
    size: shared.SizeOption = None,
    fit: shared.FitOption = None,
    rect: shared.RectOption = False,
    reduce_jpeg: shared.ReduceJpegOption = False,
    tiles: shared.TilesOption = None,
    overlap: shared.OverlapOption = OVERLAP,
    soft_nms: shared.SoftNmsOption = False,
    multi_label: shared.MultiLabelOption = False,
    weights: shared.WeightsOption = None,
    backend: Annotated[
        str | None,
        typer.Option(
            help="Engine: onnxruntime, openvino, torch, tensorrt or ncnn.",
            show_default="the first that reads the file",
        ),
    ] = None,
    precision: shared.PrecisionOption = "auto",
    device: shared.DeviceOption = AUTO,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Threads of the engine per image.", show_default="depends on the sources"),
    ] = None,
    coco_ids: Annotated[
        Path | None,
        typer.Option(help="COCO annotations with the image and class ids for coco results."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first unreadable file.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume the run in --out, and keep its results.")
    ] = False,
    json_to: shared.JsonOption = None,
    force: shared.ForceOption = False,
) -> int:
    """Find objects in images and videos.

    Example: lookonce detect model.onnx photos/ clip.mp4 --save images,csv --classes dog,cat
    """
    results = Results.of_options(out, save, sure, coco_ids)
    options = shared.read_options(
        conf=conf,
        iou=iou,
        classes=classes,
        agnostic=agnostic,
        size=size,
        fit=fit,
        rect=rect,
        reduce_jpeg=reduce_jpeg,
        tiles=tiles,
        overlap=overlap,
        soft_nms=soft_nms,
        multi_label=multi_label,
        weights=weights,
        backend=backend,
        precision=precision,
        device=device,
        threads=threads,
    )
    if reduce_jpeg and "images" in results.kinds:
        raise ConfigError(
            f"--reduce-jpeg: expected --save without images, which are drawn at their full size; found {save}"
        )
    frames = Sources(sources, strict=strict)
    others = [each for each in frames.origins if not isinstance(each, Path) or is_video(each)]
    if results.forms and others:
        raise ConfigError(
            f"--save {results.forms[0]}: expected image files, to which annotations refer; found "
            f"{name_of(others[0])}"
        )
    inputs = [model, *(each for each in (weights, coco_ids, *frames.origins) if isinstance(each, Path))]
    files = [shared.json_file(json_to)]
    with Outputs("detect", folder=out, files=files, inputs=inputs, force=force, resume=resume):
        return _detect(model, frames, results, options, json_to, resume=resume)


def _detect(
    model: Path,
    frames: Sources,
    results: Results,
    options: DetectOptions,
    json_to: Path | None,
    *,
    resume: bool,
) -> int:
    """Detect on all sources and write the results.

    Returns:
        Exit code: 0 on success, 1 if files were skipped, or 128 plus the number of the signal that stopped
        the run.
    """
    run = _identity(model, options, results)
    done, before = _resume(results, frames, run) if resume else (None, None)
    parallel = Parallel.of(total := frames.count(), options.threads)
    tally = Tally(kept=len(done or ()))
    for _, earlier in done or ():
        tally.classes.update(name for name, _, _ in earlier)
    writers: dict[str, Writer] = {}
    if "images" in results.kinds:  # import the drawing module while the engine opens the model
        Thread(target=import_module, args=("lookonce.draw.boxes",)).start()
    with shared.open_detector(model, options, parallel.threads) as detector, Interrupts() as interrupts:
        say(describe(model, detector))
        used = detector.options.thresholds_of(detector.names)
        if told := shared.describe_thresholds(detector.info, used, given=options.conf is not None):
            say(told)
        images = [each for each in frames.origins if isinstance(each, Path) and not is_video(each)]
        values, remark = measure_values(images, detector.info.values)
        if values and before and values != before:  # images were added, but all are to be scaled alike
            values, (low, high) = before, before
            remark = f"images of more than 8 bits: {low:g} to {high:g} become 0 to 255, as before"
        if remark:
            say(remark)
        least = detector.least_size if options.reduce_jpeg else None
        reading = Reading(values, by_windows=options.tiles is not None, least=least)
        try:
            with ExitStack() as stack:
                writers = results.begin(detector, run, frames, done, values)
                for writer in writers.values():
                    stack.enter_context(writer)
                found = frames.map(lambda frame: detector(frame.image), parallel, reading)
                try:
                    _run(found, frames, total, [*writers.values()], tally, interrupts)
                except LookonceError:
                    if not tally.frames:  # no result to keep
                        stack.pop_all()
                        for writer in writers.values():
                            writer.abandon()
                    raise
            if not frames.in_order:
                results.put_in_order(detector, run, frames, values)
        except KeyboardInterrupt:
            pass  # all results so far are stored
        except OSError as error:
            why = error.strerror or error
            raise LookonceError(f"{results.folder}: results cannot be written: {why}") from error
    for writer in writers.values():
        if isinstance(writer, AnnotationWriter):
            for problem in writer.problems:
                say(f"skipped: {problem}")
            frames.problems += writer.problems
        elif isinstance(writer, DoubtWriter):
            tally.doubtful = writer.count
    saved = {kind: writer.path for kind, writer in writers.items()}
    if resume or not interrupts.signal:  # else leftovers of an earlier run may have more results than this
        for path in saved.values():
            remove_leftovers(path)
    report(tally, frames, saved, json_to, stopped=bool(interrupts.signal))
    return 128 + interrupts.signal if interrupts.signal else int(bool(frames.problems))


def _identity(model: Path, options: DetectOptions, results: Results) -> dict[str, Any]:
    """Return everything that determines the results, without reading the model."""
    beside = model.with_suffix(WEIGHTS_BESIDE.get(model.suffix.lower(), ".bin"))
    files = [model, beside, *([Path(options.weights)] if options.weights else [])]
    if model.suffix.lower() in DARKNET and model.is_file():
        with suppress(ModelFileError):  # raised again when the model is opened, after errors in the .cfg
            files = [find_cfg(model), Path(options.weights or find_weights(model))]
    stats = [(file.name, file.stat()) for file in files if file.exists()]
    run = {
        "model": str(model),
        "files": [[name, stat.st_size, int(stat.st_mtime)] for name, stat in stats],
        "options": options.as_record(),
        "annotated": "images" in results.kinds,
    }
    return run | ({"geojson": True} if "geojson" in results.kinds else {})


def _resume(results: Results, frames: Sources, run: Mapping[str, Any]) -> tuple[list[Done], Values | None]:
    """Return the results and the pixel values of an earlier run, and leave its files out of `frames`.

    Raises:
        ConfigError: the run cannot be resumed, or has results of other sources.
    """
    if "json" not in results.kinds:
        raise ConfigError("--resume: reads the json results; expected json among --save")
    if any(not isinstance(origin, Path) for origin in frames.origins):
        raise ConfigError("--resume: expected only files; cameras, streams and standard input start over")
    done, values = read_done(results.json, run, frames)
    frames.leave_out({frames.file_of(frame.name) for frame, _ in done})
    return done, values


def _run(
    results: Generator[tuple[Frame, Detections], None, None],
    frames: Sources,
    total: int | None,
    writers: Sequence[Writer],
    tally: Tally,
    interrupts: Interrupts,
) -> None:
    """Write and count the results while other threads compute them."""
    start = perf_counter()
    with ExitStack() as stack:
        stack.enter_context(closing(results))
        progress = None
        if total != 1 and sys.stderr.isatty():
            progress = stack.enter_context(progress_bar(terminal(stderr=True)))
            progress.add_task("detecting", total=total)
        console = None if progress is None else progress.console
        shown, by_file = 0, Counter[str]()
        while True:
            result = interrupts.wait_for(partial(next, results, None))
            for problem in frames.problems[shown:]:
                shown += 1
                by_file[file := frames.file_of(problem.place)] += 1
                if by_file[file] <= MOST_OF_ONE_FILE:
                    say(f"skipped: {problem}", console)
            if result is None:
                for file, count in by_file.items():
                    if count > MOST_OF_ONE_FILE:
                        say(f"skipped: {count - MOST_OF_ONE_FILE} more of {file}", console)
                return
            try:
                for writer in writers:
                    writer.add(*result)
            except ImageError as error:  # for example, the image is too large for its format
                if frames.strict:
                    raise
                if not frames.problems or frames.problems[-1].place != result[0].name:  # once per video
                    what = str(error).removeprefix(f"{result[0].name}: ")
                    frames.problems.append(Problem(result[0].name, what))
                continue
            tally.frames += 1
            tally.has_clips |= result[0].moment is not None and result[0].path is not None
            tally.classes.update(name for name, _, _ in result[1])
            tally.seconds = perf_counter() - start
            if progress is not None:
                progress.advance(progress.task_ids[0])
