"""Limits of size, memory and time for images that are safe to decode, checked by the header alone."""

from io import SEEK_END
from typing import BinaryIO

from lookonce._image_header import BY_PILLOW, ImageHeader, read_header
from lookonce.errors import ImageError

# 2**29 bytes of RGB, twice the size from which Pillow warns; no known camera makes larger images.
MAX_PIXELS = 178_956_970
MAX_MEMORY = 3 << 28  # bytes while one image is read, so that a process needs less than 1 GiB
MIB = 1 << 20
MAX_SIDE = 32_766  # pixels; OpenCV's warps have 16 bits for columns and rows

BY_WINDOWS = ": lookonce detect --tiles reads it in windows; for other commands, cut it into smaller images"
TO_TIFF = (
    ": cut it into smaller images, or make it a tiled TIFF (vips tiffsave IN OUT.tif --tile --bigtiff), "
    "which lookonce detect --tiles reads in windows"
)

JPEG_PART = 1 << 20  # bytes per read
JPEG_END_MARKER, JPEG_SCAN_MARKER = b"\xff\xd9", b"\xff\xda"
MAX_SCANS = 100  # scans of a progressive JPEG, each over the whole image; about ten are usual
MAX_SCANNED = 12 * MAX_PIXELS  # pixels of all scans together, which take about ten seconds


def check_jpeg(stream: BinaryIO, header: ImageHeader, name: str) -> None:
    """Check a JPEG.

    Raises:
        ImageError: the file is cut short, or would take minutes to decode.
    """
    scans, is_whole, before = 0, False, b""
    stream.seek(header.data_start - 4)  # before the marker of the first scan
    while data := stream.read(JPEG_PART):
        part = before + data  # a marker may be split between two reads
        scans += part.count(JPEG_SCAN_MARKER)
        is_whole = is_whole or JPEG_END_MARKER in part
        before = data[-1:]
    # some OpenCV releases silently fill the missing rows of a JPEG with gray
    if not is_whole:
        raise ImageError(f"{name}: expected a JPEG's end marker, found none: the file is cut short")
    if scans > MAX_SCANS or scans * header.height * header.width > MAX_SCANNED:
        raise ImageError(
            f"{name}: expected a JPEG of at most {MAX_SCANS} scans and {MAX_SCANNED:,} pixels in them, "
            f"found {scans:,} scans of {header.height:,}x{header.width:,} (height x width); not decoded"
        )


def checked_header(stream: BinaryIO, name: str, held: int = 0) -> ImageHeader:
    """Read the header of an image that is safe to decode.

    Args:
        stream: image file.
        name: file name, for error messages.
        held: size of the file in bytes if it is in memory, in which case OpenCV copies the pixels once; else
            0.

    Raises:
        ImageError: the file is not an image, or is damaged or too large to decode.
    """
    try:
        header = read_header(stream)
    except ValueError as error:
        raise ImageError(f"{name}: {error}") from error
    height, width = header.height, header.width
    remedy = BY_WINDOWS if header.format == "TIFF" else TO_TIFF
    if min(height, width) < 1 or is_large(height, width):
        raise ImageError(
            f"{name}: expected at most {MAX_PIXELS:,} pixels and sides of 1 to {MAX_SIDE:,}, "
            f"found {height:,}x{width:,} in its header; not decoded{remedy if height and width else ''}"
        )
    each = header.memory
    if header.format in BY_PILLOW:
        held = held or stream.seek(0, SEEK_END)
    elif held:
        each += header.channels * header.bits / 8
    if height * width * each + held > MAX_MEMORY:
        raise ImageError(
            f"{name}: expected an image that is read in at most {MAX_MEMORY // MIB} MiB of memory, found "
            f"{height:,}x{width:,} pixels in its header, which take {each:.3g} bytes each in this kind of "
            f"{header.format}; not decoded{remedy}"
        )
    return header


def is_large(height: int, width: int, memory: float = 0) -> bool:
    """Return whether an image is too large to decode as a whole, with `memory` in bytes per pixel."""
    pixels = height * width
    return max(height, width) > MAX_SIDE or pixels > MAX_PIXELS or pixels * memory > MAX_MEMORY
