"""Differences between float32 and float64 in raw maps and scores, per engine and spread of the raw maps.

    python benchmarks/rounding.py [--models yolov3,yolov3-tiny] [--spreads 1,10,100]

The input is one image at 416x416. Weights are random and give raw maps with the given standard deviations.
The float64 network runs in torch. The tolerance of `lookonce export` for scores (2e-4) must be above the
differences between engines on trained networks, and below the effect of a mistake.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime as ort
import openvino as ov
import torch
from machine import machine_line
from numpy.typing import NDArray
from random_models import CLASSES, write_random

from lookonce.bench.contenders import image
from lookonce.bench.files import prepare
from lookonce.geometry.decode import sigmoid
from lookonce.geometry.letterbox import Letterbox
from lookonce.model.darknet_io import load_darknet

SIZE = 416


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", default="yolov3,yolov3-tiny")
    parser.add_argument("--spreads", default="1,10,100")
    options = parser.parse_args()
    print(machine_line("torch", "onnxruntime", "openvino", "numpy"))
    for model in options.models.split(","):
        print(f"\n{model:24}largest logit   logits off   of the largest   scores off")
        for spread in map(float, options.spreads.split(",")):
            with TemporaryDirectory() as name:
                compare(write_random(model, Path(name), SIZE, spread), Path(name), f"{spread:g}")


def compare(cfg: Path, folder: Path, spread: str) -> None:
    """Print a row per engine with the largest differences from float64 in objectness and class scores."""
    pixels = image(0)
    seen = Letterbox.fit(pixels.shape[:2], (SIZE, SIZE)).image(pixels)[None].transpose(0, 3, 1, 2)
    planes = np.ascontiguousarray(seen, np.float32) / np.float32(255)
    onnx_file = str(prepare(cfg, folder).network)
    network = load_darknet(cfg, cfg.with_suffix(".weights"))[0].eval()
    with torch.inference_mode():
        rows = {"torch": [raw.numpy() for raw in network(torch.from_numpy(planes))]}
        exact = logits(
            [raw.numpy() for raw in network.double()(torch.from_numpy(seen.astype(np.float64) / 255))]
        )
    session = ort.InferenceSession(onnx_file, providers=["CPUExecutionProvider"])
    rows["onnxruntime"] = session.run(None, {session.get_inputs()[0].name: planes})
    results = ov.Core().compile_model(onnx_file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([planes])
    rows["openvino"] = list(results.to_tuple())
    largest = np.abs(exact).max()
    for engine, maps in rows.items():
        found = logits(maps)
        off, scores = np.abs(found - exact).max(), np.abs(sigmoid(found) - sigmoid(exact)).max()
        print(f"  spread {spread:4} {engine:12}{largest:10.0f}{off:13.1e}{off / largest:17.1e}{scores:13.1e}")


def logits(maps: list[NDArray[np.floating]]) -> NDArray[np.float64]:
    """Return the logits of objectness and classes of all raw maps, finest scale first, as (N,)."""
    ordered = sorted(maps, key=lambda raw: -raw.shape[-1])
    cut = [raw.reshape(raw.shape[1] // (5 + CLASSES), 5 + CLASSES, -1)[:, 4:] for raw in ordered]
    return np.concatenate([each.ravel() for each in cut]).astype(np.float64)


if __name__ == "__main__":
    main()
