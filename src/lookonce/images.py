"""Read and write images as upright RGB uint8, of bounded size.

Every image becomes (H, W, 3) uint8 RGB as in an image viewer: EXIF rotation is applied, gray and palette
images are expanded, more than 8 bits are scaled to 8 (see `values`), and CMYK is converted. Transparency is
dropped, and colors are not blended. TIFF stores premultiplied colors, so transparent pixels of a TIFF are
black.
"""

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from io import SEEK_END, BufferedReader, BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce._files import IMAGE_LIMIT, open_input, read_rest, replacing
from lookonce._image_header import BY_PILLOW, PILLOW_FORMATS, ImageHeader
from lookonce._image_limits import check_jpeg, checked_header
from lookonce._opencv import silent_opencv
from lookonce.eight_bits import Values, as_eight_bits
from lookonce.errors import ImageError
from lookonce.geometry.sizes import size_text
from lookonce.suffixes import IMAGE_SUFFIXES, WRITTEN_SUFFIXES

JPEG_BY_ANOTHER_NAME = {".jfif": ".jpg", ".mpo": ".jpg"}  # JPEG suffixes that OpenCV cannot encode

Size = tuple[int, int]  # (height, width)

LARGE = 1 << 24  # pixels from which an image is read and written in ways that need less memory
DESCRIPTORS = Path("/proc/self/fd")  # on Linux, opening a path in it opens the file of that descriptor again

# Divisor of the size -> flags with which OpenCV decodes a JPEG at that size, the smallest image first. OpenCV
# has no RGB flags for reduced sizes, but a gray flag with IMREAD_COLOR_RGB gives RGB.
REDUCED = {
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8 | cv2.IMREAD_COLOR_RGB,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4 | cv2.IMREAD_COLOR_RGB,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2 | cv2.IMREAD_COLOR_RGB,
}


@dataclass(frozen=True, slots=True, eq=False)
class ReducedImage:
    """A JPEG decoded at a half, a quarter or an eighth of its size.

    Attributes:
        pixels: (h, w, 3) uint8 RGB.
        shape: (H, W, 3) of the image at full size.
    """

    pixels: NDArray[np.uint8]
    shape: tuple[int, int, int]


def list_images(folder: Path) -> list[Path]:
    """Return the image files directly in a folder, recognized by suffix and sorted by name.

    Raises:
        ImageError: the path is not a folder.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        raise ImageError(f"{folder}: expected a folder of images, found {found}")
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)


def read_size(path: Path) -> tuple[int, int]:
    """Read (height, width) of an image as displayed, from its header alone.

    Raises:
        ImageError: as in `read_image_header`.
    """
    header = read_image_header(path)
    return header.height, header.width


def read_image_header(path: Path) -> ImageHeader:
    """Read the header of an image that is safe to decode.

    Raises:
        ImageError: the file is missing, is not an image, has a damaged header, or is too large to decode.
    """
    with open_input(path, ImageError) as stream:
        return checked_header(stream, str(path))


def read_image(path: Path, values: Values | None = None) -> NDArray[np.uint8]:
    """Read an image as (H, W, 3) uint8 RGB, contiguous.

    Args:
        path: image file.
        values: values that become 0 and 255 in an image of more than 8 bits; None for the range in use (see
            `in_use`).

    Raises:
        ImageError: the file is missing, is not an image, is damaged or cut short, or is too large to decode.
    """
    with open_input(path, ImageError, limit=IMAGE_LIMIT) as stream:
        return as_eight_bits(decode_file(stream, path), values)


def decode_image(data: bytes, name: str, values: Values | None = None) -> NDArray[np.uint8]:
    """Decode the content of an image file as (H, W, 3) uint8 RGB, contiguous; `name` is for error messages.

    Raises:
        ImageError: as in `read_image`.
    """
    return as_eight_bits(decode_native(data, name), values)


def reduced_image(image: Path | bytes, name: str, least: Callable[[Size], Size]) -> ReducedImage | None:
    """Decode a large JPEG at a half, a quarter or an eighth of its size, which takes half the time.

    Args:
        image: file, or its content.
        name: file name, for error messages.
        least: function from the image's (height, width) to the smallest (height, width) to decode at.

    Returns:
        The image; None for other formats, and for a JPEG that would become too small.

    Raises:
        ImageError: as in `read_image`.
    """
    if isinstance(image, Path):
        with open_input(image, ImageError, limit=IMAGE_LIMIT) as stream:
            header = checked_header(stream, name)
            if header.format != "JPEG":
                return None
            stream.seek(0)
            data = read_rest(stream, image, ImageError, limit=IMAGE_LIMIT)
    else:
        data, header = image, checked_header(BytesIO(image), name, len(image))
    size = header.height, header.width
    wanted = least(size)
    for divisor, flags in REDUCED.items() if header.format == "JPEG" else ():
        reduced = tuple(-(-side // divisor) for side in size)
        if reduced[0] < wanted[0] or reduced[1] < wanted[1]:
            continue
        check_jpeg(BytesIO(data), header, name)
        try:
            with silent_opencv():
                pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        except (cv2.error, MemoryError):
            return None  # the caller decodes at full size, which raises the error
        if pixels is None or pixels.shape[:2] != reduced:
            return None
        return ReducedImage(np.asarray(pixels, np.uint8), (*size, 3))
    return None


def read_or_reduce(
    image: Path | bytes, name: str, values: Values | None, least: Callable[[Size], Size] | None
) -> NDArray[np.uint8] | ReducedImage:
    """Read an image from a file or its content, at a reduced size if `least` is given and allows it.

    Raises:
        ImageError: as in `read_image`.
    """
    reduced = None if least is None else reduced_image(image, name, least)
    if reduced is not None:
        return reduced
    return read_image(image, values) if isinstance(image, Path) else decode_image(image, name, values)


def read_native(path: Path) -> NDArray[Any]:
    """Read an image with the pixel values in the file, as (H, W, 3) RGB uint8, uint16, int16 or floats.

    Raises:
        ImageError: as in `read_image`.
    """
    with open_input(path, ImageError, limit=IMAGE_LIMIT) as stream:
        return decode_file(stream, path)


def decode_native(data: bytes, name: str) -> NDArray[Any]:
    """Decode the content of an image file as (H, W, 3) RGB with the pixel values in the file.

    The three channels of a gray image may share memory.

    Raises:
        ImageError: as in `read_image`.
    """
    header = checked_header(BytesIO(data), name, len(data))
    if header.format == "JPEG":
        check_jpeg(BytesIO(data), header, name)
    elif header.format == "PNG":
        data = data[: header.data_start]  # later chunks would make OpenCV allocate memory
    flags = _opencv_flags(header)
    image: NDArray[Any] | None
    try:
        with silent_opencv():
            if header.format in BY_PILLOW:
                image = _decoded_by_pillow(data)
            else:
                image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except (cv2.error, MemoryError):  # OpenCV's own limits
        image = None
    return _checked_pixels(image, header, flags, name)


def decode_file(stream: BufferedReader, path: Path) -> NDArray[Any]:
    """Decode an open file from its start, as `decode_native` does, but with less memory for large images.

    `cv2.imdecode` needs the file in memory and copies the pixels. `cv2.imread` writes into a given array; it
    opens the file a second time, by its descriptor, which ensures that it decodes the file that was checked.

    Raises:
        ImageError: as in `read_image`.
    """
    name = str(path)
    stream.seek(0)
    header = checked_header(stream, name)
    size = header.height, header.width
    is_followed = header.format == "PNG" and stream.seek(0, SEEK_END) > header.data_start
    is_turned = header.format == "TIFF" and header.orientation >= 5  # OpenCV would use an array of its own
    other_way = header.format in BY_PILLOW or is_followed or is_turned
    if size[0] * size[1] < LARGE or other_way or not DESCRIPTORS.is_dir():
        stream.seek(0)
        return decode_native(read_rest(stream, path, ImageError, limit=IMAGE_LIMIT), name)
    if header.format == "JPEG":
        check_jpeg(stream, header, name)
    flags = _opencv_flags(header)
    # expected type of OpenCV's result; if it is another, decoding only needs more memory
    kind = {8: "uint8", 32: "float32", 64: "float64"}.get(header.bits, "uint16")
    stored = size if header.orientation < 5 else size[::-1]
    pixels = np.empty(stored if header.channels == 1 else (*stored, 3), kind)
    # if OpenCV cannot read the header, it returns the array unchanged, which a random mark reveals
    mark = pixels[0, :32]
    mark[:] = np.resize(np.frombuffer(os.urandom(96), np.uint8), mark.shape)
    unread = mark.copy()
    try:
        with silent_opencv():
            found = cv2.imread(str(DESCRIPTORS / str(stream.fileno())), pixels, flags)
    except (cv2.error, MemoryError):
        found = None
    if np.array_equal(mark, unread):
        found = None
    return _checked_pixels(found, header, flags, name)


def _opencv_flags(header: ImageHeader) -> int:
    """Return OpenCV's flags for decoding an image, as BGR if it is deep or a BMP, else as RGB."""
    if header.is_deep:  # with IMREAD_COLOR_RGB, OpenCV 4.14 returns uninitialized memory
        return cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR
    # OpenCV would convert a BMP to RGB in a second image
    return cv2.IMREAD_COLOR_BGR if header.format == "BMP" else cv2.IMREAD_COLOR_RGB


def _checked_pixels(image: NDArray[Any] | None, header: ImageHeader, flags: int, name: str) -> NDArray[Any]:
    """Return decoded pixels as (H, W, 3) RGB.

    Raises:
        ImageError: there are no pixels, or their size is not that in the header.
    """
    size = size_text((header.height, header.width))
    if image is None:
        raise ImageError(
            f"{name}: expected a {header.format} image of {size}, "
            "found data that does not decode: the file is damaged, cut short, or of a rare kind"
        )
    if image.shape[:2] != (header.height, header.width):
        raise ImageError(
            f"{name}: expected {size} pixels from its header, found {size_text(image.shape[:2])}"
        )
    if image.ndim == 2:
        if header.is_negative and image.dtype == np.uint16:  # OpenCV itself inverts 8 bits
            cv2.bitwise_not(image, image)
        return _as_rgb(image)
    if header.format in BY_PILLOW or flags == cv2.IMREAD_COLOR_RGB:
        return image
    if image.dtype == np.uint8:
        for row in image:
            row[:] = row[:, ::-1].copy()
        return image
    return image[..., ::-1]


def _as_rgb(gray: NDArray[Any]) -> NDArray[Any]:
    """Return an image (H, W) as a view (H, W, 3), whose three channels share memory."""
    return np.broadcast_to(gray[..., None], (*gray.shape, 3))


def write_image(path: Path, rgb: NDArray[Any], *, expendable: bool = False) -> None:
    """Write an (H, W, 3) RGB image in the format of the path's suffix; the file is complete or absent.

    All formats support uint8, PNG and TIFF also uint16, and TIFF also floats. int16 becomes float32.

    Args:
        path: file to write.
        rgb: pixels (H, W, 3).
        expendable: whether the pixels may be overwritten, which saves a copy.

    Raises:
        ImageError: the suffix is not that of an image format, or the file cannot be written.
    """
    if path.suffix.lower() not in WRITTEN_SUFFIXES:
        raise ImageError(
            f"{path}: expected an image's suffix ({', '.join(WRITTEN_SUFFIXES)}), found {path.suffix!r}"
        )
    coded_as = JPEG_BY_ANOTHER_NAME.get(path.suffix.lower(), path.suffix.lower())
    size = rgb.shape[:2]
    # `cv2.imencode` needs up to three times the file's size in memory; `cv2.imwrite` does not report a full
    # disk, and on Windows it fails for names outside the code page
    is_direct = size[0] * size[1] >= LARGE and coded_as == path.suffix.lower() and os.name == "posix"
    try:
        with replacing(path, durable=False) as temporary, silent_opencv():
            pixels = rgb.astype(np.float32) if rgb.dtype == np.int16 else rgb
            bgr = pixels if expendable else np.empty(pixels.shape, pixels.dtype)
            for row, source in zip(bgr, pixels, strict=True):
                row[:] = source[:, ::-1].copy()
            if is_direct:
                done = cv2.imwrite(str(temporary), bgr)
            else:
                done, encoded = cv2.imencode(coded_as, bgr)
                if done:
                    temporary.write_bytes(encoded.data)
            if not done:  # for example, a WebP with a side above 16,383 pixels
                room = " (is the disk full?)" if is_direct else ""
                raise ImageError(f"{path}: {size_text(size)} pixels cannot be written in this format{room}")
    except cv2.error as error:
        raise ImageError(f"{path}: {size_text(size)} pixels cannot be written in this format") from error
    except OSError as error:
        raise ImageError(f"{path}: cannot be written: {error.strerror}") from error


def _decoded_by_pillow(data: bytes) -> NDArray[np.uint8 | np.uint16] | None:
    """Decode the first frame of a file with Pillow; None if it is damaged."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image: Image.Image = Image.open(BytesIO(data), formats=PILLOW_FORMATS)
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            if image.mode.startswith("I"):  # 16 bits
                return _as_rgb(np.asarray(image).astype(np.uint16))
            if image.mode == "P":  # converted here, because Pillow would use four bytes per pixel
                colors = np.zeros((256, 3), np.uint8)
                palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
                colors[: len(palette)] = palette
                return np.asarray(colors[np.asarray(image)], np.uint8)
            if image.mode in ("LA", "PA"):
                image = image.convert("RGBA")
            pixels = np.asarray(image if image.mode in ("RGB", "RGBA", "L") else image.convert("RGB"))
            # transparency is dropped, not blended
            return _as_rgb(pixels) if pixels.ndim == 2 else pixels[..., :3]
    except Exception:  # Pillow's plugins raise many types of errors
        return None
