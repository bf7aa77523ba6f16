"""Read the results of an unfinished run from its `detections.json`.

A killed run leaves this file under its temporary name, with one line per finished image; the last line may be
incomplete. A stopped run leaves it under its final name.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np

from lookonce._files import ANNOTATIONS_LIMIT, read_bytes
from lookonce._outputs import leftovers
from lookonce.detections import Detections
from lookonce.eight_bits import Values
from lookonce.errors import ConfigError, ImageError
from lookonce.runtime.containers import check_bytes
from lookonce.runtime.opencv_video import exact_frames
from lookonce.runtime.sources import Frame, Sources
from lookonce.runtime.video_checks import Moment, check_whole
from lookonce.tiff import tiff_pages

Done = tuple[Frame, Detections]


def read_done(path: Path, run: Mapping[str, Any], sources: Sources) -> tuple[list[Done], Values | None]:
    """Return the finished frames, without pixels, and their detections, in the order of the sources.

    Frames of a video and pages of a TIFF are left out if the file is damaged or was not read to its end, and
    so is a video that is the last file, because it may be incomplete.

    Args:
        path: file that `JsonWriter` wrote or began to write.
        run: model and options, as passed to `JsonWriter`.
        sources: all sources of the run.

    Returns:
        Frames with detections, and the pixel values that became 0 and 255 if there are deep images.

    Raises:
        ConfigError: the results are from a different model, different options or other sources, or are
            damaged.
    """
    found = [(file, lines) for file in (path, *leftovers(path)) if (lines := _read(file))]
    if not found:
        return [], None
    begun = [lines for _, lines in found if lines[0].get("run") == run]
    if not begun:
        file, lines = found[0]
        raise ConfigError(
            f"{file}: expected results of the same model and options, {json.dumps(run)}, "
            f"found {json.dumps(lines[0].get('run'))}; choose another folder, or do not resume"
        )
    head, *records = max(begun, key=len)
    try:
        files = [
            list(frames) for _, frames in groupby(records, key=lambda each: sources.file_of(each["file"]))
        ]
        if files and "frame" in files[-1][0]:
            files.pop()
        whole = [frames for frames in files if _is_whole(frames, sources)]
        if strange := [name for frames in whole if sources.number_of(name := frames[0]["file"]) < 0]:
            raise ConfigError(
                f"{path}: expected results of the same sources, found results of {strange[0]}, which is not "
                "among them; choose another folder, or do not resume"
            )
        done = _in_order(chain.from_iterable(whole), head["names"], sources)
        if "values" not in head:
            return done, None
        low, high = map(float, head["values"])
        if not -math.inf < low < high < math.inf:
            raise ValueError(f"values {low:g} to {high:g}")
        return done, (low, high)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path}: expected results as lookonce detect writes them, found others ({error}); "
            "choose another folder, or do not resume"
        ) from error


def read_all(path: Path, sources: Sources) -> list[Done]:
    """Return all frames in the results of this run, also of damaged files, in the order of the sources."""
    head, *records = _read(path)
    return _in_order(records, head["names"], sources)


def _in_order(records: Iterable[Mapping[str, Any]], names: Sequence[str], sources: Sources) -> list[Done]:
    done = [_done(record, names, sources) for record in records]
    return sorted(done, key=lambda each: sources.number_of(each[0].name))


def _is_whole(frames: Sequence[Mapping[str, Any]], sources: Sources) -> bool:
    """Return whether the records of a file cover all frames or pages that it declares, and it is not cut."""
    name = frames[0]["file"]
    path = Path(sources.file_of(name))
    if str(path) != name:
        return len(tiff_pages(path)) == len(frames)
    if "frame" not in frames[0]:
        return True
    try:
        check_whole(path, exact_frames(path), len(frames))
        check_bytes(path)
    except ImageError:
        return False
    return True


def _read(path: Path) -> list[dict[str, Any]]:
    """Return the file's first record, then that of each frame, up to the first incomplete line."""
    if not path.exists():
        return []
    text = read_bytes(path, ConfigError, limit=ANNOTATIONS_LIMIT).decode(errors="replace")
    head, *lines = text.split("\n")
    records = []
    for line in (f"{head}]}}", *(line.removesuffix(",") for line in lines)):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not isinstance(record, dict):
            break
        records.append(record)
    return records


def _done(record: Mapping[str, Any], names: Sequence[str], sources: Sources) -> Done:
    found = record["detections"]
    detections = Detections(
        np.array([each["box"] for each in found], np.float32).reshape(-1, 4),
        np.array([each["score"] for each in found], np.float32),
        np.array([names.index(each["class"]) for each in found], np.int64),
        tuple(names),
    )
    no_pixels = np.broadcast_to(np.uint8(0), (record["height"], record["width"], 3))
    moment = Moment(record["frame"], record["seconds"], 0.0) if "frame" in record else None
    name = record["file"]
    file = sources.file_of(name)
    page = 0 if file == name else int(name.removeprefix(f"{file}#"))
    return Frame(no_pixels, name, sources.relative_of(Path(file), page), Path(file), moment), detections
