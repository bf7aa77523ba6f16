"""Color and orientation in image headers, for files written by Pillow."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from lookonce._image_header import read_header
from lookonce.errors import ImageError
from lookonce.images import decode_native

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 4), np.uint8)


def made(mode: str, form: str, **options: object) -> BytesIO:
    stream = BytesIO()
    deep = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257)
    image = deep if mode == "I;16" else Image.fromarray(PIXELS).convert("RGB").convert(mode)
    image.save(stream, form, **options)
    stream.seek(0)
    return stream


@pytest.mark.parametrize(
    ("mode", "form", "options", "color"),
    [
        ("RGB", "JPEG", {}, "color"),
        ("L", "JPEG", {}, "gray"),
        ("CMYK", "JPEG", {}, "CMYK"),
        ("RGB", "JPEG", {"progressive": True}, "color"),
        ("RGB", "PNG", {}, "color"),
        ("L", "PNG", {}, "gray"),
        ("1", "PNG", {}, "gray"),
        ("P", "PNG", {}, "palette"),
        ("LA", "PNG", {}, "alpha"),
        ("RGBA", "PNG", {}, "alpha"),
        ("I;16", "PNG", {}, "gray"),
        ("RGB", "WEBP", {}, "color"),
        ("RGB", "WEBP", {"lossless": True}, "color"),
        ("RGB", "BMP", {}, "color"),
        ("P", "BMP", {}, "palette"),
        ("RGB", "TIFF", {}, "color"),
        ("L", "TIFF", {}, "gray"),
        ("P", "TIFF", {}, "palette"),
        ("CMYK", "TIFF", {}, "CMYK"),
        ("I;16", "TIFF", {}, "gray"),
        ("RGB", "GIF", {}, "palette"),
        ("L", "GIF", {}, "gray"),
    ],
)
def test_the_color_mode_is_read(mode: str, form: str, options: dict[str, object], color: str) -> None:
    header = read_header(made(mode, form, **options))
    assert (header.color, header.height, header.width) == (color, 20, 30)
    assert header.is_deep is (mode == "I;16")


@pytest.mark.parametrize("lossless", [False, True])
def test_transparency_of_webp_is_read(lossless: bool) -> None:
    stream = BytesIO()
    Image.fromarray(PIXELS).save(stream, "WEBP", lossless=lossless)
    assert read_header(BytesIO(stream.getvalue())).color == "alpha"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_the_orientation_is_read(form: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    header = read_header(made("RGB", form, exif=exif))
    assert header.orientation == orientation
    assert (header.height, header.width) == ((30, 20) if orientation == 6 else (20, 30))


def test_an_animated_gif_is_a_series_of_the_size_of_its_first_frame() -> None:
    frames = [Image.fromarray(PIXELS[..., :3]).point(lambda value, k=k: value ^ k) for k in (0, 255)]
    for count in (1, 2):
        stream = BytesIO()
        frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:count])
        header = read_header(BytesIO(stream.getvalue()))
        assert (header.height, header.width, header.is_series) == (20, 30, count > 1)
    data = bytearray(stream.getvalue())
    at = data.index(b",\0\0\0\0")
    data[at + 5 : at + 9] = (40_000).to_bytes(2, "little") * 2
    header = read_header(BytesIO(data))
    assert (header.height, header.width) == (40_000, 40_000)


@pytest.mark.parametrize("length", [1, 0x7FFF_FFFF, 0xFEFF_0000])
def test_a_png_whose_end_chunk_has_a_length_is_refused(length: int) -> None:
    """OpenCV would allocate and clear these bytes: 4 GB and ten seconds for a file of 88 bytes."""
    data = made("RGB", "PNG").getvalue()
    assert data[-12:-4] == b"\0\0\0\0IEND"
    with pytest.raises(
        ImageError, match=f"expected a PNG that ends in an empty chunk, found {length:,} bytes"
    ):
        decode_native(data[:-12] + length.to_bytes(4) + b"IEND" + data[-4:], "a.png")
