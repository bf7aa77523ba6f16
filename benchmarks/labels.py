"""Effect of options for incomplete labels, rare classes and free orientation, on BCCD (blood cells, CC0/MIT).

    python benchmarks/labels.py DATA --out runs/labels [--rows full naive ...] [--seeds 0 1 2] [--epochs 6]

DATA is a folder with BCCD: JPEGImages/, train_coco.json and val_coco.json. Each row is a short training from
COCO weights, on one thread. Every seventh image of train_coco.json is held out with all annotations, and used
only for choosing score thresholds. The AP of the last epoch, and the counts at these thresholds, are measured
on the images of val_coco.json, once per row. Minutes are CPU time. Finished rows and seeds are kept, so the
same command resumes an interrupted run, and prints the table.

    full        every object of the training images is annotated
    naive       in half of the images red cells have no boxes, and the YAML does not declare it
    annotated   as `naive`, but the YAML lists the classes that are annotated in these images
    two         only red and white cells, in half of the images
    keep        `two` trained further with --keep-classes on the other half, where only platelets have boxes
    forget      as `keep`, but without --keep-classes: the new heads have only the class of platelets
    thin        about 20 platelets are annotated; in the other images, the YAML declares them as not annotated
    repeat      as `thin`, with repeat_rare
    weights     as `thin`, with all loss terms of an object weighted by 1 / sqrt(objects of its class)
    free        as `full`, with orientation=free
"""

import argparse
import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from machine import machine_line

import lookonce
from lookonce.annotations import open_annotations
from lookonce.evaluate.coco import evaluate
from lookonce.evaluate.counting import choose_thresholds, count
from lookonce.evaluate.matching import match
from lookonce.runtime.options import EVALUATION_CONF
from lookonce.samples import numbers_in
from lookonce.train import loss

NAMES = ["Platelets", "RBC", "WBC"]
RARE, RED, WHITE = NAMES
WANTED = 20  # annotated platelets
SIZE = "192"
SETTINGS = "workers=1", "optimizer.warmup_epochs=0.5"
ROWS = ("full", "naive", "annotated", "two", "keep", "forget", "thin", "repeat", "weights", "free")
EXTRA = {"repeat": ("repeat_rare=0.5",), "free": ("augment.orientation=free",)}
HELD_OUT = 7  # every seventh image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS, metavar="ROW")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=6)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine_line("torch", "numpy", "opencv-python-headless"), flush=True)
    for seed in options.seeds:
        for row in options.rows:
            once(row, seed, options)
    report(options)


def once(row: str, seed: int, options: argparse.Namespace) -> Path:
    """Train and measure a row, unless it is done; return its model."""
    out = options.out / f"{row}-{options.epochs}-{seed}"
    model = out / "run" / "best.safetensors"
    if (out / "result.json").exists():
        return model
    weights = once("two", seed, options) if row in ("keep", "forget") else "coco"
    shutil.rmtree(out, ignore_errors=True)  # left by an interrupted run
    out.mkdir(parents=True)
    data = prepare(row, seed, options.data.resolve(), out)
    settings = (f"evaluate_every={options.epochs}", f"seed={seed}", *SETTINGS, *EXTRA.get(row, ()))
    start = time.process_time()
    with weighted_by_class(out) if row == "weights" else nullcontext():
        done = lookonce.train(
            data,
            out=out / "run",
            weights=weights,
            keep_classes=row == "keep",
            size=SIZE,
            epochs=options.epochs,
            assignments=settings,
        )
    if done.exit_code:
        raise SystemExit(done.exit_code)
    found = {"minutes": (time.process_time() - start) / 60, **measure(model, options.data)}
    (out / "result.json").write_text(json.dumps(found))
    print(line(row, seed, found), flush=True)
    return model


def measure(model: Path, data: Path) -> dict[str, Any]:
    """Return the AP of a model's classes, and the counts at thresholds chosen on the held-out images."""
    with lookonce.Detector.open(model, conf=EVALUATION_CONF, threads=1) as detector:
        names, measured = detector.names, []
        for annotations in (model.parents[1] / "val.json", data / "val_coco.json"):
            truth = open_annotations(annotations, data / "JPEGImages").load(None)
            numbers = numbers_in(names, truth.names)
            samples = [sample.renumbered(numbers) for sample in truth.samples]
            found = [detector(sample.path) for sample in samples]
            measured.append((evaluate(samples, found, names), match(samples, found, names)))
    (held_out, chosen_on), (test, matches) = measured
    images = [sample.path.name for sample in samples]
    counting = count(matches, names, images, choose_thresholds(chosen_on))
    return {
        "ap": test.ap,
        "held_out": held_out.ap,
        "held_out_classes": {each.name: each.ap for each in held_out.classes},
        "classes": {each.name: each.ap for each in test.classes},
        "counts": {name: counting.of(label).relative for label, name in enumerate(names)},
        "mae": counting.of().mae,
    }


def prepare(row: str, seed: int, data: Path, out: Path) -> Path:
    """Write the annotations of a row and its YAML, and return the YAML."""
    tree = json.loads((data / "train_coco.json").read_text())
    number = {each["name"]: each["id"] for each in tree["categories"]}
    every = sorted((each for each in tree["images"]), key=lambda each: each["file_name"])
    held_out = {each["id"] for each in every[::HELD_OUT]}
    images = [each["id"] for each in every if each["id"] not in held_out]
    random.Random(seed).shuffle(images)
    half, other = set(images[: len(images) // 2]), set(images[len(images) // 2 :])

    def part(name: str, chosen: set[int], without: Sequence[str] = ()) -> str:
        dropped = {number[each] for each in without}
        kept = [
            {**each, "file_name": str(data / "JPEGImages" / Path(each["file_name"]).name)}
            for each in tree["images"]
            if each["id"] in chosen
        ]
        boxes = [
            each
            for each in tree["annotations"]
            if each["image_id"] in chosen and each["category_id"] not in dropped
        ]
        path = out / f"{name}.json"
        path.write_text(json.dumps({**tree, "images": kept, "annotations": boxes}))
        return path.name

    classes = {}
    match row:
        case "naive" | "annotated":
            partly = part("partly", half, [RED])
            second: Any = {"path": partly, "annotated": [RARE, WHITE]} if row == "annotated" else partly
            train: list[Any] = [part("train", other), second]
        case "thin" | "repeat" | "weights":
            platelets = Counter(
                each["image_id"] for each in tree["annotations"] if each["category_id"] == number[RARE]
            )
            with_them: set[int] = set()
            for image in images:
                if sum(platelets[each] for each in with_them) < WANTED and platelets[image]:
                    with_them.add(image)
            rest = part("partly", set(images) - with_them, [RARE])
            train = [part("train", with_them), {"path": rest, "annotated": [RED, WHITE]}]
        case "two":
            train, classes = [part("train", half, [RARE])], {RARE: None}
        case "keep" | "forget":
            train, classes = [part("train", other, [RED, WHITE])], {RED: None, WHITE: None}
        case _:
            train = [part("train", half | other)]
    yaml = out / "data.yaml"
    chosen = {"classes": classes} if classes else {}
    yaml.write_text(json.dumps({"names": NAMES, "train": train, "val": part("val", held_out), **chosen}))
    return yaml  # JSON is valid YAML


@contextmanager
def weighted_by_class(folder: Path) -> Iterator[None]:
    """Weight every loss term of an object by 1 / sqrt(objects of its class), scaled to a mean of 1."""
    counts = [0, 0, 0]
    for name in ("train.json", "partly.json"):
        tree = json.loads((folder / name).read_text())
        names = {each["id"]: each["name"] for each in tree["categories"]}
        for label, objects in Counter(names[each["category_id"]] for each in tree["annotations"]).items():
            counts[NAMES.index(label)] += objects
    weight = torch.tensor(counts, dtype=torch.float32).rsqrt()
    weight *= sum(counts) / (weight * torch.tensor(counts)).sum()
    print("weights", dict(zip(NAMES, weight.tolist(), strict=True)), flush=True)
    terms_of = loss.scale_terms

    def weighted(*given: Any) -> loss.ScaleTerms:
        terms = terms_of(*given)
        of = terms.positives
        each = weight[of.label]
        factor = torch.ones_like(terms.conf)
        factor[of.image, of.row, of.column, of.anchor] = each
        return replace(
            terms, giou=terms.giou * each, classes=terms.classes * each[:, None], conf=terms.conf * factor
        )

    loss.scale_terms = weighted
    try:
        yield
    finally:
        loss.scale_terms = terms_of


def line(row: str, seed: int, found: dict[str, Any]) -> str:
    classes = ", ".join(
        f"{name} {ap:.3f} ({found['counts'][name]:+.0%})" for name, ap in found["classes"].items()
    )
    return (
        f"{row}, seed {seed}: AP {found['ap']:.3f}; AP and count of {classes}; "
        f"counts off by {found['mae']:.2f} per image; {found['minutes']:.1f} min"
    )


def report(options: argparse.Namespace) -> None:
    """Print a line per row: means over the finished seeds, and the AP of each seed."""
    settings = ", ".join(("--weights coco", f"size {SIZE}", f"{options.epochs} epochs", *SETTINGS))
    print(f"\n{settings}; AP at IoU 0.50 to 0.95, mean of the seeds;")
    print("errors of the counts: size per class, mean of the seeds; MAE per image, all classes\n")
    heads = "".join(f" AP {name} |" for name in NAMES) + "".join(f" counts {name} |" for name in NAMES)
    print(f"| row | seeds | held out | AP | each |{heads} MAE | minutes of a core |")
    print(f"|---|---|---|---|---|{'---|' * (2 * len(NAMES))}---|---|")
    for row in ROWS:
        folders = [options.out / f"{row}-{options.epochs}-{seed}" / "result.json" for seed in options.seeds]
        done = [json.loads(each.read_text()) for each in folders if each.exists()]
        if not done:
            continue
        aps = [
            "" if n not in done[0]["classes"] else f"{mean(d['classes'][n] for d in done):.3f}" for n in NAMES
        ]
        off = [
            "" if n not in done[0]["counts"] else f"{mean(abs(d['counts'][n]) for d in done):.0%}"
            for n in NAMES
        ]
        each_ap = " ".join(f"{each['ap']:.3f}" for each in done)
        average, held_out, mae, minutes = (
            mean(each[key] for each in done) for key in ("ap", "held_out", "mae", "minutes")
        )
        cells = " | ".join(
            [
                row,
                str(len(done)),
                f"{held_out:.3f}",
                f"{average:.3f}",
                each_ap,
                *aps,
                *off,
                f"{mae:.2f}",
                f"{minutes:.1f}",
            ]
        )
        print(f"| {cells} |")


if __name__ == "__main__":
    main()
