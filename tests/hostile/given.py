"""Cases from a folder: each file in it, and the folder as a whole, wherever a command reads such a file.

A folder may have cases (files or folders) from any author; the kind of a file follows from its suffix.
Scripts and notes are left out. Links, FIFOs and holes of sparse files are copied unchanged.
"""

import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from lookonce.runtime.video import VIDEO_SUFFIXES
from lookonce.suffixes import IMAGE_SUFFIXES
from tests.hostile.cases import converted, desk, detections, good_images, good_labels
from tests.hostile.inputs import GOOD
from tests.hostile.limits import Case, run

NOTES = frozenset({"", ".log", ".md", ".py", ".sh"})
ODD = (0, 1, 2)  # a case of another author may be harmless for some commands
MOST_FILES = 50  # of one case

ON_IMAGE = ("detect|model.onnx|{0}|--out|out{1}", "explain|coco|{0}|--out|out{1}")
ON_VIDEO = ("detect|model.onnx|{0}|--out|out{1}",)
ON_MODEL = ("detect|{0}|a.png|--out|out{1}", "export|{0}|--to|onnx|--out|new{1}.onnx")
ON_DATA = (
    "data|check|{0}|--out|out{1}",
    "data|convert|{0}|--to|yolo|--out|out{1}",
    "evaluate|model.onnx|{0}|--out|out{1}",
)
ON_NAMES = ("evaluate|model.onnx|lines.txt|--names|{0}|--out|out{1}",)
ON_SETTINGS = ("train|lines.txt|--names|names.txt|--recipe|{0}|--epochs|0|--out|out{1}",)
ON_FOLDER = (
    "detect|model.onnx|{0}|--out|out{1}",
    "detect|model.onnx|{0}/**/*|--out|out{1}",
    "data|check|{0}|--out|out{1}",
    "data|convert|{0}|--to|coco|--out|out{1}",
)
ON = (
    dict.fromkeys(IMAGE_SUFFIXES, ON_IMAGE)
    | dict.fromkeys(VIDEO_SUFFIXES, ON_VIDEO)
    | dict.fromkeys((".onnx", ".cfg", ".weights", ".safetensors"), ON_MODEL)
    | dict.fromkeys((".json", ".csv", ".zip", ".data"), ON_DATA)
    | dict.fromkeys((".yaml", ".yml"), ON_DATA + ON_SETTINGS)
    | {".xml": ON_DATA + ON_MODEL, ".txt": ON_DATA + ON_NAMES, ".names": ON_NAMES}
)


def given_cases(folder: Path, top: Path) -> Iterator[Case]:
    """Yield the cases in a folder for all commands; `top` is a working folder."""
    for number, given in enumerate(sorted(folder.iterdir())):
        if given.suffix in NOTES and given.is_file():
            continue
        name = f"{number}-{given.name[:60]}"
        here = _copied(given, top / name)
        (here / "lines.txt").write_text("a.png 32,0,64,32,0\n")
        (here / "names.txt").write_text("green\nblue\n")
        found = [path.relative_to(here) for path in _files(here / "case")]
        commands = [(command, str(path)) for path in found for command in ON[path.suffix.lower()]]
        commands += [(command, "case") for command in ON_FOLDER if given.is_dir()]
        for place, (command, path) in enumerate(commands):
            yield Case(here, command.format(path, place), ODD)
        yield from _among_images(here, [path for path in found if _has_pixels(path)])
        yield from _among_labels(here, [path for path in found if not _has_pixels(path)])


def _copied(given: Path, here: Path) -> Path:
    desk(here)
    (here / "case").mkdir()
    source = f"{given}/." if given.is_dir() else str(given)
    subprocess.run(["cp", "-a", "--sparse=always", source, str(here / "case")], check=True)
    return here


def _files(folder: Path) -> list[Path]:
    """List the files of a case, without following links."""
    return [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in ON][:MOST_FILES]


def _has_pixels(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES + VIDEO_SUFFIXES


def _among_images(here: Path, found: list[Path]) -> Iterator[Case]:
    """Yield one case with all hostile images and videos between two good images."""
    if found:
        command = "detect|model.onnx|all|--out|among"
        good_images(here / "all", "19")
        run(command, here)
        expected = detections(here)
        for path in found:
            (here / "all" / f"5{path.name}").symlink_to(here / path)
        yield Case(here, command, (0, 1), partial(detections, here), expected)


def _among_labels(here: Path, found: list[Path]) -> Iterator[Case]:
    """Yield each other file as a label file of a YOLO set, and beside the set, as its description."""
    command = "data|convert|data|--to|yolo|--out|new"
    good_labels(here / "data")
    run(command, here)
    expected = converted(here)
    GOOD.save(here / "data" / "images" / "a.png")
    for path in found:
        for link in (here / "data" / "labels" / "a.txt", here / "data" / path.name):
            shutil.rmtree(here / "new", ignore_errors=True)
            if not link.exists():
                link.symlink_to(here / path)
                is_label = link.parent.name == "labels"
                yield Case(here, command, ODD, partial(converted, here) if is_label else None, expected)
                link.unlink()
