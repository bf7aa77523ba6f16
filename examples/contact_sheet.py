"""Find objects on the pictures of a folder and show them all on one sheet.

    python examples/contact_sheet.py MODEL FOLDER OUT

The README opens with `contact_sheet.py demo/model.safetensors demo/unseen OUT`, drawn after `make demo`.
"""

import sys
from pathlib import Path

from lookonce import Detector, LookonceError, annotate, read_image, write_image
from lookonce.draw.grid import grid
from lookonce.images import list_images

CELL, COLUMNS, MOST = (320, 320), 4, 8  # pixels (height, width) of a cell; cells


def main(model: Path, folder: Path, out: Path) -> None:
    """Detect on the first pictures and draw the sheet."""
    with Detector.open(model) as detector:
        pictures = [read_image(path) for path in list_images(folder)[:MOST]]
        write_image(out, grid([annotate(each, detector(each)) for each in pictures], CELL, COLUMNS))
    print(f"{len(pictures)} pictures on {out}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        main(*map(Path, sys.argv[1:]))
    except LookonceError as error:
        sys.exit(f"{error}")
