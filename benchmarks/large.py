"""Detection on a gigapixel image: whether each object is found exactly once, peak memory, and time.

    python benchmarks/large.py [--side 45000] [--count 200] [--tiles 1024] [--overlap 0.5] [--out FOLDER]

The script writes a tiled, deflated BigTIFF with copies of a photograph of a cat at random places on gray, and
runs `lookonce detect coco --tiles` on it in a process of its own. It compares the detections with the box
that the network finds in the photograph alone, and prints the number of objects that are found once, several
times and not at all, the false alarms, the peak resident memory of the process, and the time.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from machine import machine_line

from lookonce import Detector, read_image
from lookonce.geometry.boxes import pairwise_iou
from tests.tiffs import write_tiff

PHOTO = Path(__file__).parents[1] / "tests" / "data" / "photos" / "cat.jpg"
PEAK = (
    "import resource, sys; from lookonce.cli import app; app(sys.argv[1:], standalone_mode=False); "
    "print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10, file=sys.stderr)"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--side", type=int, default=45_000)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--tiles", type=int, default=1024)
    parser.add_argument("--overlap", type=float, default=0.5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    print(machine_line("onnxruntime", "opencv-python-headless", "numpy"), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        measure(options, options.out or Path(folder))


def measure(options: argparse.Namespace, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    photo = read_image(PHOTO)
    height, width = photo.shape[:2]
    with Detector.open("coco") as detector:
        (cat,) = (box for name, _, box in detector(photo) if name == "cat")
    corners = places(options, height, width)
    image = out / "large.tif"
    objects = [((x, y, x + width, y + height), photo) for x, y in corners]
    write_tiff(image, (options.side, options.side), objects, tile=512, big=True, ground=128)
    print(
        f"{options.side:,} x {options.side:,} pixels, {options.side**2 / 1e9:.2f} gigapixels, "
        f"{image.stat().st_size / 1e6:.1f} MB as a BigTIFF, {len(corners)} cats of {width}x{height} pixels",
        flush=True,
    )
    words = ["detect", "coco", image, "--tiles", options.tiles, "--overlap", options.overlap]
    words += ["--classes", "cat", "--save", "json", "--out", out / "found"]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *map(str, words)], capture_output=True, text=True, check=True
    )
    minutes = (time.perf_counter() - start) / 60
    tree = json.loads((out / "found" / "detections.json").read_text())
    boxes = np.array([each["box"] for each in tree["images"][0]["detections"]], np.float32).reshape(-1, 4)
    drawn = np.array(cat, np.float32) + np.array([[x, y, x, y] for x, y in corners], np.float32)
    overlaps = pairwise_iou(drawn, boxes)
    near = (overlaps > 0.1).sum(axis=1)  # a low limit, so that duplicates with inaccurate boxes count
    print(f"found once {(near == 1).sum()}, several times {(near > 1).sum()}, not at all {(near == 0).sum()}")
    print(f"false alarms {int((overlaps.max(axis=0, initial=0) <= 0.1).sum())}")
    print(f"IoU of the best: mean {overlaps.max(axis=1).mean():.3f}, least {overlaps.max(axis=1).min():.3f}")
    print(f"largest memory {done.stderr.rsplit('peak ')[-1].strip()} MiB, {minutes:.1f} minutes", flush=True)


def places(options: argparse.Namespace, height: int, width: int) -> list[tuple[int, int]]:
    """Return random top left corners (x, y) such that no two photographs overlap or touch."""
    rng = np.random.default_rng(0)
    found: list[tuple[int, int]] = []
    while len(found) < options.count:
        x, y = (int(rng.integers(0, options.side - side + 1)) for side in (width, height))
        if all(abs(x - a) > width + 20 or abs(y - b) > height + 20 for a, b in found):
            found.append((x, y))
    return found


if __name__ == "__main__":
    main()
