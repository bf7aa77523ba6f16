"""Read TIFF images of any size in windows with bounded memory, and the pages of a TIFF.

```
   file: blocks (tiles or strips)          window
   ┌────┬────┬────┬────┐
   │    │  ┌─┼────┼┐   │      only the blocks that a window overlaps are read; recent ones
   ├────┼──┼─┼────┼┼───┤      stay in memory, because windows overlap each other
   │    │  └─┼────┼┘   │
   └────┴────┴────┴────┘
```
"""

from collections import OrderedDict
from contextlib import suppress
from io import SEEK_END
from pathlib import Path
from threading import Lock
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce._files import IMAGE_LIMIT, open_input
from lookonce._image_header import RGB_BYTES
from lookonce._image_limits import MAX_MEMORY, is_large
from lookonce._tiff import (
    BITS,
    CHANNELS,
    COMPRESSION,
    ORIENTATION,
    PHOTOMETRIC,
    STARTS,
    find_pages,
    read_page,
    seek,
    standalone,
    take,
)
from lookonce.eight_bits import Values, as_eight_bits, in_use
from lookonce.errors import ImageError
from lookonce.geometry.sizes import size_text
from lookonce.images import decode_native

READ_SIDE = 4096  # pixels; a window with a longer side is read at reduced size, so that it fits into memory
BLOCK_PIXELS = 1 << 24  # pixels of the largest block, since a block is decoded as a whole
PAGE_LIMIT = MAX_MEMORY // 2  # bytes of a page other than the first, since such a page is copied once
ROWS_PIXELS = 1 << 20  # pixels to read at a time from uncompressed strips
CACHE_PIXELS = 1 << 26  # pixels of cached blocks: 192 MiB, a row of windows in an image of 100,000 columns
SAMPLED = 64  # blocks, spread over the image, on which the range of values is measured
SAMPLED_NUMBERS = 10_000  # approximate number of pixel values to take from these blocks in all
UNCOMPRESSED, OLD_JPEG, YCBCR = 1, 6, 6  # TIFF 6.0
REMEDY = "make it a tiled TIFF: vips tiffsave IN OUT.tif --tile --bigtiff"


def tiff_memory(path: Path, at: int = 0) -> int:
    """Return the peak memory of reading a page, in bytes; 0 for a page that cannot be decoded.

    For a page that `LargeImage` reads, this is the memory of the cached blocks and the reduced copy.
    """
    height, width, memory = _sides(path, at)
    if is_large(height, width, memory):
        return RGB_BYTES * (min(height * width, CACHE_PIXELS) + READ_SIDE**2)
    return int(height * width * memory)


def is_large_tiff(path: Path, at: int = 0) -> bool:
    """Return whether a TIFF's page at offset `at` (0 for the first page) is too large to decode whole."""
    return is_large(*_sides(path, at))


def _sides(path: Path, at: int) -> tuple[int, int, float]:
    """Return height and width of a page, and the memory for reading it as a whole, in bytes per pixel.

    Height and width are 0 for a file that is damaged or not a TIFF, for which decoding raises the error.
    """
    with suppress(ImageError, ValueError), open_input(path, ImageError) as stream:
        if stream.read(8).startswith(STARTS):
            page = read_page(stream, at)
            return page.height, page.width, page.memory(stream.seek(0, SEEK_END))
    return 0, 0, RGB_BYTES


def tiff_pages(path: Path) -> list[int]:
    """Return the offset of each page of a TIFF, for `decode_tiff_page`; empty for other files.

    Smaller copies and masks of other pages are left out. A damaged directory ends the list with -1.
    """
    places: list[int] = []
    with suppress(ImageError), open_input(path, ImageError) as stream:
        if stream.read(8).startswith(STARTS):
            try:
                places.extend(find_pages(stream))
            except ValueError:
                places.append(-1)
    return places


def decode_tiff_page(path: Path, at: int, name: str) -> NDArray[Any]:
    """Decode a page of a TIFF as (H, W, 3) RGB with the pixel values in the file.

    Args:
        path: TIFF file.
        at: offset of the page; see `tiff_pages`.
        name: name of the page, for error messages.

    Raises:
        ImageError: as in `read_image`.
    """
    try:
        with open_input(path, ImageError) as stream:
            page = read_page(stream, at)
            if sum(page.lengths.tolist()) > PAGE_LIMIT:
                raise ValueError(f"expected at most {PAGE_LIMIT:,} bytes in a page, found more")
            blocks = []
            for start, count in zip(page.offsets.tolist(), page.lengths.tolist(), strict=True):
                seek(stream, start)
                blocks.append(take(stream, count))
    except ValueError as error:
        raise ImageError(f"{name}: {error}") from error
    tile = page.block if page.is_tiled else None
    data = standalone(page, blocks, (page.height, page.width), tile)
    del blocks
    return decode_native(data, name)


class LargeImage:
    """An image of any size in a TIFF, read in windows.

    Attributes:
        path: TIFF file.
        name: name of the file, and of the page if there are several, for error messages.
        shape: (H, W, 3), as of an array.
        is_deep: whether channels have more than 8 bits.
        values: pixel values that become 0 and 255 if the image is deep.
    """

    def __init__(self, path: Path, values: Values | None = None, at: int = 0, name: str = "") -> None:
        """Read the structure of a page; `read` reads its pixels.

        Args:
            path: TIFF file.
            values: values that become 0 and 255 in an image of more than 8 bits; None to measure them.
            at: offset of the page's directory (see `find_pages`); 0 for the first page.
            name: name for error messages; empty for the path.

        Raises:
            ImageError: the file cannot be read, is not a TIFF, or cannot be read in windows.
        """
        self.path, self.name = path, name or str(path)
        with open_input(path, ImageError) as stream:
            if not stream.read(8).startswith(STARTS):
                raise ImageError(
                    f"{self.name}: expected a TIFF, which can be read in windows, found another; {REMEDY}"
                )
            try:
                self._page = page = read_page(stream, at)
            except ValueError as error:
                raise ImageError(f"{self.name}: {error}") from error
            self._bytes = stream.seek(0, SEEK_END)
        self.shape = page.height, page.width, 3
        if page.number(ORIENTATION, 1) != 1:
            raise ImageError(
                f"{self.name}: expected an upright image of this size, found orientation "
                f"{page.number(ORIENTATION, 1)}; {REMEDY}"
            )
        self._block = page.block
        self._row_bytes = 0
        if (
            page.number(COMPRESSION, 1) == UNCOMPRESSED
            and not page.is_tiled
            and page.number(PHOTOMETRIC, 0) != YCBCR
        ):
            bits = page.number(BITS, 1) * (page.number(CHANNELS, 1) if page.planes == 1 else 1)
            if not bits:
                raise ImageError(f"{self.name}: expected pixels of at least one bit, found none")
            self._row_bytes = -(-page.width * bits // 8)
            self._block = min(page.block[0], max(1, ROWS_PIXELS // page.width)), page.width
        if self._block[0] * self._block[1] > BLOCK_PIXELS:
            raise ImageError(
                f"{self.name}: expected tiles or strips of at most {BLOCK_PIXELS:,} pixels, found "
                f"{size_text(self._block)}; {REMEDY}"
            )
        self._grid = -(-page.height // self._block[0]), -(-page.width // self._block[1])
        self._kept: OrderedDict[tuple[int, int], NDArray[np.uint8]] = OrderedDict()
        self._whole: NDArray[np.uint8] | None = None
        self._lock = Lock()
        self.is_deep = page.number(BITS, 1) > 8
        self.values = in_use(self.sample()) if values is None and self.is_deep else values

    def read(self, top: int, bottom: int, left: int, right: int) -> NDArray[np.uint8]:
        """Return a window, given in pixels of the image, as (h, w, 3) uint8 RGB.

        A window with a side above `READ_SIDE` pixels is shrunk by averaging, by the smallest whole factor
        that gives at most `READ_SIDE` pixels.

        Raises:
            ImageError: a block is damaged.
        """
        factor = -(-max(bottom - top, right - left) // READ_SIDE)
        if factor == 1:
            return self._window(top, bottom, left, right)
        is_whole = (top, bottom, left, right) == (0, self.shape[0], 0, self.shape[1])
        if is_whole and self._whole is not None:
            return self._whole
        small = np.empty((-(-(bottom - top) // factor), -(-(right - left) // factor), 3), np.uint8)
        step = max(1, 2048 // factor)
        for row in range(0, small.shape[0], step):
            for column in range(0, small.shape[1], step):
                out = small[row : row + step, column : column + step]
                y, x = top + row * factor, left + column * factor
                part = self._window(y, min(bottom, y + step * factor), x, min(right, x + step * factor))
                out[:] = cv2.resize(part, out.shape[1::-1], interpolation=cv2.INTER_AREA)
        if is_whole:
            self._whole = small
        return small

    def sample(self) -> NDArray[Any]:
        """Return some pixel values of blocks spread over the image, and the extremes of these blocks, (N,).

        Raises:
            ImageError: a block is damaged.
        """
        numbers = np.linspace(0, self._grid[0] * self._grid[1] - 1, SAMPLED).astype(int)
        places = [divmod(number, self._grid[1]) for number in np.unique(numbers).tolist()]
        parts, extremes = [], []
        for row, column in places:
            flat = self._native(row, column).reshape(-1)
            parts.append(flat[:: 1 + flat.size * len(places) // SAMPLED_NUMBERS].copy())  # to free the block
            extremes += [flat.min(), flat.max()]
        return np.concatenate([*parts, [min(extremes), max(extremes)]])

    def _window(self, top: int, bottom: int, left: int, right: int) -> NDArray[np.uint8]:
        height, width = self._block
        out = np.empty((bottom - top, right - left, 3), np.uint8)
        for row in range(top // height, -(-bottom // height)):
            for column in range(left // width, -(-right // width)):
                pixels = self._kept_block(row, column)
                y, x = row * height, column * width
                upper, lower = max(top, y), min(bottom, y + height)
                first, last = max(left, x), min(right, x + width)
                out[upper - top : lower - top, first - left : last - left] = pixels[
                    upper - y : lower - y, first - x : last - x
                ]
        return out

    def _kept_block(self, row: int, column: int) -> NDArray[np.uint8]:
        """Return a block from the cache, or from the file; the least recently used blocks are dropped."""
        with self._lock:
            key = row, column
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            pixels = self._kept[key] = as_eight_bits(self._native(row, column), self.values)
            most = max(2, CACHE_PIXELS // (self._block[0] * self._block[1]))
            while len(self._kept) > most:
                self._kept.popitem(last=False)
            return pixels

    def _native(self, row: int, column: int) -> NDArray[Any]:
        """Decode a block as (h, w, 3) RGB with the pixel values in the file."""
        page = self._page
        height = self._block[0] if page.is_tiled else min(self._block[0], page.height - row * self._block[0])
        blocks: list[bytes] = []
        count = 0
        for plane in range(page.planes):  # planes may overlap, so even a small file can have very many bytes
            blocks.append(self._stored(plane, row, column, height))
            count += len(blocks[-1])
            if count > IMAGE_LIMIT:
                raise ImageError(
                    f"{self.name}: expected at most {IMAGE_LIMIT:,} bytes in a block, found more"
                )
        if not all(blocks):  # GDAL leaves out blocks without content
            return np.zeros((height, self._block[1], 3), np.uint8)
        place = f"{self.name}: block at row {row * self._block[0]}, column {column * self._block[1]}"
        return decode_native(standalone(page, blocks, (height, self._block[1])), place)

    def _stored(self, plane: int, row: int, column: int, height: int) -> bytes:
        """Return the bytes of a block as stored; for uncompressed strips, the bytes of its rows."""
        page = self._page
        rows, columns = page.grid
        if not self._row_bytes:
            number = (plane * rows + row) * columns + column
            return self._bytes_at(int(page.offsets[number]), int(page.lengths[number]))
        top, parts = row * self._block[0], []
        bottom = top + height
        while top < bottom:
            strip, inside = divmod(top, page.block[0])
            count = min(bottom - top, page.block[0] - inside)
            start = int(page.offsets[plane * rows + strip])
            parts.append(
                self._bytes_at(start + inside * self._row_bytes, count * self._row_bytes) if start else b""
            )
            top += count
        return b"".join(parts)

    def _bytes_at(self, start: int, count: int) -> bytes:
        if start + count > self._bytes or count > IMAGE_LIMIT:
            raise ImageError(f"{self.name}: expected {count:,} bytes at {start:,}, found the end: cut short")
        with open_input(self.path, ImageError) as stream:
            stream.seek(start)
            return stream.read(count)
