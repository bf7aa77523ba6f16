"""Kill commands at random moments, and check the files: `python -m tests.hostile.kills --runs 200`.

Each command first runs to its end, which gives its duration and its files. Then it is killed (SIGKILL, with
all processes that it started) at moments spread over that time. After each kill, every file without a hidden
name must be complete, and every input unchanged. The next run of the command, with `--resume` if it has that
option, must succeed and write the same files as an uninterrupted run.
"""

import argparse
import csv
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import onnx
import torch
from defusedxml import ElementTree

from lookonce.errors import LookonceError
from lookonce.images import read_image, write_image
from lookonce.model.files import load_model
from tests.export.models import write_model
from tests.hostile.limits import be_command
from tests.tiny_onnx import YELLOW, image, write_tiny_model

IMAGES = 12
DATA = "lines.txt|--names|names.txt"
SMALL = "--set|width=0.125|--batch|4|--set|workers=0"
RESUME = "--resume"


class Command(NamedTuple):
    """A command, the option for its next run after a kill, and its share of the kills."""

    words: str
    again: str
    share: int


COMMANDS = {
    "detect": Command("detect|model.onnx|photos|--save|images,json,csv,coco,yolo|--out|found", RESUME, 4),
    "convert": Command(f"data|convert|{DATA}|--to|yolo|--out|new", "", 4),
    "export": Command("export|cats.safetensors|--to|onnx|--out|new.onnx", "--force", 3),
    "openvino": Command("export|cats.safetensors|--to|openvino|--out|new.xml", "--force", 3),
    "train": Command(
        f"train|{DATA}|--out|run|--model|yolov3-tiny|--size|64|--epochs|3|--set|checkpoint_minutes=1e-9|{SMALL}",
        RESUME,
        4,
    ),
    "slim": Command(
        f"slim|small.safetensors|--data|{DATA}|--out|slimmer|--epochs|1|--max-drop|1|--set|workers=0",
        RESUME,
        1,
    ),
    "tune": Command(
        "tune|cats.safetensors|--data|lines.txt|--names|cats.txt|--rounds|1|--max-drop|1|--out|plan",
        "--force",
        1,
    ),
    "evaluate": Command("evaluate|cats.safetensors|lines.txt|--names|cats.txt|--out|report", "--force", 2),
    "next": Command(
        "data|next|cats.safetensors|photos|--count|4|--out|next.txt|--json|next.json", "--force", 1
    ),
}  # fmt: skip


def desk(folder: Path) -> None:
    """Make models and annotated images."""
    (folder / "photos").mkdir(parents=True)
    write_tiny_model(folder / "model.onnx")
    write_model(folder / "cats.safetensors")
    lines = []
    for number in range(IMAGES):
        left = 8 * (number % 4)
        write_image(folder / "photos" / f"{number}.png", image((64, 96), ((left, 0, left + 32, 32), YELLOW)))
        lines.append(f"photos/{number}.png {left},0,{left + 32},32,{number % 2}\n")
    (folder / "lines.txt").write_text("".join(lines))
    (folder / "names.txt").write_text("green\nblue\n")
    (folder / "cats.txt").write_text("cat\ndog\neel\n")


def files(folder: Path) -> dict[str, Path]:
    """Return all files by path, without hidden files and folders."""
    found = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {str(name): path for name, path in found.items() if not any(p.startswith(".") for p in name.parts)}


def digests(folder: Path) -> dict[str, str]:
    """Return a digest of every file."""
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files(folder).items()}


def damage(path: Path, whole: str | None) -> Iterator[str]:
    """Yield a file's defects; `whole` is the digest of the file from an uninterrupted run."""
    if path.name == "said.log" or hashlib.sha256(path.read_bytes()).hexdigest() == whole:
        return
    try:
        match path.suffix:
            case ".json":
                json.loads(path.read_text())
            case ".csv":
                rows = list(csv.reader(path.read_text().splitlines()))
                if not rows or len({len(row) for row in rows}) > 1 or not path.read_text().endswith("\n"):
                    yield "a table that is cut short"
            case ".png":
                read_image(path)
            case ".safetensors":
                load_model(path)
            case ".onnx":
                onnx.checker.check_model(onnx.load(path))
            case ".xml":
                ElementTree.parse(path)
                if not path.with_suffix(".bin").exists():
                    yield "no .bin beside it"
            case ".txt" | ".yaml" | ".log" | ".html" | ".md":
                if not path.read_text().endswith(("\n", "</html>")):
                    yield "text that is cut short"
    except (
        LookonceError,
        ValueError,
        OSError,
        ElementTree.ParseError,
        onnx.checker.ValidationError,
    ) as error:
        yield repr(error)[:200]


def start(words: str, folder: Path) -> int:
    """Start a command line in a new session, in a fork of this process, which has the imports."""
    if child := os.fork():
        return child
    os.setsid()
    os.chdir(folder)
    null, said = os.open(os.devnull, os.O_RDWR), os.open("said.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor, source in enumerate((null, said, said)):
        os.dup2(source, descriptor)
    os.environ |= {"HOME": str(folder / ".home"), "LOOKONCE_CACHE": str(folder / ".cache")}
    be_command(words)


def finish(words: str, folder: Path) -> int:
    """Run a command line to its end."""
    return os.waitstatus_to_exitcode(os.waitpid(start(words, folder), 0)[1])


def one_kill(command: Command, folder: Path, wait: float, whole: dict[str, str]) -> Iterator[str]:
    """Run a command, kill it, check the files, and run it again; yield the problems."""
    given = digests(folder)
    child = start(command.words, folder)
    time.sleep(wait)
    os.killpg(child, signal.SIGKILL)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    for name, path in files(folder).items():
        yield from (f"{name}: {what}" for what in damage(path, whole.get(name)))
    now = digests(folder)
    yield from (f"{name}: an input was changed" for name in given if now.get(name) != given[name])
    if ended < 0:
        next_runs = [f"{command.words}|{command.again}"] if command.again else []
        next_runs += [command.words] if command.again != "--force" else []  # there was nothing to resume
        if not any(finish(words, folder) in (0, 1) for words in next_runs):
            yield f"the next run failed: {(folder / 'said.log').read_text()[-400:]!r}"
    if missing := {name for name in whole.keys() - files(folder).keys() if "tfevents" not in name}:
        yield f"the next run left out {sorted(missing)[:3]}"
    for name, path in files(folder).items():
        yield from (f"at the end, {name}: {what}" for what in damage(path, whole.get(name)))


def main_of_kills() -> int:
    """Kill the chosen commands; the exit code is 1 if there was a problem."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=200, help="kills of all commands together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=COMMANDS, action="append", help="only this command")
    chosen = parser.parse_args()
    torch.set_num_threads(1)  # a process with threads must not fork
    moments = random.Random(chosen.seed)
    commands = {name: COMMANDS[name] for name in chosen.only or COMMANDS}
    shares = sum(command.share for command in commands.values())
    wrong = count = 0
    with tempfile.TemporaryDirectory() as scratch:
        desk(ready := Path(scratch) / "ready")
        if "slim" in commands:
            trained = f"train|{DATA}|--out|run|--model|yolov3-tiny|--size|64|--epochs|1|{SMALL}"
            finish(trained, ready)
            shutil.copy(ready / "run" / "last.safetensors", ready / "small.safetensors")
            shutil.rmtree(ready / "run")
            (ready / "said.log").unlink()
        for name, command in commands.items():
            shutil.copytree(ready, whole := Path(scratch) / name)
            begin = time.monotonic()
            code = finish(command.words, whole)
            seconds = time.monotonic() - begin
            if code not in (0, 1):
                print(f"{name}: exit {code} without a kill: {(whole / 'said.log').read_text()[-400:]!r}")
                wrong += 1
                continue
            expected = digests(whole)
            kills = max(1, round(chosen.runs * command.share / shares))
            for number in range(kills):
                shutil.copytree(ready, here := Path(scratch) / f"{name}-{number}")
                wait = moments.uniform(0, 1.05 * seconds)
                found = list(one_kill(command, here, wait, expected))
                count, wrong = count + 1, wrong + bool(found)
                for what in found:
                    print(f"{name}, killed after {wait:.3f} of {seconds:.1f} s: {what}", flush=True)
                shutil.rmtree(here)
            print(f"{name}: {kills} kills within {seconds:.1f} s", flush=True)
    print(f"{count} kills, {wrong} wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main_of_kills())
