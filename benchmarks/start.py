"""AP of training from COCO weights and from random weights, after equal minutes and on few images.

    python benchmarks/start.py bccd TRAIN.json TEST.json --images DIR --size 320 --out runs --pace 12 \
        --minutes 1 2 5 10 --few 10 20 50 [--starts scratch coco half]

Every run is `lookonce train` with its defaults, from random weights, with `--weights coco`, or with another
network of `STARTS`. `--pace` first measures, with a few training steps of each start in turn, how many images
per second of CPU time each start trains on, including reading and augmentation. A row of N minutes has the
number of epochs that two cores of this machine finish in N minutes, so other work prolongs a row but does not
change its result. A fifth of the training images is held out. The model is that of the last epoch, without
choosing the best. The test split is read once per row, after training. Rows are kept, so the same command
resumes an interrupted run.
"""

import argparse
import csv
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from machine import machine_line
from rich.console import Console

from lookonce.annotations import GivenData
from lookonce.bench.networks import CHOICES, training_speed
from lookonce.config import parse_size
from lookonce.networks import BUILT_IN
from lookonce.train.reading import load_data

OF = {(each.model, each.width): each for each in CHOICES}
STARTS = {
    "scratch": OF["yolov3-tiny", 1],
    "coco": OF["coco", 1],
    "half": OF["yolov3-tiny", 0.5],
    "quarter": OF["yolov3-tiny", 0.25],
    "fine-half": OF["yolov3-tiny-3l", 0.5],
}
CORES = 2  # of the machine that `--minutes` refers to


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("title")
    parser.add_argument("train", type=Path, help="COCO JSON")
    parser.add_argument("test", type=Path, help="COCO JSON")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--size", default="320")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", nargs="*", type=float, default=[1, 2, 5, 10])
    parser.add_argument("--few", nargs="*", type=int, default=[], help="numbers of training images")
    parser.add_argument("--few-minutes", type=float, default=2, help="length of the rows with few images")
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=["scratch", "coco"], metavar="START")
    parser.add_argument("--pace", type=int, metavar="ROUNDS", help="measure the pace first, in turn")
    options = parser.parse_args()
    folder = options.out / options.title
    print(machine_line("torch", "numpy", "opencv-python-headless"), flush=True)
    counts = write_parts(folder, options)
    if options.pace:
        measure_pace(folder, options)
    pace: dict[str, float] = json.loads((folder / "pace.json").read_text())
    print(
        "images per second of CPU time: " + ", ".join(f"{start} {each:.2f}" for start, each in pace.items()),
        flush=True,
    )
    jobs = [("all", minutes) for minutes in options.minutes]
    jobs += [(str(count), options.few_minutes) for count in options.few]
    rows = []
    for part, minutes in sorted(jobs, key=lambda job: job[1]):
        for start in options.starts:
            epochs = max(1, round(60 * minutes * CORES * pace[start] / counts[part]))
            rows.append((part, minutes, start, epochs, row(folder, part, start, epochs, options)))
    report(rows, counts)


def write_parts(folder: Path, options: argparse.Namespace) -> dict[str, int]:
    """Write a data set YAML for each number of training images; return the number of images in each."""
    folder.mkdir(parents=True, exist_ok=True)
    tree: dict[str, Any] = json.loads(options.train.read_text())
    images = sorted(tree["images"], key=lambda image: image["file_name"])
    held_out, learned = images[::5], [image for i, image in enumerate(images) if i % 5]
    shuffled = random.Random(0).sample(learned, len(learned))
    parts = {"all": learned, **{str(count): shuffled[:count] for count in options.few}}
    names = json.dumps([each["name"] for each in sorted(tree["categories"], key=lambda each: each["id"])])
    for name, chosen in {**parts, "held-out": held_out}.items():
        ids = {image["id"] for image in chosen}
        boxes = [box for box in tree["annotations"] if box["image_id"] in ids]
        (folder / f"{name}.json").write_text(json.dumps({**tree, "images": chosen, "annotations": boxes}))
        (folder / f"{name}.yaml").write_text(f"names: {names}\ntrain: {name}.json\nval: held-out.json\n")
    return {name: len(chosen) for name, chosen in parts.items()}


def measure_pace(folder: Path, options: argparse.Namespace) -> None:
    """Measure the training speed of each start in turn; write the means to a file, per second of CPU time."""
    torch.set_num_threads(1)
    size, console = parse_size(options.size), Console(quiet=True)
    given = GivenData(folder / "all.yaml", images=options.images)
    choices = {start: STARTS[start] for start in options.starts}
    data = {
        start: load_data(given, choice.settings(size), console, record=False)
        for start, choice in choices.items()
    }
    speeds: dict[str, list[float]] = {start: [] for start in choices}
    for _ in range(options.pace):
        for start, choice in choices.items():
            speeds[start].append(training_speed(choice, data[start], size, time.process_time))
    pace = {start: mean(measured) for start, measured in speeds.items()}
    (folder / "pace.json").write_text(json.dumps(pace))


def row(folder: Path, part: str, start: str, epochs: int, options: argparse.Namespace) -> list[float]:
    """Train and evaluate a row unless it is done; return AP50 and AP, held out and on the test split."""
    out = folder / f"{start}-{part}-{epochs}"
    if not (out / "row.json").exists():
        train(folder / f"{part}.yaml", start, epochs, out, options)
        last = epochs_of(out)[-1]
        report = ["evaluate", out / "last.safetensors", options.test, "--images", options.images]
        run(*report, "--out", out / "test", "--force")
        metrics = json.loads((out / "test" / "metrics.json").read_text())
        values = [float(last["ap50"]), float(last["ap"]), metrics["ap50"], metrics["ap"]]
        (out / "row.json").write_text(json.dumps(values))
        print(f"{part}, {start}, {epochs} epochs: " + ", ".join(f"{each:.3f}" for each in values), flush=True)
    values = json.loads((out / "row.json").read_text())
    return values


def train(data: Path, start: str, epochs: int, out: Path, options: argparse.Namespace) -> None:
    command = ["train", data, "--images", options.images, "--out", out]
    if (out / "last.safetensors").exists():
        run(*command, "--resume")
        return
    shutil.rmtree(out, ignore_errors=True)  # interrupted before its first checkpoint
    settings = ("--set", f"evaluate_every={epochs}", "--set", "checkpoint_minutes=2")
    run(*command, *STARTS[start].options, "--size", options.size, "--epochs", str(epochs), *settings)


def run(*command: object) -> None:
    words = [sys.executable, "-m", "lookonce", *map(str, command)]
    done = subprocess.run(words, env=os.environ, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):  # 1: some annotations were skipped
        raise SystemExit(f"{' '.join(words)}: {done.stdout[-1500:]}{done.stderr[-2000:]}")


def epochs_of(out: Path) -> list[dict[str, str]]:
    with (out / "epochs.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def report(rows: list[tuple[str, float, str, int, list[float]]], counts: dict[str, int]) -> None:
    print("\n| images | minutes | start | epochs | held out: AP50, AP | test: AP50, AP |")
    print("|---|---|---|---|---|---|")
    for part, minutes, start, epochs, values in rows:
        ap50, ap, test50, test = (f"{each:.3f}" for each in values)
        model, width = STARTS[start].model, STARTS[start].width
        narrow = "" if width == 1 else f", width {width:g}"
        title = f"`--weights {model}`" if model in BUILT_IN else f"random weights, {model}{narrow}"
        print(f"| {counts[part]} | {minutes:g} | {title} | {epochs} | {ap50}, {ap} | {test50}, {test} |")


if __name__ == "__main__":
    main()
