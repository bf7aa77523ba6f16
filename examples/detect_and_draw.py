"""Detect objects in an image, print them, and write the image with their boxes.

    python examples/detect_and_draw.py MODEL IMAGE OUT

MODEL is a model file written by lookonce or Darknet. Only .safetensors needs PyTorch.
"""

import sys
from pathlib import Path

from lookonce import Detector, LookonceError, annotate, read_image, write_image


def main(model: Path, image: Path, out: Path) -> None:
    """Detect and print the objects, and write the image with their boxes."""
    pixels = read_image(image)  # (H, W, 3) uint8, red first, upright
    with Detector.open(model, conf=0.25) as detector:
        found = detector(pixels)
    for name, score, (left, top, right, bottom) in found:
        print(f"{name} {score:.2f}  from {left:.0f}, {top:.0f} to {right:.0f}, {bottom:.0f}")
    write_image(out, annotate(pixels, found))
    print(f"{len(found)} objects drawn in {out}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        main(*map(Path, sys.argv[1:]))
    except LookonceError as error:
        sys.exit(f"{error}")
