"""Savings of `lookonce data next`: labeled images needed for a given AP, and false alarms on empty images.

    python benchmarks/next.py label DATA --out runs/next
    python benchmarks/next.py empty --out runs/empty

`label`: 80 images of a data set are held out for evaluation; no test split is read. In the first round, a few
of the other images are drawn at random and labeled, and training starts from COCO weights. In each later
round, more images are labeled, chosen by `data next` with the model of the previous round or at random, and
training continues from that model. Every later training shows the same number of images, so both orders take
the same amount of training.

`empty`: a model is trained on rendered digits. Images of letters show none of its classes. In each of two
rounds, 20 of these images are added as background images, chosen by `data next --empty` or at random. False
alarms are counted on other images of letters.

Each training run gives a row. Rows are kept in `rows.jsonl`, so the same command resumes an interrupted run.
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
DIGITS = 5  # the first of `CLASSES`, which the model detects; the others are letters
WITH_DIGITS, EMPTY = (60, 40), (100, 100)  # images for training and for measuring
ADDED = 20  # background images per round
SETTINGS = "workers=1", "optimizer.warmup_epochs=0.5"
ORDERS = "next", "random"


def run_command(*words: object) -> None:
    """Run a command of lookonce; exit with its last messages if it fails."""
    ran = subprocess.run(
        [sys.executable, "-m", "lookonce", *map(str, words)], capture_output=True, text=True, check=False
    )
    if ran.returncode not in (0, 1):
        sys.exit(f"{' '.join(map(str, words))}\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")


def train(
    given: argparse.Namespace, run: Path, samples: SampleSet, held_out: SampleSet, start: Path | None
) -> tuple[Path, dict[str, object]]:
    """Train a row unless it is done; return its model, and AP and AP50 on the held-out images."""
    report = run / "run" / "report" / "metrics.json"
    if not report.exists():
        shutil.rmtree(run / "run", ignore_errors=True)  # left by an interrupted run
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
    """Return the images of `pool` that `data next` chooses with a model."""
    (run / "pool.txt").parent.mkdir(parents=True, exist_ok=True)
    (run / "pool.txt").write_text("".join(f"{sample.path.absolute()}\n" for sample in pool))
    source = ["--empty", f"@{run / 'pool.txt'}"] if empty else [f"@{run / 'pool.txt'}"]
    run_command("data", "next", model, *source, "--count", count, "--out", run / "next.txt")
    by_path = {str(sample.path.absolute()): sample for sample in pool}
    return [by_path[line] for line in (run / "next.txt").read_text().splitlines()]


class Rows:
    """The finished rows, kept in a file with one JSON object per line."""

    def __init__(self, file: Path) -> None:
        self.file = file
        lines = file.read_text().splitlines() if file.exists() else []
        self.rows = [json.loads(line) for line in lines]

    def get(self, **about: object) -> dict[str, object] | None:
        """Return the row with these values; None if it is not done."""
        return next((row for row in self.rows if about.items() <= row.items()), None)

    def add(self, row: dict[str, object]) -> None:
        """Add a row to the file, and print it."""
        self.rows.append(row)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a") as stream:
            stream.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)


def label(given: argparse.Namespace, rows: Rows) -> None:
    """Run the rounds of labeling in both orders for one seed."""
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
                # labeled images are in the pool too: `data next` avoids them and images similar to them
                labeled = labeled + (chosen(model, pool, more, run) if kind == "next" else rest[:more])
            part = replace(truth, samples=labeled, problems=[])
            model, reached = train(given, run, part, held_out, model)
            about = {"seed": given.seed, "order": kind, "images": len(labeled)}
            if rows.get(**about) is None:
                boxes = sum(len(sample.boxes) for sample in labeled)
                rows.add(about | {"boxes": boxes} | reached)


def render(folder: Path, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Return images with digits only, and images with letters only; existing files are not rendered again."""
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
        kept = is_digit  # letters are not annotated, because they are not objects here
        group.append(Sample(path, drawn.boxes[kept], drawn.labels[kept], size=drawn.image.shape[:2]))
    return digits, letters


def alarms(model: Path, samples: Sequence[Sample]) -> float:
    """Return the detections per image in images without objects, at the thresholds of the model."""
    with Detector.open(model) as detector:
        return mean(len(detector(sample.path)) for sample in samples)


def empty(given: argparse.Namespace, rows: Rows) -> None:
    """Run the rounds of background images in both orders for one seed."""
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
    """Return the number of labeled images at which a level is reached, interpolated between rounds.

    None if the level is never reached, or is reached in the first round.
    """
    mine = [row for row in rows.rows if (row["seed"], row["order"]) == (seed, order)]
    reached = [(row["images"], row[measure]) for row in sorted(mine, key=lambda row: row["images"])]
    for (x, y), (u, v) in pairwise(reached):
        if y < level <= v:
            return x + (u - x) * (level - y) / (v - y)
    return None


def report(rows: Rows, kind: str) -> None:
    """Print the finished rows, and for `label` the images that each order needs."""
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
