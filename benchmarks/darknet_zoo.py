"""Published Darknet networks: which of them can be read, and how far their raw maps differ from OpenCV's.

    PYTHONPATH=. python benchmarks/darknet_zoo.py FOLDER [--only PART_OF_NAME] [--cells 2]

Every `.cfg` below the folder gets random weights under which activations neither vanish nor explode, and runs
on one image of noise; the raw maps of all scales are compared. To save time, the input has `--cells` cells of
the coarsest scale per side. OpenCV 4 reads `.cfg` files, OpenCV 5 does not. Columns: file, whether lookonce
reads it, whether OpenCV does, the largest difference of a raw map as a share of its largest value, and the
reason why a file cannot be read.
"""

import argparse
import os
import re
from pathlib import Path

import cv2
import numpy as np

from lookonce.darknet.cfg import parse_cfg, read_cfg
from lookonce.darknet.resolve import resolve
from lookonce.errors import ModelFileError
from tests.darknet.oracle import (
    in_memory,
    lookonce_outputs,
    opencv_raw_maps,
    random_weights,
    relative_error,
    unshared,
)


def main() -> None:
    """Print one row per file, and the counts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--cells", type=int, default=2)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    files = [file for file in sorted(given.folder.rglob("*.cfg")) if given.only in file.name]
    print("| file | reads | OpenCV reads | largest relative error | |\n|---|---|---|---|---|")
    rows = []
    for file in files:
        rows.append(compared(file, given.cells))
        print(f"| {file.name} | " + " | ".join(rows[-1]) + " |", flush=True)
    both = [float(error) for _, _, error, _ in rows if error]
    print(
        f"\n{sum(row[0] == 'yes' for row in rows)} of {len(rows)} are read, OpenCV {cv2.__version__} reads "
        f"{sum(row[1] == 'yes' for row in rows)}; largest error {max(both, default=float('nan')):.1e}, "
        f"{sum(not error < 1e-4 for error in both)} at or above 1e-4"
    )


def compared(file: Path, cells: int) -> tuple[str, str, str, str]:
    """Whether lookonce reads it, whether OpenCV does, the largest error, a remark."""
    try:
        network = resolve(read_cfg(file))
    except ModelFileError as error:
        return "no", opencv_reads(file), "", str(error).removeprefix(f"{file}:")
    if not network.scales:
        return "no detector", "", "", ""
    side = cells * 32 * -(-max(scale.stride for scale in network.scales) // 32)
    text = resized(file.read_text(errors="replace"), side)
    network = resolve(parse_cfg(text, file.name))
    weights = random_weights(network)
    images = np.random.default_rng(1).integers(0, 256, (1, side, side, 3), dtype=np.uint8)
    raw_maps = lookonce_outputs(network, weights, images)[1]
    try:
        expected = opencv_raw_maps(in_memory(text, unshared(network, weights)), network, images)
    except cv2.error as error:
        return "yes", "no", "", " ".join(str(error).split())[-120:]
    flat = [each.std() for each in expected if not 1e-3 < each.std() < 1e3]
    errors = [relative_error(*pair) for pair in zip(raw_maps, expected, strict=True)]
    return "yes", "yes", f"{np.max(errors):.1e}", f"raw maps of deviation {flat}" if flat else ""


def opencv_reads(file: Path) -> str:
    """Whether OpenCV imports the layers, without weights."""
    try:
        cv2.dnn.readNetFromDarknet(str(file))
    except cv2.error:
        return "no"
    return "yes, without weights"


def resized(text: str, side: int) -> str:
    """A `.cfg` with a square input."""
    for key in ("width", "height"):
        text = re.sub(rf"(?m)^\s*{key}\s*=.*$", f"{key}={side}", text, count=1)
    return text


if __name__ == "__main__":
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    main()
