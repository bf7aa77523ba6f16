"""Memory of commands on the largest images that are allowed: `python -m benchmarks.largest_image [KIND ...]`.

Each file is written and read by separate processes; the peak is the one that the operating system reports for
the reader. The size is the largest that `lookonce.images` allows for a kind of file, computed from the memory
per pixel of a small file of the same kind.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from math import isqrt
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from benchmarks.machine import machine_line
from lookonce._image_limits import MAX_MEMORY, MAX_PIXELS
from lookonce.images import read_image_header
from tests.tiny_onnx import write_tiny_model

Image.MAX_IMAGE_PIXELS = None  # for the images that Pillow writes here
PROBE = 2000  # side of the small image in pixels
SPARE = 0.99  # share of the memory for pixels; in some formats, the bytes of the file count too
LIMIT = 1024  # MiB


def by_pillow(**options: object) -> Callable[[np.ndarray, Path], None]:
    """Return a writer of RGB pixels.

    Of the options, `mode` is a mode of Pillow, `turned` is an EXIF orientation, and `flat` makes all pixels
    black; the others are passed to `Image.save`.
    """
    mode, turned = str(options.pop("mode", "RGB")), options.pop("turned", 0)
    flat = options.pop("flat", False)  # lossy WebP has at most half a MiB for block modes

    def write(pixels: np.ndarray, path: Path) -> None:
        if flat:
            pixels[:] = 0
        image = Image.fromarray(pixels if mode != "L" else pixels[..., 0])
        if turned:
            exif = Image.Exif()
            exif[274] = turned
            options["exif"] = exif
        (image if image.mode == mode else image.convert(mode)).save(path, **options)

    return write


def by_opencv(kind: type[np.generic], *flags: int, gray: bool = False) -> Callable[[np.ndarray, Path], None]:
    """Return a writer of pixels of a NumPy type; `flags` are those of `cv2.imwrite`."""

    def write(pixels: np.ndarray, path: Path) -> None:
        cv2.imwrite(str(path), (pixels[..., 0] if gray else pixels).astype(kind), list(flags))

    return write


PROGRESSIVE, QUICK = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_PNG_COMPRESSION, 1)
KINDS: dict[str, tuple[str, Callable[[np.ndarray, Path], None]]] = {
    "JPEG": (".jpg", by_opencv(np.uint8)),
    "JPEG, turned by EXIF": (".jpg", by_pillow(turned=6)),
    "progressive JPEG, 4:2:0": (".jpg", by_opencv(np.uint8, *PROGRESSIVE)),
    "progressive JPEG, 4:4:4": (".jpg", by_pillow(progressive=True, subsampling=0)),
    "PNG": (".png", by_opencv(np.uint8, *QUICK)),
    "PNG, 16 bits": (".png", by_opencv(np.uint16, *QUICK)),
    "WebP": (".webp", by_pillow(method=0, flat=True)),
    "WebP, lossless": (".webp", by_pillow(lossless=True, quality=0, method=0)),
    "BMP": (".bmp", by_opencv(np.uint8)),
    "TIFF": (".tif", by_opencv(np.uint8)),
    "TIFF, one strip, uncompressed": (".tif", by_pillow()),
    "TIFF, floats, gray": (".tif", by_opencv(np.float32, gray=True)),
    "TIFF, floats": (".tif", by_opencv(np.float32)),
    "GIF": (".gif", by_pillow(mode="L")),
    "AVIF": (".avif", by_pillow(speed=10)),
    "JPEG 2000": (".jp2", by_pillow()),
}


def pattern(side: int) -> np.ndarray:
    """Return an image of `side`² pixels, 16:9, with lines, so that it does not compress to nothing."""
    pixels = np.zeros((side * 3 // 4, side * 4 // 3, 3), np.uint8)
    pixels[::64], pixels[:, ::50] = 200, 90
    return pixels


def write(name: str, path: Path) -> None:
    """Write the largest image that is allowed for a kind of file."""
    encode = KINDS[name][1]
    encode(pattern(PROBE), path)
    memory = read_image_header(path).memory
    side = isqrt(min(MAX_PIXELS, int(SPARE * MAX_MEMORY / memory)))
    if path.suffix == ".webp":
        side = min(side, 16_383 * 3 // 4)
    encode(pattern(side), path)


def peak(folder: Path, *command: str) -> str:
    """Run a command; return its peak memory in MiB as text, and the end of its output if it failed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lookonce", *command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    said = process.stdout.read().decode(errors="replace")
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    bad = process.returncode not in (0, 1) or "not decoded" in said  # 1: ran, but found problems
    return f"{usage.ru_maxrss >> 10}" + (f" (failed: {said[-200:]!r})" if bad else "")


def main() -> None:
    """Print the table."""
    print(machine_line("opencv-python-headless", "pillow", "numpy", "onnxruntime"))
    print(f"peak of memory, MiB; more than {LIMIT} is too much\n")
    print("| file | height x width | million pixels | detect --save images | data check | evaluate |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_tiny_model(folder / "model.onnx")
        (folder / "names.txt").write_text("green\nblue\n")
        chosen = sys.argv[1:] or KINDS
        for name in chosen:
            path = folder / f"image{KINDS[name][0]}"
            if (child := os.fork()) == 0:  # a child inherits the peak memory of the process that starts it
                write(name, path)
                os._exit(0)
            os.waitpid(child, 0)
            header = read_image_header(path)
            (folder / "lines.txt").write_text(f"{path.name} 9,9,900,900,0\n")
            peaks = [
                peak(folder, "detect", "model.onnx", path.name, "--save", "images", "--out", "a", "--force"),
                peak(folder, "data", "check", "lines.txt", "--names", "names.txt", "--out", "b", "--force"),
                peak(folder, "evaluate", "model.onnx", "lines.txt", "--names", "names.txt", "--out", "c",
                     "--force"),
            ]  # fmt: skip
            size = f"{header.height:,}x{header.width:,} | {header.height * header.width / 1e6:.0f}"
            print(f"| {name} | {size} | {' | '.join(peaks)} |", flush=True)
            path.unlink()


if __name__ == "__main__":
    main()
