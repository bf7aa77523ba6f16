"""Missed objects by their size in the network's input, and by the distance to the nearest object.

    python benchmarks/misses.py MODEL DATA [--split val] [--names FILE] [--sheet FILE.png]

An object counts as found if a detection at the default score threshold overlaps it with an IoU of at least
0.5, and as loose if the best IoU is from 0.3 to 0.5. `--sheet` draws the six images with the most misses,
with ground truth dashed and detections solid.
"""

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
from machine import machine_line
from numpy.typing import NDArray

from lookonce import Detector, read_image, write_image
from lookonce.annotations import load_samples
from lookonce.detections import Detections
from lookonce.draw.grid import compare, grid
from lookonce.geometry.boxes import area, pairwise_iou, xyxy_to_cxcywh
from lookonce.geometry.letterbox import Letterbox
from lookonce.samples import Sample

FOUND, LOOSE = 0.5, 0.3
EDGES = (0, 12, 16, 24, 32, 48, np.inf)  # pixels of the network's input
CELL, SHOWN = (480, 640), 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--names", type=Path)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()

    truth = load_samples(options.data, options.split, options.names)
    with Detector.open(options.model) as detector:
        found = [detector(sample.path) for sample in truth.samples]
        measured = [measure(*each, detector.size) for each in zip(truth.samples, found, strict=True)]
    best, side, gap = np.concatenate(measured).T
    print(machine_line("torch", "opencv-python-headless"))
    print(f"{truth.describe()}\n{row('all', best)}\n")
    for title, values in (("side", side), ("distance to the next center", gap)):
        for low, high in pairwise(EDGES):
            here = (values >= low) & (values < high)
            print(row(f"{title} {low:.0f} to {high:.0f} px", best[here]))
        print()
    if options.sheet:
        missed = [(each[:, 0] < FOUND).sum() for each in measured]
        worst = np.argsort(missed)[::-1][:SHOWN]
        sheet(options.sheet, [(truth.samples[i], found[i]) for i in worst], truth.names)


def measure(sample: Sample, found: Detections, size: tuple[int, int]) -> NDArray[np.float64]:
    """Return (N, 3) for N objects: best IoU of a detection, and in input pixels side and nearest center."""
    boxes = Letterbox.fit(read_image(sample.path).shape[:2], size).boxes_in(sample.boxes)
    centers = xyxy_to_cxcywh(boxes)[:, :2]
    apart = np.linalg.norm(centers[:, None] - centers[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    best = np.max(pairwise_iou(sample.boxes, found.boxes), axis=1, initial=0)
    return np.column_stack([best, np.sqrt(area(boxes)), np.min(apart, axis=1, initial=np.inf)])


def row(title: str, best: NDArray[np.float64]) -> str:
    found, loose = np.mean(best >= FOUND), np.mean((best < FOUND) & (best >= LOOSE))
    shares = f"found {found:.2f}  loose {loose:.2f}  missed {1 - found - loose:.2f}"
    return f"{title:40} {len(best):5} objects  {shares}"


def sheet(path: Path, pairs: list[tuple[Sample, Detections]], names: tuple[str, ...]) -> None:
    drawn = [compare(read_image(sample.path), found, sample, names, CELL) for sample, found in pairs]
    write_image(path, grid(drawn, CELL))


if __name__ == "__main__":
    main()
