"""Cut large images into tiles, so that small objects are not lost by shrinking.

```
   ┌────────┬───┬────────┐
   │        │░░░│        │     Tiles overlap (░). An object on a border is cut off in one tile, where its
   │   1    │░▣░│   2    │     box is dropped, and whole in another.
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

OVERLAP = 0.2  # share of a tile's side, larger than most small objects
SMALLEST_SIDE = 32  # pixels; a smaller number is a mistake
MOST = 100  # rows or columns; a larger number is probably the side of a tile
BORDER = 1.0  # pixels; a box that ends this close to a tile's inner border is cut off
# A network may end the box of a cut object up to 15 pixels before the border of a tile of 1,024
# (benchmarks/large.md). So a box that ends near the border is dropped if another tile has the object whole.
NEAR = 0.03  # share of the tile's side
COVERED = 0.5  # share of the box covered by a box from another tile


class Window(NamedTuple):
    """A rectangle in an image, in whole pixels."""

    left: int
    top: int
    right: int
    bottom: int

    def of(self, image: NDArray[np.uint8] | LargeImage | ReducedImage) -> NDArray[np.uint8]:
        """Return the window (bottom - top, right - left, 3) of an image (H, W, 3); of an array, it is a view.

        A large image is read now, perhaps at reduced size (`LargeImage.read`). A reduced image has a single
        window, the whole image, and its pixels are returned at their reduced size.
        """
        if isinstance(image, ReducedImage):
            return image.pixels
        if isinstance(image, LargeImage):
            return image.read(self.top, self.bottom, self.left, self.right)
        return image[self.top : self.bottom, self.left : self.right]


@dataclass(frozen=True, slots=True)
class Tiling:
    """The size or number of tiles and their overlap.

    Attributes:
        tiles: side of square tiles in image pixels, for as many as needed; or (rows, columns), for tiles of
            any size.
        overlap: minimum share of a tile's side that overlaps the next tile.

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
        """Return a description for messages, such as `2x3 tiles overlapping by 0.2`."""
        tiles = (
            f"tiles of {self.tiles}"
            if isinstance(self.tiles, int)
            else f"{self.tiles[0]}x{self.tiles[1]} tiles"
        )
        return f"{tiles} overlapping by {self.overlap:g}"

    def windows(self, size: tuple[int, int]) -> list[Window]:
        """Return the whole image, then its tiles row by row unless a single tile would cover the image."""
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
    """Merge the detections of all windows, with boxes in image pixels, and drop boxes that are cut off.

    A box that ends at an inner border of its tile is cut off. A box that ends near such a border counts as
    cut off if a whole box of the same class in another window covers half of it. An object that is whole in
    several windows appears several times, so NMS must follow.

    Args:
        parts: detections in each window, with boxes in pixels of the window.
        windows: windows, in the same order; the first is the whole image.
    """
    boxes = [box_ops.shift(part.boxes, w.left, w.top) for part, w in zip(parts, windows, strict=True)]
    ends = []  # for each window (N,): pixels from each box to the nearest border inside the image
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
    """Return (start, end) of evenly spaced tiles along a side of the image, without repetition."""
    tile = min(tile, side)
    starts = [round(number * (side - tile) / max(1, count - 1)) for number in range(count)]
    return [(start, start + tile) for start in dict.fromkeys(starts)]
