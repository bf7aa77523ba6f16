"""`lookonce data next`: choose the images most worth labeling, or false alarms to learn from."""

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from lookonce._counted import counted
from lookonce._files import encodable, write_text
from lookonce._outputs import Outputs
from lookonce._terminal import progress_bar, say, terminal
from lookonce.commands import options as shared
from lookonce.errors import ConfigError
from lookonce.images import read_image_header
from lookonce.networks import model_name
from lookonce.runtime.detector import Detector
from lookonce.runtime.pipeline import Parallel
from lookonce.runtime.sources import Sources
from lookonce.runtime.video import is_video
from lookonce.runtime.video_checks import name_of
from lookonce.samples import Problem
from lookonce.seen import Seen, fingerprints
from lookonce.suffixes import SERIES_SUFFIXES

if TYPE_CHECKING:
    from lookonce.choose import Looked

SHOWN = 3  # images named in the summary


def data_next(
    model: shared.ModelArgument,
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="IMAGES", help="Images to choose from: files, folders, globs, @list.txt."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Number of images to choose.")] = 50,
    empty: Annotated[
        list[str] | None,
        typer.Option(
            metavar="IMAGES",
            help="Images without objects, instead of IMAGES, to choose false alarms from. May be repeated.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="File for the list: one path per line, best first.")] = Path(
        "next.txt"
    ),
    conf: shared.ConfsOption = None,
    size: shared.SizeOption = None,
    weights: shared.WeightsOption = None,
    json_to: shared.JsonOption = None,
    force: shared.ForceOption = False,
) -> int:
    """Choose the images most worth labeling next, or the false alarms most worth learning from.

    Example: lookonce data next runs/mine photos/ --count 50
    """
    if bool(sources) == bool(empty):
        found = "both" if sources else "neither"
        raise ConfigError(f"expected IMAGES to label, or --empty with images without objects; found {found}")
    frames = Sources(sources or empty or [])
    paths = [each for each in frames.origins if isinstance(each, Path) and not is_video(each)]
    if others := [each for each in frames.origins if not isinstance(each, Path) or is_video(each)]:
        raise ConfigError(f"expected image files, found {name_of(others[0])}")
    options = shared.read_options(size=size, conf=conf, weights=weights)
    parallel = Parallel.of(len(paths))
    files = [out, shared.json_file(json_to)]
    with (
        Outputs("data next", files=files, inputs=[model, weights, *paths], force=force),
        shared.open_detector(model, options, parallel.threads) as detector,
    ):
        return _next(detector, model_name(model), paths, count, parallel, out, json_to, empty=bool(empty))


def _next(
    detector: Detector,
    model: str,
    paths: Sequence[Path],
    count: int,
    parallel: Parallel,
    out: Path,
    json_to: Path | None,
    *,
    empty: bool,
) -> int:
    """Detect on the images, choose some of them, and write the list."""
    from lookonce.choose import LOW, look_at

    console = terminal(stderr=json_to == shared.STANDARD_OUTPUT)
    seen = Seen.of(detector.info.training)
    prints = fingerprints(paths) if seen.learned or seen.held_out else {}
    learned = {path for path, each in prints.items() if each in seen.learned}
    known = learned | {path for path, each in prints.items() if each in seen.held_out}
    thresholds = detector.options.thresholds(detector.names)
    skipped: list[Problem] = []
    looking = partial(look_at, detector, skipped=skipped, parallel=parallel)
    with progress_bar(terminal(stderr=True)) as progress:
        bar = progress.add_task("looking", total=len(paths))
        done = partial(progress.advance, bar)
        if empty:
            new = [path for path in paths if path not in known]
            looked = looking(new, features=False, done=done)
        else:
            # well below the lowest threshold, to include candidates that are almost detections
            looked = looking(paths, conf=min(LOW, float(thresholds.min()) / 4), done=done)
            known &= {each.path for each in looked}
    several = (each.path for each in looked if each.path.suffix.lower() in SERIES_SUFFIXES)
    series = [str(path) for path in several if read_image_header(path).is_series]
    for problem in skipped:
        say(f"skipped: {problem}", console)
    if empty:
        entries, report = _alarms(looked, count)
    else:
        entries, report = _doubts(looked, count, thresholds, known)
    report[0] = f"{model}: {report[0]}"
    if known:
        report.append(
            f"  not chosen: {counted(len(known), 'image')} that the model has learned from or was validated "
            "on"
        )
    if series:
        report.append(
            f"  images of which only the first frame or page was read: {len(series)}, {series[0]}"
            f"{', ...' if len(series) > 1 else ''}"
        )
    # absolute paths, because `train` resolves them relative to the list and `detect` to the working folder
    write_text(out, encodable("".join(f"{Path(entry['file']).absolute()}\n" for entry in entries)))
    if json_to is not None:
        summary = {
            "images": len(looked),
            "learned_from": len(known & learned),
            "validated_on": len(known - learned),
            "chosen": entries,
            "list": str(out),
            "first_frame_only": series,
            "skipped": [str(problem) for problem in skipped],
        }
        shared.write_json(json_to, summary)
    if json_to != shared.STANDARD_OUTPUT:
        for line in [*report, f"  list: {out}"]:
            say(line, console)
    return int(bool(skipped))


def _alarms(looked: "Sequence[Looked]", count: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Choose images with false alarms; return an entry per image, and the lines to print."""
    from lookonce.choose import false_alarms

    chosen = false_alarms(looked, count)
    entries = [{"file": str(each.path), "alarms": each.detections.to_dict()["detections"]} for each in chosen]
    total, wrong = sum(len(each.detections) for each in looked), sum(bool(each.detections) for each in looked)
    lines = [f"{counted(total, 'false alarm')} in {wrong} of {counted(len(looked), 'image')}"]
    for entry in entries[:SHOWN]:
        alarms = ", ".join(f"{each['class']} {each['score']:.2f}" for each in entry["alarms"][:SHOWN])
        lines.append(f"  {entry['file']}: {alarms}")
    return entries, lines


def _doubts(
    looked: "Sequence[Looked]", count: int, thresholds: NDArray[np.float32], known: Collection[Path]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Choose images to label; return an entry per image, and the lines to print."""
    from lookonce.choose import choose

    chosen = choose(looked, count, thresholds, [each.path in known for each in looked])
    entries = [
        {"file": str(each.path), "doubt": round(each.doubt, 3), "distance": round(each.distance, 3)}
        for each in chosen
    ]
    lines = [
        f"{len(chosen)} of {counted(len(looked), 'image')} chosen, by doubt (1 is the mean) and by distance "
        "to those labeled or chosen"
    ]
    for entry in entries[:SHOWN]:
        lines.append(f"  {entry['file']}: doubt {entry['doubt']:.2f}, distance {entry['distance']:.2f}")
    if len(chosen) < min(count, len(looked) - len(known)):
        lines.append("  the other images look like one of these, or like an image that the model knows")
    return entries, lines
