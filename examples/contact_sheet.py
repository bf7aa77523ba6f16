"""Detect objects in the images of a folder, and draw the images with their detections on one sheet.

    python examples/contact_sheet.py MODEL FOLDER OUT

The first image of the README was made by `make demo` and then
`python examples/contact_sheet.py demo/model.safetensors demo/unseen OUT`.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce import Detections, Detector, LookonceError, annotate, read_image, write_image
from lookonce.images import list_images

Image = NDArray[np.uint8]  # (H, W, 3) RGB

WIDTH, GAP = 1000, 4  # pixels
A_ROW, MOST = 4, 12  # images


def main(model: Path, folder: Path, out: Path) -> None:
    """Detect objects in the first `MOST` images, and write the sheet."""
    with Detector.open(model) as detector:
        images = [read_image(path) for path in list_images(folder)[:MOST]]
        found = [(image, detector(image)) for image in images]
    rows = [drawn_row(found[start : start + A_ROW]) for start in range(0, len(found), A_ROW)]
    gap = np.full((GAP, WIDTH, 3), 255, np.uint8)
    write_image(out, np.concatenate([part for row in rows for part in (gap, row)][1:]))
    print(f"{len(images)} images on {out}")


def drawn_row(found: Sequence[tuple[Image, Detections]]) -> Image:
    """Draw images side by side in their own shapes, at the common height at which they fill `WIDTH`."""
    room = WIDTH - GAP * (len(found) - 1)
    ends = np.cumsum([image.shape[1] / image.shape[0] for image, _ in found])
    edges = [0, *np.round(ends * room / ends[-1]).astype(int).tolist()]
    row = np.full((round(room / ends[-1]), WIDTH, 3), 255, np.uint8)
    for number, (image, detections) in enumerate(found):
        left, width = edges[number] + number * GAP, edges[number + 1] - edges[number]
        row[:, left : left + width] = drawn(image, detections, len(row), width)
    return row


def drawn(image: Image, detections: Detections, height: int, width: int) -> Image:
    """Resize an image, then draw its detections, so that lines and letters have one size on the sheet."""
    across, down = width / image.shape[1], height / image.shape[0]
    boxes = detections.boxes * np.array([across, down, across, down], np.float32)
    resized = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return annotate(resized, replace(detections, boxes=boxes))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        main(*map(Path, sys.argv[1:]))
    except LookonceError as error:
        sys.exit(f"{error}")
