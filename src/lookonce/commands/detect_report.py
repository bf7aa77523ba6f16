"""Print the messages of `lookonce detect`: the model at the start, and counts at the end."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lookonce._counted import counted
from lookonce._optional import install_line
from lookonce._terminal import print_line
from lookonce.commands import options as shared
from lookonce.networks import model_name
from lookonce.runtime.detector import Detector
from lookonce.runtime.sources import Sources
from lookonce.runtime.timed_clips import keeps_sound


@dataclass(slots=True)
class Tally:
    """The counts of a run.

    Attributes:
        kept: number of images and video frames kept from an earlier run.
        frames: number of images and video frames processed in this run.
        classes: number of detections by class name.
        doubtful: number of images with a detection below `--sure`; None without `--sure`.
        seconds: time since the start of detection.
        has_clips: whether any frame came from a video file.
    """

    kept: int = 0
    frames: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    doubtful: int | None = None
    seconds: float = 0.0
    has_clips: bool = False


def describe(model: Path, detector: Detector) -> str:
    """Return a line that describes the model, its input size, its tiles and its engine."""
    options, classes = detector.options, counted(len(detector.names), "class")
    return (
        f"{model_name(model)}: {detector.info.architecture}, {classes}, "
        f"input {shared.height_width(detector.size)}, {detector.fit}"
        f"{', rect' if options.rect else ''}{f', {options.tiling}' if options.tiling else ''}; "
        f"{detector.engine}"
    )


def report(
    tally: Tally, frames: Sources, saved: Mapping[str, Path], json_to: Path | None, *, stopped: bool
) -> None:
    """Print a summary of the run, and write it as JSON if `json_to` is given."""
    if json_to is not None:
        summary = {
            "frames": tally.kept + tally.frames,
            "kept": tally.kept,
            "detections": dict(tally.classes.most_common()),
            "seconds": round(tally.seconds, 3),
            "complete": not stopped,
            "skipped": [str(problem) for problem in frames.problems],
            "first_frame_only": frames.series,
            "dropped": frames.live.dropped,
            "reconnects": frames.live.reconnects,
            **({} if tally.doubtful is None else {"to_check": tally.doubtful}),
            "saved": {kind: str(path) for kind, path in saved.items()},
        }
        shared.write_json(json_to, summary)
    if json_to == shared.STANDARD_OUTPUT:
        return
    for line in _summary(tally, frames, stopped):
        print_line(line)
    if tally.has_clips and "images" in saved and not keeps_sound():
        print_line(
            f"  annotated videos have no sound and a constant frame rate; {install_line('video')} keeps both"
        )
    width = max(map(len, saved)) + 2
    for kind, path in saved.items():
        print_line(f"  {kind + ':':{width}}{path}")


def _summary(tally: Tally, frames: Sources, stopped: bool) -> Iterator[str]:
    rate = tally.frames / tally.seconds if tally.frames else 0.0
    yield (
        f"{'stopped after' if stopped else 'done:'} {counted(tally.kept + tally.frames, 'image')}, "
        f"{counted(tally.classes.total(), 'detection')} in {tally.seconds:.1f} s ({rate:.1f}/s)"
    )
    if tally.kept:
        yield f"  {counted(tally.kept, 'image')} of them kept from the earlier run"
    if tally.classes:
        yield "  " + ", ".join(f"{name} {count}" for name, count in tally.classes.most_common())
    if tally.doubtful is not None:
        images = counted(tally.doubtful, "image")
        yield f"  {images} to check: they have objects below --sure, which were not written"
    if any(not isinstance(origin, Path) for origin in frames.origins):
        dropped, reconnects = frames.live.dropped, frames.live.reconnects
        yield f"  live: {counted(dropped, 'frame')} dropped, {counted(reconnects, 'reconnect')}"
    if frames.series:
        yield (
            f"  {counted(len(frames.series), 'file')} with more frames than the first, the only "
            f"one read: {frames.series[0]}{', ...' if len(frames.series) > 1 else ''}"
        )
    if frames.problems:
        yield f"  {counted(len(frames.problems), 'file')} skipped, named above"
