"""AP of training with one change that is not part of lookonce, next to the default recipe.

    python benchmarks/ways.py DATA.yaml --images DIR --size 320 --epochs 28 --out runs/ways \
        --rows default copy-paste "longer average" [--start coco] [--teacher runs/big/last.safetensors]

Every run is the default recipe from one start of `start.py`. The changes are functions of this file that
replace one of lookonce's. AP is that of the last epoch on the val split of DATA, so DATA must not contain the
test split. Rows are kept, so the same command resumes an interrupted run.
"""

import argparse
import csv
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from machine import machine_line
from numpy.random import Generator
from rich.console import Console
from start import STARTS
from torch import nn

from lookonce.annotations import GivenData
from lookonce.bench.networks import NetworkChoice
from lookonce.config import AugmentSettings, parse_size
from lookonce.data import dataset
from lookonce.data.augment import AnnotatedImage, augment
from lookonce.geometry.boxes import clip, pairwise_iou
from lookonce.model.files import load_model
from lookonce.networks import BUILT_IN, model_path
from lookonce.train import learner
from lookonce.train.ema import Ema
from lookonce.train.imitate import Teacher
from lookonce.train.reading import load_data
from lookonce.train.run import Session, train

SMALL = 32  # side in pixels of the image up to which an object is copied
MARGIN = 1.2  # side of a copied patch, as a multiple of the object's
TRIES = 5  # random places to try for a copy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--size", default="320")
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--start", choices=STARTS, default="coco")
    parser.add_argument("--rows", nargs="+", choices=CHANGES, default=["default"], metavar="ROW")
    parser.add_argument("--teacher", type=Path, help="model with the same anchors, for the row teacher")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if "teacher" in options.rows and options.teacher is None:
        parser.error("the row teacher needs --teacher")
    print(machine_line("torch", "numpy", "opencv-python-headless"), flush=True)
    print("\n| start | row | seed | epochs | AP50, AP | minutes of CPU time |")
    print("|---|---|---|---|---|---|")
    for row in options.rows:
        out = options.out / f"{options.start}-{row.replace(' ', '-')}-{options.epochs}-{options.seed}"
        if not (out / "minutes").exists():
            train_row(row, STARTS[options.start], out, options)
        with (out / "epochs.csv").open(newline="") as file:
            last = list(csv.DictReader(file))[-1]
        minutes = (out / "minutes").read_text()
        quality = f"{float(last['ap50']):.3f}, {float(last['ap']):.3f}"
        print(
            f"| {options.start} | {row} | {options.seed} | {options.epochs} | {quality} | {minutes} |",
            flush=True,
        )


def train_row(row: str, choice: NetworkChoice, out: Path, options: argparse.Namespace) -> None:
    """Train a row; the file `minutes` marks it as done, and is only right if the run was not interrupted."""
    changes = {"evaluate_every": options.epochs, "seed": options.seed, "epochs": options.epochs}
    settings = choice.settings(parse_size(options.size)).model_copy(update=changes)
    console = Console(quiet=True)
    data = load_data(GivenData(options.data, images=options.images), settings, console, record=False)
    CHANGES[row]()
    teacher = Teacher(frozen(options.teacher)) if row == "teacher" else None
    resume, began = (out / "last.safetensors").exists(), time.process_time()
    weights = model_path(choice.model) if choice.model in BUILT_IN else None
    train(data, settings, out, Session(console), weights=weights, resume=resume, teacher=teacher)
    (out / "minutes").write_text(f"{(time.process_time() - began) / 60:.1f}")
    dataset.augment, learner.Ema = augment, Ema


def frozen(path: Path) -> nn.Module:
    return load_model(path)[0].eval().requires_grad_(False)


def copy_small_objects() -> None:
    """Copy each small object once to a free place in its image (Kisantal et al. 2019)."""

    def with_copies(image: AnnotatedImage, settings: AugmentSettings, rng: Generator) -> AnnotatedImage:
        image = augment(image, settings, rng)
        height, width = image.size
        pixels, boxes, labels = image.pixels.copy(), list(image.boxes), list(image.labels)
        for box, label in zip(image.boxes, image.labels, strict=True):
            sides = box[2:] - box[:2]
            if sides.max() > SMALL:
                continue
            spare = np.tile(sides * (MARGIN - 1) / 2, 2) * (-1, -1, 1, 1)
            left, top, right, bottom = clip((box + spare)[None], height, width)[0].round().astype(int)
            for _ in range(TRIES):
                x, y = rng.integers(0, (width - (right - left) + 1, height - (bottom - top) + 1))
                moved = box + np.array([x - left, y - top] * 2, np.float32)
                if pairwise_iou(moved[None], np.array(boxes)).max() == 0:
                    pixels[y : y + bottom - top, x : x + right - left] = image.pixels[top:bottom, left:right]
                    boxes.append(moved)
                    labels.append(label)
                    break
        all_boxes = np.array(boxes, np.float32).reshape(-1, 4)
        return AnnotatedImage(pixels, all_boxes, np.array(labels, np.int64), image.ignored)

    dataset.augment = with_copies


def average_longer() -> None:
    """Weight step n in the average by n^(5/4) instead of n^8 (by default, in the first 4,490 steps)."""

    class LongerAverage(Ema):
        def __init__(self, network: nn.Module, decay: float) -> None:
            super().__init__(network, 1 - (1 - decay) / 10)

        def update(self, network: nn.Module) -> None:
            self.updates += 3  # as if there were four times as many steps
            super().update(network)

    learner.Ema = LongerAverage


CHANGES: dict[str, Callable[[], None]] = {
    "default": lambda: None,
    "teacher": lambda: None,
    "copy-paste": copy_small_objects,
    "longer average": average_longer,
}

if __name__ == "__main__":
    main()
