"""Time of computing AP for a data set of COCO's size, once all detections exist.

    python benchmarks/evaluation.py [--images 5000] [--found 100]

Ground truth and detections are synthetic: 7.3 objects of 80 classes per image, as in COCO val. Half of the
objects are detected, with slightly inaccurate boxes, and the other detections are placed at random. The time
is CPU time, which hardly depends on other work on the machine.
"""

import argparse
from pathlib import Path
from time import process_time

import numpy as np
from machine import machine_line

from lookonce.detections import Detections
from lookonce.evaluate.coco import evaluate
from lookonce.samples import Sample

CLASSES, OBJECTS, SIDES = 80, 7.3, (480, 640)
NAMES = tuple(f"class {number}" for number in range(CLASSES))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--found", type=int, default=100, help="detections an image")
    options = parser.parse_args()
    print(machine_line("numpy", "faster-coco-eval"))
    random = np.random.default_rng(0)
    samples = [truth(random) for _ in range(options.images)]
    detections = [found(sample, options.found, random) for sample in samples]
    started = process_time()
    metrics = evaluate(samples, detections, NAMES)
    seconds = process_time() - started
    print(f"{options.images} images, {options.found} detections each: {seconds:.1f} s, AP {metrics.ap:.3f}")


def truth(random: np.random.Generator) -> Sample:
    """Return the objects of an image."""
    count = random.poisson(OBJECTS)
    return Sample(Path(), boxes(count, random), random.integers(0, CLASSES, count))


def found(sample: Sample, count: int, random: np.random.Generator) -> Detections:
    """Return detections of every other object of a sample, and false alarms at random places."""
    right = sample.boxes[::2] + random.normal(0, 2, sample.boxes[::2].shape).astype(np.float32)
    wrong = max(count - len(right), 0)
    return Detections(
        np.concatenate([right, boxes(wrong, random)])[:count],
        random.random(count, np.float32),
        np.concatenate([sample.labels[::2], random.integers(0, CLASSES, wrong)])[:count],
        NAMES,
    )


def boxes(count: int, random: np.random.Generator) -> np.ndarray:
    """Return random boxes (N, 4) xyxy within the image."""
    height, width = SIDES
    sides = random.uniform(0.05, 0.5, (count, 2)) * (width, height)
    corners = random.random((count, 2)) * ((width, height) - sides)
    return np.concatenate([corners, corners + sides], axis=1).astype(np.float32)


if __name__ == "__main__":
    main()
