"""Run lookonce on hostile inputs, one process each: `python -m tests.hostile.run --kind images --every 9`.

Each input is read alone and, where a run reads many, among good ones. Demanded: exit code 1 or 2 (0 only
where what is odd may be read), one short line of error, no traceback, no control character, at most ten
seconds and one GB of memory, nothing left in place of an input; among good ones, the results of the good
ones as they are without it.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.hostile.inputs import BOX, GOOD, archives, data_sets, fifo, images, labels, link, models
from tests.tiny_onnx import write_tiny_model

SECONDS, MEMORY, SPACE = 10.0, 1 << 30, 16 << 30  # engines reserve address space that they never use
LONGEST_LINE, LONGEST_OUTPUT = 1000, 20_000
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


class Ran(NamedTuple):
    """One finished process."""

    code: int
    output: str
    seconds: float
    memory: int


class Case(NamedTuple):
    """One command on one hostile input; `results` yields what must not change among good inputs."""

    folder: Path
    command: str
    codes: tuple[int, ...]
    results: Callable[[], object] | None = None
    expected: object = None


def run(command: str, folder: Path) -> Ran:
    """Run a command line in a folder under limits."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (SPACE, SPACE))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    start = time.monotonic()
    with tempfile.TemporaryFile() as output:
        words = [sys.executable, "-m", "lookonce", *command.split("|")]
        process = subprocess.Popen(
            words,
            cwd=folder,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=limit,
            start_new_session=True,
        )
        signal.signal(signal.SIGALRM, lambda *_: os.killpg(process.pid, signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, 3 * SECONDS)  # a machine that does more than this may be slow
        _, status, usage = os.wait4(process.pid, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        said = output.read(1 << 20).decode(errors="replace")
    seconds = usage.ru_utime + usage.ru_stime if process.returncode >= 0 else time.monotonic() - start
    return Ran(process.returncode, said, seconds, usage.ru_maxrss << 10)


def complaints(case: Case, ran: Ran) -> Iterator[str]:
    """Yield what is wrong with the way a command ended."""
    if ran.code not in case.codes:
        yield f"exit {ran.code}, expected {' or '.join(map(str, case.codes))}"
    if "Traceback" in ran.output:
        yield "a traceback"
    lines = ran.output.splitlines()
    if ran.code == 2 and sum(line.startswith("lookonce: ") for line in lines) != 1:
        yield "not one line of error"
    if len(ran.output) > LONGEST_OUTPUT or any(len(line) > LONGEST_LINE for line in lines):
        yield f"{len(ran.output)} characters of output"
    if any(ord(letter) < 32 and letter not in "\n\t" for letter in ran.output):
        yield "control characters"
    if ran.seconds > SECONDS:
        yield f"{ran.seconds:.1f} s"
    if ran.memory > MEMORY:
        yield f"{ran.memory / 2**30:.1f} GiB"
    if case.results is not None and ran.code in case.codes:
        try:
            found = case.results()
        except (OSError, ValueError) as error:
            yield f"no results: {error!r}"
        else:
            if found != case.expected:
                yield "other results for the good inputs"


def desk(folder: Path) -> Path:
    """Make a folder with a model and good inputs."""
    folder.mkdir(parents=True)
    write_tiny_model(folder / "model.onnx")
    GOOD.save(folder / "a.png")
    return folder


def detections(here: Path) -> object:
    """Return the detections on the two good images."""
    tree = json.loads((here / "among" / "detections.json").read_text())
    found = {each["file"]: each["detections"] for each in tree["images"]}
    return [found[f"all/{name}.png"] for name in "19"]


def image_cases(top: Path) -> Iterator[Case]:
    """Yield every hostile image alone, in a page, between two good images, and in a data set."""
    command = "detect|model.onnx|all|--out|among"
    odd = (0, 1, 2)  # valid, or damaged behind what is needed
    expected = None
    for name, data in images():
        here = desk(top / name)
        (here / name).write_bytes(data)
        (here / "all").mkdir()
        for good in "19":
            GOOD.save(here / "all" / f"{good}.png")
        if expected is None:
            run(command, here)
            expected = detections(here)
        (here / "all" / f"5{name}").write_bytes(data)
        (here / "lines.txt").write_text(f"all/1.png 32,0,64,32,0\nall/5{name} 1,1,9,9,0\n")
        (here / "names.txt").write_text("green\nblue\n")
        yield Case(here, f"detect|model.onnx|{name}|--out|out", odd)
        yield Case(here, command, (0, 1), partial(detections, here), expected)
        yield Case(here, f"explain|model.onnx|{name}", odd)
        yield Case(here, "data|check|lines.txt|--names|names.txt|--out|check", odd)
        yield Case(here, "evaluate|model.onnx|lines.txt|--names|names.txt|--out|eval", odd)


def model_cases(top: Path) -> Iterator[Case]:
    """Yield every hostile model in detect and export."""
    for name, make in models():
        here = desk(top / name)
        make(here / name)
        yield Case(here, f"detect|{name}|a.png|--out|out", (2,))
        yield Case(here, f"export|{name}|--to|onnx|--out|new.onnx", (2,))


def data_cases(top: Path) -> Iterator[Case]:
    """Yield every hostile data set in check and convert."""
    for name, files in data_sets():
        here = desk(top / name)
        (here / "data").mkdir()
        GOOD.save(here / "data" / "a.png")
        for file, make in files.items():
            make(here / "data" / file)
        yield Case(here, "data|check|data|--out|out", (0, 1, 2))
        yield Case(here, "data|convert|data|--to|yolo|--out|new", (0, 1, 2))
    for name, data in archives():
        here = desk(top / name)
        (here / name).write_bytes(data)
        yield Case(here, f"data|check|{name}|--out|out", (0, 1, 2))


def converted(here: Path) -> object:
    """Return the rows of the two good images."""
    return [path.read_text() for path in sorted(here.glob("new/**/[19].txt"))]


def label_cases(top: Path) -> Iterator[Case]:
    """Yield every hostile label file between two good ones."""
    command = "data|convert|data|--to|yolo|--out|new"
    expected = None
    for name, make in labels():
        here = desk(top / name)
        for part in ("images", "labels"):
            (here / "data" / part).mkdir(parents=True)
        (here / "data" / "classes.txt").write_text("a\nb\n")
        for good in "19":
            GOOD.save(here / "data" / "images" / f"{good}.png")
            (here / "data" / "labels" / f"{good}.txt").write_text(BOX)
        if expected is None:
            run(command, here)
            expected = converted(here)
            shutil.rmtree(here / "new")
        GOOD.save(here / "data" / "images" / "a.png")
        make(here / "data" / "labels" / "a.txt")
        yield Case(here, command, (0, 1), partial(converted, here), expected)
        yield Case(here, "data|check|data|--out|out", (0, 1))


def path_cases(top: Path) -> Iterator[Case]:
    """Yield a FIFO, an endless device, a folder, a loop and a lost link wherever a command takes a file."""
    commands = (
        "detect|{}|a.png",
        "detect|model.onnx|{}",
        "detect|model.onnx|@{}",
        "detect|model.onnx|a.png|--save|coco|--coco-ids|{}",
        "explain|model.onnx|{}",
        "explain|model.onnx|a.png|--truth|{}",
        "explain|model.onnx|a.png|--truth|lines.txt|--names|{}",
        "explain|model.onnx|a.png|--out|{}",
        "explain|model.onnx|a.png|--json|{}",
        "evaluate|model.onnx|{}",
        "evaluate|model.onnx|lines.txt|--names|{}",
        "evaluate|model.onnx|lines.txt|--names|names.txt|--json|{}",
        "data|check|{}",
        "data|check|lines.txt|--detector|{}",
        "data|check|lines.txt|--names|{}",
        "data|stats|lines.txt|--names|{}",
        "data|anchors|{}",
        "data|convert|{}|--to|coco|--out|new",
        "data|convert|lines.txt|--to|coco|--out|{}",
        "export|{}|--to|onnx",
        "export|model.onnx|--to|onnx|--out|{}",
        "export|model.onnx|--to|onnx|--verify-on|{}|--out|new.onnx",
        "train|{}",
        "train|lines.txt|--names|names.txt|--weights|{}",
        "train|lines.txt|--names|names.txt|--recipe|{}",
        "train|lines.txt|--names|names.txt|--out|{}",
        "bench|{}",
    )
    kinds = {"fifo": fifo, "zero": link("/dev/zero"), "loop": link("loop"), "lost": link("nowhere/x")}
    for kind, make in kinds.items():
        for command in commands:
            here = desk(top / f"{kind}-{commands.index(command)}")
            (here / "lines.txt").write_text("a.png 32,0,64,32,0\n")
            (here / "names.txt").write_text("green\n")
            suffix = {"detect|{}|": ".onnx", "detect|model.onnx|{}": ".png", "explain|model.onnx|{}": ".png"}
            name = kind + next((end for begin, end in suffix.items() if command.startswith(begin)), "")
            make(here / name)
            yield Case(here, command.format(name), (2,))


KINDS = {
    "images": image_cases,
    "models": model_cases,
    "data": data_cases,
    "labels": label_cases,
    "paths": path_cases,
}


def main() -> int:
    """Run the cases asked for; the exit code is 1 if any went wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kind", choices=KINDS, action="append", help="only this kind of input")
    parser.add_argument("--every", type=int, default=1, help="only each N-th case of a kind")
    parser.add_argument("--name", default="", help="only inputs with this in their name")
    chosen = parser.parse_args()
    wrong = count = 0
    slowest = largest = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        for kind in chosen.kind or KINDS:
            for number, case in enumerate(KINDS[kind](Path(scratch) / kind)):
                if number % chosen.every or chosen.name not in case.folder.name:
                    continue
                ran = run(case.command, case.folder)
                found = list(complaints(case, ran))
                count += 1
                wrong += bool(found)
                slowest, largest = max(slowest, ran.seconds), max(largest, ran.memory / 2**20)
                if found:
                    print(f"{kind} {case.folder.name}: {case.command}: {'; '.join(found)}", flush=True)
                    print("    " + repr(ran.output[-400:]), flush=True)
    print(f"{count} runs, {wrong} wrong; at most {slowest:.1f} s of processor and {largest:.0f} MiB")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
