"""Write tiled TIFFs of any size tile by tile; an empty tile is stored only once."""

import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

SHORT, LONG, DOUBLE, LONG8 = 3, 4, 12, 16
FORMATS = {SHORT: "H", LONG: "I", DOUBLE: "d", LONG8: "Q"}

Color = tuple[int, int, int]
Object = tuple[tuple[int, int, int, int], Color | np.ndarray]  # (left, top, right, bottom); color, or pixels
PROJECTED = {1024: 1, 1025: 1, 3072: 25832}  # GeoKeys: projected coordinates, pixels are areas, EPSG code


def write_tiff(
    path: Path,
    size: tuple[int, int],
    objects: Sequence[Object] = (),
    *,
    tile: int = 256,
    big: bool = False,
    order: str = "<",
    ground: int = 0,
    tags: Mapping[int, tuple[int, Sequence[float]]] | None = None,
) -> Path:
    """Write a deflated RGB image (height, width) with colored rectangles or small images on gray."""
    rows, columns = -(-size[0] // tile), -(-size[1] // tile)
    touched: dict[tuple[int, int], list[Object]] = {}
    for each in objects:
        left, top, right, bottom = each[0]
        for row in range(top // tile, -(-bottom // tile)):
            for column in range(left // tile, -(-right // tile)):
                touched.setdefault((row, column), []).append(each)
    empty = np.full((tile, tile, 3), ground, np.uint8)
    places, lengths = [], []
    with path.open("wb") as stream:
        stream.write(bytes(16))
        shared = 16, stream.write(zlib.compress(empty.tobytes(), 1))
        for row in range(rows):
            for column in range(columns):
                start, count = shared
                if inside := touched.get((row, column)):
                    canvas = empty.copy()
                    for (left, top, right, bottom), color in inside:
                        x, y = left - column * tile, top - row * tile
                        place = canvas[max(0, y) : bottom - row * tile, max(0, x) : right - column * tile]
                        if isinstance(color, np.ndarray):
                            color = color[max(0, -y) :, max(0, -x) :][: place.shape[0], : place.shape[1]]
                        place[:] = color
                    start, count = stream.tell(), stream.write(zlib.compress(canvas.tobytes(), 1))
                places.append(start)
                lengths.append(count)
        fields = {
            256: (LONG, [size[1]]), 257: (LONG, [size[0]]), 258: (SHORT, [8, 8, 8]), 259: (SHORT, [8]),
            262: (SHORT, [2]), 277: (SHORT, [3]), 284: (SHORT, [1]), 322: (LONG, [tile]), 323: (LONG, [tile]),
            324: (LONG8 if big else LONG, places), 325: (LONG, lengths), **(tags or {}),
        }  # fmt: skip
        write_directory(stream, fields, big, order)
    return path


def geotiff_tags(
    pixel: float, corner: tuple[float, float], keys: Mapping[int, int] = PROJECTED
) -> dict[int, tuple[int, Sequence[float]]]:
    """Return the tags of a map whose upper left corner has the coordinates (x, y)."""
    directory = [1, 1, 0, len(keys), *(n for key, value in keys.items() for n in (key, 0, 1, value))]
    return {
        33550: (DOUBLE, [pixel, pixel, 0]),
        33922: (DOUBLE, [0, 0, 0, *corner, 0]),
        34735: (SHORT, directory),
    }


def write_directory(
    stream: BinaryIO, fields: Mapping[int, tuple[int, Sequence[float]]], big: bool, order: str
) -> None:
    """Append a directory, and set the offset in the first 16 bytes to it."""
    entry, inline = ("HHQ", 8) if big else ("HHI", 4)
    entries = b""
    for tag, (kind, values) in sorted(fields.items()):
        data = struct.pack(f"{order}{len(values)}{FORMATS[kind]}", *values)
        if len(data) > inline:
            stream.seek(0, 2)
            at = stream.tell()
            stream.write(data)
            data = struct.pack(order + ("Q" if big else "I"), at)
        entries += struct.pack(order + entry, tag, kind, len(values)) + data.ljust(inline, b"\0")
    stream.seek(0, 2)
    at = stream.tell()
    stream.write(struct.pack(order + ("Q" if big else "H"), len(fields)) + entries + bytes(8))
    stream.seek(0)
    name = b"II" if order == "<" else b"MM"
    stream.write(
        name + (struct.pack(order + "HHHQ", 43, 8, 0, at) if big else struct.pack(order + "HI", 42, at))
    )
