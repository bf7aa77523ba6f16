"""All kinds of image files that users may have, good and bad."""

import io
import struct
import subprocess
import sys
import zlib
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lookonce._image_limits import MAX_PIXELS
from lookonce.errors import ImageError
from lookonce.images import (
    decode_image,
    list_images,
    read_image,
    read_image_header,
    read_size,
    reduced_image,
    write_image,
)
from lookonce.suffixes import WRITTEN_SUFFIXES

COLORS = ((200, 30, 40), (20, 40, 220), (10, 200, 60), (230, 220, 10))  # top left and right, then bottom


@pytest.fixture(scope="module")
def quarters() -> Image.Image:
    """Return an image of 40 rows, 60 columns and four colors, which shows swapped axes or channels."""
    image = np.empty((40, 60, 3), np.uint8)
    for color, (row, column) in zip(COLORS, ((0, 0), (0, 30), (20, 0), (20, 30)), strict=True):
        image[row : row + 20, column : column + 30] = color
    return Image.fromarray(image)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def corners(image: NDArray[np.uint8]) -> NDArray[np.int64]:
    height, width = image.shape[:2]
    rows, columns = [height // 4, 3 * height // 4], [width // 4, 3 * width // 4]
    return image[np.ix_(rows, columns)].reshape(4, 3).astype(int)


@pytest.mark.parametrize(
    "kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000", "PPM", "PCX", "TGA"]
)
def test_each_format_gives_rgb(tmp_path: Path, quarters: Image.Image, kind: str) -> None:
    path = tmp_path / f"image.{kind.lower()}"
    path.write_bytes(encode(quarters, kind))
    image = read_image(path)
    assert image.shape == (40, 60, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert read_size(path) == (40, 60)
    np.testing.assert_allclose(corners(image), COLORS, atol=6)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        *[(mode, kind) for mode in ("1", "L") for kind in ("JPEG", "PNG", "BMP", "TIFF")],
        *[("P", kind) for kind in ("PNG", "BMP", "TIFF")],
        ("LA", "PNG"),
        ("CMYK", "JPEG"),
        ("CMYK", "TIFF"),
        ("L", "JPEG2000"),
        ("1", "PPM"),
        ("L", "PPM"),
        ("L", "TGA"),
        ("L", "PCX"),
        ("P", "PCX"),
    ],
)
def test_each_color_mode_gives_rgb(quarters: Image.Image, mode: str, kind: str) -> None:
    converted = quarters.convert(mode, dither=Image.Dither.NONE)
    image = decode_image(encode(converted, kind), "image")
    assert image.shape == (40, 60, 3)
    np.testing.assert_allclose(corners(image), corners(np.asarray(converted.convert("RGB"))), atol=6)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "AVIF", "JPEG2000"])
def test_transparency_is_dropped_and_the_colors_stay(quarters: Image.Image, kind: str) -> None:
    veiled = quarters.convert("RGBA")
    veiled.putalpha(Image.fromarray(np.tile(np.linspace(40, 255, 60).astype(np.uint8), (40, 1))))
    image = decode_image(encode(veiled, kind), "image")
    np.testing.assert_allclose(corners(image), COLORS, atol=6)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_keep_the_upper_eight(quarters: Image.Image, suffix: str, channels: int) -> None:
    eight = np.asarray(quarters)[..., ::-1] if channels == 3 else np.asarray(quarters.convert("L"))
    _, data = cv2.imencode(suffix, eight.astype(np.uint16) * 256 + 200)
    image = decode_image(data.tobytes(), "image")
    expected = eight[..., ::-1] if channels == 3 else np.repeat(eight[..., None], 3, axis=2)
    np.testing.assert_allclose(image.astype(int), expected, atol=1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(tmp_path: Path, quarters: Image.Image, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    options = {"tiffinfo": {274: orientation}} if kind == "TIFF" else {"exif": exif}
    path = tmp_path / f"image.{kind.lower()}"
    path.write_bytes(encode(quarters, kind, **options))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
    image = read_image(path)
    assert read_size(path) == image.shape[:2] == expected.shape[:2]
    np.testing.assert_allclose(corners(image), corners(expected), atol=6)


def test_damaged_exif_is_upright_and_silent(quarters: Image.Image, capfd: pytest.CaptureFixture[str]) -> None:
    exif = Image.Exif()
    exif[274] = 6
    data = bytearray(encode(quarters, "JPEG", exif=exif))
    start = data.index(b"Exif\0\0") + 6
    data[start + 4 : start + 8] = b"\xff\xff\xff\xff"  # the directory is beyond the end of the file
    assert decode_image(bytes(data), "image").shape == (40, 60, 3)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["with space.jpg", "Köpfe 頭.jpg", "quote'\".jpg", "ümlaut/Straße.png"])
def test_any_path_can_be_written_and_read(tmp_path: Path, quarters: Image.Image, name: str) -> None:
    path = tmp_path / name
    write_image(path, np.asarray(quarters))
    np.testing.assert_allclose(corners(read_image(path)), COLORS, atol=6)


def test_real_photographs_match_pillow(photographs: list[Path]) -> None:
    for path in photographs:
        image = read_image(path)
        assert image.shape[:2] == read_size(path)
        with Image.open(path) as reference:
            difference = np.abs(image.astype(int) - np.asarray(reference.convert("RGB")))
        assert difference.max() <= 2


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_jpeg_is_decoded_at_a_reduced_size(tmp_path: Path, orientation: int) -> None:
    rows, columns = np.mgrid[:1001, :1498]
    smooth = np.dstack([rows // 4, columns // 6, 255 - columns // 6]).astype(np.uint8)
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / "large.jpg"
    Image.fromarray(smooth).save(path, quality=95, exif=exif)
    whole = read_image(path)

    for given in (path, path.read_bytes()):
        found = reduced_image(given, "large.jpg", lambda size: (251, 251))
        assert found is not None
        assert found.shape == whole.shape == ((1001, 1498, 3) if orientation == 1 else (1498, 1001, 3))
        expected = (251, 375, 3) if orientation == 1 else (375, 251, 3)  # a quarter; an eighth is too small
        assert found.pixels.shape == expected
        like = cv2.resize(whole, expected[1::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(found.pixels.astype(int) - like).max() <= 12
    assert (
        reduced_image(path, "large.jpg", lambda size: (502, 502)) is None
    )  # the shorter side of a half is 501
    assert reduced_image(path, "large.jpg", lambda size: size) is None


def test_only_a_jpeg_is_reduced_and_a_damaged_one_is_refused(tmp_path: Path, quarters: Image.Image) -> None:
    large = quarters.resize((800, 600))
    large.save(tmp_path / "a.png")
    large.save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()

    assert reduced_image(tmp_path / "a.png", "a.png", lambda size: (1, 1)) is None
    with pytest.raises(ImageError, match=r"cut.jpg: expected a JPEG's end marker"):
        reduced_image(data[:-100], "cut.jpg", lambda size: (1, 1))
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(ImageError, match=r"expected an image"):
        reduced_image(tmp_path / "text.jpg", "text.jpg", lambda size: (1, 1))


def test_bytes_after_a_complete_jpeg_are_ignored(quarters: Image.Image) -> None:
    assert decode_image(encode(quarters, "JPEG") + bytes(1000), "image").shape == (40, 60, 3)


def animated(quarters: Image.Image, kind: str) -> bytes:
    return encode(quarters, kind, save_all=True, append_images=[quarters.rotate(180)])


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_of_several_frames_the_first_is_read(tmp_path: Path, quarters: Image.Image, kind: str) -> None:
    path = tmp_path / "series"
    for data, is_series in ((encode(quarters, kind), False), (animated(quarters, kind), True)):
        path.write_bytes(data)
        assert read_image_header(path).is_series is is_series
        np.testing.assert_allclose(corners(read_image(path)), COLORS, atol=6)


def test_a_smaller_copy_in_a_tiff_is_not_a_page(tmp_path: Path, quarters: Image.Image) -> None:
    """Pyramids of slides and maps have such copies, which the tag NewSubfileType marks."""
    path = tmp_path / "pyramid.tif"
    quarters.save(path, save_all=True, append_images=[quarters.resize((30, 20))], tiffinfo={254: 1})
    assert not read_image_header(path).is_series


@pytest.mark.parametrize("kind", ["GIF", "AVIF", "JPEG2000", "PPM", "PCX", "TGA"])
def test_the_header_alone_refuses_a_size_beyond_the_limit(
    quarters: Image.Image, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encode(quarters, kind)
    monkeypatch.setattr("lookonce._image_limits.MAX_PIXELS", 40 * 60 - 1)
    monkeypatch.setattr("lookonce.images._decoded_by_pillow", lambda *_: pytest.fail("decoded"))
    with pytest.raises(ImageError, match="40x60 in its header; not decoded"):
        decode_image(data, "image")


KINDS = ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000", "PPM", "PCX", "TGA"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_large_images_have_the_same_pixels(
    tmp_path: Path, quarters: Image.Image, kind: str, orientation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    turned = {"exif": exif} if kind in ("JPEG", "PNG", "WEBP", "TIFF") else {}
    (path := tmp_path / "image").write_bytes(encode(quarters, kind, **turned))
    expected = read_image(path)
    monkeypatch.setattr("lookonce.images.LARGE", 1)
    other_way = kind in ("GIF", "AVIF", "JPEG2000", "PCX", "TGA") or (kind, orientation) == ("TIFF", 6)
    if not other_way and sys.platform == "linux":
        monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("in memory twice"))
    found = read_image(path)
    np.testing.assert_array_equal(found, expected)
    assert found.flags.c_contiguous
    assert found.flags.writeable


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keep", [0.97, 0.5])
def test_damaged_large_images_are_refused(
    tmp_path: Path, kind: str, keep: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lookonce.images.LARGE", 1)
    noise = np.random.default_rng(0).integers(0, 256, (80, 120, 3), np.uint8)
    data = encode(Image.fromarray(noise), kind)
    (path := tmp_path / "cut").write_bytes(data[: int(keep * len(data))])
    with pytest.raises(ImageError, match=r"cut: expected .*, found "):
        read_image(path)


def test_an_array_that_opencv_did_not_fill_is_an_error(
    tmp_path: Path, quarters: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`cv2.imread` returns the given array unchanged if it cannot read the header."""
    (path := tmp_path / "image.png").write_bytes(encode(quarters, "PNG"))
    monkeypatch.setattr("lookonce.images.LARGE", 1)
    monkeypatch.setattr(cv2, "imread", lambda _, array, __: array)
    with pytest.raises(ImageError, match=r"image\.png: .* does not decode"):
        read_image(path)


MEMORY = """
import sys
from pathlib import Path
from lookonce import images
from lookonce.images import read_image, read_image_header, write_image

images.LARGE = 1


def kib(what):
    rows = (row for row in open("/proc/self/status") if row.startswith(what))
    return int(next(rows).split()[1])


for path in map(Path, sys.argv[1:]):
    open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
    before = kib("VmRSS")
    pixels = read_image(path)
    read = kib("VmHWM")
    write_image(path.with_name("new.jpg"), pixels, expendable=True)
    expected = read_image_header(path).memory * pixels.size / 3
    print((read - before) * 1024 / expected, (kib("VmHWM") - before) * 1024 / max(expected, pixels.nbytes))
    del pixels
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_large_image_takes_the_estimated_memory(tmp_path: Path) -> None:
    small = np.zeros((2048, 3000, 3), np.uint8)
    small[::64] = 200
    flags = {"a.png": [], "progressive.jpg": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], "a.bmp": []}
    for name, chosen in flags.items():
        cv2.imwrite(str(tmp_path / name), small, chosen)
    command = [sys.executable, "-c", MEMORY, *(str(tmp_path / name) for name in flags)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    for name, line in zip(flags, ran.stdout.splitlines(), strict=True):
        read, written = map(float, line.split())
        assert read < 1.2, (name, line)
        assert written < 1.2, (name, line)


def planes_one_by_one(data: bytes) -> bytes:
    """Return a color JPEG whose first scan declares only one component."""
    at = data.index(b"\xff\xda")
    return data[: at + 4] + b"\x01" + data[at + 5 :]


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("JPEG", {}, 3),
        ("JPEG", {"progressive": True, "subsampling": 2}, 3 + 2 * 1.5),
        ("JPEG", {"progressive": True, "subsampling": 1}, 3 + 2 * 2),
        ("JPEG", {"progressive": True, "subsampling": 0}, 3 + 2 * 3),
        ("JPEG", {"exif": 6}, 6),
        ("PNG", {}, 3),
        ("PNG", {"exif": 8}, 6),
        ("PNG", {"save_all": True, "append_images": "other"}, 12),
        ("WEBP", {}, 3),
        ("WEBP", {"lossless": True}, 8),
        ("WEBP", {"lossless": True, "exif": 1}, 8),
        ("WEBP", {"save_all": True, "append_images": "other"}, 12),
        ("TIFF", {}, 3 + 3 + 5),  # one strip, uncompressed
        ("GIF", {}, 6),
        ("AVIF", {}, 16),
        ("JPEG2000", {}, 24),
        ("PPM", {}, 3),
    ],
)
def test_an_image_that_takes_too_much_memory_is_refused(
    tmp_path: Path,
    quarters: Image.Image,
    kind: str,
    options: dict[str, object],
    expected: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "exif" in options:
        exif = Image.Exif()
        exif[274] = options["exif"]
        options = options | {"exif": exif}
    if "append_images" in options:
        options = options | {"append_images": [quarters.transpose(Image.Transpose.ROTATE_180)]}
    (path := tmp_path / "a.img").write_bytes(encode(quarters, kind, **options))
    assert read_image_header(path).memory == pytest.approx(expected, abs=0.2)
    held = path.stat().st_size if kind in ("GIF", "AVIF", "JPEG2000") else 0
    need = 40 * 60 * read_image_header(path).memory + held
    monkeypatch.setattr("lookonce.images.LARGE", 1)
    monkeypatch.setattr("lookonce._image_limits.MAX_MEMORY", need + 1)
    if kind != "TIFF":
        assert read_size(path) in ((40, 60), (60, 40))
    monkeypatch.setattr("lookonce._image_limits.MAX_MEMORY", need - 1)
    for read in (read_image, read_size):
        with pytest.raises(ImageError, match=r"a\.img: .* MiB of .* in this kind of .*; not decoded"):
            read(path)


def test_memory_of_a_jpeg_with_several_scans_includes_coefficients(
    tmp_path: Path, quarters: Image.Image
) -> None:
    (path := tmp_path / "a.jpg").write_bytes(planes_one_by_one(encode(quarters, "JPEG", subsampling=0)))
    assert read_image_header(path).memory == 3 + 2 * 3


def test_encoded_bytes_in_memory_count_too(quarters: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(quarters, "PPM")
    monkeypatch.setattr("lookonce._image_limits.MAX_MEMORY", len(data) + 40 * 60 * 6)
    assert decode_image(data, "image").shape == (40, 60, 3)
    monkeypatch.setattr("lookonce._image_limits.MAX_MEMORY", len(data) + 40 * 60 * 6 - 1)
    with pytest.raises(ImageError, match="image: expected an image that is read in at most"):
        decode_image(data, "image")


def test_pixels_are_not_altered_unless_expendable(tmp_path: Path, quarters: Image.Image) -> None:
    pixels = np.array(quarters)
    write_image(tmp_path / "a.png", pixels)
    np.testing.assert_array_equal(pixels, np.array(quarters))
    write_image(tmp_path / "b.png", pixels, expendable=True)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


# ---- bad files


@pytest.mark.parametrize(
    "kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000", "PPM", "PCX", "TGA"]
)
@pytest.mark.parametrize("keep", [0.97, 0.5, 0.1])
def test_files_cut_short_are_refused(
    tmp_path: Path, kind: str, keep: float, capfd: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 120, 3), np.uint8)
    data = encode(Image.fromarray(noise), kind)
    path = tmp_path / f"cut.{kind.lower()}"
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(ImageError, match=r"cut\.\w+: expected .*, found ") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")  # messages of the decoder are not printed


def test_a_progressive_jpeg_cut_short_is_refused(quarters: Image.Image) -> None:
    data = encode(quarters.resize((300, 200)), "JPEG", progressive=True)
    with pytest.raises(ImageError, match="cut short"):
        decode_image(data[: len(data) // 2], "image")


def test_a_thumbnail_does_not_hide_the_cut(quarters: Image.Image) -> None:
    """The thumbnail inside EXIF has its own end marker."""
    thumbnail = b"Exif\0\0" + bytes(8) + encode(quarters, "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    data = encode(quarters.resize((300, 200)), "JPEG")
    with pytest.raises(ImageError, match="end marker"):
        decode_image(data[:2] + segment + data[2:-20], "image")


def test_damage_inside_a_file_is_refused(quarters: Image.Image) -> None:
    data = bytearray(encode(quarters, "PNG"))
    middle = data.index(b"IDAT") + 30
    data[middle : middle + 20] = bytes(20)
    with pytest.raises(ImageError, match=r"image: expected a PNG image of 40x60, .* damaged"):
        decode_image(bytes(data), "image")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "an HTML page"),
        (b"\n\n  <HTML>", "an HTML page"),
        (b"GIF89a" + bytes(20), "damaged"),
        (b"\0\0\0\x1cftypavif" + bytes(20), "damaged"),
        (b"\0\0\0\x18ftypheic" + bytes(20), "HEIC"),
        (b"not an image at all", "bytes 6e 6f 74"),
        (b"\xff\xd8\xff", "cut short"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF\0" + bytes(3), "cut short"),
        (b"\xff\xd8\xff\xe0\x00\x04\0\0junk", "other data"),
    ],
)
def test_files_that_are_not_images_are_refused(tmp_path: Path, content: bytes, found: str) -> None:
    path = tmp_path / "page.jpg"
    path.write_bytes(content)
    for read in (read_image, read_size):
        with pytest.raises(ImageError, match=rf"page\.jpg: expected .*found .*{found}"):
            read(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for read in (read_image, read_size):
        with pytest.raises(ImageError, match=r"gone\.jpg: cannot be read: No such file"):
            read(tmp_path / "gone.jpg")
        with pytest.raises(ImageError, match="expected a file, found a folder"):
            read(tmp_path)


@pytest.mark.parametrize("name", ["nul\0byte.jpg", "long" * 500 + ".jpg"])
def test_impossible_file_names_are_refused(tmp_path: Path, name: str) -> None:
    for read in (read_image, read_size):
        with pytest.raises(ImageError, match="cannot be read: "):
            read(tmp_path / name)


def bomb_png(side: int) -> bytes:
    """Return a valid PNG of side x side bits in a few KB."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer = zlib.compressobj(9)
    row = bytes(side // 8 + 1)
    pixels = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb_png(20_000))
    assert path.stat().st_size < 100_000
    assert 20_000**2 * 3 > 1e9
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    for read in (read_image, read_size):
        with pytest.raises(ImageError, match=rf"bomb\.png: .*{MAX_PIXELS:,} pixels.*20,000x20,000"):
            read(path)


@pytest.mark.parametrize(("width", "height"), [(0, 40), (60, 0), (40_000, 1)])
def test_absurd_sides_are_refused(quarters: Image.Image, width: int, height: int) -> None:
    data = bytearray(encode(quarters, "PNG"))
    data[16:24] = struct.pack(">II", width, height)
    with pytest.raises(ImageError, match=f"{height:,}x{width:,}"):
        decode_image(bytes(data), "image")


# ---- writing and listing


@pytest.mark.parametrize("suffix", WRITTEN_SUFFIXES)
def test_written_images_read_back(tmp_path: Path, quarters: Image.Image, suffix: str) -> None:
    path = tmp_path / f"written{suffix}"
    write_image(path, np.asarray(quarters))
    np.testing.assert_allclose(corners(read_image(path)), COLORS, atol=6)
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("compression", [None, "tga_rle"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_targa_of_every_kind_is_read(
    tmp_path: Path, quarters: Image.Image, mode: str, compression: str | None
) -> None:
    exact = quarters.convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
    (exact if mode == "P" else quarters.convert(mode)).save(tmp_path / "a.tga", compression=compression)
    np.testing.assert_allclose(corners(read_image(tmp_path / "a.tga")), COLORS, atol=6)


def test_lab_is_refused_since_it_would_be_read_as_rgb(tmp_path: Path, quarters: Image.Image) -> None:
    quarters.convert("LAB").save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match="expected a TIFF in gray, RGB or CMYK, found CIE Lab"):
        read_image(tmp_path / "a.tif")


def test_unknown_suffix_is_refused(tmp_path: Path, quarters: Image.Image) -> None:
    with pytest.raises(ImageError, match=r"x\.gif: expected an image's suffix .* found '\.gif'"):
        write_image(tmp_path / "x.gif", np.asarray(quarters))


def test_failed_write_leaves_the_earlier_image(
    tmp_path: Path, quarters: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kept.png"
    write_image(path, np.asarray(quarters))
    before = path.read_bytes()

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(ImageError, match=r"kept\.png: cannot be written: No space left"):
        write_image(path, np.zeros((3, 4, 3), np.uint8))
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["kept.png"]


BIG_NOISE = """
import resource, sys
from pathlib import Path
import numpy as np
from lookonce.errors import ImageError
from lookonce.images import LARGE, write_image
# exactly the size from which files are written without a copy in memory
pixels = np.random.default_rng(0).integers(0, 256, (LARGE >> 12, 1 << 12, 3), dtype=np.uint8)



def peak():  # `getrusage` would include the peak of the process that forked this one
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])


before = peak()
for name in sys.argv[2:]:
    write_image(Path(name), pixels, expendable=True)
print((peak() - before << 10) / pixels.nbytes)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    write_image(Path(sys.argv[1]), pixels)
except ImageError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
def test_a_large_image_is_written_without_a_copy_of_its_file(tmp_path: Path) -> None:
    names = [str(tmp_path / f"a.{suffix}") for suffix in ("bmp", "jpg", "png", "tif")]
    full = tmp_path / "full.bmp"
    ran = subprocess.run([sys.executable, "-c", BIG_NOISE, str(full), *names], capture_output=True, text=True)
    share, said = ran.stdout.splitlines()
    assert float(share) < 0.5
    assert said == f"{full}: 4096x4096 pixels cannot be written in this format (is the disk full?)"
    assert [len(list(tmp_path.iterdir())), full.exists()] == [4, False]
    assert read_size(tmp_path / "a.bmp") == (4096, 4096)


def test_list_images_finds_only_images(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "notes.txt", "c.webp"):
        (tmp_path / name).touch()
    assert [path.name for path in list_images(tmp_path)] == ["a.png", "b.JPG", "c.webp"]
    with pytest.raises(ImageError, match="expected a folder of images, found no such folder"):
        list_images(tmp_path / "gone")


def test_an_image_too_wide_for_its_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="4x20000 pixels cannot be written in this format"):
        write_image(tmp_path / "wide.webp", np.zeros((4, 20_000, 3), np.uint8))
    assert not list(tmp_path.iterdir())


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    parts = [struct.pack(">I", len(body)) + kind + body + bytes(4) for kind, body in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(*tags: tuple[int, int, int, int]) -> bytes:
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


SMALL, LARGE = (struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0) for side in (64, 60_000))
LONG = 4


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (png((b"IHDR", LARGE), (b"IHDR", SMALL), (b"IDAT", b""), (b"IEND", b"")), "IHDR as the first chunk"),
        (png((b"IHDR", SMALL), (b"IHDR", LARGE), (b"IDAT", b""), (b"IEND", b"")), "IHDR as the first chunk"),
        (png((b"tEXt", b"a"), (b"IHDR", SMALL), (b"IEND", b"")), "IHDR as the first chunk"),
        (png((b"IHDR", SMALL), (b"fcTL", bytes(4) + LARGE), (b"IEND", b"")), "frames of at most 64x64"),
        (tiff((256, LONG, 1, 60_000), (257, LONG, 1, 64), (256, LONG, 1, 64)), "TIFF tag 256, once"),
        (tiff((256, LONG, 1, 64), (257, LONG, 1, 60_000), (257, LONG, 1, 64)), "TIFF tag 257, once"),
        (tiff((256, LONG, 2, 64), (257, LONG, 1, 64)), "TIFF tag 256, once"),
        (tiff((256, 1, 1, 64), (257, LONG, 1, 64)), "TIFF tag 256, once"),
        (
            tiff((256, LONG, 1, 64), (257, LONG, 1, 64), (322, LONG, 1, 60_000), (323, LONG, 1, 60_000)),
            "tiles",
        ),
    ],
)
def test_sizes_that_decoders_read_differently_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        decode_image(data, "image")


def test_a_second_frame_header_in_a_jpeg_is_refused() -> None:
    frame = b"\xff\xc0\x00\x11\x08\x00\x08\x00\x08\x03" + bytes(9)
    with pytest.raises(ImageError, match="one frame header in a JPEG, found two"):
        decode_image(b"\xff\xd8" + frame * 2 + b"\xff\xda\x00\x02\xff\xd9", "image")


def test_a_jpeg_of_thousands_of_scans_is_refused() -> None:
    data = encode(Image.new("RGB", (64, 64), (9, 90, 200)), "JPEG", progressive=True)
    assert decode_image(data, "image").shape == (64, 64, 3)
    first = data.index(b"\xff\xda")
    second = data.index(b"\xff\xda", first + 2)
    scans = data.count(b"\xff\xda")
    for more in (101 - scans, 5000):
        with pytest.raises(ImageError, match="at most 100 scans"):
            decode_image(data[:first] + data[first:second] * more + data[first:], "image")
    allowed = data[:first] + data[first:second] * (100 - scans) + data[first:]
    with suppress(ImageError):  # the decoder may still reject it
        decode_image(allowed, "image")


EMPTY = 300_000  # empty parts of a file


def gif(*blocks: bytes) -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", 64, 64, 0, 0, 0) + b"".join(blocks)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8" + b"\xff\xfe\x00\x02" * EMPTY,
        b"\xff\xd8" + b"\xff" * EMPTY,
        png((b"IHDR", SMALL), *[(b"IDAT", b"")] * EMPTY, (b"IEND", b"")),
        b"RIFF\0\0\0\0WEBPVP8X" + struct.pack("<I", 10) + bytes(10) + struct.pack("<4sI", b"abcd", 0) * EMPTY,
        gif(b"!\xfe" + b"\x01a" * EMPTY),
        gif(b"!\xff\x00" * EMPTY),
        gif(b"," + struct.pack("<HHHHB", 0, 0, 64, 64, 0) + b"\x08" + b"\x01a" * EMPTY),
    ],
    ids=["JPEG segments", "JPEG fill", "PNG", "WebP", "GIF comment", "GIF extensions", "GIF data"],
)
def test_a_file_of_too_many_empty_parts_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match="at most 250,000 parts"):
        decode_image(data, "image")


def test_only_a_png_up_to_its_end_reaches_the_decoder(
    quarters: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenCV 4.14 allocates two gigabytes for such a chunk, even after the end."""
    whole = encode(quarters, "PNG")
    (path := tmp_path / "a.png").write_bytes(whole + struct.pack(">I4s", 0x7FFF_FFFF, b"IDAT"))
    seen = []
    real = cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda data, how: seen.append(bytes(data)) or real(data, how))
    monkeypatch.setattr(cv2, "imread", lambda *_: pytest.fail("the whole file"))
    for large in (1 << 24, 1):
        monkeypatch.setattr("lookonce.images.LARGE", large)
        assert read_image(path).shape == (40, 60, 3)
    assert seen == [whole, whole]


def test_texts_of_a_png_are_bounded(quarters: Image.Image) -> None:
    whole = encode(quarters, "PNG")  # IHDR, IDAT, IEND
    text = struct.pack(">I", 3) + b"tEXta\0b" + struct.pack(">I", zlib.crc32(b"tEXta\0b"))
    assert decode_image(whole[:33] + text * 899 + whole[33:], "image").shape == (40, 60, 3)
    with pytest.raises(ImageError, match="at most 900 chunks"):
        decode_image(whole[:33] + text * 900 + whole[33:], "image")


def test_tiles_and_channels_of_jpeg_2000_are_bounded(quarters: Image.Image) -> None:
    data = bytearray(encode(quarters, "JPEG2000", no_jp2=True))
    assert decode_image(bytes(data), "image").shape == (40, 60, 3)
    size = data.index(b"\xff\x51")
    for at, value in ((size + 22, (1, 1)), (size + 38, (0xFFFF_0000,))):
        lies = bytearray(data)
        lies[size + 6 : size + 14] = struct.pack(">II", 300, 300)
        lies[at : at + 4 * len(value)] = struct.pack(f">{len(value)}I", *value)
        with pytest.raises(ImageError, match="at most 16,384 tiles of 1 to 4 channels"):
            decode_image(bytes(lies), "image")


@pytest.mark.parametrize("error", [cv2.error("assertion"), MemoryError()])
def test_errors_of_the_decoder_become_image_errors(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(Image.new("RGB", (8, 8)), "PNG")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(cv2, "imdecode", fail)
    with pytest.raises(ImageError, match="found data that does not decode"):
        decode_image(data, "image")
    monkeypatch.setattr(cv2, "imencode", fail)
    if isinstance(error, cv2.error):
        with pytest.raises(ImageError, match="cannot be written in this format"):
            write_image(Path("a.png"), np.zeros((8, 8, 3), np.uint8))


def test_images_at_the_limits_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    still = encode(Image.new("RGB", (64, 64), (9, 90, 200)), "JPEG", progressive=True)
    scans = still.count(b"\xff\xda")
    limits = {"MAX_SCANS": scans, "MAX_SCANNED": scans * 64 * 64, "MAX_PIXELS": 64 * 64, "MAX_SIDE": 64}
    for name, value in limits.items():
        monkeypatch.setattr(f"lookonce._image_limits.{name}", value)
    assert decode_image(still, "image").shape == (64, 64, 3)
    for name, value in limits.items():
        monkeypatch.setattr(f"lookonce._image_limits.{name}", value - 1)
        with pytest.raises(ImageError, match="not decoded"):
            decode_image(still, "image")
        monkeypatch.setattr(f"lookonce._image_limits.{name}", value)
