"""Published Darknet networks: which of them can be read, and how much their raw maps differ from OpenCV's.

    PYTHONPATH=. python benchmarks/darknet_zoo.py FOLDER [--only PART_OF_NAME] [--cells 2] [--ncnn]

Every `.cfg` in the folder and its subfolders gets random weights with which activations neither vanish nor
explode, and runs on an image of noise. The raw maps of all scales are compared. To save time, the input has
`--cells` cells of the coarsest scale per side. If a `.cfg` names a file with a tree of classes, a random tree
replaces it. OpenCV 4 is needed, because OpenCV 5 does not read `.cfg` files. Columns: file, whether lookonce
reads it, whether OpenCV reads it, the largest difference between raw maps relative to the largest value, and
the reason if a file cannot be read. Columns with `--ncnn`: file, whether ncnn runs it, and the largest
differences between its candidates and those of ONNX Runtime, of boxes and of scores.
"""

import argparse
import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from benchmarks.machine import machine_line
from lookonce.darknet.cfg import parse_cfg
from lookonce.darknet.described import describe
from lookonce.darknet.ncnn_graph import write_ncnn
from lookonce.darknet.resolve import resolve
from lookonce.errors import ModelFileError
from lookonce.runtime.backends import open_backend
from tests.darknet.oracle import (
    in_memory,
    lookonce_outputs,
    opencv_raw_maps,
    random_weights,
    relative_error,
    unshared,
)


def main() -> None:
    """Print one row per file, and without `--ncnn` the totals."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--cells", type=int, default=2)
    parser.add_argument("--ncnn", action="store_true")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    files = [file for file in sorted(given.folder.rglob("*.cfg")) if given.only in file.name]
    if given.ncnn:
        print(machine_line("ncnn", "onnxruntime", "numpy"), end="\n\n")
        print("| file | ncnn runs it | boxes, pixels | scores |\n|---|---|---|---|")
        for file in files:
            print(f"| {file.name} | {with_ncnn(file, given.cells)} |", flush=True)
        return
    print(machine_line("opencv-python-headless", "onnxruntime", "numpy"), end="\n\n")
    print("| file | reads | OpenCV reads | largest relative error | |\n|---|---|---|---|---|")
    rows = []
    for file in files:
        rows.append(compared(file, given.cells))
        print(f"| {file.name} | " + " | ".join(rows[-1]) + " |", flush=True)
    both = [float(error) for _, _, error, _ in rows if error]
    print(
        f"\n{sum(row[0] == 'yes' for row in rows)} of {len(rows)} are read, OpenCV {cv2.__version__} reads "
        f"{sum(row[1].startswith('yes') for row in rows)}; {sum(error < 1e-4 for error in both)} of "
        f"{len(both)} that were compared agree within "
        f"{max((error for error in both if error < 1e-4), default=float('nan')):.1e}, "
        f"{sum(not error < 1e-4 for error in both)} differ"
    )


def compared(file: Path, cells: int) -> tuple[str, str, str, str]:
    """Return the cells of a file's row: whether lookonce reads it, whether OpenCV does, error and remark."""
    text = with_tree(file.read_text(errors="replace"))
    try:
        network = resolve(parse_cfg(text, file.name))
    except ModelFileError as error:
        return "no", opencv_reads(file), "", str(error).removeprefix(f"{file.name}:")
    if not network.scales:
        return "no detector", "", "", ""
    side = cells * 32 * -(-max(scale.stride for scale in network.scales) // 32)
    text = resized(text, side)
    network = resolve(parse_cfg(text, file.name))
    weights = random_weights(network)
    images = np.random.default_rng(1).integers(0, 256, (1, side, side, 3), dtype=np.uint8)
    raw_maps = lookonce_outputs(network, weights, images)[1]
    remark = remark_on(file.read_text(errors="replace"))
    try:
        expected = opencv_raw_maps(in_memory(text, unshared(network, weights)), network, images)
    except cv2.error as error:
        said = re.sub(r".*[Ee]rror: *(\(.*?\))?", "", " ".join(str(error).split()))
        return "yes", "no", "", f"OpenCV: {said[-120:]}"
    flat = [each.std() for each in expected if not 1e-3 < each.std() < 1e3]
    errors = [relative_error(*pair) for pair in zip(raw_maps, expected, strict=True)]
    remarks = [remark] * bool(remark) + [f"raw maps of deviation {flat}"] * bool(flat)
    return "yes", "yes", f"{np.max(errors):.1e}", "; ".join(remarks)


def with_ncnn(file: Path, cells: int) -> str:
    """Return the cells of a file's row: whether ncnn runs it, and the differences of boxes and scores.

    Boxes are clipped to the input before they are compared.
    """
    try:
        text = with_tree(file.read_text(errors="replace"))
        network = resolve(parse_cfg(text, file.name))
        side = cells * 32 * -(-max(scale.stride for scale in network.scales) // 32)
        network = resolve(parse_cfg(resized(text, side), file.name))
        weights = random_weights(network)
        images = np.random.default_rng(1).integers(0, 256, (1, side, side, 3), dtype=np.uint8)
        info = describe(network, tuple(str(number) for number in range(network.classes)))
        with TemporaryDirectory() as folder:
            write_ncnn(network, weights, info, Path(folder) / "a.param")
            found = open_backend(Path(folder) / "a.param", threads=1)(images)
    except ModelFileError as error:
        return f"no: {str(error).removeprefix(f'{file.name}:')} | | "
    expected = lookonce_outputs(network, weights, images)[0]
    boxes = np.abs(found[..., :4].clip(0, side) - expected[..., :4].clip(0, side)).max()
    return f"yes | {boxes:.1e} | {np.abs(found[..., 4:] - expected[..., 4:]).max():.1e}"


def opencv_reads(file: Path) -> str:
    """Return whether OpenCV imports the layers without weights, as text."""
    try:
        cv2.dnn.readNetFromDarknet(str(file))
    except cv2.error:
        return "no"
    return "yes, without weights"


def remark_on(text: str) -> str:
    """Return the keys of a `.cfg` that OpenCV ignores, and the tests that cover them instead; else empty."""
    left_out = [key for key in ("dilation", "share_index", "xnor") if re.search(rf"(?m)^\s*{key}\s*=", text)]
    remarks = [f"OpenCV ignores {' and '.join(left_out)}; tested against NumPy or torch"] * bool(left_out)
    if re.search(r"(?m)^\s*tree\s*=", text):
        remarks.append("OpenCV ignores the tree, which is behind the raw map; tested against NumPy")
    return "; ".join(remarks)


def with_tree(text: str) -> str:
    """Return a `.cfg` with a tree of random groups in place of the name of a tree file."""
    if not re.search(r"(?m)^\s*tree\s*=", text):
        return text
    rng = np.random.default_rng(0)
    classes = int(re.findall(r"(?m)^\s*classes\s*=\s*(\d+)", text)[-1])
    parents = [-1] * 9
    while len(parents) < classes:
        parents += [int(rng.integers(len(parents)))] * int(rng.integers(1, 12))
    return re.sub(r"(?m)^\s*tree\s*=.*$", f"tree={','.join(map(str, parents[:classes]))}", text)


def resized(text: str, side: int) -> str:
    """Return a `.cfg` with a square input."""
    for key in ("width", "height"):
        text = re.sub(rf"(?m)^\s*{key}\s*=.*$", f"{key}={side}", text, count=1)
    return text


if __name__ == "__main__":
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    main()
