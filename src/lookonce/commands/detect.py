"""`lookonce detect`: images and videos in; annotated images and lists of detections out."""

import json
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lookonce._files import remove_leftovers
from lookonce.commands.interrupts import Interrupts
from lookonce.commands.opening import read_options
from lookonce.commands.report import say
from lookonce.detections import Detections
from lookonce.errors import AnnotationError, ConfigError, LookonceError
from lookonce.runtime.detector import Detector
from lookonce.runtime.options import DetectOptions
from lookonce.runtime.pipeline import Plan
from lookonce.runtime.resume import Done, read_done
from lookonce.runtime.sources import Frame, Sources
from lookonce.runtime.writers import CocoWriter, CsvWriter, ImageWriter, JsonWriter, Writer

KINDS = ("images", "json", "csv", "coco")
RESULTS = "detections.json"


@dataclass(slots=True)
class Tally:
    """What a run came to.

    Attributes:
        kept: images and video frames that an earlier run had done.
        frames: those that this one has done.
        classes: detections of each class, by name.
        seconds: that it took.
    """

    kept: int = 0
    frames: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


def detect(
    model: Path,
    sources: Sequence[str],
    out: Path,
    *,
    save: str,
    coco_ids: Path | None = None,
    strict: bool = False,
    as_json: bool = False,
    resume: bool = False,
    **values: Any,
) -> int:
    """Detect on all sources.

    Args:
        model: any model file.
        sources: files, folders, globs, camera numbers, URLs.
        out: folder for the results.
        save: some of `KINDS`, with commas between.
        coco_ids: a COCO annotation file whose image and category numbers the COCO results shall carry.
        strict: stop at the first file that cannot be read.
        as_json: print the summary as JSON.
        resume: go on with an unfinished run into the same folder.
        **values: how to detect, see `opening.read_options`; `threads` None leaves the choice to `Plan`.

    Returns:
        0 done; 1 files were skipped; 128 and the signal's number where one stopped the run.
    """
    kinds = _kinds(save)
    options = read_options(**values)
    frames = Sources(sources, strict=strict)
    run = _identify(model, options, annotated="images" in kinds)
    done = _resume(out / RESULTS, frames, kinds, run) if resume else []
    plan = Plan.of(total := frames.count(), options.threads)
    tally = Tally(kept=len(done))
    writers: list[Writer] = []
    with Detector.open(model, options, threads=plan.threads) as detector, Interrupts() as interrupts:
        say(_describe(model, detector), Console(stderr=True))
        makers = _makers(out, detector.names, coco_ids, run)
        try:
            with ExitStack() as stack:
                writers = _begin([makers[kind] for kind in kinds], done, tally)
                for writer in writers:
                    stack.enter_context(writer)
                results = frames.map(lambda frame: detector(frame.image), plan)
                _run(results, frames, total, writers, tally, interrupts)
        except KeyboardInterrupt:
            pass  # what was done until then is stored
        except OSError as error:
            raise LookonceError(f"{out}: results cannot be written: {error.strerror or error}") from error
    saved = {kind: writer.path for kind, writer in zip(kinds, writers, strict=True)}
    if resume:
        for path in saved.values():
            remove_leftovers(path)
    _report(tally, frames, saved, stopped=bool(interrupts.signal), as_json=as_json)
    return 128 + interrupts.signal if interrupts.signal else int(bool(frames.problems))


def _identify(model: Path, options: DetectOptions, *, annotated: bool) -> dict[str, Any]:
    """What decides the results, as far as it can be told without reading the model."""
    files = [model, *(model.with_suffix(suffix) for suffix in (".weights", ".bin"))]
    found = [(file.name, file.stat()) for file in files if file.exists()]
    return {
        "model": str(model),
        "files": [[name, stat.st_size, int(stat.st_mtime)] for name, stat in found],
        "options": options.as_record(),
        "annotated": annotated,
    }


def _resume(results: Path, frames: Sources, kinds: Sequence[str], run: Mapping[str, Any]) -> list[Done]:
    """What an earlier run has done; it is left out of `frames`.

    Raises:
        ConfigError: there is nothing to go on from, or it belongs to something else.
    """
    if "json" not in kinds:
        raise ConfigError("--resume: goes on from the json results; expected json among --save")
    if any(not isinstance(origin, Path) for origin in frames.origins):
        raise ConfigError("--resume: expected files alone; cameras, streams and standard input begin anew")
    done = read_done(results, run)
    wanted = {str(origin) for origin in frames.origins}
    if strange := [frame.name for frame, _ in done if frame.name not in wanted]:
        raise ConfigError(
            f"--resume: expected the sources of the earlier run, found results of {strange[0]}, which is not "
            "among them; choose another --out, or leave out --resume"
        )
    frames.leave_out({frame.name for frame, _ in done})
    return done


def _begin(makers: Sequence[Callable[[], Writer]], done: Sequence[Done], tally: Tally) -> list[Writer]:
    """Open the writers and take over what was done; if that fails, the earlier results stay as they are."""
    writers: list[Writer] = []
    with ExitStack() as unless_begun:
        for make in makers:
            writers.append(make())
            unless_begun.push(writers[-1].abandon)
        _keep(done, writers, tally)
        unless_begun.pop_all()
    return writers


def _keep(done: Sequence[Done], writers: Sequence[Writer], tally: Tally) -> None:
    """Take over what was done; annotated images and videos are in place already."""
    for frame, detections in done:
        for writer in writers:
            if not isinstance(writer, ImageWriter):
                writer.add(frame, detections)
        tally.classes.update(name for name, _, _ in detections)


def _describe(model: Path, detector: Detector) -> str:
    height, width = detector.size
    options = detector.options
    return (
        f"{model}: {detector.info.architecture}, {_count(len(detector.names), 'class', 'classes')}, "
        f"input {height}x{width} (height x width), {detector.fit}"
        f"{', rect' if options.rect else ''}{f', {options.tiling}' if options.tiling else ''}"
    )


def _kinds(save: str) -> list[str]:
    """The kinds asked for, images first: what the json results tell of is then in place before they do."""
    kinds = [kind.strip() for kind in save.split(",")]
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise ConfigError(
            f"--save: expected some of {', '.join(KINDS)}, found {', '.join(map(repr, unknown))}"
        )
    return [kind for kind in KINDS if kind in kinds]


def _makers(
    out: Path, names: Sequence[str], coco_ids: Path | None, run: Mapping[str, Any]
) -> dict[str, Callable[[], Writer]]:
    return {
        "images": lambda: ImageWriter(out / "annotated"),
        "json": lambda: JsonWriter(out / RESULTS, names, run),
        "csv": lambda: CsvWriter(out / "detections.csv"),
        "coco": lambda: CocoWriter(out / "coco_results.json", *_coco_numbers(names, coco_ids)),
    }


def _coco_numbers(
    names: Sequence[str], annotations: Path | None
) -> tuple[Sequence[int], Mapping[str, int | str] | None]:
    """COCO's number of each class, and of each image by file name.

    Without annotations classes count from 1, as is usual in COCO files.
    """
    if annotations is None:
        return range(1, len(names) + 1), None
    try:
        tree = json.loads(annotations.read_text(encoding="utf-8"))
        numbers = {str(entry["name"]): int(entry["id"]) for entry in tree["categories"]}
        images = [(Path(entry["file_name"]).name, entry["id"]) for entry in tree["images"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AnnotationError(f"{annotations}: expected a COCO annotation file: {error!r}") from error
    if missing := [name for name in names if name not in numbers]:
        raise AnnotationError(
            f"{annotations}: expected categories for all classes of the model, "
            f"found none named {', '.join(map(repr, missing))}"
        )
    (name, count), *_ = [*Counter(name for name, _ in images).most_common(1), ("", 0)]
    if count > 1:  # in several folders: results would get the id of another image
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
    """Write and count the results, which are made in other threads."""
    start = perf_counter()
    with closing(results), _progress() as progress:
        bar = progress.add_task("detecting", total=total, rate="")
        shown = 0
        while (result := interrupts.wait_for(partial(next, results, None))) is not None:
            for writer in writers:
                writer.add(*result)
            tally.frames += 1
            tally.classes.update(name for name, _, _ in result[1])
            tally.seconds = perf_counter() - start
            progress.update(bar, advance=1, rate=f"{tally.frames / tally.seconds:.1f}/s")
            shown = _name_problems(frames, shown, progress.console)
        _name_problems(frames, shown, progress.console)


def _progress() -> Progress:
    """On the error stream, so that the output stays free for results; nothing where no one looks at it."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
    )
    return Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal)


def _name_problems(frames: Sources, shown: int, console: Console) -> int:
    """Print the files skipped since `shown` of them were named; returns how many there are."""
    for problem in frames.problems[shown:]:
        say(f"skipped: {problem}", console)
        shown += 1
    return shown


def _report(
    tally: Tally, frames: Sources, saved: Mapping[str, Path], *, stopped: bool, as_json: bool
) -> None:
    if as_json:
        summary = {
            "frames": tally.kept + tally.frames,
            "kept": tally.kept,
            "detections": dict(tally.classes.most_common()),
            "seconds": round(tally.seconds, 3),
            "complete": not stopped,
            "set_aside": [str(problem) for problem in frames.problems],
            "dropped": frames.live.dropped,
            "reconnects": frames.live.reconnects,
            "saved": {kind: str(path) for kind, path in saved.items()},
        }
        print(json.dumps(summary, indent=2, ensure_ascii=False))
        return
    console = Console()
    for line in _summary(tally, frames, stopped):
        say(line, console)
    for kind, path in saved.items():
        say(f"  {kind + ':':8}{path}", console)


def _summary(tally: Tally, frames: Sources, stopped: bool) -> Iterator[str]:
    rate = tally.frames / tally.seconds if tally.frames else 0.0
    yield (
        f"{'stopped after' if stopped else 'done:'} {_count(tally.kept + tally.frames, 'image')}, "
        f"{_count(tally.classes.total(), 'detection')} in {tally.seconds:.1f} s ({rate:.1f}/s)"
    )
    if tally.kept:
        yield f"  {_count(tally.kept, 'image')} of them kept from the earlier run"
    if tally.classes:
        yield "  " + ", ".join(f"{name} {count}" for name, count in tally.classes.most_common())
    if any(not isinstance(origin, Path) for origin in frames.origins):
        dropped, reconnects = frames.live.dropped, frames.live.reconnects
        yield f"  live: {_count(dropped, 'frame')} dropped, {_count(reconnects, 'reconnect')}"
    if frames.problems:
        yield f"  {_count(len(frames.problems), 'file')} skipped, named above"


def _count(number: int, noun: str, plural: str | None = None) -> str:
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
