"""Time of `lookonce data check`, and whether it finds the defects hidden among many images.

    python benchmarks/data_check.py [--images 10000] [--folder FOLDER]

The script renders different JPEGs of 640x480 pixels with seven boxes each, and hides copies, re-saved images
and truncated images among them. It then runs the command, including the page, in a process of its own. Images
that already exist in FOLDER are used again. The target is 10,000 images in two minutes on two cores.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from machine import machine_line
from numpy.random import Generator

from lookonce.data.grounds import ground

HEIGHT, WIDTH = 480, 640
GROUNDS, GRAINS = 150, 10  # textures, of which each image mixes two, and patterns of noise
BOXES = 7
NAMES = ("disc", "bar", "ring")
HIDDEN = 20  # defects of each kind


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    print(machine_line("opencv-python-headless", "numpy"))
    if options.folder:
        measure(options.folder, options.images)
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), options.images)


def measure(folder: Path, count: int) -> None:
    if not (folder / "train.txt").exists():  # in a child, so that its memory is not counted
        renderer = multiprocessing.get_context("spawn").Process(target=make, args=(folder, count))
        renderer.start()
        renderer.join()
    sizes = [file.stat().st_size for file in (folder / "images").iterdir()]
    each = f"{sum(sizes) / len(sizes) / 1000:.0f} KB and {BOXES} boxes each"
    print(f"{len(sizes)} JPEGs of {WIDTH}x{HEIGHT}, {each}")
    command = [sys.executable, "-m", "lookonce", "data", "check", str(folder / "train.txt")]
    started = time.perf_counter()
    with (folder / "said.txt").open("w") as said:
        process = subprocess.Popen([*command, "--out", str(folder / "report")], stdout=said, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
    wall, processor = time.perf_counter() - started, used.ru_utime + used.ru_stime
    assert os.waitstatus_to_exitcode(status) == 1, (folder / "said.txt").read_text()
    counts = json.loads((folder / "report" / "findings.json").read_text())["counts"]
    print(f"wall {wall:.1f} s, processor {processor:.1f} s, {1e3 * processor / len(sizes):.2f} ms an image")
    print(f"memory at most {used.ru_maxrss / 1024:.0f} MiB, load {os.getloadavg()[0]:.1f}")
    hidden = {"copies-differ": HIDDEN, "copy": HIDDEN, "similar": 0, "truncated": HIDDEN}
    print(f"hidden {hidden}\nfound  { {kind: counts.get(kind, 0) for kind in hidden} }")
    print(f"page {(folder / 'report' / 'report.html').stat().st_size / 1e6:.1f} MB")


def make(folder: Path, count: int) -> None:
    """Write images and their boxes, as one-line text."""
    rng = np.random.default_rng(0)
    cv2.setNumThreads(1)
    grounds = [ground(rng, HEIGHT, WIDTH).clip(0, 255).astype(np.uint8) for _ in range(GROUNDS)]
    grains = [rng.standard_normal((HEIGHT, WIDTH, 3), np.float32) * 4 for _ in range(GRAINS)]
    (folder / "images").mkdir(parents=True)
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in NAMES))
    lines = []
    for number in range(count - 2 * HIDDEN):
        pixels = image(rng, grounds, grains)
        content = encoded(pixels, 90)
        copies = {number: content}
        if number < HIDDEN:
            copies[count - 1 - number] = content
        elif number < 2 * HIDDEN:
            copies[count - 1 - number] = encoded(cv2.resize(pixels, (WIDTH // 2, HEIGHT // 2)), 75)
        elif number < 3 * HIDDEN:
            copies[number] = content[: len(content) // 2]
        for name, data in copies.items():
            (folder / "images" / f"{name:06d}.jpg").write_bytes(data)
            lines.append(line(rng, name))
    (folder / "train.txt").write_text("".join(lines))


def image(rng: Generator, grounds: list[np.ndarray], grains: list[np.ndarray]) -> np.ndarray:
    """Return an image (H, W, 3) uint8: two shifted and mixed textures in uneven light, with sensor noise."""
    first, second = (grounds[i] for i in rng.integers(len(grounds), size=2))
    down, across = int(rng.integers(HEIGHT)), int(rng.integers(WIDTH))
    moved = np.concatenate([second[down:], second[:down]])[:, ::-1]
    shifted = np.concatenate([first[:, across:], first[:, :across]], axis=1)
    mixed = cv2.addWeighted(shifted, 0.5, np.ascontiguousarray(moved), 0.5, 0, dtype=cv2.CV_32F)
    light = cv2.resize(rng.random((5, 6), np.float32) + 0.5, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    lit = cv2.multiply(mixed, cv2.merge([light] * 3))
    return cv2.add(lit, grains[rng.integers(len(grains))], dtype=cv2.CV_8U)


def encoded(image: np.ndarray, quality: int) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def line(rng: Generator, number: int) -> str:
    """Return the line of an image, with boxes one below another that fit into a half-size copy too."""
    rows = (np.arange(BOXES) * 30 + rng.integers(0, 9, BOXES)).tolist()
    left, side = rng.integers(0, 100, BOXES).tolist(), rng.integers(20, 28, BOXES).tolist()
    label = rng.integers(len(NAMES), size=BOXES).tolist()
    boxes = (f"{x},{y},{x + 2 * s},{y + s},{c}" for x, y, s, c in zip(left, rows, side, label, strict=True))
    return f"images/{number:06d}.jpg {' '.join(boxes)}\n"


if __name__ == "__main__":
    main()
