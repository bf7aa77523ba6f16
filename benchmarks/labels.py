"""Effect of options for incomplete labels, rare classes and free orientation, on BCCD (blood cells, CC0/MIT).

    python benchmarks/labels.py DATA --out runs/labels [--rows full naive ...] [--seeds 0 1 2] [--epochs 10]

DATA holds BCCD: JPEGImages/, train_coco.json and val_coco.json. Each row is a short run of a half-width
yolov3-tiny at 256, with one thread, evaluated on all val images, which are always fully annotated. Finished
rows and seeds are kept, so the same command resumes an interrupted run, and prints the table.

    full        every object of the training images is annotated
    naive       red cells have no box in half of the images, and this is not declared
    annotated   the same, and the YAML lists the classes that are annotated there
    thin        platelets are annotated in so few images that there are about 20; elsewhere they are unknown
    repeat      thin, with repeat_rare
    weights     thin, with all loss terms of an object weighted by 1 / sqrt(objects of its class)
    two         only the two other classes, on half of the images
    keep        platelets added to `two` with --keep-classes, from the other half, where only they have boxes
    forget      the same without --keep-classes: the heads start fresh, and only know platelets
    free        full, with orientation=free
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

from machine import machine_line

NAMES = ["Platelets", "RBC", "WBC"]
RARE, RED, WHITE = NAMES
WANTED = 20  # annotated platelets
SETTINGS = ("model=yolov3-tiny", "width=0.5", "size=256", "batch=4", "workers=1")
ROWS = ("full", "naive", "annotated", "thin", "repeat", "weights", "two", "keep", "forget", "free")
EXTRA = {"repeat": ("repeat_rare=0.5",), "free": ("augment.orientation=free",)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS, metavar="ROW")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    print(machine_line("torch", "numpy", "opencv-python-headless"), flush=True)
    for seed in options.seeds:
        for row in options.rows:
            once(row, seed, options)
    report(options)


def once(row: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train and measure a row, unless it is done."""
    out = options.out / f"{row}-{options.epochs}-{seed}"
    result = out / "result.json"
    if result.exists():
        return json.loads(result.read_text())
    words = []
    if row in ("keep", "forget"):
        once("two", seed, options)
        words += ["--weights", str(options.out / f"two-{options.epochs}-{seed}" / "best.safetensors")]
        words += ["--keep-classes"] if row == "keep" else []
    out.mkdir(parents=True, exist_ok=True)
    data, val = prepare(row, seed, options.data.resolve(), out)
    settings = (*SETTINGS, f"epochs={options.epochs}", f"evaluate_every={options.epochs}", f"seed={seed}")
    words += [word for each in (*settings, *EXTRA.get(row, ())) for word in ("--set", each)]
    start = time.perf_counter()
    run = out / "run"
    command = [sys.executable, "-m", "lookonce", "train", str(data), "--out", str(run)]
    command += ["--resume"] if (run / "last.safetensors").exists() else words
    if row == "weights":
        here = str(Path(__file__).parent)
        start_it = (
            f"import sys; sys.path.insert(0, {here!r}); import labels; labels.start_weighted({str(out)!r})"
        )
        command[1:3] = ["-c", start_it]
    call(command)
    minutes = (time.perf_counter() - start) / 60
    (out / "best.safetensors").write_bytes((run / "best.safetensors").read_bytes())
    call([sys.executable, "-m", "lookonce", "evaluate", str(out / "best.safetensors"), str(val), "--force",
          "--split", "val", "--out", str(out / "report"), "--json", str(out / "metrics.json")])  # fmt: skip
    metrics = json.loads((out / "metrics.json").read_text())
    found = {"minutes": round(minutes, 2), "metrics": metrics}
    result.write_text(json.dumps(found))
    print(line(row, seed, found), flush=True)
    return found


def call(command: Sequence[str]) -> None:
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout[-500:]}{done.stderr[-2000:]}")


def prepare(row: str, seed: int, data: Path, out: Path) -> tuple[Path, Path]:
    """Write the training annotations of a row, and the YAMLs to train and to measure with."""
    tree = json.loads((data / "train_coco.json").read_text())
    number = {each["name"]: each["id"] for each in tree["categories"]}
    images = [each["id"] for each in tree["images"]]
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
            platelets = [
                each["image_id"] for each in tree["annotations"] if each["category_id"] == number[RARE]
            ]
            with_them: set[int] = set()
            for image in images:
                if sum(platelets.count(each) for each in with_them) < WANTED and image in platelets:
                    with_them.add(image)
            rest = part("partly", set(images) - with_them, [RARE])
            train = [part("train", with_them), {"path": rest, "annotated": [RED, WHITE]}]
        case "two":
            train, classes = [part("train", half, [RARE])], {RARE: None}
        case "keep" | "forget":
            train, classes = [part("train", other, [RED, WHITE])], {RED: None, WHITE: None}
        case _:
            train = [part("train", half | other)]
    validation = out / "val.json"
    tree = json.loads((data / "val_coco.json").read_text())
    for each in tree["images"]:
        each["file_name"] = str(data / "JPEGImages" / Path(each["file_name"]).name)
    validation.write_text(json.dumps(tree))
    head = {"names": NAMES, "val": validation.name}
    written = []
    for name, more in (("train", {"train": train, "classes": classes}), ("val", {"classes": classes})):
        path = out / f"{name}.yaml"
        # a model that knows three classes is measured on three
        more = {**more, "classes": {}} if name == "val" and row == "keep" else more
        path.write_text(
            json.dumps(head | {key: value for key, value in more.items() if value})
        )  # YAML holds JSON
        written.append(path)
    return written[0], written[1]


def start_weighted(folder: str) -> None:
    """Run `lookonce` with every loss term of an object weighted by 1 / sqrt(objects of its class), mean 1."""
    import torch

    from lookonce.cli import main as lookonce
    from lookonce.train import loss

    counts = [0, 0, 0]
    for name in ("train.json", "partly.json"):
        tree = json.loads((Path(folder) / name).read_text())
        names = {each["id"]: each["name"] for each in tree["categories"]}
        for label, count in Counter(names[each["category_id"]] for each in tree["annotations"]).items():
            counts[NAMES.index(label)] += count
    weight = torch.tensor(counts, dtype=torch.float32).rsqrt()
    weight *= sum(counts) / (weight * torch.tensor(counts)).sum()
    print("weights", dict(zip(NAMES, weight.tolist(), strict=True)))
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
    sys.argv[0] = "lookonce"
    lookonce()


def line(row: str, seed: int, found: dict[str, Any]) -> str:
    classes = ", ".join(f"{name} {ap:.3f}" for name, ap in aps(found).items())
    return f"{row}, seed {seed}: AP {found['metrics']['ap']:.3f} ({classes}), {found['minutes']} min"


def aps(found: dict[str, Any]) -> dict[str, float]:
    return {each["name"]: each["ap"] for each in found["metrics"]["classes"]}


def report(options: argparse.Namespace) -> None:
    """A line per row: means over the seeds that are done, and each seed's AP."""
    print(f"\n{' '.join(SETTINGS)}, {options.epochs} epochs, {len(NAMES)} classes, AP at IoU 0.50 to 0.95\n")
    print("| row | seeds | AP | each | Platelets | RBC | WBC | minutes |\n|---|---|---|---|---|---|---|---|")
    for row in ROWS:
        folders = [options.out / f"{row}-{options.epochs}-{seed}" / "result.json" for seed in options.seeds]
        done = [json.loads(each.read_text()) for each in folders if each.exists()]
        if not done:
            continue
        of_class = [
            mean(values) if (values := [aps(each)[n] for each in done if n in aps(each)]) else None
            for n in NAMES
        ]
        shown = " | ".join("" if each is None else f"{each:.3f}" for each in of_class)
        each_ap = " ".join(f"{each['metrics']['ap']:.3f}" for each in done)
        average = mean(each["metrics"]["ap"] for each in done)
        minutes = mean(each["minutes"] for each in done)
        print(f"| {row} | {len(done)} | {average:.3f} | {each_ap} | {shown} | {minutes:.1f} |")


if __name__ == "__main__":
    main()
