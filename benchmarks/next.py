"""Savings of `lookonce data next`: labeled images needed for a given AP, and false alarms on empty images.

    python benchmarks/next.py label DATA --out runs/next
    python benchmarks/next.py empty --out runs/empty

`label`: some images of a data set are held out for evaluation; no test split is read. A few of the others,
drawn at random, are labeled first, and train COCO's weights. In each of the following rounds more are
labeled, either in the order of `data next` with the model of the previous round, or at random. Each round
trains on from the previous model, with the same number of images, so both orders take the same amount of
training.

`empty`: a model trained on rendered digits, and images of other letters, which show none of its classes. In
two rounds, 20 of these become background images: those chosen by `data next --empty`, or as many at random.
The false alarms are counted on other images.

One row per training run. Rows are kept in `rows.jsonl`: the same command resumes an interrupted run.
"""

import argparse
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from machine import machine_line

import lookonce
from lookonce import Detector
from lookonce.annotations import load_samples, write_samples
from lookonce.data.synthetic import CLASSES, scene
from lookonce.errors import AnnotationError
from lookonce.evaluate.coco import evaluate
from lookonce.images import write_image
from lookonce.runtime.options import EVALUATION_CONF
from lookonce.samples import Sample, SampleSet

LABELED = 16, 32, 64, 128  # images labeled at the end of each round
HELD_OUT = 80
DIGITS = 5  # of `CLASSES` are to be found; the others are letters
WITH_DIGITS, EMPTY = (60, 40), (100, 100)  # images to train on and to measure on
ADDED = 20  # background images per round
SETTINGS = "workers=1", "optimizer.warmup_epochs=0.5"
ORDERS = "next", "random"


def run_command(*words: object) -> None:
    """Run a command of lookonce; its own messages only if it fails."""
    ran = subprocess.run(
        [sys.executable, "-m", "lookonce", *map(str, words)], capture_output=True, text=True, check=False
    )
    if ran.returncode not in (0, 1):
        sys.exit(f"{' '.join(map(str, words))}\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")


def train(
    given: argparse.Namespace, run: Path, samples: SampleSet, held_out: SampleSet, start: Path | None
) -> tuple[Path, dict[str, object]]:
    """Train a row, unless it is done; return its model, and AP and AP50 on images that no round trains on."""
    report = run / "run" / "report" / "metrics.json"
    if not report.exists():
        shutil.rmtree(run / "run", ignore_errors=True)  # cut off
        if not (run / "data").exists():
            write_samples({"train": samples, "val": held_out}, "coco", run / "data")
        epochs = max(1, math.ceil(given.shown[1 if start else 0] / len(samples.samples)))
        done = lookonce.train(
            run / "data",
            out=run / "run",
            weights=start or "coco",
            size=str(given.size),
            epochs=epochs,
            assignments=(f"evaluate_every={epochs}", f"seed={given.seed}", *SETTINGS),
        )
        if done.exit_code:
            sys.exit(done.exit_code)
    model = run / "run" / "best.safetensors"
    with Detector.open(model, conf=EVALUATION_CONF) as detector:
        metrics = evaluate(
            held_out.samples, [detector(each.path) for each in held_out.samples], held_out.names
        )
    return model, {"ap": round(metrics.ap, 4), "ap50": round(metrics.ap50, 4)}


def chosen(
    model: Path, pool: Sequence[Sample], count: int, run: Path, *, empty: bool = False
) -> list[Sample]:
    """The next images by the model."""
    (run / "pool.txt").parent.mkdir(parents=True, exist_ok=True)
    (run / "pool.txt").write_text("".join(f"{sample.path.absolute()}\n" for sample in pool))
    source = ["--empty", f"@{run / 'pool.txt'}"] if empty else [f"@{run / 'pool.txt'}"]
    run_command("data", "next", model, *source, "--count", count, "--out", run / "next.txt")
    by_path = {str(sample.path.absolute()): sample for sample in pool}
    return [by_path[line] for line in (run / "next.txt").read_text().splitlines()]


class Rows:
    """The rows done so far."""

    def __init__(self, file: Path) -> None:
        self.file = file
        lines = file.read_text().splitlines() if file.exists() else []
        self.rows = [json.loads(line) for line in lines]

    def get(self, **about: object) -> dict[str, object] | None:
        """The row with these values, if it is done."""
        return next((row for row in self.rows if about.items() <= row.items()), None)

    def add(self, row: dict[str, object]) -> None:
        """Keep a row."""
        self.rows.append(row)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a") as stream:
            stream.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)


def label(given: argparse.Namespace, rows: Rows) -> None:
    """Rounds of labeling in both orders, for one seed."""
    truth = load_samples(given.data, "train" if given.split is None else given.split)
    rng = np.random.default_rng(given.seed)
    order = rng.permutation(len(truth.samples)).tolist()
    held_out = replace(truth, samples=[truth.samples[i] for i in order[:HELD_OUT]], problems=[])
    pool = [truth.samples[i] for i in order[HELD_OUT:]]  # in random order
    for kind in ORDERS:
        labeled, model = pool[: LABELED[0]], None
        for number, count in enumerate(LABELED):
            run = given.out / (f"seed{given.seed}-{kind}-{count}" if number else f"seed{given.seed}-{count}")
            if number:
                more = count - len(labeled)
                rest = [sample for sample in pool if sample not in labeled]
                # those labeled are shown as well: the model knows them, and keeps away from them
                labeled = labeled + (chosen(model, pool, more, run) if kind == "next" else rest[:more])
            part = replace(truth, samples=labeled, problems=[])
            model, reached = train(given, run, part, held_out, model)
            about = {"seed": given.seed, "order": kind, "images": len(labeled)}
            if rows.get(**about) is None:
                boxes = sum(len(sample.boxes) for sample in labeled)
                rows.add(about | {"boxes": boxes} | reached)


def render(folder: Path, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Images that show digits alone, and images that show other letters alone, rendered once."""
    digits: list[Sample] = []
    letters: list[Sample] = []
    number = 0
    while len(digits) < sum(WITH_DIGITS) or len(letters) < sum(EMPTY):
        drawn = scene(np.random.default_rng((seed, 77, number)))
        number += 1
        is_digit = drawn.labels < DIGITS
        if not len(is_digit) or (is_digit.any() and not is_digit.all()):
            continue
        group, most = (digits, WITH_DIGITS) if is_digit.any() else (letters, EMPTY)
        if len(group) == sum(most):
            continue
        path = folder / f"{number:05d}.png"
        if not path.exists():
            write_image(path, drawn.image)
        kept = is_digit  # of letters none is annotated: they are no object here
        group.append(Sample(path, drawn.boxes[kept], drawn.labels[kept], size=drawn.image.shape[:2]))
    return digits, letters


def alarms(model: Path, samples: Sequence[Sample]) -> float:
    """Detections per image that holds nothing, at the thresholds of the model."""
    with Detector.open(model) as detector:
        return mean(len(detector(sample.path)) for sample in samples)


def empty(given: argparse.Namespace, rows: Rows) -> None:
    """Two rounds of background images in both orders, for one seed."""
    digits, letters = render(given.out / f"images{given.seed}", given.seed)
    names = CLASSES[:DIGITS]
    held_out = SampleSet(names, digits[WITH_DIGITS[0] :], [], "rendered")
    pool, measured = letters[: EMPTY[0]], letters[EMPTY[0] :]
    for kind in ORDERS:
        added: list[Sample] = []
        model = None
        for number in range(3):
            run = given.out / (f"seed{given.seed}-{kind}-{number}" if number else f"seed{given.seed}-0")
            if number:
                rest = [sample for sample in pool if sample not in added]
                added = added + (
                    chosen(model, rest, ADDED, run, empty=True) if kind == "next" else rest[:ADDED]
                )
            samples = SampleSet(names, [*digits[: WITH_DIGITS[0]], *added], [], "rendered")
            model, reached = train(given, run, samples, held_out, model)
            about = {"seed": given.seed, "order": kind, "backgrounds": len(added)}
            if rows.get(**about) is None:
                rows.add(about | {"alarms": round(alarms(model, measured), 3)} | reached)


def images_to(rows: Rows, seed: int, order: str, measure: str, level: float) -> float | None:
    """Labeled images at which a level is reached, interpolated between rounds.

    None if it never is, or is from the first round on.
    """
    mine = [row for row in rows.rows if (row["seed"], row["order"]) == (seed, order)]
    reached = [(row["images"], row[measure]) for row in sorted(mine, key=lambda row: row["images"])]
    for (x, y), (u, v) in pairwise(reached):
        if y < level <= v:
            return x + (u - x) * (level - y) / (v - y)
    return None


def report(rows: Rows, kind: str) -> None:
    """Tables of all rows so far."""
    columns = list(rows.rows[0]) if rows.rows else []
    print("\n| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for row in rows.rows:
        print("| " + " | ".join(str(row[column]) for column in columns) + " |")
    if kind == "empty":
        return
    print("\n| measure | level | seeds | images, next | images, random | ratio |\n|---|---|---|---|---|---|")
    for measure in ("ap", "ap50"):
        for level in np.arange(0.1, 0.9, 0.05).round(2):
            pairs = [
                [images_to(rows, seed, order, measure, level) for order in ORDERS]
                for seed in sorted({row["seed"] for row in rows.rows})
            ]
            both = [pair for pair in pairs if None not in pair]
            if both:
                needed, at_random = (mean(pair[i] for pair in both) for i in (0, 1))
                print(
                    f"| {measure} | {level:.2f} | {len(both)} | {needed:.0f} | {at_random:.0f} "
                    f"| {needed / at_random:.2f} |"
                )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=["label", "empty"])
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--size", type=int, default=192)
    shown = "images shown in the first training of a seed, and in each later one"
    parser.add_argument(
        "--shown", type=int, nargs=2, default=[400, 250], metavar=("FIRST", "LATER"), help=shown
    )
    given = parser.parse_args()
    if given.kind == "label" and given.data is None:
        raise AnnotationError("label: expected DATA")
    torch.set_num_threads(1)
    print(machine_line("torch", "onnxruntime"), flush=True)
    rows = Rows(given.out / "rows.jsonl")
    for seed in given.seeds:
        given.seed = seed
        (label if given.kind == "label" else empty)(given, rows)
    report(rows, given.kind)


if __name__ == "__main__":
    main()
