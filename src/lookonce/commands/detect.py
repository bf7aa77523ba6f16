"""`lookonce detect`: find objects in images and videos; write annotated images and lists of detections."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from threading import Thread
from time import perf_counter
from typing import Annotated, Any

import typer

from lookonce._files import ANNOTATIONS_LIMIT, read_text
from lookonce._interrupts import Interrupts
from lookonce._outputs import Outputs, remove_leftovers
from lookonce._terminal import progress_bar, say, terminal
from lookonce.commands import options as shared
from lookonce.commands.detect_report import Tally, describe, report
from lookonce.darknet.beside import SUFFIXES as DARKNET
from lookonce.darknet.beside import find_cfg, find_weights
from lookonce.detections import Detections
from lookonce.errors import AnnotationError, ConfigError, ImageError, LookonceError, ModelFileError
from lookonce.metadata import WEIGHTS_BESIDE
from lookonce.runtime.devices import AUTO
from lookonce.runtime.geojson import GeoJsonWriter
from lookonce.runtime.options import IOU, DetectOptions
from lookonce.runtime.pipeline import Parallel
from lookonce.runtime.pre_annotations import FORMS, AnnotationWriter, DoubtWriter
from lookonce.runtime.resume import Done, read_done
from lookonce.runtime.sources import Frame, Sources, file_of
from lookonce.runtime.tiles import OVERLAP
from lookonce.runtime.video import is_video, name_of
from lookonce.runtime.writers import CocoWriter, CountsWriter, CsvWriter, ImageWriter, JsonWriter, Writer
from lookonce.samples import Problem, named_as_in
from lookonce.values import measure_values

KINDS = ("images", "geojson", "json", "csv", "counts", "coco", *FORMS)
RESULTS = "detections.json"
MOST_OF_ONE_FILE = 20  # number of problems printed per file; the results list all of them


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
    agnostic: Annotated[bool, typer.Option("--agnostic", help="Apply NMS across classes, too.")] = False,
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
        typer.Option(min=1, help="Threads of the engine per image.", show_default="by the sources"),
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
    kinds = [kind.strip() for kind in save.split(",")]
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise ConfigError(
            f"--save: expected some of {', '.join(KINDS)}, found {', '.join(map(repr, unknown))}"
        )
    # write the files of each image first, so that they exist when the json results list them
    kinds = [kind for kind in KINDS if kind in kinds]
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
    if reduce_jpeg and "images" in kinds:
        raise ConfigError(
            f"--reduce-jpeg: expected --save without images, which are drawn at their full size; found {save}"
        )
    frames = Sources(sources, strict=strict)
    frames.by_windows = tiles is not None
    forms = [kind for kind in kinds if kind in FORMS]
    if sure is not None and not forms:
        raise ConfigError(f"--sure: expected one of {', '.join(FORMS)} among --save, found {save}")
    if coco_ids is not None and "coco" not in kinds:
        raise ConfigError(f"--coco-ids: expected coco among --save, found {save}")
    others = [each for each in frames.origins if not isinstance(each, Path) or is_video(each)]
    if forms and others:
        raise ConfigError(
            f"--save {forms[0]}: expected image files, to which annotations refer; found {name_of(others[0])}"
        )
    inputs = [model, *(each for each in (weights, coco_ids, *frames.origins) if isinstance(each, Path))]
    # results to resume may come from another machine, where the list of written files does not apply
    files = [shared.json_file(json_to)]
    with Outputs("detect", folder=out, files=files, inputs=inputs, force=force or resume):
        return _detect(model, frames, out, kinds, options, coco_ids, sure, json_to, resume=resume)


def _detect(
    model: Path,
    frames: Sources,
    out: Path,
    kinds: Sequence[str],
    options: DetectOptions,
    coco_ids: Path | None,
    sure: float | None,
    json_to: Path | None,
    *,
    resume: bool,
) -> int:
    """Detect on all sources and write the results.

    Returns:
        The exit code: 0 if all went well, 1 if files were skipped, or 128 plus the number of the signal that
        stopped the run.
    """
    run = _identity(model, options, kinds)
    done = _resume(out / RESULTS, frames, kinds, run) if resume else []
    parallel = Parallel.of(total := frames.count(), options.threads)
    tally = Tally(kept=len(done))
    writers: list[Writer] = []
    if "images" in kinds:  # import what drawing needs while the engine opens the model
        Thread(target=import_module, args=("lookonce.draw.boxes",)).start()
    with shared.open_detector(model, options, parallel.threads) as detector, Interrupts() as interrupts:
        say(describe(model, detector))
        used = detector.options.thresholds_of(detector.names)
        if told := shared.describe_thresholds(detector.info, used, given=options.conf is not None):
            say(told)
        numbers = detector.options.class_numbers(detector.names)
        images = [each for each in frames.origins if isinstance(each, Path) and not is_video(each)]
        frames.values, remark = measure_values(images, detector.info.values)
        frames.least = detector.least_size if options.reduce_jpeg else None
        if remark:
            say(remark)
        makers: dict[str, Callable[[], Writer]] = {
            "images": lambda: ImageWriter(out / "annotated"),
            "geojson": lambda: GeoJsonWriter(out / "geojson"),
            "json": lambda: JsonWriter(out / RESULTS, detector.names, run, used),
            "csv": lambda: CsvWriter(out / "detections.csv"),
            "counts": lambda: CountsWriter(out / "counts.csv", detector.names, numbers),
            "coco": lambda: CocoWriter(out / "coco_results.json", *_coco_numbers(detector.names, coco_ids)),
        }
        for form in FORMS:
            kept = len(done) if resume else None
            makers[form] = partial(AnnotationWriter, out / form, form, detector.names, sure or 0.0, kept)
        if sure is not None:
            kinds = [*kinds, "check"]
            makers["check"] = partial(DoubtWriter, out / "check.txt", sure)
        try:
            with ExitStack() as stack:
                writers = _begin([makers[kind] for kind in kinds], done, tally)
                for writer in writers:
                    stack.enter_context(writer)
                results = frames.map(lambda frame: detector(frame.image), parallel)
                try:
                    _run(results, frames, total, writers, tally, interrupts)
                except LookonceError as error:
                    if not tally.frames:  # there is nothing to keep
                        stack.pop_all()
                        for writer in writers:
                            writer.abandon(type(error), error, error.__traceback__)
                    raise
        except KeyboardInterrupt:
            pass  # everything done so far has been stored
        except OSError as error:
            raise LookonceError(f"{out}: results cannot be written: {error.strerror or error}") from error
    saved = {kind: writer.path for kind, writer in zip(kinds, writers, strict=True)}
    for writer in writers:
        if isinstance(writer, AnnotationWriter):
            for problem in writer.problems:
                say(f"skipped: {problem}")
            frames.problems += writer.problems
        elif isinstance(writer, DoubtWriter):
            tally.doubtful = writer.count
    if resume or not interrupts.signal:  # otherwise the files may hold more than the results of this run
        for path in saved.values():
            remove_leftovers(path)
    report(tally, frames, saved, json_to, stopped=bool(interrupts.signal))
    return 128 + interrupts.signal if interrupts.signal else int(bool(frames.problems))


def _identity(model: Path, options: DetectOptions, kinds: Sequence[str]) -> dict[str, Any]:
    """Return everything that determines the results, as far as it is known without reading the model."""
    beside = model.with_suffix(WEIGHTS_BESIDE.get(model.suffix, ".bin"))
    files = [model, beside, *([Path(options.weights)] if options.weights else [])]
    if model.suffix.lower() in DARKNET and model.is_file():
        with suppress(ModelFileError):  # reported when the model is opened, after errors in the .cfg
            files = [find_cfg(model), Path(options.weights or find_weights(model))]
    stats = [(file.name, file.stat()) for file in files if file.exists()]
    run = {
        "model": str(model),
        "files": [[name, stat.st_size, int(stat.st_mtime)] for name, stat in stats],
        "options": options.as_record(),
        "annotated": "images" in kinds,
    }
    return run | ({"geojson": True} if "geojson" in kinds else {})


def _resume(results: Path, frames: Sources, kinds: Sequence[str], run: Mapping[str, Any]) -> list[Done]:
    """Return the results of an earlier run, and remove its files from `frames`.

    Raises:
        ConfigError: the run cannot be resumed, or its results are of other sources.
    """
    if "json" not in kinds:
        raise ConfigError("--resume: reads the json results; expected json among --save")
    if any(not isinstance(origin, Path) for origin in frames.origins):
        raise ConfigError("--resume: expected only files; cameras, streams and standard input start over")
    done = read_done(results, run)
    wanted = {str(origin) for origin in frames.origins}
    if strange := [frame.name for frame, _ in done if file_of(frame.name) not in wanted]:
        raise ConfigError(
            f"--resume: expected the sources of the earlier run, found results of {strange[0]}, which is not "
            "among them; choose another --out, or leave out --resume"
        )
    frames.leave_out({file_of(frame.name) for frame, _ in done})
    return done


def _begin(makers: Sequence[Callable[[], Writer]], done: Sequence[Done], tally: Tally) -> list[Writer]:
    """Open the writers and copy earlier results; if that fails, the earlier results stay as they were."""
    writers: list[Writer] = []
    with ExitStack() as unless_begun:
        for make in makers:
            writers.append(make())
            unless_begun.push(writers[-1].abandon)
        for frame, detections in done:
            for writer in writers:
                if not isinstance(writer, ImageWriter | GeoJsonWriter):  # their files already exist
                    writer.add(frame, detections)
            tally.classes.update(name for name, _, _ in detections)
        unless_begun.pop_all()
    return writers


def _coco_numbers(
    names: Sequence[str], annotations: Path | None
) -> tuple[Sequence[int], Mapping[str, int | str] | None]:
    """Return the COCO id of each class, and of each image by file name.

    Without annotations, classes are numbered from 1, as is usual in COCO files.
    """
    if annotations is None:
        return range(1, len(names) + 1), None
    try:
        tree = json.loads(read_text(annotations, AnnotationError, limit=ANNOTATIONS_LIMIT))
        numbers = {str(entry["name"]): int(entry["id"]) for entry in tree["categories"]}
        images = [(Path(entry["file_name"]).name, entry["id"]) for entry in tree["images"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise AnnotationError(f"{annotations}: expected a COCO annotation file: {error!r}") from error
    names = named_as_in(names, tuple(numbers))
    if missing := [name for name in names if name not in numbers]:
        raise AnnotationError(
            f"{annotations}: expected categories for all classes of the model, "
            f"found none named {', '.join(map(repr, missing))}"
        )
    (name, count), *_ = [*Counter(name for name, _ in images).most_common(1), ("", 0)]
    if count > 1:  # the name is in several folders: results could get the id of another image
        raise AnnotationError(
            f"{annotations}: expected a file name for one image, found {count} called {name}"
        )
    return [numbers[name] for name in names], dict(images)


def _run(
    results: Generator[tuple[Frame, Detections], None, None],
    frames: Sources,
    total: int | None,
    writers: Sequence[Writer],
    tally: Tally,
    interrupts: Interrupts,
) -> None:
    """Write and count the results as other threads compute them."""
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
                by_file[file := file_of(problem.place)] += 1
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
            except ImageError as error:  # such as an image that is too large for its format
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
