"""What each change to the recipe brings: many short trainings of equal length, two at a time.

    python benchmarks/recipes.py heads DATA --names FILE --size 416 --epochs 8 --out runs [--seeds 0 1 2]
    python benchmarks/recipes.py bccd DATA --size 320 --epochs 16 --out runs [--rows he ema]

A fifth of the training pictures is held out (another fifth for each seed) and judged after the last epoch; no
test part is read. Each row is the write-up's recipe with priors from the data, and what the row names.
Runs are kept: a command that is given again goes on where it was cut off, and prints its whole table.
"""

import argparse
import csv
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from statistics import mean

from machine import machine_line

BASE = ("holdout=0.2", "workers=1", "anchors=data")
ZOOM = "augment.zoom=[0.6,1.6]"
COLOUR = ("augment.hue=0.02", "augment.saturation=1.5", "augment.exposure=1.5")
MOSAIC = ("augment.mosaic=0.5", ZOOM, "augment.translate=0")
START = ("objectness_prior=0.01", "ema=0.998", "loss.objectness=iou")
RATIO = ("assign.rule=ratio", "assign.largest_ratio=2", "assign.rehome=true")
RECTANGLES = ("augment.rectangles=true", "augment.plain_epochs=1")
CORE = (*START, *RATIO, "batch=8")
ROWS: dict[str, tuple[str, ...]] = {
    "classic": (),
    "he": ("init=he",),
    "prior": ("objectness_prior=0.01",),
    "ema": ("ema=0.998",),
    "ratio": ("assign.rule=ratio",),
    "ratio 2": ("assign.rule=ratio", "assign.largest_ratio=2"),
    "best": ("assign.rule=best",),
    "rehome": ("assign.rehome=true",),
    "diou": ("loss.box=diou",),
    "ciou": ("loss.box=ciou",),
    "iou-objectness": ("loss.objectness=iou",),
    "ignore 0.7": ("loss.ignore_iou=0.7",),
    "no smoothing": ("loss.label_smoothing=0",),
    "giou x2": ("loss.giou=2",),
    "batch 8": ("batch=8",),
    "rate 0.003": ("optimizer.rate=0.003",),
    "linear": ("optimizer.shape=linear",),
    "adamw 0.05": ("optimizer.name=adamw", "optimizer.weight_decay=0.05"),
    "sgd": (
        "optimizer.name=sgd",
        "optimizer.rate=0.002",
        "optimizer.weight_decay=0.0005",
        "optimizer.clip=10",
    ),
    "colour": COLOUR,
    "zoom": (ZOOM, "augment.translate=0"),
    "mosaic": MOSAIC,
    "mixup": ("augment.mixup=0.3",),
    "multi-scale": ("augment.multi_scale=0.25",),
    "rectangles": RECTANGLES,
    "rare": ("repeat_rare=0.5",),
    "start": START,
    "start, batch 8": (*START, "batch=8"),
    "start, ratio 2": (*START, *RATIO),
    "core": CORE,
    "core, batch 4": (*CORE, "batch=4"),
    "core, ratio 4": (*CORE, "assign.largest_ratio=4"),
    "core, rectangles": (*CORE, *RECTANGLES),
    "core, mosaic": (*CORE, *MOSAIC),
    "core, mosaic, rectangles": (*CORE, *MOSAIC, *RECTANGLES),
    "core, zoom": (*CORE, ZOOM, "augment.translate=0"),
    "core, colour": (*CORE, *COLOUR),
    "core, adamw": (*CORE, "optimizer.name=adamw", "optimizer.weight_decay=0.05"),
    "core, ciou": (*CORE, "loss.box=ciou"),
    "core, giou x3": (*CORE, "loss.giou=3"),
    "core, rate 0.002": (*CORE, "optimizer.rate=0.002"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("title")
    parser.add_argument("data", type=Path)
    parser.add_argument("--names", type=Path)
    parser.add_argument("--size", default="416")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, one thread each")
    options = parser.parse_args()
    print(machine_line("torch", "numpy", "opencv-python-headless"), flush=True)
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(lambda job: train(*job, options), product(options.seeds, options.rows)))
    report(options)


def train(seed: int, row: str, options: argparse.Namespace) -> None:
    """One run, unless it is done."""
    out = folder(row, seed, options)
    if (out / "done").exists():
        return
    command = [sys.executable, "-m", "lookonce", "train", str(options.data), "--out", str(out)]
    if (out / "last.safetensors").exists():
        command += ["--resume"]
    else:
        command += ["--recipe", str(Path(__file__).parents[1] / "recipes" / "classic.yaml")]
        command += ["--model", "yolov3-tiny", "--size", options.size, "--epochs", str(options.epochs)]
        for assignment in (
            *BASE,
            "precision=auto",
            f"evaluate_every={options.epochs}",
            f"seed={seed}",
            *ROWS[row],
        ):
            command += ["--set", assignment]
    if options.names:
        command += ["--names", str(options.names)]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{row}, seed {seed}: {done.stdout[-500:]}{done.stderr[-2000:]}")
    (out / "done").touch()
    result = last_epoch(out)
    print(
        f"{row}, seed {seed}: AP50 {result['ap50']}, AP {result['ap']}, {result['minutes']} min", flush=True
    )


def folder(row: str, seed: int, options: argparse.Namespace) -> Path:
    return options.out / options.title / f"{row.replace(', ', '+').replace(' ', '_')}-{options.epochs}-{seed}"


def last_epoch(out: Path) -> dict[str, str]:
    with (out / "epochs.csv").open(newline="") as file:
        return list(csv.DictReader(file))[-1]


def report(options: argparse.Namespace) -> None:
    """A line a row; the gain is over `classic` with the same seeds."""
    print(f"\n{options.title}, {options.size}, {options.epochs} epochs, seeds {options.seeds}\n")
    print("| change | settings | AP50 | AP | gain in AP | minutes |\n|---|---|---|---|---|---|")
    for row in options.rows:
        results = [last_epoch(folder(row, seed, options)) for seed in options.seeds]
        ap50, ap = (mean(float(each[name]) for each in results) for name in ("ap50", "ap"))
        base = [folder("classic", seed, options) for seed in options.seeds]
        gain = ""
        if all((each / "done").exists() for each in base):
            gains = [float(r["ap"]) - float(last_epoch(b)["ap"]) for r, b in zip(results, base, strict=True)]
            gain = f"{mean(gains):+.3f}" + (
                f" ({min(gains):+.3f} to {max(gains):+.3f})" if len(gains) > 1 else ""
            )
        minutes = mean(float(each["minutes"]) for each in results)
        print(f"| {row} | `{' '.join(ROWS[row])}` | {ap50:.3f} | {ap:.3f} | {gain} | {minutes:.1f} |")


if __name__ == "__main__":
    main()
