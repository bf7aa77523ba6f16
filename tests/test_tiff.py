"""TIFFs read by windows and by pages have the same pixels as decoded whole."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookonce import _tiff, tiff
from lookonce.errors import ImageError
from lookonce.images import read_image, read_image_header, read_native
from lookonce.tiff import LargeImage, decode_tiff_page, is_large_tiff, tiff_memory, tiff_pages
from lookonce.values import measure_values
from tests.tiffs import DOUBLE, LONG, LONG8, SHORT, write_directory, write_tiff

rng = np.random.default_rng(3)
RED, GREEN = (255, 0, 0), (0, 255, 0)


def scene(channels: int = 3) -> np.ndarray:
    """Return an image (150, 230, 3), smooth enough for JPEG and different in every part."""
    y, x = np.mgrid[0:150, 0:230]
    return np.stack([x, y + 50, (x + y) // 2, 255 - x][:channels], -1).astype(np.uint8)


def sixteen() -> np.ndarray:
    return (scene()[..., 0].astype(np.uint16) << 4) + 3


KINDS = {
    "uncompressed": (scene(), {}),
    "lzw": (scene(), {"compression": "tiff_lzw"}),
    "deflate": (scene(), {"compression": "tiff_adobe_deflate", "tiffinfo": {278: 7}}),
    "predictor": (scene(), {"compression": "tiff_lzw", "tiffinfo": {317: 2}}),
    "packbits": (scene(), {"compression": "packbits"}),
    "jpeg": (scene(), {"compression": "jpeg", "tiffinfo": {278: 16}}),
    "alpha": (np.dstack([scene(), np.full((150, 230), 255, np.uint8)]), {}),
    "gray": (scene()[..., 0], {"compression": "tiff_lzw", "tiffinfo": {278: 11}}),
    "16 bits": (sixteen(), {"compression": "tiff_adobe_deflate", "tiffinfo": {278: 20}}),
    "16 bits, uncompressed": (sixteen(), {}),
    "fractions": ((scene()[..., 0] / 255).astype(np.float32), {}),
    "bilevel": (scene()[..., 0] > 128, {"compression": "group4"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_windows_are_parts_of_the_whole_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(tiff, "ROWS_PIXELS", 230 * 13)  # so that uncompressed strips are read in parts too
    monkeypatch.setattr(tiff, "CACHE_PIXELS", 1)  # two blocks
    pixels, options = KINDS[kind]
    path = tmp_path / "a.tif"
    Image.fromarray(pixels).save(path, **options)
    whole = read_image(path)

    large = LargeImage(path)

    assert large.shape == (150, 230, 3)
    for top, bottom, left, right in [(0, 150, 0, 230), (0, 1, 0, 1), (13, 97, 50, 211), (149, 150, 229, 230)]:
        np.testing.assert_array_equal(large.read(top, bottom, left, right), whole[top:bottom, left:right])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiles_of_a_rotated_image_are_upright_or_refused(tmp_path: Path, orientation: int) -> None:
    """The decoder would mirror each tile by itself, instead of the whole image."""
    Image.fromarray(scene()).save(tmp_path / "strips.tif", tiffinfo={274: orientation})
    tiles = tmp_path / "tiles.tif"
    write_tiff(tiles, (150, 230), [((0, 0, 230, 150), scene())], tile=64, tags={274: (SHORT, [orientation])})

    if orientation in (2, 3, 6, 7):
        with pytest.raises(ImageError, match=f"not stored mirrored, found orientation {orientation}: vips"):
            read_image(tiles)
    else:
        np.testing.assert_array_equal(read_image(tiles), read_image(tmp_path / "strips.tif"))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_tiles_and_bigtiff_are_read(tmp_path: Path, order: str, big: bool) -> None:
    objects = [((5, 10, 90, 70), RED), ((60, 100, 129, 140), GREEN)]
    path = write_tiff(tmp_path / "a.tif", (150, 230), objects, tile=64, big=big, order=order, ground=7)
    expected = np.full((150, 230, 3), 7, np.uint8)
    for (left, top, right, bottom), color in objects:
        expected[top:bottom, left:right] = color

    assert (read_image_header(path).height, read_image_header(path).width) == (150, 230)
    np.testing.assert_array_equal(read_image(path), expected)
    np.testing.assert_array_equal(LargeImage(path).read(0, 150, 0, 230), expected)
    np.testing.assert_array_equal(LargeImage(path).read(3, 80, 60, 201), expected[3:80, 60:201])


def test_a_window_that_is_too_large_is_read_reduced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff, "READ_SIDE", 60)
    path = tmp_path / "a.png"
    Image.fromarray(scene()).save(path.with_suffix(".tif"))

    small = LargeImage(path.with_suffix(".tif")).read(0, 150, 0, 230)  # by the factor 4: 230 / 60, rounded up

    assert small.shape == (38, 58, 3)
    np.testing.assert_allclose(small[5, 9], scene()[20:24, 36:40].mean(axis=(0, 1)), atol=0.51)


def test_missing_blocks_are_black(tmp_path: Path) -> None:
    """GDAL gives empty tiles the length 0 instead of writing them."""
    path = write_tiff(tmp_path / "a.tif", (64, 128), [((0, 0, 9, 9), RED)], tile=64, ground=50)
    data = bytearray(path.read_bytes())
    lengths = data.rindex(struct.pack("<HHI", 325, 4, 2)) + 8
    at = struct.unpack("<I", data[lengths : lengths + 4])[0]
    data[at + 4 : at + 8] = bytes(4)
    path.write_bytes(data)

    found = LargeImage(path).read(0, 64, 0, 128)

    assert (found[:, :64].max(), found[:, 64:].max()) == (255, 0)


def test_the_range_of_a_deep_image_is_measured_or_given(tmp_path: Path) -> None:
    Image.fromarray(sixteen()).save(tmp_path / "a.tif")  # up to 12 bits

    assert LargeImage(tmp_path / "a.tif").values == (0, 4095)
    assert LargeImage(tmp_path / "a.tif", (0, 255)).read(0, 9, 0, 230).max() == 255


def test_the_range_is_measured_on_a_sample_with_the_extremes(tmp_path: Path) -> None:
    pixels = np.full((700, 700), 9, np.uint16)
    pixels[350, 351], pixels[90, 91] = 60_000, 2
    Image.fromarray(pixels).save(tmp_path / "a.tif", compression="tiff_lzw", tiffinfo={278: 20})

    sample = LargeImage(tmp_path / "a.tif", (0, 255)).sample()

    assert 1000 < len(sample) < 11_000
    assert (sample.dtype, sample.min(), sample.max()) == (np.uint16, 2, 60_000)
    assert sample.base is None


def test_the_memory_of_a_page_is_known_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = write_tiff(tmp_path / "large.tif", (20_000, 20_000), tile=2048)
    assert tiff_memory(large) == 3 * ((1 << 26) + 4096**2)  # the blocks and the reduced copy
    thin = write_tiff(tmp_path / "thin.tif", (40_000, 64), tile=64)
    assert tiff_memory(thin) == 3 * (40_000 * 64 + 4096**2)
    path = stack(tmp_path / "pages.tif", scene(), scene()[:7, :5])
    assert [tiff_memory(path, at) for at in tiff_pages(path)] == [11 * 150 * 230, 11 * 35]
    assert tiff_memory(tmp_path / "absent.tif") == 0
    Image.fromarray(scene()).save(tmp_path / "a.png")
    assert tiff_memory(tmp_path / "a.png") == 0


# ---- pages


def stack(path: Path, *pages: np.ndarray, **options: object) -> Path:
    first, *others = map(Image.fromarray, pages)
    first.save(path, save_all=True, append_images=others, **options)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_each_page_is_an_image(tmp_path: Path, kind: str) -> None:
    pixels, options = KINDS[kind]
    pages = [pixels, pixels[::-1, 40:], pixels[:50]]
    path = stack(tmp_path / "stack.tif", *pages, **options)
    places = tiff_pages(path)

    assert len(places) == 3
    for page, at in zip(pages, places, strict=True):
        Image.fromarray(page).save(tmp_path / "one.tif", **options)
        np.testing.assert_array_equal(decode_tiff_page(path, at, "page"), read_native(tmp_path / "one.tif"))


def test_other_files_and_pyramids_have_no_pages(tmp_path: Path) -> None:
    Image.fromarray(scene()).save(tmp_path / "a.png")
    assert tiff_pages(tmp_path / "a.png") == []
    assert tiff_pages(tmp_path / "missing.tif") == []
    small = Image.fromarray(scene()).resize((30, 20))
    Image.fromarray(scene()).save(tmp_path / "p.tif", save_all=True, append_images=[small], tiffinfo={254: 1})
    assert tiff_pages(tmp_path / "p.tif") == []  # Pillow marks both as copies


def test_a_range_is_measured_on_all_pages(tmp_path: Path) -> None:
    path = stack(tmp_path / "a.tif", np.full((9, 9), 900, np.uint16), np.full((9, 9), 4000, np.uint16))

    assert measure_values([path])[0] == (0, 4095)


# ---- bad files


def test_a_directory_that_points_to_itself_is_read_once(tmp_path: Path) -> None:
    path = stack(tmp_path / "a.tif", scene(), scene())
    data = bytearray(path.read_bytes())
    second = tiff_pages(path)[1]
    count = struct.unpack_from("<H", data, second)[0]
    struct.pack_into("<I", data, second + 2 + 12 * count, second)
    path.write_bytes(data)

    assert len(tiff_pages(path)) == 2


def test_a_damaged_directory_is_marked(tmp_path: Path) -> None:
    path = stack(tmp_path / "a.tif", scene(), scene(), scene())
    data = path.read_bytes()
    path.write_bytes(data[: tiff_pages(path)[2] + 9])

    assert tiff_pages(path)[2:] == [-1]


@pytest.mark.parametrize("count", [2000, 60_000])
def test_reading_overlapping_directories_terminates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Each begins 8 bytes after the previous one, and shares most of its tags."""
    monkeypatch.setattr(_tiff, "MOST_TAGS_OF_ALL", 5 * 2000)
    data = bytearray(b"II*\0" + struct.pack("<I", 8) + bytes(12 * count + 1000))
    for at in range(8, 8 + 8 * 20, 8):
        struct.pack_into("<H", data, at, count)
        struct.pack_into("<I", data, at + 2 + 12 * count, at + 8)
    (tmp_path / "a.tif").write_bytes(data)

    assert tiff_pages(tmp_path / "a.tif") == ([0, 16, 24, 32, 40, -1] if count == 2000 else [-1])


HUGE = 1 << 40
PACKED = {259: (SHORT, [8])}
TWO_PLANES = {277: (SHORT, [2]), 284: (SHORT, [2])}
FOUR_STRIPS = {257: (LONG, [8]), 273: (LONG, [16] * 4), 278: (LONG, [2])}


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({257: (LONG8, [HUGE]), 278: (LONG8, [HUGE])}, "sides of at most 4,294,967,295"),
        ({258: (SHORT, [0]), 262: (SHORT, [1]), 277: (SHORT, [1])}, ""),
        ({274: (DOUBLE, [float("nan")])}, None),
        (PACKED | TWO_PLANES | {273: (LONG, [16] * 2), 279: (LONG8, [1 << 63] * 2)}, ""),
        (PACKED | FOUR_STRIPS | {279: (LONG8, [1 << 62] * 4)}, ""),
        ({256: (LONG, [1 << 21]), 258: (SHORT, [0]), 277: (SHORT, [1])}, ""),
    ],
)
def test_numbers_beyond_any_file_are_errors(tmp_path: Path, tags: dict, message: str | None) -> None:
    """If `expected` is None, the tag does not matter."""
    usual = {256: 4, 257: 4, 258: 8, 259: 1, 262: 1, 273: 16, 277: 1, 278: 4, 279: 16}
    path = tmp_path / "a.tif"
    with path.open("wb") as stream:
        stream.write(bytes(32))
        write_directory(stream, {tag: (LONG, [n]) for tag, n in usual.items()} | tags, True, "<")

    readers: list[Callable[[], object]] = [
        lambda: decode_tiff_page(path, 0, "a.tif"),
        lambda: LargeImage(path).read(3, 4, 0, 4),
    ]
    for reader in readers:
        if message is None:
            reader()
        else:
            with pytest.raises(ImageError, match=f"a.tif: .*{message}"):
                reader()


def test_planes_that_overlap_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff, "IMAGE_LIMIT", 3000)
    monkeypatch.setattr(tiff, "PAGE_LIMIT", 3000)
    path = tmp_path / "a.tif"
    tags = {256: [64], 257: [16], 258: [8], 259: [8], 262: [1], 277: [4], 278: [16], 284: [2]}
    tags |= {273: [16] * 4, 279: [1024] * 4}
    with path.open("wb") as stream:
        stream.write(bytes(16 + 1024))
        write_directory(stream, {tag: (LONG, numbers) for tag, numbers in tags.items()}, False, "<")

    with pytest.raises(ImageError, match="at most 3,000 bytes in a"):
        LargeImage(path).read(0, 4, 0, 4)
    with pytest.raises(ImageError, match="at most 3,000 bytes in a"):
        decode_tiff_page(path, 0, "a.tif")


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("big", [False, True])
def test_a_file_cut_short_is_an_error(tmp_path: Path, keep: float, big: bool) -> None:
    path = write_tiff(tmp_path / "a.tif", (500, 500), [((9, 9, 450, 450), RED)], tile=64, big=big)
    data = path.read_bytes()
    (tmp_path / "cut.tif").write_bytes(data[: int(len(data) * keep)])

    with pytest.raises(ImageError, match=r"cut\.tif: expected"):
        LargeImage(tmp_path / "cut.tif").read(0, 500, 0, 500)


def test_a_damaged_block_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(sixteen()).save(path, compression="tiff_adobe_deflate", tiffinfo={278: 50})
    large = LargeImage(path)
    data = path.read_bytes()
    start, count = int(large._page.offsets[2]), int(large._page.lengths[2])
    path.write_bytes(data[:start] + bytes(count) + data[start + count :])

    large.read(0, 100, 0, 230)
    with pytest.raises(ImageError, match=r"a\.tif: block at row 100, column 0: expected"):
        large.read(99, 101, 0, 230)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({274: (3, [6])}, r"an upright image .* found orientation 6; make it a tiled TIFF: vips"),
        ({322: (4, [1 << 20]), 323: (4, [1 << 20])}, "at most 16,777,216 pixels, found 1048576x1048576"),
        ({256: (4, [0])}, "at least one pixel"),
        ({256: (4, [1 << 31]), 257: (4, [1 << 31])}, "at most 4,194,304 tiles or strips"),
        ({256: (4, [99999])}, r"expected 3126 places and lengths of TIFF blocks, found 4"),
        ({256: (12, [128.0])}, "whole numbers in TIFF tag 256"),
    ],
)
def test_files_that_cannot_be_read_in_windows_are_refused(tmp_path: Path, tags: dict, message: str) -> None:
    path = write_tiff(tmp_path / "a.tif", (128, 128), tile=64, tags=tags)

    with pytest.raises(ImageError, match=message):
        LargeImage(path)


def test_other_formats_are_refused_with_the_command_to_convert(tmp_path: Path) -> None:
    Image.fromarray(scene()).save(tmp_path / "a.png")

    with pytest.raises(ImageError, match=r"expected a TIFF.* vips tiffsave IN OUT.tif --tile --bigtiff"):
        LargeImage(tmp_path / "a.png")


def test_a_large_tiff_is_recognized_by_its_directory(tmp_path: Path) -> None:
    small = write_tiff(tmp_path / "small.tif", (128, 128), tile=64)
    large = write_tiff(tmp_path / "large.tif", (20_000, 20_000), tile=2048, big=True)

    assert (is_large_tiff(small), is_large_tiff(large)) == (False, True)
    assert not is_large_tiff(tmp_path / "missing.tif")
    with pytest.raises(
        ImageError, match=r"20,000x20,000 in its header; not decoded: lookonce detect --tiles"
    ):
        read_image(large)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_tiff_with_white_as_zero_is_not_inverted(tmp_path: Path, bits: int) -> None:
    """The scene is stored with black as 0 and with white as 0, and is also read by windows."""
    pixels = scene()[..., 0] if bits == 8 else scene()[..., 0].astype(np.uint16) * 257
    Image.fromarray(pixels).save(tmp_path / "black.tif")
    positive = (tmp_path / "black.tif").read_bytes()
    at = positive.index(struct.pack("<HHIH", 262, SHORT, 1, 1))
    stored = np.bitwise_not(pixels)
    start = positive.index(pixels.tobytes())
    negative = bytearray(positive)
    negative[start : start + pixels.nbytes] = stored.tobytes()
    negative[at + 8 : at + 10] = struct.pack("<H", 0)
    path = tmp_path / "white.tif"
    path.write_bytes(negative)
    whole = read_image(path)
    assert np.array_equal(whole, read_image(tmp_path / "black.tif"))
    assert np.array_equal(LargeImage(path).read(0, 150, 0, 230), whole)
