"""Short training runs from COCO weights on rectangles without padding and on padded squares, on BCCD.

    python benchmarks/padding.py DATA --out runs/padding [--seeds 0 1 2]

`detect` pads an image to a square unless `--rect` is given. The default recipe trains in the shapes of the
images. Both rows use the data of the row `two` of labels.py: 125 images with red and white blood cells, at
size 192, on one thread. Because a padded 4:3 image takes a third more time, squares are trained for six
epochs and rectangles for eight. AP is measured on the held-out images and on the test images, padded and
without padding. Finished rows are kept.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from labels import SETTINGS, SIZE, prepare
from machine import machine_line

import lookonce
from lookonce.annotations import open_annotations
from lookonce.evaluate.coco import evaluate
from lookonce.runtime.options import EVALUATION_CONF
from lookonce.samples import numbers_in

ROWS = {"rectangles": (8, "true"), "squares": (6, "false")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine_line("torch", "numpy", "opencv-python-headless"), flush=True)
    print(
        "\n| trained in | epochs | seed | held out, padded | `--rect` | test, padded | `--rect` | minutes |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for row, (epochs, rectangles) in ROWS.items():
        for seed in options.seeds:
            found = once(options.data.resolve(), options.out / f"{row}-{seed}", seed, epochs, rectangles)
            aps = " | ".join(f"{ap:.3f}" for ap in found["aps"])
            print(f"| {row} | {epochs} | {seed} | {aps} | {found['minutes']:.1f} |", flush=True)


def once(data: Path, out: Path, seed: int, epochs: int, rectangles: str) -> dict[str, object]:
    """Train and measure unless the row is done; return AP on held-out and test images, and minutes."""
    done = out / "result.json"
    if not done.exists():
        out.mkdir(parents=True, exist_ok=True)
        yaml = prepare("two", seed, data, out)
        settings = (f"evaluate_every={epochs}", f"seed={seed}", f"augment.rectangles={rectangles}", *SETTINGS)
        start = time.process_time()
        lookonce.train(yaml, out=out / "run", weights="coco", size=SIZE, epochs=epochs, assignments=settings)
        minutes = (time.process_time() - start) / 60
        model = out / "run" / "best.safetensors"
        aps = [
            measure(model, file, data, rect=rect)
            for file in (out / "val.json", data / "val_coco.json")
            for rect in (False, True)
        ]
        done.write_text(json.dumps({"aps": aps, "minutes": minutes}))
    found: dict[str, object] = json.loads(done.read_text())
    return found


def measure(model: Path, annotations: Path, data: Path, *, rect: bool) -> float:
    """Return the AP of a model on annotated images."""
    with lookonce.Detector.open(model, conf=EVALUATION_CONF, rect=rect, threads=1) as detector:
        truth = open_annotations(annotations, data / "JPEGImages").load(None)
        numbers = numbers_in(detector.names, truth.names)
        samples = [sample.renumbered(numbers) for sample in truth.samples]
        return evaluate(samples, [detector(sample.path) for sample in samples], detector.names).ap


if __name__ == "__main__":
    main()
