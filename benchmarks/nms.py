"""AP with greedy NMS and with Soft-NMS on the same candidates.

    python benchmarks/nms.py MODEL DATA [--split val] [--names FILE] [--every 1]

Each variant is applied to the candidates with scores above 0.01, within each class, of every image or of
every n-th image. Soft-NMS (Bodla et al. 2017) lowers the score of a box that overlaps a better one: the
linear variant by the factor 1 - IoU if the IoU is above a threshold, the Gaussian variant by
exp(-IoU²/sigma).
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from machine import machine_line
from numpy.typing import NDArray

from lookonce import read_image
from lookonce.annotations import load_samples
from lookonce.detections import Detections
from lookonce.evaluate.coco import evaluate
from lookonce.evaluate.curves import curves
from lookonce.evaluate.matching import match
from lookonce.geometry.boxes import iou
from lookonce.geometry.letterbox import Letterbox
from lookonce.geometry.nms import nms, soft_nms
from lookonce.runtime.backends import open_backend
from lookonce.runtime.options import DetectOptions
from lookonce.runtime.postprocess import locate

CONFIDENCE = 0.01
Suppress = Callable[[Detections], Detections]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--names", type=Path)
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()

    truth = load_samples(options.data, options.split, options.names)
    samples = truth.samples[:: options.every]
    print(machine_line("torch", "opencv-python-headless", "numpy"))
    print(f"{options.model.name}, {truth.describe()}")
    candidates = find(options.model, [sample.path for sample in samples])
    print(f"{len(samples)} images, {np.mean([len(each) for each in candidates]):.0f} candidates in each\n")
    print(f"{'':24}  AP50     AP   AP75  R@P0.9     F1")
    ways: dict[str, Suppress] = {f"greedy, IoU {at}": greedy(at) for at in (0.3, 0.45, 0.6, 0.7)}
    ways |= {f"soft, linear, IoU {at}": linear(at) for at in (0.3, 0.45)}
    ways |= {f"soft, gaussian, {sigma}": gaussian(sigma) for sigma in (0.3, 0.5, 1.0)}
    for name, suppress in ways.items():
        found = [suppress(each) for each in candidates]
        m, curve = evaluate(samples, found, truth.names), curves(match(samples, found, truth.names)).overall
        recall, f1 = curve.at_precision(0.9).recall, curve.best().f1
        print(f"{name:22}{m.ap50:8.4f} {m.ap:6.4f} {m.ap75:6.4f}  {recall:6.4f} {f1:6.4f}", flush=True)


def find(model: Path, paths: list[Path]) -> list[Detections]:
    """Return the candidates of each image before NMS."""
    backend = open_backend(model)
    found = []
    for path in paths:
        image = read_image(path)
        letterbox = Letterbox.fit((image.shape[0], image.shape[1]), backend.info.input_size)
        (candidates,) = backend(letterbox.image(image)[None])
        found.append(locate(candidates, letterbox, DetectOptions(conf=CONFIDENCE), backend.info.names))
    return found


def greedy(threshold: float) -> Suppress:
    return lambda found: found[nms(found.boxes, found.scores, found.labels, threshold)]


def gaussian(sigma: float) -> Suppress:
    def suppress(found: Detections) -> Detections:
        kept, scores = soft_nms(found.boxes, found.scores, found.labels, CONFIDENCE, sigma)
        return replace(found[kept], scores=scores)

    return suppress


def linear(threshold: float) -> Suppress:
    def suppress(found: Detections) -> Detections:
        left: NDArray[np.float32] = found.scores.copy()
        kept, scores = [], []
        while left.size and left.max() > CONFIDENCE:
            best = int(left.argmax())
            kept.append(best)
            scores.append(left[best])
            overlap = iou(found.boxes[best], found.boxes) * (found.labels == found.labels[best])
            left = np.where(overlap > threshold, left * (1 - overlap), left)
            left[best] = -1
        return replace(found[kept], scores=np.array(scores, np.float32))

    return suppress


if __name__ == "__main__":
    main()
