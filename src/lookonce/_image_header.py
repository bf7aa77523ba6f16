"""Read the size of an image from its header, before anything is decoded.

Most formats have a parser here, which is bounded, fast (about 20 µs) and silent: no memory is allocated for a
size claimed by the header, and no decoder prints warnings. Rarer formats are left to Pillow, which reads
their headers without decoding, and later decodes the images.

Sources: ITU T.81 annex B (JPEG), PNG specification 5.3, RFC 9649 (WebP), TIFF 6.0 section 2, EXIF 2.3 4.6,
GIF89a specification 17 to 26.
"""

import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import SEEK_CUR, SEEK_END, BytesIO
from itertools import repeat
from struct import unpack, unpack_from
from typing import BinaryIO, Literal, NamedTuple

from lookonce._tiff import (
    BITS,
    CHANNELS,
    FLOATS,
    HEIGHT,
    ORIENTATION,
    PHOTOMETRIC,
    PLANES,
    REDUCED_OR_MASK,
    SAMPLE_FORMAT,
    STARTS,
    STRIP_ROWS,
    SUBFILE,
    TILE_HEIGHT,
    TILE_WIDTH,
    WIDTH,
    read_numbers,
    reading_memory,
    take,
)

EXIF_PREFIX = b"Exif\0\0"
LARGEST_TILE = 1 << 24  # pixels
TIFF_MIRRORED = (2, 3, 6, 7)  # orientations with rows (2, 3) or columns (6, 7) stored from right to left
JPEG_SIZE_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0..SOF15, without other segments
JPEG_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
JPEG_END, JPEG_SCAN, JPEG_APP1 = 0xD9, 0xDA, 0xE1
JPEG_BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})  # without a length
LONGEST_EXIF = 1 << 16  # bytes of the longest JPEG segment; the limit for other formats too
MOST_OTHERS = 900  # PNG chunks without pixels; libpng keeps 1,000, and prints a warning for each one more
MOST_PARTS = 250_000  # segments or chunks per file, of 4 KiB each in the largest file

PILLOW_LIMIT = 1 << 28  # bytes of a file, all of which are read to find the size of the image
PILLOW_FORMATS = ("GIF", "AVIF", "JPEG2000", "PCX", "TGA")
J2K_CODESTREAM = b"\xff\x4f\xff\x51"
LONGEST_J2K_HEADER = 1 << 24  # bytes before the codestream, which may include color profiles
MOST_TILES = 16_384  # OpenJPEG takes 12 kB of memory for each
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")

Color = Literal["color", "gray", "palette", "alpha", "CMYK"]
JPEG_COLORS: dict[int, Color] = {1: "gray", 4: "CMYK"}  # by the number of components
PNG_COLORS: dict[int, Color] = {0: "gray", 3: "palette", 4: "alpha", 6: "alpha"}  # by color type
PILLOW_COLORS: dict[str, Color] = {
    "L": "gray",
    "P": "palette",
    "LA": "alpha",
    "RGBA": "alpha",
    "I;16": "gray",
    "I": "gray",
}
TIFF_COLORS: dict[int, Color] = {0: "gray", 1: "gray", 3: "palette", 5: "CMYK"}  # by photometric
TIFF_LAB = (8, 9, 10)  # photometrics that OpenCV returns as if they were RGB


RGB_BYTES = 3
# Memory that decoders take, in bytes per pixel, measured by benchmarks/largest_image.py.
ANIMATION_MEMORY, LOSSLESS_WEBP_MEMORY, GIF_MEMORY, AVIF_MEMORY, J2K_CHANNEL_MEMORY = 12, 8, 6, 16, 7


class Found(NamedTuple):
    """The result of a parser; see `ImageHeader`. Width and height are as stored, before EXIF rotation."""

    width: int
    height: int
    orientation: int
    color: Color
    is_series: bool = False
    bits: int = 8
    memory: float = RGB_BYTES
    is_negative: bool = False


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """The header of an image file.

    Attributes:
        format: a name in `FORMATS`.
        height: number of rows as displayed, after EXIF rotation.
        width: number of columns as displayed, after EXIF rotation.
        data_start: byte offset of the compressed pixels in a JPEG; in other formats that of the end of the
            part that was read, which for a PNG is the end of the image.
        orientation: EXIF orientation, 1 (upright) to 8.
        color: color coding in the file; images are always read as 8-bit RGB.
        is_series: whether there are more frames or pages than the first, which is the only one read.
        bits: bits per channel, at least 8.
        memory: peak memory of reading the image as 8-bit RGB, in bytes per pixel, including the result.
        is_negative: whether 0 is white, as in gray TIFFs of some scanners and X-ray machines.
    """

    format: str
    height: int
    width: int
    data_start: int
    orientation: int = 1
    color: Color = "color"
    is_series: bool = False
    bits: int = 8
    memory: float = RGB_BYTES
    is_negative: bool = False

    @property
    def is_deep(self) -> bool:
        """Return whether channels have more than 8 bits."""
        return self.bits > 8

    @property
    def channels(self) -> int:
        """Return the number of channels of the decoded pixels, before gray is expanded to 8-bit RGB."""
        return 1 if self.is_deep and self.color == "gray" else RGB_BYTES


def read_header(stream: BinaryIO) -> ImageHeader:
    """Read the header of an image from a seekable stream positioned at its first byte.

    Raises:
        ValueError: the file is in none of `FORMATS`, or is damaged or cut short.
    """
    magic = stream.read(12)
    for name, pattern, parse in FORMATS:
        if pattern.match(magic):
            stream.seek(0)
            found = parse(stream)
            if found.orientation < 5:
                return ImageHeader(name, found.height, found.width, stream.tell(), *found[2:])
            # orientations 5 to 8 rotate the image by 90 degrees, which needs a second image in memory
            twice = max(found.memory, 2 * RGB_BYTES * found.bits / 8)
            return ImageHeader(
                name, found.width, found.height, stream.tell(), *found[2:-2], twice, found.is_negative
            )
    known = ", ".join(dict.fromkeys(name for name, _, _ in FORMATS))
    raise ValueError(f"expected an image ({known}), found {_describe(magic + stream.read(500))}")


def is_image(start: bytes) -> bool:
    """Return whether a file is in one of the formats, given its first 12 bytes or more."""
    return any(pattern.match(start) for _, pattern, _ in FORMATS)


def _jpeg(stream: BinaryIO) -> Found:
    """Read the segments of a JPEG up to the first scan."""
    width = height = components = 0
    orientation, memory, is_progressive = 1, float(RGB_BYTES), False
    samples = 0.0  # per pixel
    stream.seek(2)
    for _ in (parts := _parts()):
        if take(stream, 1) != b"\xff":
            raise ValueError(f"expected a JPEG marker at byte {stream.tell() - 1}, found other data")
        # any number of 0xFF bytes may precede a marker; each counts as a part, to bound their number
        marker = next(code for _ in parts if (code := take(stream, 1)) != b"\xff")[0]
        if marker == JPEG_END:
            break
        if marker in JPEG_BARE_MARKERS:
            continue
        (length,) = unpack(">H", take(stream, 2))
        after = stream.tell() + length - 2
        if marker in JPEG_SIZE_MARKERS:
            if components:
                raise ValueError("expected one frame header in a JPEG, found two")
            height, width, components = unpack(">xHHB", take(stream, 6))
            sampling = [(each >> 4, each & 15) for each in stream.read(3 * components)[1::3]]
            most = max((x for x, _ in sampling), default=0) * max((y for _, y in sampling), default=0)
            samples = sum(x * y for x, y in sampling) / max(1, most)
            is_progressive = marker in JPEG_PROGRESSIVE
        elif marker == JPEG_APP1 and orientation == 1:
            orientation = _exif_orientation(stream.read(max(0, length - 2)))
        elif marker == JPEG_SCAN:
            scanned = stream.read(1)
            stream.seek(-len(scanned), SEEK_CUR)
            if is_progressive or scanned < bytes([components]):  # libjpeg keeps 16 bits of each sample
                memory += 2 * samples
            break
        stream.seek(after)
    return Found(width, height, orientation, JPEG_COLORS.get(components, "color"), False, 8, memory)


def _png(stream: BinaryIO) -> Found:
    """Read all chunks of a PNG, to notice a truncated file and to find EXIF anywhere."""
    width = height = frames = depth = others = 0
    orientation = 1
    color: Color = "color"
    stream.seek(8)
    for _ in _parts():
        length, kind = unpack(">I4s", take(stream, 8))
        after = stream.tell() + length + 4  # 4: checksum
        if (kind == b"IHDR") != (stream.tell() == 16):
            raise ValueError(f"expected IHDR as the first chunk of a PNG and nowhere else, found {kind!r}")
        if kind == b"IHDR":
            width, height, depth, code = unpack(">IIBB", take(stream, 10))
            color = PNG_COLORS.get(code, "color")
        elif kind == b"fcTL":  # a frame of an animation
            frame_width, frame_height = unpack(">4xII", take(stream, 12))
            if frame_width > width or frame_height > height:
                raise ValueError(f"expected frames of at most {height}x{width}, found a larger one")
            frames += 1
        elif kind == b"eXIf":
            orientation = _exif_orientation(stream.read(min(length, LONGEST_EXIF)))
        elif kind == b"IEND":
            if length:  # OpenCV would allocate this many bytes
                raise ValueError(f"expected a PNG that ends in an empty chunk, found {length:,} bytes in it")
            break
        others += kind not in (b"IDAT", b"fdAT", b"fcTL")
        if others > MOST_OTHERS:
            raise ValueError(f"expected at most {MOST_OTHERS} chunks of a PNG besides its pixels, found more")
        stream.seek(after)
    stream.seek(4, SEEK_CUR)  # checksum
    memory = RGB_BYTES + (2 * (1 if color == "gray" else RGB_BYTES) if depth == 16 else 0)
    memory = max(memory, ANIMATION_MEMORY) if frames > 1 else memory
    return Found(width, height, orientation, color, frames > 1, max(8, depth), memory)


def _webp(stream: BinaryIO) -> Found:
    """Read the chunks of a WebP: the first has the size; in an extended file, EXIF may follow the image."""
    stream.seek(12)
    kind, length = unpack("<4sI", take(stream, 8))
    if kind == b"VP8 ":
        width, height = unpack("<6xHH", take(stream, 10))
        return Found(width & 0x3FFF, height & 0x3FFF, 1, "color")  # the two upper bits request upscaling
    if kind == b"VP8L":
        (bits,) = unpack("<xI", take(stream, 5))
        color: Color = "alpha" if bits >> 28 & 1 else "color"
        return Found((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, 1, color, False, 8, LOSSLESS_WEBP_MEMORY)
    fields = take(stream, 10)
    width, height = (int.from_bytes(fields[i : i + 3], "little") + 1 for i in (4, 7))
    is_series = bool(fields[0] & 2)
    orientation, memory = 1, ANIMATION_MEMORY if is_series else RGB_BYTES
    stream.seek(length - 10, SEEK_CUR)
    for _ in _parts():
        if len(chunk := stream.read(8)) < 8:
            break
        kind, length = unpack("<4sI", chunk)
        if kind == b"EXIF":
            orientation = _exif_orientation(stream.read(min(length, LONGEST_EXIF)))
            break
        if kind == b"VP8L":
            memory = max(memory, LOSSLESS_WEBP_MEMORY)
        stream.seek(length + length % 2, SEEK_CUR)  # chunks are padded to an even length
    shown: Color = "alpha" if fields[0] & 0x10 else "color"
    return Found(width, height, orientation, shown, is_series, 8, memory)


def _bmp(stream: BinaryIO) -> Found:
    stream.seek(14)
    (header_size,) = unpack("<I", take(stream, 4))
    if header_size == 12:  # OS/2
        width, height, bits = unpack("<HHxxH", take(stream, 8))
    else:
        width, height, bits = unpack("<iixxH", take(stream, 12))
    return Found(
        width, abs(height), 1, "palette" if bits <= 8 else "color"
    )  # a negative height means that the first row is the top one


def _tiff(stream: BinaryIO) -> Found:
    tags, following = read_numbers(stream, strict=True)
    tile = tags.get(TILE_WIDTH, 0) * tags.get(TILE_HEIGHT, 0)  # decoders hold a whole tile
    if tile > max(LARGEST_TILE, tags.get(WIDTH, 0) * tags.get(HEIGHT, 0)):
        raise ValueError(f"expected tiles of at most {LARGEST_TILE:,} pixels, found {tile:,}")
    bits, channels = max(8, tags.get(BITS, 8)), tags.get(CHANNELS, 1)
    is_deep = bits > 8
    if is_deep and tags.get(PLANES, 1) == 2 and channels > 1:  # OpenCV mixes them up
        raise ValueError("expected channels pixel by pixel in a TIFF of more than 8 bits, found planes")
    orientation = tags.get(ORIENTATION, 1)
    if tile and not is_deep and orientation in TIFF_MIRRORED:  # libtiff mirrors each tile by itself
        raise ValueError(
            f"expected a tiled TIFF that is not stored mirrored, found orientation {orientation}: "
            "vips autorot IN OUT.tif"
        )
    if tags.get(PHOTOMETRIC, 2) in TIFF_LAB:
        raise ValueError("expected a TIFF in gray, RGB or CMYK, found CIE Lab; convert it to RGB")
    color = TIFF_COLORS.get(tags.get(PHOTOMETRIC, 2), "color")
    is_series = False
    if following:  # a page, or a smaller copy, or a mask
        try:
            is_series = not read_numbers(stream, at=following)[0].get(SUBFILE, 0) & REDUCED_OR_MASK
        except ValueError:
            is_series = False
    width, height = tags.get(WIDTH, 0), tags.get(HEIGHT, 0)
    block = tile or min(tags.get(STRIP_ROWS, height), height) * width
    length, is_float = stream.seek(0, SEEK_END), tags.get(SAMPLE_FORMAT, 1) == FLOATS
    memory = reading_memory((height, width), block, bits, channels, length, is_float=is_float)
    is_negative = tags.get(PHOTOMETRIC, 2) == 0
    return Found(width, height, orientation, color, is_series, bits, memory, is_negative)


def _pnm(stream: BinaryIO) -> Found:
    """Read width, height and, except in bitmaps, the largest value, perhaps with comments between them."""
    kind, *words = re.sub(rb"#[^\n]*", b"", take(stream, 9) + stream.read(1000)).split()[:4]
    is_bitmap = kind in (b"P1", b"P4")
    if len(words) < 3 - is_bitmap or not all(word.isdigit() for word in words[: 3 - is_bitmap]):
        raise ValueError("expected width, height and largest value in a PNM, found it damaged or cut short")
    width, height, largest = (int(word[:9]) for word in (*words[:2], b"1" if is_bitmap else words[2]))
    channels = RGB_BYTES if kind in (b"P3", b"P6") else 1
    bits = 16 if largest > 255 else 8
    memory = RGB_BYTES + (2 * channels if bits > 8 else 0)
    return Found(width, height, 1, "gray" if channels == 1 else "color", False, bits, memory)


def _gif(stream: BinaryIO) -> Found:
    """Read the blocks of a GIF up to the second frame; a first frame beyond the screen enlarges it."""
    stream.seek(6)
    width, height, flags = unpack("<HHBxx", take(stream, 7))
    palette = _gif_palette(stream, flags)
    frames = 0
    for _ in (parts := _parts()):
        kind = stream.read(1)
        if kind == b"!":  # an extension
            take(stream, 1)
        elif kind == b"," and not frames:
            frames += 1
            left, top, frame_width, frame_height, flags = unpack("<HHHHB", take(stream, 9))
            width, height = max(width, left + frame_width), max(height, top + frame_height)
            palette = _gif_palette(stream, flags) or palette
            take(stream, 1)
        elif kind in (b",", b";", b""):
            frames += kind == b","
            break
        else:  # decoders skip such a byte
            continue
        for _ in parts:
            if (length := stream.read(1)) in (b"", b"\0"):
                break
            stream.seek(length[0], SEEK_CUR)
    if not frames:
        raise ValueError("expected a frame in a GIF, found none: the file is damaged")
    is_gray = palette[::3] == palette[1::3] == palette[2::3]
    return Found(width, height, 1, "gray" if is_gray else "palette", frames > 1, 8, GIF_MEMORY)


def _gif_palette(stream: BinaryIO, flags: int) -> bytes:
    return take(stream, 6 << (flags & 7)) if flags & 128 else b""


def _jpeg_2000(stream: BinaryIO) -> Found:
    """Check the number of tiles and channels, for which the decoder allocates memory before decoding."""
    stream.seek(0)
    start = stream.read(LONGEST_J2K_HEADER)
    at = start.find(J2K_CODESTREAM)  # in a .jp2, boxes precede it
    if at < 0:
        raise ValueError("expected a JPEG 2000 codestream, found none")
    fields = unpack_from(">8I", start, at + 8) if len(start) >= at + 42 else (0,) * 8
    width, height, _, _, tile_width, tile_height, left, top = fields
    channels = int.from_bytes(start[at + 40 : at + 42])
    tiles = -(-(width - left) // max(1, tile_width)) * -(-(height - top) // max(1, tile_height))
    if not (0 < tiles <= MOST_TILES and 0 < channels <= 4):
        raise ValueError(
            f"expected at most {MOST_TILES:,} tiles of 1 to 4 channels, found {tiles:,} of {channels:,}"
        )
    stream.seek(0)
    return _by_pillow(stream)._replace(memory=channels * J2K_CHANNEL_MEMORY + RGB_BYTES)


def _by_pillow(stream: BinaryIO) -> Found:
    """Read the size of an image with Pillow."""
    from PIL import Image

    data = stream.read(PILLOW_LIMIT + 1)
    if len(data) > PILLOW_LIMIT:
        raise ValueError(f"expected at most {PILLOW_LIMIT:,} bytes in a format of this kind, found more")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about large images, for which there are limits here
            with Image.open(BytesIO(data), formats=PILLOW_FORMATS) as image:
                orientation = image.getexif().get(ORIENTATION, 1)
                color = PILLOW_COLORS.get(image.mode, "color")
                is_series = bool(getattr(image, "is_animated", False))
                upright = orientation if orientation in range(1, 9) else 1
                bits = 16 if image.mode.startswith("I") else 8
                return Found(*image.size, upright, color, is_series, bits, AVIF_MEMORY)
    except Image.DecompressionBombError as error:
        raise ValueError(f"not decoded: {error}") from error
    except Exception as error:  # Pillow's plugins raise many types of errors
        raise ValueError(
            "expected a whole header of an AVIF, JPEG 2000, PCX or TGA image, found it damaged, cut short, "
            "or of a kind that the installed Pillow does not read"
        ) from error


def _exif_orientation(payload: bytes) -> int:
    """Return the EXIF orientation, 1 to 8; if the block is damaged 1 (upright), as in image viewers."""
    try:
        tags, _ = read_numbers(BytesIO(payload.removeprefix(EXIF_PREFIX)))  # a TIFF without an image
    except ValueError:
        return 1
    orientation = tags.get(ORIENTATION, 1)
    return orientation if 1 <= orientation <= 8 else 1


def _parts() -> Iterator[None]:
    """Yield `MOST_PARTS` times, for loops over the parts of a file, which may be millions of empty ones.

    Raises:
        ValueError: the file has more parts.
    """
    yield from repeat(None, MOST_PARTS)
    raise ValueError(f"expected at most {MOST_PARTS:,} parts in the file, found more")


def _describe(start: bytes) -> str:
    """Describe a file that is not an image by its first bytes, or as a kind often mistaken for an image."""
    lowered = start.lstrip().lower()
    if not start:
        return "an empty file"
    if lowered.startswith((b"<!doctype html", b"<html")) or b"<html" in lowered:
        return "an HTML page (a failed download?)"
    if start[4:8] == b"ftyp" and start[8:12] in HEIC_BRANDS:
        return "a HEIC image (convert it to JPEG first)"
    return f"a file that begins with the bytes {start[:8].hex(' ')}"


FORMATS: tuple[tuple[str, re.Pattern[bytes], Callable[[BinaryIO], Found]], ...] = tuple(
    (name, re.compile(start, re.DOTALL), parse)
    for name, start, parse in (
        ("JPEG", rb"\xff\xd8\xff", _jpeg),
        ("PNG", rb"\x89PNG\r\n\x1a\n", _png),
        ("WebP", rb"RIFF....WEBP", _webp),
        ("BMP", rb"BM", _bmp),
        ("TIFF", b"|".join(map(re.escape, STARTS)), _tiff),
        ("GIF", rb"GIF8[79]a", _gif),
        ("AVIF", rb"....ftyp(avif|avis|mif1|msf1)", _by_pillow),  # the last two may be HEIC: Pillow decides
        ("JPEG 2000", rb"\0\0\0\x0cjP  |" + re.escape(J2K_CODESTREAM), _jpeg_2000),
        ("PNM", rb"P[1-6]\s", _pnm),
        (
            "PCX",
            rb"\n[\0\x02-\x05]\x01[\x01\x02\x04\x08]",
            _by_pillow,
        ),  # PCX is always run-length encoded
        # TGA has no signature. First color or gray, plain or run-length encoded; then 1 to 256 palette colors
        ("TGA", rb".\0[\x02\x03\x0a\x0b]\0\0\0\0\0", _by_pillow),
        ("TGA", rb".\x01[\x01\x09]\0\0(?:[\x01-\xff]\0|\0\x01)[\x10\x18\x20]", _by_pillow),
    )
)
BY_PILLOW = frozenset({"GIF", "AVIF", "JPEG 2000", "PCX", "TGA"})
