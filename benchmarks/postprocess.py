"""Time of the steps before and after the network on one core, compared with common implementations.

    python benchmarks/postprocess.py [--rounds 200]

The script prints medians of CPU time, which hardly depends on other work. The contenders of a block run in
turn. The candidates are like those of a network at 416 with 80 classes: 10,647 rows of 85 numbers, of which a
given number has scores above 0.25, either in groups of ten boxes per object or scattered over the image. The
NMS of torchvision is not included, because lookonce does not depend on torchvision.
"""

import argparse
from collections.abc import Callable
from itertools import product
from time import thread_time
from typing import Any

import cv2
import numpy as np
from machine import machine_line
from numpy.typing import NDArray
from PIL import Image

from lookonce.geometry.boxes import iou
from lookonce.geometry.letterbox import GRAY, Letterbox
from lookonce.geometry.nms import nms, soft_nms
from lookonce.runtime.postprocess import DEFAULTS, locate, postprocess

ROWS, CLASSES, SIDE, CONFIDENCE, IOU = 10_647, 80, 416, 0.25, 0.45
LETTERBOX = Letterbox.fit((720, 1280), (SIDE, SIDE))
Floats = NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    cv2.setNumThreads(1)
    print(machine_line("opencv-python-headless", "numpy", "pillow"))

    print("\nletterbox of a 1280x720 image to 416x416, RGB bytes to RGB bytes        ms")
    image = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
    out = np.empty((SIDE, SIDE, 3), np.uint8)
    report(
        {
            "lookonce": lambda: LETTERBOX.image(image, out),
            "OpenCV resize, copyMakeBorder": lambda: with_border(image),
            "OpenCV blobFromImageWithParams (float, planes)": lambda: as_blob(image),
            "Pillow resize, paste": lambda: with_pillow(image),
        },
        rounds,
    )
    for count, heaps in product((0, 100, 300, 1000), (True, False)):
        if count or heaps:
            candidates = network_output(count, heaps)
            after_network(
                candidates, f"{count} candidates, {'heaps of ten' if heaps else 'scattered'}", rounds
            )


def after_network(candidates: Floats, title: str, rounds: int) -> None:
    found = locate(candidates, LETTERBOX, DEFAULTS, ())
    boxes, scores, labels = found.boxes, found.scores, found.labels
    kept = len(nms(boxes, scores, labels, IOU))
    print(f"\n{title}, {kept} kept")
    report(
        {
            "all: lookonce": lambda: postprocess(candidates, LETTERBOX),
            "all: every score, then OpenCV NMSBoxesBatched": lambda: every_score(candidates, opencv_batched),
            "all: every score, then a numpy loop": lambda: every_score(candidates, numpy_loop),
        },
        rounds,
    )
    if len(boxes):
        report(
            {
                "NMS alone: lookonce": lambda: nms(boxes, scores, labels, IOU),
                "NMS alone: OpenCV NMSBoxesBatched": lambda: opencv_batched(boxes, scores, labels),
                "NMS alone: OpenCV NMSBoxes, across classes": lambda: opencv(boxes, scores),
                "NMS alone: lookonce, across classes": lambda: nms(boxes, scores, None, IOU),
                "NMS alone: a numpy loop": lambda: numpy_loop(boxes, scores, labels),
                "NMS alone: lookonce, soft": lambda: soft_nms(boxes, scores, labels, CONFIDENCE),
            },
            rounds,
        )


def network_output(count: int, heaps: bool) -> Floats:
    """Return candidates (10647, 85), of which `count` are above the confidence, at random places."""
    rng = np.random.default_rng(count)
    rows = np.zeros((ROWS, 5 + CLASSES), np.float32)
    centers, sides = rng.uniform(100, 316, (ROWS, 2)), rng.uniform(8, 80, (ROWS, 2))
    labels, chosen = rng.integers(0, CLASSES, ROWS), rng.choice(ROWS, count, replace=False)
    if heaps:  # ten candidates share an object
        objects = chosen[np.arange(count) // 10 * 10]
        centers[chosen] = centers[objects] + rng.normal(0, 2, (count, 2))
        sides[chosen], labels[chosen] = sides[objects], labels[objects]
    rows[:, :4] = np.concatenate([centers - sides / 2, centers + sides / 2], axis=1)
    rows[:, 4] = rng.uniform(0, 0.1, ROWS)
    rows[chosen, 4] = rng.uniform(0.5, 1, count)
    rows[:, 5:] = rng.uniform(0, 0.1, (ROWS, CLASSES))
    rows[np.arange(ROWS), 5 + labels] = rng.uniform(0.6, 1, ROWS)
    return rows


def every_score(candidates: Floats, suppress: Callable[[Floats, Floats, Any], Any]) -> Any:
    """Post-process as in common tutorials: scores of all classes, the best of each row, a filter, NMS."""
    scores = candidates[:, 4:5] * candidates[:, 5:]
    labels, best = scores.argmax(axis=1), scores.max(axis=1)
    wanted = best > CONFIDENCE
    return suppress(LETTERBOX.boxes_out(candidates[wanted, :4]), best[wanted], labels[wanted])


def opencv_batched(boxes: Floats, scores: Floats, labels: Any) -> Any:
    return cv2.dnn.NMSBoxesBatched(with_sides(boxes), scores, labels, CONFIDENCE, IOU)


def opencv(boxes: Floats, scores: Floats) -> Any:
    return cv2.dnn.NMSBoxes(with_sides(boxes), scores, CONFIDENCE, IOU)


def with_sides(boxes: Floats) -> Any:
    """Return boxes as (left, top, width, height), the format of OpenCV."""
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def numpy_loop(boxes: Floats, scores: Floats, labels: Any) -> list[int]:
    """Return the kept indices of greedy NMS, as a loop over the boxes of each class."""
    kept = []
    for label in np.unique(labels):
        waiting = np.flatnonzero(labels == label)
        waiting = waiting[np.argsort(-scores[waiting], kind="stable")]
        while len(waiting):
            kept.append(int(waiting[0]))
            waiting = waiting[1:][iou(boxes[waiting[0]], boxes[waiting[1:]]) <= IOU]
    return kept


def with_border(image: NDArray[np.uint8]) -> Any:
    (rows, columns), top, left = LETTERBOX.resized, LETTERBOX.top, LETTERBOX.left
    small = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_LINEAR)
    sides = top, SIDE - rows - top, left, SIDE - columns - left
    return cv2.copyMakeBorder(small, *sides, cv2.BORDER_CONSTANT, value=(GRAY, GRAY, GRAY))


def as_blob(image: NDArray[np.uint8]) -> Any:
    parameters = cv2.dnn.Image2BlobParams()
    parameters.size = (SIDE, SIDE)
    parameters.paddingmode = cv2.dnn.DNN_PMODE_LETTERBOX
    parameters.borderValue = (GRAY,) * 4
    return cv2.dnn.blobFromImageWithParams(image, parameters)


def with_pillow(image: NDArray[np.uint8]) -> Any:
    canvas = Image.new("RGB", (SIDE, SIDE), (GRAY,) * 3)
    rows, columns = LETTERBOX.resized
    canvas.paste(
        Image.fromarray(image).resize((columns, rows), Image.Resampling.BILINEAR),
        (LETTERBOX.left, LETTERBOX.top),
    )
    return np.asarray(canvas)


def report(contenders: dict[str, Callable[[], Any]], rounds: int) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 5):
        for name, run in contenders.items():
            run()  # puts the input into the cache, whichever contender ran before
            start = thread_time()
            run()
            if number >= 5:
                seconds[name].append(thread_time() - start)
    for name, each in seconds.items():
        print(f"  {name:70}{1e3 * float(np.median(each)):8.3f}", flush=True)


if __name__ == "__main__":
    main()
