"""AP and time of networks of Ultralytics, trained by its own program on the same images.

    python benchmarks/peers.py TRAIN.json TEST.json --images DIR --program VENV/bin/yolo --size 320 \
        --base 320 --epochs 40 --out runs/peers --models yolo11n yolo26n

Ultralytics has the AGPL license, so it is installed in an environment of its own, and only its command is
run: `yolo train` from random weights with its defaults, `yolo val`, and `yolo export` to ONNX. The images and
labels are those that `lookonce data convert` writes. The model is that of the last epoch. The test split is
read once per model; AP is computed by pycocotools from the detections that `yolo val` writes. The network is
timed in ONNX Runtime, without NMS, in turn with a dense yolov3-tiny (random weights, 80 classes) at the size
`--base`. With `--epochs 0`, networks are only timed. Rows are kept, so the same command resumes an
interrupted run.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime
from machine import machine_line
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from random_models import write_random

from lookonce.export.files import write_onnx
from lookonce.export.graph import export_graph
from lookonce.export.source import read_source

ROUNDS = 40
OFFLINE = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}  # nothing is sent or installed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("train", type=Path, help="COCO JSON")
    parser.add_argument("test", type=Path, help="COCO JSON")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--program", type=Path, required=True, help="the command yolo")
    parser.add_argument("--models", nargs="+", default=["yolo11n", "yolo26n"])
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--base", type=int, required=True, help="side of the dense yolov3-tiny")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out = options.out.absolute()
    options.out.mkdir(parents=True, exist_ok=True)
    options.program = options.program.absolute()
    print(machine_line("onnxruntime", "numpy"))
    version = subprocess.run(
        [options.program, "version"], env=os.environ | OFFLINE, capture_output=True, check=True
    )
    print("ultralytics " + version.stdout.decode().split()[-1], flush=True)
    data = converted(options)
    print("\n| model | epochs | minutes | AP50 | AP | time, as a multiple of dense yolov3-tiny |")
    print("|---|---|---|---|---|---|")
    for name in options.models:
        trained = options.out / name
        if options.epochs:
            train(name, data, options)
            minutes = f"{float(last_epoch(trained)['time']) / 60:.0f}"
            ap50, ap = tested(trained, data, options)
            quality = f"{minutes} | {ap50:.3f} | {ap:.3f}"
        else:
            quality = " | | "
        weights = trained / "weights" / "last.pt" if options.epochs else Path(f"{name}.yaml")
        multiple = timed(exported(weights, trained, options), options)
        print(f"| {name} | {options.epochs or ''} | {quality} | {multiple:.2f} |", flush=True)


def converted(options: argparse.Namespace) -> Path:
    """Write images and labels as the program reads them; return the file that describes them."""
    folder = options.out / "data"
    if not (folder / "done").exists():
        categories = json.loads(options.train.read_text())["categories"]
        names = [each["name"] for each in sorted(categories, key=lambda each: each["id"])]
        both = options.out / "both.yaml"
        splits = f"train: {options.train.absolute()}\nval: {options.test.absolute()}\n"
        both.write_text(f"names: {json.dumps(names)}\n{splits}")
        place = ["--images", options.images.absolute(), "--out", folder]
        command = [sys.executable, "-m", "lookonce", "data", "convert", both, "--to", "yolo", *place]
        run(command, options, good=(0, 1))  # 1: some annotations were skipped
        (folder / "done").touch()
    return next(folder.glob("*.yaml"))


def train(name: str, data: Path, options: argparse.Namespace) -> None:
    trained = options.out / name
    if (trained / "done").exists():
        return
    if (trained / "weights" / "last.pt").exists():
        yolo("train", "resume=True", f"model={trained / 'weights' / 'last.pt'}", options=options)
    else:
        start = [f"model={name}.yaml", "pretrained=False", f"data={data}", f"epochs={options.epochs}"]
        place = [f"project={options.out}", f"name={name}", "exist_ok=True"]
        yolo("train", *start, f"imgsz={options.size}", "device=cpu", *place, options=options)
    (trained / "done").touch()


def last_epoch(trained: Path) -> dict[str, str]:
    with (trained / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))[-1]


def tested(trained: Path, data: Path, options: argparse.Namespace) -> tuple[float, float]:
    """Return AP50 and AP on the test split."""
    file = trained / "test" / "predictions.json"
    if not file.exists():
        place = [f"project={trained}", "name=test", "exist_ok=True", "device=cpu", f"imgsz={options.size}"]
        weights = trained / "weights" / "last.pt"
        yolo("val", f"model={weights}", f"data={data}", "save_json=True", *place, options=options)
    with redirect_stdout(sys.stderr):
        truth = COCO(str(options.test))
    ids = {Path(image["file_name"]).stem: image["id"] for image in truth.dataset["images"]}
    categories = sorted(category["id"] for category in truth.dataset["categories"])
    detections = json.loads(file.read_text())
    for each in detections:  # the program numbers the classes from 1
        each["image_id"] = ids[Path(each["file_name"]).stem]
        each["category_id"] = categories[each["category_id"] - 1]
    evaluation = COCOeval(truth, truth.loadRes(detections), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    with redirect_stdout(sys.stderr):
        evaluation.summarize()
    return float(evaluation.stats[1]), float(evaluation.stats[0])


def exported(weights: Path, trained: Path, options: argparse.Namespace) -> Path:
    """Write the network as ONNX and return the file."""
    file = trained / f"{options.size}.onnx"
    if not file.exists():
        trained.mkdir(parents=True, exist_ok=True)
        yolo("export", f"model={weights}", "format=onnx", f"imgsz={options.size}", options=options)
        written = (weights if weights.is_absolute() else options.out / weights).with_suffix(".onnx")
        written.rename(file)
    return file


def timed(file: Path, options: argparse.Namespace) -> float:
    """Return the time of a network as a multiple of that of the dense yolov3-tiny, both run in turn."""
    with TemporaryDirectory() as temporary:
        dense = Path(temporary, "dense.onnx")
        write_onnx(
            export_graph(read_source(write_random("yolov3-tiny", Path(temporary), options.base))), dense
        )
        sessions = [
            onnxruntime.InferenceSession(str(each), providers=["CPUExecutionProvider"])
            for each in (dense, file)
        ]
        sides = options.base, options.size
        inputs = [random_input(each, side) for each, side in zip(sessions, sides, strict=True)]
        seconds: list[list[float]] = [[], []]
        for _ in range(1 + ROUNDS):
            for session, given, times in zip(sessions, inputs, seconds, strict=True):
                start = time.perf_counter()
                session.run(None, given)
                times.append(time.perf_counter() - start)
    base, own = (float(np.percentile(times[1:], 25)) for times in seconds)
    return own / base


def random_input(session: onnxruntime.InferenceSession, side: int) -> dict[str, np.ndarray]:
    """Return one random square image of the given side, in the layout and type that the network takes."""
    given = session.get_inputs()[0]
    shape = (1, side, side, 3) if given.shape[-1] == 3 else (1, 3, side, side)
    values = np.random.default_rng(0).integers(0, 256, shape)
    eight_bits = given.type == "tensor(uint8)"
    return {given.name: values.astype(np.uint8) if eight_bits else (values / 255).astype(np.float32)}


def yolo(*arguments: str, options: argparse.Namespace) -> None:
    run([options.program, *arguments], options)


def run(command: list[object], options: argparse.Namespace, good: tuple[int, ...] = (0,)) -> None:
    """Run a command in the folder `--out`; its output goes to standard error, as progress."""
    environment = os.environ | OFFLINE
    words = [str(word) for word in command]
    done = subprocess.run(words, env=environment, cwd=options.out, stdout=sys.stderr, check=False)
    if done.returncode not in good:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}")


if __name__ == "__main__":
    main()
