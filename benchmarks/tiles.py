"""Cost and accuracy of `rect` and `tiles`: time, AP by object size, and recall, compared with larger inputs.

    python benchmarks/tiles.py MODEL DATA [--split val] [--names FILE] [--shape 16x9] [--only plain,rect]

The script prints a line per setting. The time is that of the whole Detector at score threshold 0.25, without
reading files, as the median over some images. All settings run in turn on each image, so a ratio is also
valid on a busy machine. Accuracy is measured on all images, from detections with scores above 0.01, for the
classes that model and data share. `--shape` crops the middle of every image to a shape. `--split all` reads
all images.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
from machine import machine_line
from numpy.typing import NDArray

from lookonce import Detector, read_image
from lookonce.annotations import load_samples
from lookonce.detections import Detections
from lookonce.evaluate.classes import SharedClasses
from lookonce.evaluate.coco import evaluate
from lookonce.evaluate.curves import curves
from lookonce.evaluate.matching import match
from lookonce.geometry import boxes as box_ops
from lookonce.samples import Sample

SETTINGS: dict[str, dict[str, object]] = {
    "plain": {},
    "rect": {"rect": True},
    "size x 1.5": {"scale": 1.5},
    "size x 2": {"scale": 2},
    "size x 2, rect": {"scale": 2, "rect": True},
    "tiles 2x2": {"tiles": (2, 2)},
    "tiles 2x2, rect": {"tiles": (2, 2), "rect": True},
    "tiles 2x3": {"tiles": (2, 3)},
    "tiles 3x3": {"tiles": (3, 3)},
    "tiles 2x2, overlap 0.1": {"tiles": (2, 2), "overlap": 0.1},
    "tiles 2x2, overlap 0.3": {"tiles": (2, 2), "overlap": 0.3},
}
TIMED, CONFIDENCE = 12, 0.01
COLUMNS = "ms    time   AP50     AP   AP75   small medium large   R small medium large   R@P0.9     F1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--names", type=Path)
    parser.add_argument("--shape", type=lambda text: tuple(map(int, text.split("x"))))
    parser.add_argument("--only", type=lambda text: text.split(","))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()

    truth = load_samples(options.data, None if options.split == "all" else options.split, options.names)
    with Detector.open(options.model) as detector:
        shared = SharedClasses.match(detector.names, truth.names, options.data)
    pairs = [cut(shared.sample(sample), read_image(sample.path), options.shape) for sample in truth.samples]
    samples, images = [sample for sample, _ in pairs], [image for _, image in pairs]
    settings = {name: SETTINGS[name] for name in options.only or SETTINGS}
    print(machine_line("torch", "onnxruntime", "opencv-python-headless", "numpy"))
    print(f"{options.model.name}, {options.threads} thread(s), {truth.describe()}")
    shape = f", cut to {options.shape[0]}:{options.shape[1]}" if options.shape else ""
    print(f"{len(images)} images{shape}, {sum(len(sample.boxes) for sample in samples)} boxes in them\n")
    times = take_turns(options.model, settings, images[:: max(1, len(images) // TIMED)], options.threads)
    print(f"{'':24}{COLUMNS}", flush=True)
    for name, setting in settings.items():
        with opened(options.model, setting, CONFIDENCE, options.threads) as detector:
            found = [shared.detections(detector(image)) for image in images]
        cost = f"{1e3 * times[name]:5.0f} {times[name] / times['plain']:6.2f}x"
        print(f"{name:22}{cost} {row(samples, found, shared.names)}", flush=True)


def cut(
    sample: Sample, image: NDArray[np.uint8], shape: tuple[int, int] | None
) -> tuple[Sample, NDArray[np.uint8]]:
    """Return the middle of an image in a shape (width, height), with the boxes more than half inside it."""
    if shape is None:
        return sample, image
    height, width = image.shape[:2]
    columns, rows = min(width, height * shape[0] // shape[1]), min(height, width * shape[1] // shape[0])
    left, top = (width - columns) // 2, (height - rows) // 2
    boxes = box_ops.clip(box_ops.shift(sample.boxes, -left, -top), rows, columns)
    inside = box_ops.area(boxes) > 0.5 * box_ops.area(sample.boxes)
    kept = replace(
        sample,
        boxes=boxes[inside],
        labels=sample.labels[inside],
        difficult=sample.difficult[inside],
        crowd=sample.crowd[inside],
        size=(rows, columns),
    )
    return kept, np.ascontiguousarray(image[top : top + rows, left : left + columns])


def opened(model: Path, setting: dict[str, object], confidence: float, threads: int) -> Detector:
    setting = dict(setting)
    if scale := setting.pop("scale", None):
        with Detector.open(model) as plain:
            setting["size"] = tuple(round(side * scale / 32) * 32 for side in plain.size)
    return Detector.open(model, conf=confidence, threads=threads, **setting)  # type: ignore[arg-type]


def take_turns(
    model: Path, settings: dict[str, dict[str, object]], images: Sequence[NDArray[np.uint8]], threads: int
) -> dict[str, float]:
    """Return the median seconds per image of each setting."""
    detectors = {name: opened(model, setting, 0.25, threads) for name, setting in settings.items()}
    seconds: dict[str, list[float]] = {name: [] for name in settings}
    for number, image in enumerate([images[0], *images]):
        for name, detector in detectors.items():
            start = perf_counter()
            detector(image)
            if number:  # the first image warms up
                seconds[name].append(perf_counter() - start)
    return {name: float(np.median(each)) for name, each in seconds.items()}


def row(truth: Sequence[Sample], found: Sequence[Detections], names: tuple[str, ...]) -> str:
    m, curve = evaluate(truth, found, names), curves(match(truth, found, names)).overall
    return (
        f"{m.ap50:6.3f} {m.ap:6.3f} {m.ap75:6.3f}  {m.ap_small:6.3f} {m.ap_medium:6.3f} {m.ap_large:6.3f}  "
        f"{m.ar_small:6.3f} {m.ar_medium:6.3f} {m.ar_large:6.3f}   {curve.at_precision(0.9).recall:6.3f} "
        f"{curve.best().f1:6.3f}"
    )


if __name__ == "__main__":
    main()
