"""Memory of `lookonce detect` on images of the largest allowed size: `python -m benchmarks.largest_image`.

Each file is written and read in separate processes; the peak is the system's figure for the reading process.
"""

import os
import subprocess
import sys
import tempfile
from math import isqrt
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from benchmarks.machine import machine_line
from lookonce.images import MAX_PIXELS
from tests.tiny_onnx import write_tiny_model

SIDE = isqrt(MAX_PIXELS)
KINDS = {
    "JPEG": ".jpg",
    "JPEG, turned by EXIF": ".jpg",
    "progressive JPEG": ".jpg",
    "PNG": ".png",
    "BMP": ".bmp",
    "GIF": ".gif",
    "PNG, 16 bits, grey": ".png",
    "TIFF, floats, grey": ".tif",
}


def write(name: str, path: Path) -> None:
    """Write one of the largest images, of a kind in `KINDS`."""
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    pixels[::64], pixels[:, ::50] = 200, 90
    turned = Image.Exif()
    turned[274] = 6
    deep = pixels[..., 0].astype(np.uint16) << 8 if "grey" in name else pixels
    match name:
        case "JPEG, turned by EXIF":
            Image.fromarray(pixels[: SIDE * 3 // 4]).save(path, exif=turned)
        case "progressive JPEG":
            cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
        case "GIF":
            Image.fromarray(pixels[..., 0]).save(path)
        case "TIFF, floats, grey":
            cv2.imwrite(str(path), deep.astype(np.float32))
        case _:
            cv2.imwrite(str(path), deep, [cv2.IMWRITE_PNG_COMPRESSION, 1] if path.suffix == ".png" else [])


def peak(folder: Path, source: Path, save: str) -> str:
    """Run detect; return the peak of its memory in MiB, and its exit code if it is not 0."""
    command = ["detect", "model.onnx", str(source), "--save", save, "--out", f"{source.stem}-{save}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "lookonce", *command, "--force"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return f"{usage.ru_maxrss >> 10}" + (f" (exit {process.returncode})" if process.returncode else "")


def main() -> None:
    """Print a table."""
    print(machine_line("opencv-python-headless", "pillow", "numpy", "onnxruntime"))
    print(f"{SIDE:,}x{SIDE:,} pixels (turned: {SIDE * 3 // 4:,}x{SIDE:,}); peak of memory, MiB\n")
    print("| file | --save json | --save images |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_tiny_model(folder / "model.onnx")
        for number, (name, suffix) in enumerate(KINDS.items()):
            path = folder / f"{number}{suffix}"
            if (child := os.fork()) == 0:  # a process hands the peak of its memory to those it starts
                write(name, path)
                os._exit(0)
            os.waitpid(child, 0)
            print(f"| {name} | {peak(folder, path, 'json')} | {peak(folder, path, 'images')} |", flush=True)
            path.unlink()


if __name__ == "__main__":
    main()
