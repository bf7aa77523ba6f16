"""Cost in AP and gain in time of slimming, compared with the same training without slimming.

    python benchmarks/slim.py PARENT DATA TEST.json --images DIR --out runs --faster 2 --epochs 12

A row is `lookonce slim PARENT --data DATA --faster N`. The row "trained on" is PARENT trained for the same
number of epochs with all channels, which shows how much of a row's AP comes from training alone. The best
epoch and the gate use the val split of DATA; TEST is read once per row. Times are those of the bare engine
(ONNX Runtime, all cores), with each model in turn with PARENT. int8 (`--int8` for ONNX Runtime, `--int8
openvino` for OpenVINO) is calibrated on training images of DATA, without a gate, and timed in turn with
PARENT in int8. `--int8 symmetric` is one of the two forms that `lookonce tune` writes for OpenVINO on CPUs
whose sums cannot overflow: the first convolution is int8 too, and ranges are symmetric. Rows are kept, so the
same command resumes an interrupted run.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from machine import machine_line

from lookonce.annotations import open_annotations
from lookonce.darknet.channels import Cost
from lookonce.export.calibrate import read_inputs
from lookonce.export.graph import export_graph
from lookonce.export.int8 import write_int8
from lookonce.export.quantize import unwatched
from lookonce.export.source import read_source
from lookonce.gate import time_both
from lookonce.train.slim import read_parent

TRAINED_ON = "trained on"
INT8_FILES = {"onnx": "int8.onnx", "openvino": "int8.xml", "symmetric": "int8-symmetric.xml"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parent", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("test", type=Path, help="COCO JSON")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--faster", nargs="*", type=float, default=[2.0])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--trained-on", action="store_true", help="the row without slimming, too")
    parser.add_argument("--int8", nargs="?", const="onnx", choices=INT8_FILES, help="form of int8")
    options = parser.parse_args()
    print(machine_line("torch", "onnxruntime", "numpy"), flush=True)
    models = {"parent": options.parent}
    for faster in options.faster:
        models[f"--faster {faster:g}"] = slimmed(faster, options)
    if options.trained_on:
        models[TRAINED_ON] = trained_on(options)
    report(models, options)


def slimmed(faster: float, options: argparse.Namespace) -> Path:
    """Slim the parent unless that is done, with a gate that accepts any loss of AP; return the model."""
    out = options.out / f"slim-{faster:g}-{options.epochs}"
    if not (out / "done").exists():
        length = resumed(out) or ["--epochs", options.epochs]
        data = ["--data", options.data, "--images", options.images, "--out", out]
        run("slim", options.parent, *data, "--faster", faster, "--max-drop", 1, *length)
        (out / "done").touch()
    return Path(out / "best.safetensors")


def trained_on(options: argparse.Namespace) -> Path:
    """Train the parent for the same number of epochs with all channels, unless that is done."""
    out = options.out / f"on-{options.epochs}"
    if not (out / "done").exists():
        size = "x".join(map(str, read_parent(options.parent)[0].info.input_size))
        start = ["--weights", options.parent, "--size", size, "--epochs", options.epochs]
        run("train", options.data, "--images", options.images, "--out", out, *(resumed(out) or start))
        (out / "done").touch()
    return Path(out / "best.safetensors")


def resumed(out: Path) -> list[object]:
    return ["--resume"] if (out / "last.safetensors").exists() else []


def report(models: dict[str, Path], options: argparse.Namespace) -> None:
    print("\n| model | parameters | multiplications | ms | speed-up | test: AP50, AP | int8: ms | speed-up |")
    print("|---|---|---|---|---|---|---|---|")
    parent = read_parent(options.parent)[0]
    inputs = np.random.default_rng(0).integers(0, 256, (2, *parent.info.input_size, 3), np.uint8)
    files = {name: exported(path, options) for name, path in models.items()}
    for name, path in models.items():
        network = read_parent(path)[0].network
        times = time_both(files["parent"][0], files[name][0], inputs)
        ap50, ap = tested(path, options)
        int8 = " |"
        if options.int8:
            both = time_both(files["parent"][1], files[name][1], inputs)
            int8 = f"{both.before:.1f}, {both.after:.1f} | {both.speed_up:.2f}"
        print(
            f"| {name} | {network.numbers:,} | {Cost(network).total / 1e6:.0f} M | {times.after:.1f} "
            f"| {times.speed_up:.2f} | {ap50:.3f}, {ap:.3f} | {int8} |",
            flush=True,
        )


def exported(path: Path, options: argparse.Namespace) -> list[Path]:
    """Write a model for ONNX Runtime in float32 and, with `--int8`, in int8; return the files."""
    folder = options.out / "onnx" / path.parent.name
    float32 = folder / "float32.onnx"
    if not float32.exists():
        run("export", path, "--to", "onnx", "--out", float32)
    if not options.int8:
        return [float32]
    int8 = folder / INT8_FILES[options.int8]
    if int8.exists():
        return [float32, int8]
    images = [
        each.path for each in open_annotations(options.data, options.images).load("train").samples[:100]
    ]
    if options.int8 == "symmetric":
        source = read_source(path)
        inputs, _ = read_inputs(images, source.info)
        write_int8(export_graph(source), inputs, int8, unwatched, symmetric=True, first=True)
    else:
        chosen = options.out / "calibrate"
        chosen.mkdir(parents=True, exist_ok=True)
        for image in images:
            if not (chosen / image.name).exists():
                (chosen / image.name).symlink_to(image.absolute())
        form = ["--to", options.int8, "--int8", "--calibrate", chosen, "--no-gate"]
        run("export", path, "--out", int8, *form)
    return [float32, int8]


def tested(path: Path, options: argparse.Namespace) -> tuple[float, float]:
    """Return AP50 and AP on the test split, which is read once."""
    out = options.out / "test" / path.parent.name
    if not (out / "metrics.json").exists():
        run("evaluate", path, options.test, "--images", options.images, "--out", out)
    metrics = json.loads((out / "metrics.json").read_text())
    return metrics["ap50"], metrics["ap"]


def run(*command: object) -> None:
    words = [sys.executable, "-m", "lookonce", *map(str, command)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):  # 1: some annotations were skipped
        raise SystemExit(f"{' '.join(words)}: {done.stdout[-1500:]}{done.stderr[-2000:]}")


if __name__ == "__main__":
    main()
