"""Cut a large image into tiles, so small objects are not lost when it is shrunk.

```
   ┌────────┬───┬────────┐
   │        │░░░│        │     Tiles overlap (░). An object on a border is cut off in one tile, and that
   │   1    │░▣░│   2    │     box is dropped: another tile has the object whole.
   │        │░░░│        │     An object larger than the overlap is found in the whole image,
   ├░░░░░░░░┼░░░┼░░░░░░░░┤     which is always processed too.
   │   3    │░░░│   4    │
   └────────┴───┴────────┘
```

Legend: **N** boxes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lookonce.detections import Detections
from lookonce.errors import ConfigError
from lookonce.geometry import boxes as box_ops
from lookonce.geometry.pairs import overlapping_pairs
from lookonce.images import ReducedImage
from lookonce.tiff import LargeImage

Tiles = int | tuple[int, int]  # side in pixels of the image, or (rows, columns)

OVERLAP = 0.2  # share of a tile's side: more than most small objects
SMALLEST_SIDE = 32  # pixels; a smaller number is a mistake
MOST = 100  # rows or columns; a larger number is meant as the side of a tile
BORDER = 1.0  # pixels; a box that ends this near to a tile's inner border continues beyond it
# Networks end the box of a cut object up to 15 pixels before the border of a tile of 1,024
# (benchmarks/large.md). Such a box is the object's own only if no other tile has it whole.
NEAR = 0.03  # share of the tile's side
COVERED = 0.5  # share of the box in a box of another tile


class Window(NamedTuple):
    """A part of an image, in whole pixels."""

    left: int
    top: int
    right: int
    bottom: int

    def of(self, image: NDArray[np.uint8] | LargeImage | ReducedImage) -> NDArray[np.uint8]:
        """(H, W, 3) -> (bottom - top, right - left, 3), a view; of a large image see `LargeImage.read`.

        A reduced image has one window, the whole, which is smaller than that.
        """
        if isinstance(image, ReducedImage):
            return image.pixels
        if isinstance(image, LargeImage):
            return image.read(self.top, self.bottom, self.left, self.right)
        return image[self.top : self.bottom, self.left : self.right]


@dataclass(frozen=True, slots=True)
class Tiling:
    """How images are cut into tiles.

    Attributes:
        tiles: side of square tiles in pixels of the image, as many as needed; or (rows, columns), of any
            size.
        overlap: least share of a tile's side that overlaps the next tile.

    Raises:
        ConfigError: a side below 32 pixels, rows or columns outside 1 to 100, or an overlap outside 0 to
            0.9.
    """

    tiles: Tiles
    overlap: float = OVERLAP

    def __post_init__(self) -> None:
        given: Any = self  # of any type, if the caller's code is not checked
        numbers = given.tiles if isinstance(self.tiles, tuple) else (given.tiles,)
        if len(numbers) > 2 or not all(isinstance(each, int) for each in numbers):
            raise ConfigError(f"tiles: expected a side in pixels, or (rows, columns), found {self.tiles!r}")
        if isinstance(self.tiles, int):
            if self.tiles < SMALLEST_SIDE:
                raise ConfigError(
                    f"tiles: expected a side of {SMALLEST_SIDE} pixels or more, found {self.tiles}; "
                    f"rows and columns are two numbers, such as 2x2"
                )
        elif min(self.tiles) < 1:
            raise ConfigError(f"tiles: expected one row and column or more, found {self.tiles}")
        elif max(self.tiles) > MOST:
            raise ConfigError(
                f"tiles: expected at most {MOST} rows and columns, found {self.tiles}; "
                "a side in pixels is one number, such as 640"
            )
        if not isinstance(given.overlap, Real) or not 0 <= self.overlap <= 0.9:
            raise ConfigError(f"overlap: expected a number from 0 to 0.9, found {self.overlap!r}")

    def __str__(self) -> str:
        """Return the text for messages: `2x3 tiles overlapping by 0.2`."""
        tiles = (
            f"tiles of {self.tiles}"
            if isinstance(self.tiles, int)
            else f"{self.tiles[0]}x{self.tiles[1]} tiles"
        )
        return f"{tiles} overlapping by {self.overlap:g}"

    def windows(self, size: tuple[int, int]) -> list[Window]:
        """Return the whole image, then its tiles row by row; or only the image if one tile would cover it."""
        height, width = size
        if isinstance(self.tiles, int):
            step = self.tiles * (1 - self.overlap)
            counts = [1 + max(0, ceil((side - self.tiles) / step)) for side in size]
            rows, columns = (
                _spans(side, self.tiles, count) for side, count in zip(size, counts, strict=True)
            )
        else:
            rows, columns = (
                _spans(side, ceil(side / (count - (count - 1) * self.overlap)), count)
                for side, count in zip(size, self.tiles, strict=True)
            )
        tiles = [Window(left, top, right, bottom) for top, bottom in rows for left, right in columns]
        whole = Window(0, 0, width, height)
        return [whole] if tiles == [whole] else [whole, *tiles]


def parse_tiles(text: str) -> Tiles:
    """Parse `640` or `2x3` (rows x columns).

    Raises:
        ConfigError: anything else.
    """
    match [int(part) if part.isdecimal() else None for part in text.lower().split("x")]:
        case [int(side)]:
            return side
        case [int(rows), int(columns)]:
            return rows, columns
    raise ConfigError(
        f"tiles: expected rows x columns such as 2x3, or a side in pixels such as 640, found {text!r}"
    )


def join(parts: Sequence[Detections], windows: Sequence[Window]) -> Detections:
    """Return the detections of all windows as boxes of the image, without those cut off.

    A box that ends at an inner border of its tile is cut off. A box that ends near the border counts as cut
    off if a box of the same class in another window, whole there, covers half of it. An object that is whole
    in several windows appears several times; NMS follows.

    Args:
        parts: detections of each window, with boxes in pixels of the window.
        windows: windows in the same order; the first is the whole image.
    """
    boxes = [box_ops.shift(part.boxes, w.left, w.top) for part, w in zip(parts, windows, strict=True)]
    ends = []  # (N,) per window: pixels from each box to the nearest border that is inside the image
    for each, window in zip(boxes, windows, strict=True):
        inner = np.array(window) != np.array(windows[0])
        rooms = np.where(inner, np.abs(each - np.array(window)), np.inf)
        ends.append(rooms.min(axis=1, initial=np.inf))
    sides = np.repeat(
        [max(w.right - w.left, w.bottom - w.top) for w in windows], [len(each) for each in boxes]
    )
    found = Detections(
        np.concatenate(boxes),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.labels for part in parts]),
        parts[0].names,
        parts[0].image_size,
    )
    room = np.concatenate(ends)
    kept, near = room > BORDER, room <= NEAR * sides
    doubtful, settled = np.flatnonzero(kept & near), np.flatnonzero(~near)
    pairs = overlapping_pairs(found.boxes[doubtful], found.boxes[settled])
    one, other = doubtful[pairs.first], settled[pairs.second]
    sizes = box_ops.area(found.boxes)
    shared = pairs.iou / (1 + pairs.iou) * (sizes[one] + sizes[other])  # the area in both
    covered = (found.labels[one] == found.labels[other]) & (shared >= COVERED * sizes[one])
    kept[one[covered]] = False
    return found[kept]


def _spans(side: int, tile: int, count: int) -> list[tuple[int, int]]:
    """Return evenly spaced (start, end) of tiles on a side of the image, without repetitions."""
    tile = min(tile, side)
    starts = [round(number * (side - tile) / max(1, count - 1)) for number in range(count)]
    return [(start, start + tile) for start in dict.fromkeys(starts)]
