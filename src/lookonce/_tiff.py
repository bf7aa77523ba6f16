"""The structure of a TIFF or BigTIFF: its pages, and the strips or tiles in which each page is stored.

```
   file:   header ── directory of page 1 ── directory of page 2 ── ...      tags: size, compression, offsets
                         │ offsets                                           of the blocks, ...
                         └─► block │ block │ block │ ...                     compressed one by one
```

Nothing is decoded here. `standalone` writes blocks of a page as a small TIFF that any decoder reads, so that
an image too large for memory can be read block by block.

Sources: TIFF 6.0 sections 2, 8 and 15; BigTIFF as in libtiff 4.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from struct import calcsize, error, iter_unpack, pack, unpack
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

STARTS = (b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0")  # of a file; the last two: BigTIFF
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION = 256, 257, 258, 259, 262, 274
STRIP_OFFSETS, CHANNELS, STRIP_ROWS, STRIP_BYTES, PLANES = 273, 277, 278, 279, 284
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES = 322, 323, 324, 325
SUBFILE, SAMPLE_FORMAT = 254, 339
FLOATS = 3  # value of SAMPLE_FORMAT
SIZES, PER_CHANNEL = frozenset({WIDTH, HEIGHT, TILE_WIDTH, TILE_HEIGHT}), frozenset({BITS, SAMPLE_FORMAT})
REDUCED_OR_MASK = 5  # bits of SUBFILE for a smaller copy or a mask of another page
PIXEL_SCALE, TIEPOINTS, TRANSFORMATION, GEO_KEYS = 33550, 33922, 34264, 34735  # GeoTIFF 1.1

# Tags that a decoder needs besides sizes and offsets: bits, compression, colors, FillOrder, CCITT options,
# predictor, palette, inks, extra channels, number format, JPEG tables, YCbCr.
DECODING = (
    BITS, COMPRESSION, PHOTOMETRIC, 266, ORIENTATION, CHANNELS, PLANES, 292, 293, 317, 320, 332, 334, 338,
    SAMPLE_FORMAT, 347, 529, 530, 531, 532,
)  # fmt: skip

BYTE, SHORT, LONG, DOUBLE, LONG8 = 1, 3, 4, 12, 16  # field types
FIELD_BYTES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
WHOLE = (BYTE, SHORT, LONG, LONG8)
NUMBERS = {BYTE: "u1", SHORT: "u2", LONG: "u4", DOUBLE: "f8", LONG8: "u8"}  # numpy types

MOST_TAGS, MOST_PAGES, MOST_BLOCKS = 4096, 65_535, 1 << 22
MOST_TAGS_OF_ALL = 32 * MOST_PAGES  # directories may overlap, so even a small file can have very many tags
LONGEST_SIDE = 0xFFFF_FFFF  # pixels, the largest number that `standalone` can write
LONGEST_TAG = 1 << 20  # bytes, except for the offsets of blocks; a 16-bit palette takes 393,216

Order = Literal["<", ">"]


class Field(NamedTuple):
    """The entry of a tag in a directory.

    Attributes:
        kind: TIFF field type of the values.
        length: number of values.
        inside: last bytes of the entry, which are the values if they fit, else their offset.
    """

    kind: int
    length: int
    inside: bytes


class Directory(NamedTuple):
    """The tags of one page.

    Attributes:
        order: byte order of the file.
        is_big: whether the file is a BigTIFF.
        fields: wanted tags with their entries, in file order.
        total: number of all tags.
        following: offset of the next directory; 0 if there is none.
    """

    order: Order
    is_big: bool
    fields: list[tuple[int, Field]]
    total: int
    following: int


def read_directory(stream: BinaryIO, at: int = 0, wanted: Collection[int] | None = None) -> Directory:
    """Read the directory of a page.

    Args:
        stream: TIFF file.
        at: offset of the directory; 0 for the first.
        wanted: tags to return; None for all.

    Raises:
        ValueError: the file is cut short, or the directory has too many tags.
    """
    stream.seek(0)
    start = take(stream, 8)
    order: Order = "<" if start[:2] == b"II" else ">"
    is_big = unpack(order + "H", start[2:4])[0] == 43
    first = unpack(order + "Q", take(stream, 8))[0] if is_big else unpack(order + "I", start[4:])[0]
    seek(stream, at or first)
    count_format, entry_format, next_format = ("Q", "HHQ8s", "Q") if is_big else ("H", "HHI4s", "I")
    (count,) = unpack(order + count_format, take(stream, calcsize(order + count_format)))
    if count > MOST_TAGS:
        raise ValueError(f"expected at most {MOST_TAGS} tags in a TIFF directory, found {count}")
    entries = iter_unpack(order + entry_format, take(stream, count * calcsize(order + entry_format)))
    fields = [(tag, Field(*value)) for tag, *value in entries if wanted is None or tag in wanted]
    following = stream.read(calcsize(order + next_format))
    whole = len(following) == calcsize(order + next_format)
    return Directory(order, is_big, fields, count, unpack(order + next_format, following)[0] if whole else 0)


def read_numbers(stream: BinaryIO, *, strict: bool = False, at: int = 0) -> tuple[dict[int, int], int]:
    """Read the tags of a directory that have integers; of several integers, only the first.

    Args:
        stream: TIFF file.
        strict: whether to reject sizes that decoders may interpret differently.
        at: offset of the directory; 0 for the first.

    Returns:
        Tag -> number, and the offset of the next directory, or 0.

    Raises:
        ValueError: the directory is damaged or cut short, or a size is ambiguous.
    """
    order, is_big, fields, _, following = read_directory(stream, at)
    tags, elsewhere = {}, {}
    for tag, (kind, values, inside) in fields:
        if strict and tag in SIZES and (tag in tags or values != 1 or kind not in (SHORT, LONG)):
            raise ValueError(
                f"expected one whole number in TIFF tag {tag}, once; decoders differ about others"
            )
        if kind == SHORT and 2 * values <= len(inside):
            (tags[tag],) = unpack(order + "H", inside[:2])
        elif kind == SHORT and tag in PER_CHANNEL:
            (elsewhere[tag],) = unpack(order + ("Q" if is_big else "I"), inside)
        elif kind == LONG:
            (tags[tag],) = unpack(order + "I", inside[:4])
    for tag, offset in elsewhere.items():
        seek(stream, offset)
        (tags[tag],) = unpack(order + "H", take(stream, 2))
    return tags, following


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """An image in a TIFF.

    Attributes:
        order: byte order of the file.
        tags: tag -> (field type, bytes as stored), for the tags that a decoder needs and the georeference.
        height: number of rows as stored, before rotation.
        width: number of columns as stored, before rotation.
        block: (height, width) of a tile or strip.
        is_tiled: whether the blocks are tiles, not strips.
        planes: number of channels if each has blocks of its own, else 1.
        offsets: (blocks,) uint64 offset of each block in the file, by plane and then by row.
        lengths: (blocks,) uint64 length of each block in bytes.
    """

    order: Order
    tags: Mapping[int, tuple[int, bytes]]
    height: int
    width: int
    block: tuple[int, int]
    is_tiled: bool
    planes: int
    offsets: NDArray[np.uint64]
    lengths: NDArray[np.uint64]

    @property
    def grid(self) -> tuple[int, int]:
        """Return (rows, columns) of blocks."""
        return -(-self.height // self.block[0]), -(-self.width // self.block[1])

    def memory(self, length: int) -> float:
        """Return the peak memory of reading the whole page, in bytes per pixel; see `reading_memory`.

        Args:
            length: size of the file in bytes.
        """
        return reading_memory(
            (self.height, self.width),
            self.block[0] * self.block[1],
            self.number(BITS, 8),
            self.number(CHANNELS, 1),
            length,
            is_float=self.number(SAMPLE_FORMAT, 1) == FLOATS,
        )

    def numbers(self, tag: int, *kinds: int) -> list[Any]:
        """Return the numbers of a tag if they have one of the given field types; else an empty list."""
        kind, data = self.tags.get(tag, (BYTE, b""))
        return np.frombuffer(data, self.order + NUMBERS[kind]).tolist() if kind in kinds else []

    def number(self, tag: int, usual: int) -> int:
        """Return the first integer of a tag; `usual` if there is none."""
        return int(next(iter(self.numbers(tag, *WHOLE)), usual))


def find_pages(stream: BinaryIO) -> Iterator[int]:
    """Yield the offset of each page's directory, without smaller copies and masks of other pages.

    Raises:
        ValueError: a directory is damaged.
    """
    seen: set[int] = set()
    at = count = 0
    while at not in seen and len(seen) < MOST_PAGES:
        seen.add(at)
        directory = read_directory(stream, at, {SUBFILE})
        count += directory.total
        if count > MOST_TAGS_OF_ALL:
            raise ValueError(f"expected at most {MOST_TAGS_OF_ALL:,} tags in a TIFF, found more")
        subfile = dict(directory.fields).get(SUBFILE)
        if subfile is None or not unpack(directory.order + "I", subfile.inside[:4])[0] & REDUCED_OR_MASK:
            yield at
        at = directory.following


def read_page(stream: BinaryIO, at: int = 0) -> Page:
    """Read the structure of a page.

    Args:
        stream: TIFF file.
        at: offset of the page's directory; 0 for the first page.

    Raises:
        ValueError: the page is damaged.
    """
    directory = read_directory(stream, at)
    fields = dict(reversed(directory.fields))  # reversed, so that the first entry of a repeated tag counts

    def numbers(tag: int, usual: int | None = None, limit: int = LONGEST_TAG) -> NDArray[np.uint64]:
        if tag not in fields and usual is not None:
            return np.array([usual], np.uint64)
        kind, data = _value(stream, directory, fields, tag, limit)
        if kind not in WHOLE or not data:
            raise ValueError(f"expected whole numbers in TIFF tag {tag}, found field type {kind}")
        return np.frombuffer(data, directory.order + NUMBERS[kind]).astype(np.uint64)

    height, width = int(numbers(HEIGHT)[0]), int(numbers(WIDTH)[0])
    is_tiled = TILE_OFFSETS in fields
    if is_tiled:
        block = int(numbers(TILE_HEIGHT)[0]), int(numbers(TILE_WIDTH)[0])
    else:
        block = min(int(numbers(STRIP_ROWS, height)[0]), height), width
    if min(height, width, *block) < 1:
        raise ValueError(f"expected a TIFF page and blocks of at least one pixel, found {height}x{width}")
    if max(height, width, *block) > LONGEST_SIDE:
        raise ValueError(f"expected sides of at most {LONGEST_SIDE:,} in a TIFF, found {height}x{width}")
    planes = int(numbers(CHANNELS, 1)[0]) if int(numbers(PLANES, 1)[0]) == 2 else 1
    count = planes * -(-height // block[0]) * -(-width // block[1])
    if count > MOST_BLOCKS:
        raise ValueError(f"expected at most {MOST_BLOCKS:,} tiles or strips in a TIFF page, found {count:,}")
    places, lengths = (TILE_OFFSETS, TILE_BYTES) if is_tiled else (STRIP_OFFSETS, STRIP_BYTES)
    found = [numbers(tag, limit=8 * MOST_BLOCKS)[:count] for tag in (places, lengths)]
    if any(len(each) < count for each in found):
        raise ValueError(f"expected {count} places and lengths of TIFF blocks, found {min(map(len, found))}")
    wanted = (*DECODING, PIXEL_SCALE, TIEPOINTS, TRANSFORMATION, GEO_KEYS)
    tags = {tag: _value(stream, directory, fields, tag) for tag in wanted if tag in fields}
    return Page(directory.order, tags, height, width, block, is_tiled, planes, found[0], found[1])


def standalone(
    page: Page, blocks: Sequence[bytes], size: tuple[int, int], block: tuple[int, int] | None = None
) -> bytes:
    """Return blocks of a page as a TIFF with one page.

    Args:
        page: page with the blocks.
        blocks: blocks as stored in the file.
        size: (height, width) of the new image.
        block: (height, width) of each tile; None if the blocks are strips, one per plane.
    """
    tags = {tag: value for tag, value in page.tags.items() if tag in DECODING}
    places, lengths = (STRIP_OFFSETS, STRIP_BYTES) if block is None else (TILE_OFFSETS, TILE_BYTES)

    def store(tag: int, *values: int) -> None:
        tags[tag] = LONG, pack(f"{page.order}{len(values)}I", *values)

    store(WIDTH, size[1])
    store(HEIGHT, size[0])
    if block is None:
        store(STRIP_ROWS, min(size[0], page.block[0]))
    else:
        store(TILE_WIDTH, block[1])
        store(TILE_HEIGHT, block[0])
    store(lengths, *map(len, blocks))
    store(places, *[0] * len(blocks))
    start = 8 + 2 + 12 * len(tags) + 4  # offset of values that do not fit into their entries
    for _, data in tags.values():
        start += len(data) + len(data) % 2 if len(data) > 4 else 0
    store(places, *(np.cumsum([start, *map(len, blocks)])[:-1].tolist()))
    entries, values = b"", b""
    for tag, (kind, data) in sorted(tags.items()):
        inside = data.ljust(4, b"\0")
        if len(data) > 4:
            inside = pack(page.order + "I", 8 + 2 + 12 * len(tags) + 4 + len(values))
            values += data + bytes(len(data) % 2)
        entries += pack(page.order + "HHI", tag, kind, len(data) // FIELD_BYTES[kind]) + inside
    head = (b"II" if page.order == "<" else b"MM") + pack(page.order + "HIH", 42, 8, len(tags))
    return b"".join([head, entries, bytes(4), values, *blocks])


def reading_memory(
    size: tuple[int, int], block: int, bits: int, channels: int, length: int, *, is_float: bool = False
) -> float:
    """Return the peak memory of OpenCV and libtiff for reading a page as 8-bit RGB, in bytes per pixel.

    The formula is from measurements with benchmarks/largest_image.py.

    Args:
        size: (height, width) of the page.
        block: number of pixels of a strip or tile, which is decoded before it is copied.
        bits: bits per channel.
        channels: channels per pixel.
        length: size in bytes of the file, of which libtiff maps at most one page into memory.
        is_float: whether pixel values are floats, which are decoded in place.
    """
    pixels = max(1, size[0] * size[1])
    share, stored = min(1.0, block / pixels), channels * bits / 8
    mapped = min(length / pixels, stored)
    if bits <= 8:
        return mapped + 3 + 5 * share
    return stored + max(3.0, mapped + share * stored * (not is_float))


def take(stream: BinaryIO, count: int) -> bytes:
    """Read exactly `count` bytes.

    Raises:
        ValueError: the file has fewer bytes.
    """
    data = stream.read(count)
    if len(data) < count:
        raise ValueError(f"expected more after byte {stream.tell()}, found the end: the file is cut short")
    return data


def seek(stream: BinaryIO, offset: int) -> None:
    """Move to an offset that was read from an untrusted file.

    Raises:
        ValueError: the offset is too large for a file.
    """
    try:
        stream.seek(offset)
    except (OverflowError, OSError, error) as cause:
        raise ValueError(f"expected an offset in the file, found {offset}: damaged, or cut short") from cause


def _value(
    stream: BinaryIO, directory: Directory, fields: Mapping[int, Field], tag: int, limit: int = LONGEST_TAG
) -> tuple[int, bytes]:
    if tag not in fields:
        raise ValueError(f"expected tag {tag} in a TIFF page, found none")
    kind, count, inside = fields[tag]
    if kind not in FIELD_BYTES:
        raise ValueError(f"expected a field type of TIFF in tag {tag}, found {kind}")
    length = count * FIELD_BYTES[kind]
    if length > limit:
        raise ValueError(f"expected at most {limit:,} bytes in TIFF tag {tag}, found {length:,}")
    if length <= len(inside):
        return kind, inside[:length]
    seek(stream, unpack(directory.order + ("Q" if directory.is_big else "I"), inside)[0])
    return kind, take(stream, length)
