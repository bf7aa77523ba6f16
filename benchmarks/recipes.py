"""Effect of each change to the recipe, in many short training runs of equal length.

    python benchmarks/recipes.py heads DATA --names FILE --size 416 --epochs 8 --out runs --rows classic core
    python benchmarks/recipes.py bccd DATA --size 320 --epochs 12 --out runs --rows default "default, ciou"

A fifth of the training images, which depends on the seed, is held out and evaluated after the last epoch; no
test split is read. Rows that begin with `default` change the default recipe; the others change the recipe
`classic`. By default, two runs are trained at a time. Runs are kept, so the same command resumes an
interrupted benchmark.
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

from lookonce.recipe import load_settings

RECIPES = Path(__file__).parents[1] / "recipes"
HELD_OUT = ("holdout=0.2", "workers=1", "precision=auto")
ZOOM = ("augment.zoom=[0.6,1.6]", "augment.translate=0")
RECTANGLES = ("augment.rectangles=true",)
CORE = ("objectness_prior=0.01", "ema=0.998", "loss.objectness=iou", "batch=8")
RATIO = ("assign.rule=ratio", "assign.largest_ratio=2")
FROM_CLASSIC: dict[str, tuple[str, ...]] = {
    "classic": (),
    "iou-objectness": ("loss.objectness=iou",),
    "ema": ("ema=0.998",),
    "core": CORE,
    "core, ratio 2": (*CORE, *RATIO),
    "core, mosaic, rectangles": (*CORE, "augment.mosaic=0.5", *ZOOM, *RECTANGLES),
}
CHANGES: dict[str, tuple[str, ...]] = {
    "batch 2": ("batch=2",),
    "batch 8": ("batch=8",),
    "batch 16": ("batch=16",),
    "mosaic 0.5": ("augment.mosaic=0.5",),
    "no mosaic": ("augment.mosaic=0",),
    "no average": ("ema=0",),
    "objectness prior 0.5": ("objectness_prior=0.5",),
    "objectness 1": ("loss.objectness=one",),
    "no zoom": ("augment.zoom=[1,1]", "augment.translate=0.5"),
    "squares": ("augment.rectangles=false",),
    "data anchors": ("anchors=data",),
    "color": ("augment.hue=0.02", "augment.saturation=1.5", "augment.exposure=1.5"),
    "mixup": ("augment.mixup=0.3",),
    "multi-scale": ("augment.multi_scale=0.25",),
    "ciou": ("loss.box=ciou",),
    "diou": ("loss.box=diou",),
    "giou x2": ("loss.giou=2",),
    "ignore 0.7": ("loss.ignore_iou=0.7",),
    "no smoothing": ("loss.label_smoothing=0",),
    "best anchor": ("assign.rule=best",),
    "ratio 2": RATIO,
    "rate 0.002": ("optimizer.rate=0.002",),
    "adamw 0.05": ("optimizer.name=adamw", "optimizer.weight_decay=0.05"),
    "sgd": ("optimizer.name=sgd", "optimizer.rate=0.002", "optimizer.clip=10"),
    "rare 0.9": ("repeat_rare=0.9",),
}
FROM_DEFAULT = {"default": ()} | {f"default, {name}": changed for name, changed in CHANGES.items()}
ROWS = FROM_CLASSIC | FROM_DEFAULT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("title")
    parser.add_argument("data", type=Path)
    parser.add_argument("--names", type=Path)
    parser.add_argument("--size", default="416")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", nargs="+", choices=ROWS, required=True, metavar="ROW")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, one thread each")
    options = parser.parse_args()
    print(machine_line("torch", "numpy", "opencv-python-headless"), flush=True)
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(lambda job: train(*job, options), product(options.seeds, options.rows)))
    report(options)


def train(seed: int, row: str, options: argparse.Namespace) -> None:
    """Train a run unless it is done."""
    out = folder(row, seed, options)
    recipe = "default" if row in FROM_DEFAULT else "classic"
    assignments = (
        *("model=yolov3-tiny", f"size={options.size}", f"epochs={options.epochs}"),
        *(*HELD_OUT, f"evaluate_every={options.epochs}", f"seed={seed}", *ROWS[row]),
    )
    wanted = load_settings(RECIPES / f"{recipe}.yaml", assignments)
    if (out / "settings.yaml").exists() and load_settings(out / "settings.yaml") != wanted:
        raise SystemExit(f"{out}: a run with other settings; take another --out")
    if (out / "done").exists():
        return
    command = [sys.executable, "-m", "lookonce", "train", str(options.data), "--out", str(out)]
    if (out / "last.safetensors").exists():
        command += ["--resume"]
    else:
        command += ["--recipe", str(RECIPES / f"{recipe}.yaml")]
        for assignment in assignments:
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
    name = row.replace(", ", "+").replace(" ", "_")
    return options.out / options.title / f"{name}-{options.epochs}-{seed}"


def last_epoch(out: Path) -> dict[str, str]:
    with (out / "epochs.csv").open(newline="") as file:
        return list(csv.DictReader(file))[-1]


def report(options: argparse.Namespace) -> None:
    """Print a line per row, with the gain over the unchanged recipe with the same seeds."""
    print(f"\n{options.title}, {options.size}, {options.epochs} epochs, seeds {options.seeds}\n")
    print("| row | changed | AP50 | AP | gain in AP | minutes |\n|---|---|---|---|---|---|")
    for row in options.rows:
        results = [last_epoch(folder(row, seed, options)) for seed in options.seeds]
        ap50, ap, minutes = (
            mean(float(each[name]) for each in results) for name in ("ap50", "ap", "minutes")
        )
        changed = " ".join(ROWS[row])
        print(f"| {row} | `{changed}` | {ap50:.3f} | {ap:.3f} | {gain(row, options)} | {minutes:.1f} |")


def gain(row: str, options: argparse.Namespace) -> str:
    """Return the mean gain over the seeds and its range; empty if the unchanged recipe was not trained."""
    base = "default" if row in FROM_DEFAULT else "classic"
    pairs = [(folder(row, seed, options), folder(base, seed, options)) for seed in options.seeds]
    if row == base or not all((other / "done").exists() for _, other in pairs):
        return ""
    gains = [float(last_epoch(one)["ap"]) - float(last_epoch(other)["ap"]) for one, other in pairs]
    spread = f" ({min(gains):+.3f} to {max(gains):+.3f})" if len(gains) > 1 else ""
    return f"{mean(gains):+.3f}{spread}"


if __name__ == "__main__":
    main()
