"""Hostile files for every reader, such as an attacker or a broken disk may produce."""

import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from PIL import Image

from lookonce.metadata import METADATA_KEY
from tests.tiny_onnx import INFO, YELLOW, image, write_tiny_model

Make = Callable[[Path], None]  # writes the file or folder with this name
Content = bytes | Callable[[], bytes]  # content of a file; a function if making it takes long

GOOD = Image.fromarray(image((64, 96), ((32, 0, 64, 32), YELLOW)))
HUGE_NUMBER = "9" * 5000


def saved(kind: str, **options: object) -> bytes:
    """Encode the good image with Pillow."""
    stream = io.BytesIO()
    GOOD.save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return one chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header(width: int, height: int, depth: int = 8) -> bytes:
    """Return the IHDR chunk of an RGB image."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0))


def png(*chunks: bytes) -> bytes:
    """Return a PNG with the given chunks."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b"")


def flat_png(width: int, height: int, depth: int = 8) -> bytes:
    """Return a valid black PNG, which has about a byte per thousand pixels."""
    rows = zlib.compressobj(9)
    row = bytes(1 + 3 * width * depth // 8)
    data = b"".join(rows.compress(row) for _ in range(height)) + rows.flush()
    return png(header(width, height, depth), chunk(b"IDAT", data))


def tiff(*tags: tuple[int, int, int], then: int = 0) -> bytes:
    """Return a little-endian TIFF with one directory of tags (number, count, value), all LONG."""
    folder = struct.pack("<H", len(tags)) + b"".join(
        struct.pack("<HHII", tag, 4, count, value) for tag, count, value in tags
    )
    return b"II*\x00" + struct.pack("<I", 8) + folder + struct.pack("<I", then)


def second_page(strange: tuple[int, int, int, int]) -> bytes:
    """Return the directory of a page of 8x8 pixels with a strange tag: (number, kind, count, value)."""
    numbers = ((256, 8), (257, 8), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 8), (279, 64))
    tags = {tag: (tag, 4, 1, value) for tag, value in numbers} | {strange[0]: strange}
    rows = b"".join(struct.pack("<HHII", *tags[tag]) for tag in sorted(tags))
    return struct.pack("<H", len(tags)) + rows + bytes(4)


def overlapping_directories(tags: int, pages: int) -> bytes:
    """Return a TIFF whose pages begin at intervals of 8 bytes, so nearly all bytes belong to all pages."""
    data = bytearray(b"II*\0" + struct.pack("<I", 8) + bytes(12 * tags + 8 * pages + 16))
    for at in range(8, 8 + 8 * pages, 8):
        struct.pack_into("<H", data, at, tags)
        struct.pack_into("<I", data, at + 2 + 12 * tags, at + 8)
    return bytes(data)


def bomb(kind: bytes, start: bytes, mebibytes: int, *others: bytes) -> Callable[[], bytes]:
    """Return a maker of a PNG with a chunk of compressed zeros after `start`, before other chunks."""
    return lambda: png(header(64, 64), chunk(kind, start + zlib.compress(bytes(mebibytes << 20), 1)), *others)


def images() -> Iterator[tuple[str, Content]]:
    """Yield name and content of images."""
    scanline = chunk(b"IDAT", zlib.compress(bytes(193 * 64)))
    yield "huge.png", png(header(60_000, 60_000), scanline)
    yield "two_headers.png", png(header(64, 64), header(60_000, 60_000), scanline)
    yield "header_after_data.png", png(header(64, 64), scanline, header(30_000, 30_000), scanline)
    yield "large.png", partial(flat_png, 7_000, 7_000)
    yield "thin.png", flat_png(32_000, 1)
    yield "color_profile_bomb.png", bomb(b"iCCP", b"x\0\0", 300, scanline)
    yield "text_bomb.png", bomb(b"zTXt", b"x\0\0", 300, scanline)
    size = ((256, 1, 64), (257, 1, 64))
    strips = ((258, 1, 8), (259, 1, 1), (262, 1, 1), (273, 1, 8), (277, 1, 1), (278, 1, 64), (279, 1, 4096))
    yield "huge.tif", tiff((256, 1, 60_000), (257, 1, 60_000), *strips)
    yield (
        "duplicate_tags.tif",
        tiff((256, 1, 32_000), (256, 1, 64), (257, 1, 32_000), (257, 1, 64), *strips) + bytes(1 << 20),
    )
    yield "loop.tif", tiff(*size, *strips, then=8)
    yield "huge_strip.tif", tiff(*size, *strips[:-1], (279, 1, 0xFFFFFFF0))
    yield "many_channels.tif", tiff(*size, *strips[:4], (277, 1, 65_000), *strips[5:])
    gif = bytearray(saved("GIF"))
    gif[6:10] = struct.pack("<HH", 65_535, 65_535)
    yield "huge_screen.png", bytes(gif)
    bmp = bytearray(saved("BMP"))
    for name, width, height in (("huge", 30_000, 30_000), ("upside_down", 64, -(2**31)), ("negative", -5, 5)):
        bmp[18:26] = struct.pack("<ii", width, height)
        yield f"{name}.bmp", bytes(bmp)
    jpeg = saved("JPEG")
    at = jpeg.index(b"\xff\xc0") + 5
    yield "huge.jpg", jpeg[:at] + struct.pack(">HH", 65_535, 65_535) + jpeg[at + 4 :]
    yield "no_rows.jpg", jpeg[:at] + struct.pack(">HH", 0, 96) + jpeg[at + 4 :]
    scans = saved("JPEG", progressive=True)
    first = scans.rindex(b"\xff\xda")
    yield "many_scans.jpg", scans[:first] + scans[first:-2] * 5000 + b"\xff\xd9"
    yield "many_markers.jpg", jpeg[:2] + b"\xff\xfe\x00\x02" * 1_000_000 + jpeg[2:]
    jp2 = bytearray(saved("JPEG2000"))
    where = jp2.index(b"\xff\x51")
    jp2[where + 6 : where + 14] = struct.pack(">II", 60_000, 60_000)
    yield "huge_jpeg2000.jpg", bytes(jp2)
    ico = struct.pack("<HHHBBBBHHII", 0, 1, 1, 0, 0, 0, 0, 1, 32, 60, 22) + png(header(60_000, 60_000))
    yield "icon.png", ico
    yield "map.bmp", b"P6 60000 60000 255\n" + bytes(100)
    webp = bytearray(saved("WEBP", lossless=True))
    webp[21:25] = b"\xff\xff\xff\x0f"
    yield "huge.webp", bytes(webp)
    yield from lying_images(jpeg, at)
    yield from old_images()
    for kind, suffix in (("PNG", "png"), ("JPEG", "jpg"), ("TIFF", "tif"), ("BMP", "bmp"), ("WEBP", "webp"),
                         ("GIF", "gif"), ("AVIF", "avif"), ("JPEG2000", "jp2"), ("PPM", "ppm")):  # fmt: skip
        whole = saved(kind)
        yield f"short.{suffix}", whole[:11]
        yield f"half.{suffix}", whole[: len(whole) // 2]
        rest = np.random.default_rng(len(whole)).integers(0, 256, len(whole) // 2, np.uint8).tobytes()
        yield f"noise.{suffix}", whole[: len(whole) // 2] + rest
    yield "empty.jpg", b""
    yield "page.jpg", b"<html>" * 1000


def lying_images(jpeg: bytes, at: int) -> Iterator[tuple[str, Content]]:
    """Yield images with contradictory or countless parts; `at` is the offset of the JPEG's size."""
    scanline = chunk(b"IDAT", zlib.compress(bytes(193 * 64)))
    size = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
    yield "no_columns.png", png(header(0, 64), scanline)
    yield "negative.png", png(header(0xFFFF_FFFF, 64), scanline)
    yield "depth.png", png(chunk(b"IHDR", size[:8] + bytes([7, 9, 1, 1, 9])), scanline)
    yield "no_palette.png", png(chunk(b"IHDR", size[:8] + bytes([8, 3, 0, 0, 0])), scanline)
    yield "long_chunk.png", png(header(64, 64)) + struct.pack(">I", 0x7FFF_FFFF) + b"IDAT"
    yield "checksum.png", png(header(64, 64)[:-4] + bytes(4), scanline)
    yield "chunks.png", png(header(64, 64), chunk(b"IDAT", b"") * 1_000_000, scanline)
    yield "texts.png", png(header(64, 64), chunk(b"tEXt", b"a\0b") * 200_000, scanline)
    yield "bomb.png", bomb(b"IDAT", b"", 300)
    frame = struct.pack(">IIIIIHHBB", 0, 64, 64, 0, 0, 1, 1, 0, 0)
    frames = chunk(b"acTL", struct.pack(">II", 0xFFFF_FFFF, 0)) + chunk(b"fcTL", frame)
    yield "frames.png", png(header(64, 64), frames, scanline)
    yield "deep.png", partial(flat_png, 4000, 4000, 16)
    for name, value in (("no_components", 0), ("components", 255)):
        yield f"{name}.jpg", jpeg[: at + 4] + bytes([value]) + jpeg[at + 5 :]
    yield "sampling.jpg", jpeg[: at + 6] + b"\xff" + jpeg[at + 7 :]
    yield "precision.jpg", jpeg[: at - 1] + b"\x0c" + jpeg[at:]
    yield "lossless.jpg", jpeg.replace(b"\xff\xc0", b"\xff\xc3")
    yield "arithmetic.jpg", jpeg.replace(b"\xff\xc0", b"\xff\xc9")
    yield "no_tables.jpg", jpeg.replace(b"\xff\xc4", b"\xff\xfe").replace(b"\xff\xdb", b"\xff\xfe")
    yield "no_length.jpg", jpeg[:2] + b"\xff\xe0\x00\x00" + jpeg[2:]
    yield "fill.jpg", jpeg[:2] + b"\xff" * 20_000_000 + jpeg[3:]
    yield "restarts.jpg", jpeg[:-2] + b"\xff\xd0" * 5_000_000 + jpeg[-2:]
    yield "twice.jpg", jpeg + jpeg
    tall = jpeg[:at] + struct.pack(">HH", 20_000, 5_000) + jpeg[at + 4 :]
    yield "mostly_gray.jpg", tall  # allowed size, but nearly all pixels are missing
    scans = saved("JPEG", progressive=True)
    where = scans.index(b"\xff\xc2") + 5
    first = scans.rindex(b"\xff\xda")
    large = scans[:where] + struct.pack(">HH", 8000, 8000) + scans[where + 4 :]
    yield "large_scans.jpg", large[:first] + large[first:-2] * 60 + b"\xff\xd9"
    loop = struct.pack("<HHII", 0x8769, 4, 1, 8) + struct.pack("<HHII", 274, 3, 1, 6) + struct.pack("<I", 8)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + loop
    yield "exif_loop.jpg", jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]
    pixels = ((258, 1, 8), (259, 1, 1), (262, 1, 1), (273, 1, 8), (277, 1, 1), (279, 1, 4096))
    sides = ((256, 1, 64), (257, 1, 64))
    yield "rows.tif", tiff(*sides, *pixels[:-1], (278, 1, 0xFFFF_FFFF), pixels[-1])
    yield (
        "tiles.tif",
        tiff((256, 1, 32_000), (257, 1, 5_000), *pixels[:3], (277, 1, 1), (322, 1, 1), (323, 1, 1)),
    )
    yield "flat_tiles.tif", tiff(*sides, *pixels[:3], (277, 1, 1), (322, 1, 0), (323, 1, 0), (324, 1, 8))
    yield "planes.tif", tiff(*sides, *pixels[:4], (277, 1, 4), (278, 1, 64), (279, 1, 4096), (284, 1, 2))
    yield (
        "bits.tif",
        tiff(*sides, (258, 60_000, 8), *pixels[1:4], (277, 1, 60_000), (278, 1, 64), (279, 1, 99)),
    )
    yield "compression.tif", tiff(*sides, (258, 1, 8), (259, 1, 34_712), *pixels[2:])
    inside = saved("JPEG")
    inside = inside[:at] + struct.pack(">HH", 65_000, 65_000) + inside[at + 4 :]
    tags = (
        *sides,
        (258, 1, 8),
        (259, 1, 7),
        (262, 1, 6),
        (273, 1, 122),
        (277, 1, 3),
        (278, 1, 64),
        (279, 1, 9000),
    )
    yield "jpeg_inside.tif", tiff(*tags) + inside
    yield "tags.tif", b"II*\0" + struct.pack("<IH", 8, 65_535) + bytes(12 * 65_535)
    yield "overlapping_directories.tif", overlapping_directories(60_000, 20)
    yield "unknown_kind.tif", tiff(*sides, *pixels, (278, 1, 64), then=122) + second_page((317, 99, 1, 1))
    yield "high_page.tif", tiff(*sides, *pixels, (278, 1, 64), then=122) + second_page((257, 4, 1, 1 << 31))
    yield "big.tif", b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, 1 << 62)
    gif = bytearray(saved("GIF"))
    at = gif.index(b",\0\0\0\0")
    gif[at + 5 : at + 9] = struct.pack("<HH", 30_000, 30_000)
    yield "large_frame.gif", bytes(gif)
    yield "comment.gif", bytes(gif[:13]) + b"!\xfe" + b"\x01a" * 5_000_000 + b"\0"
    yield "code.gif", saved("GIF")[:at] + b",\0\0\0\0\x60\0\x40\0\0\xff\xff" + bytes(255) + b";"
    lossless = saved("WEBP", lossless=True)[12:]
    for name, canvas, count in (("canvas", 12_000, 300), ("small_canvas", 8, 1)):
        sides_24 = (canvas - 1).to_bytes(3, "little") * 2
        part = struct.pack("<4sI", b"ANMF", 16 + len(lossless)) + bytes(6) + (95).to_bytes(3, "little")
        part += (63).to_bytes(3, "little") + bytes(4) + lossless
        body = struct.pack("<4sI", b"VP8X", 10) + b"\x02\0\0\0" + sides_24
        body += struct.pack("<4sI", b"ANIM", 6) + bytes(6) + part * count
        yield f"{name}.webp", b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
    yield (
        "still_canvas.webp",
        b"RIFF\xff\xff\xff\xffWEBP" + struct.pack("<4sI", b"VP8X", 10) + bytes(10) + lossless,
    )
    avif = bytearray(saved("AVIF"))
    at = avif.index(b"ispe")
    avif[at + 8 : at + 16] = struct.pack(">II", 60_000, 60_000)
    yield "huge.avif", bytes(avif)
    avif[at + 8 : at + 16] = struct.pack(">II", 8, 8)
    yield "small.avif", bytes(avif)
    avif[:4] = b"\xff" * 4
    yield "box.avif", bytes(avif)
    for name, kept in (
        ("tiles", (300, 300, 0, 0, 1, 1)),
        ("origin", (64, 64, 60_000, 0, 64, 64)),
        ("no_tiles", (96, 64, 0, 0, 0, 0)),
    ):
        jp2 = bytearray(saved("JPEG2000", no_jp2=True))
        jp2[8:32] = struct.pack(">6I", *kept)
        yield f"{name}.j2k", bytes(jp2)
    container = bytearray(saved("JPEG2000"))
    at = container.index(b"ihdr")
    container[at + 4 : at + 12] = struct.pack(">II", 8, 8)
    yield "header.jp2", bytes(container)
    yield "number.ppm", b"P3 4 4 255\n" + b"9" * 5_000
    yield "comment.ppm", b"P6 #" + b"x" * 5_000_000 + b"\n4 4 255\n" + bytes(48)
    yield "no_value.pgm", b"P5 4 4 0\n" + bytes(16)
    yield "large.pbm", b"P4 13000 13000\n" + bytes(1000)
    yield "bits.bmp", saved("BMP")[:28] + b"\x03\x00" + saved("BMP")[30:]
    yield (
        "palette.bmp",
        saved("BMP")[:28] + b"\x08\x00" + saved("BMP")[30:46] + b"\xff" * 4 + saved("BMP")[50:],
    )
    yield (
        "runs.bmp",
        saved("BMP")[:28] + b"\x08\x00\x01\0\0\0" + saved("BMP")[34:54] + b"\0\x02\xff\xff" * 5000,
    )
    yield "head.bmp", saved("BMP")[:14] + b"\xff" * 4 + saved("BMP")[18:]


def old_images() -> Iterator[tuple[str, bytes]]:
    """Yield Targa and PCX images, which have no checksums and short headers."""
    tga, pcx = saved("TGA"), saved("PCX")
    runs = saved("TGA", compression="tga_rle")
    yield "huge.tga", tga[:12] + struct.pack("<HH", 65_535, 65_535) + tga[16:]
    yield "large.tga", tga[:12] + struct.pack("<HH", 16_000, 11_000) + tga[16:]
    yield "flat.tga", tga[:12] + struct.pack("<HH", 96, 0) + tga[16:]
    yield "cut.tga", tga[:500]
    yield "bits.tga", tga[:16] + b"\x05" + tga[17:]
    yield "kind.tga", tga[:2] + b"\x20" + tga[3:]
    yield "name.tga", b"\xff" + tga[1:]
    yield "palette.tga", b"\x00\x01\x01" + struct.pack("<HHB", 60_000, 1, 24) + tga[8:16] + b"\x08" + tga[17:]
    yield "endless_run.tga", runs[:18] + b"\xff\x01\x02\x03" * 100_000
    yield "half_run.tga", runs[: len(runs) - 30]
    yield "huge_runs.tga", runs[:12] + struct.pack("<HH", 60_000, 60_000) + runs[16:]
    for name, corners in (
        ("huge", (0, 0, 65_534, 65_534)),
        ("large", (0, 0, 15_999, 10_999)),
        ("negative", (50, 50, 0, 0)),
    ):
        yield f"{name}.pcx", pcx[:4] + struct.pack("<4H", *corners) + pcx[12:]
    yield "planes.pcx", pcx[:65] + b"\xff" + pcx[66:]
    yield "stride.pcx", pcx[:66] + b"\x01\x00" + pcx[68:]
    yield "long_stride.pcx", pcx[:66] + b"\xff\xff" + pcx[68:]
    yield "bits.pcx", pcx[:3] + b"\x07" + pcx[4:]
    yield "cut.pcx", pcx[:200]
    yield "long_runs.pcx", pcx[:128] + b"\xff\x01" * 1_000_000
    exif = b"II*\0" + struct.pack("<IH", 8, 3)
    turns = [exif + b"".join(struct.pack("<HHII", 274, 3, 1, turn) for turn in turned) + bytes(4)
             for turned in ((0, 0, 0), (9, 9, 9), (3, 6, 8), (65_535, 1, 1))]  # fmt: skip
    jpeg = saved("JPEG")
    for number, turn in enumerate(turns):
        block = b"Exif\0\0" + turn
        yield (
            f"turned{number}.jpg",
            jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[2:],
        )
    yield (
        "turned.png",
        png(header(96, 64), chunk(b"eXIf", turns[2]), chunk(b"IDAT", zlib.compress(bytes(289 * 64)))),
    )
    webp = bytearray(saved("WEBP", save_all=True, append_images=[GOOD.rotate(90)], duration=10))
    at = webp.index(b"ANMF")
    webp[at + 14 : at + 20] = b"\xff" * 6
    yield "large_frame.webp", bytes(webp)
    yield "archive.png", saved("PNG") + zipped(("a", bytes(1_000)))
    yield "program.jpg", b"\x7fELF" + jpeg


def described(**changes: object) -> Make:
    """Return a maker of the tiny model with false entries in its description."""

    def make(path: Path) -> None:
        write_tiny_model(path)
        model = onnx.load(path)
        text = json.dumps(json.loads(INFO.to_json()) | changes)
        onnx.helper.set_model_props(model, {METADATA_KEY: text})
        path.write_bytes(model.SerializeToString())

    return make


def with_constant(name: str, value: float) -> Make:
    """Return a maker of the tiny model with another constant in it."""

    def make(path: Path) -> None:
        write_tiny_model(path)
        model = onnx.load(path)
        for constant in model.graph.initializer:
            if constant.name == name:
                constant.CopyFrom(numpy_helper.from_array(np.float32(value), name))
        path.write_bytes(model.SerializeToString())

    return make


def outside(path: Path) -> None:
    """Write a model whose weights refer to a file of the system."""
    write_tiny_model(path)
    model = onnx.load(path)
    constant = model.graph.initializer[0]
    constant.ClearField("raw_data")
    constant.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", "../../../../../../etc/passwd"), ("length", "4")):
        constant.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())


def content(data: bytes | str) -> Make:
    """Return a maker of a file with the given content."""
    raw = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
    return lambda path: path.write_bytes(raw) and None


def safetensors(head: str, length: int | None = None) -> Make:
    """Return a maker of a file with the given header and no tensors."""
    raw = head.encode()
    return content(struct.pack("<Q", len(raw) if length is None else length) + raw)


NET = "[net]\nwidth={}\nheight={}\nchannels=3\n"
CONVOLUTION = "[convolutional]\nfilters={}\nsize=1\nstride=1\npad=1\nactivation=linear\n"
YOLO = "[yolo]\nmask=0\nanchors=10,10\nclasses=1\nnum=1\n"


def cfg(text: str, weights: bytes = b"") -> Make:
    """Return a maker of a Darknet model."""

    def make(path: Path) -> None:
        path.write_text(text)
        path.with_suffix(".weights").write_bytes(struct.pack("<iiiq", 0, 2, 0, 0) + weights)

    return make


def link(target: str) -> Make:
    """Return a maker of a link."""
    return lambda path: path.symlink_to(target)


def fifo(path: Path) -> None:
    """Make a FIFO without a writer."""
    os.mkfifo(path)


def beside(suffix: str, make: Make) -> Make:
    """Return a maker of a Darknet model in which one file is replaced."""

    def both(path: Path) -> None:
        cfg(NET.format(32, 32) + CONVOLUTION.format(6) + YOLO, bytes(96))(path)
        path.with_suffix(suffix).unlink(missing_ok=True)
        make(path.with_suffix(suffix))

    return both


def models() -> Iterator[tuple[str, Make]]:
    """Yield model files: name and maker."""
    nan, inf = float("nan"), float("inf")
    yield "nan.onnx", with_constant("two", nan)
    yield "inf.onnx", with_constant("range", inf)
    yield "outside.onnx", outside
    yield "text.onnx", content("<html>" * 100)
    yield "empty.onnx", content(b"")
    yield "strides.onnx", described(strides=[0])
    yield "size.onnx", described(input_size=[10**9, 10**9])
    yield "text_size.onnx", described(input_size="416")
    yield "anchors.onnx", described(anchors=[[[nan, 32]]])
    yield "epsilon.onnx", described(bn_epsilon=-1)
    yield "width.onnx", described(width=1e300)
    yield "long_name.onnx", described(names=["x" * 1_000_000, "y"])
    yield "many_names.onnx", described(names=[str(i) for i in range(100_000)])
    yield "surrogates.onnx", described(names=["\ud800", "b"])
    yield "other_names.onnx", described(names=["a", "b", "c"])
    yield "no_names.onnx", described(names=[])
    yield "fit.onnx", described(fit="\x1b[2J")
    yield "training.onnx", described(training=[1])

    def nested(path: Path) -> None:
        write_tiny_model(path)
        model = onnx.load(path)
        onnx.helper.set_model_props(model, {METADATA_KEY: "[" * 100_000})
        path.write_bytes(model.SerializeToString())

    yield "nested.onnx", nested
    yield from lying_models()
    yield "length.safetensors", safetensors("{}", 1 << 62)
    yield "nested.safetensors", safetensors("[" * 100_000)
    yield "bare.safetensors", safetensors("{}")
    wide = json.loads(INFO.to_json()) | {
        "architecture": "yolov3",
        "width": 64,
        "strides": [8, 16, 32],
        "anchors": [[[10, 10]] * 3] * 3,
    }
    yield "wide.safetensors", safetensors(json.dumps({"__metadata__": {METADATA_KEY: json.dumps(wide)}}))
    offsets = {"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}
    yield "offsets.safetensors", safetensors(json.dumps(offsets))
    yield (
        "nan.cfg",
        cfg(NET.format(32, 32) + CONVOLUTION.format(6) + YOLO, np.full(24, np.nan, np.float32).tobytes()),
    )
    yield "short.cfg", cfg(NET.format(32, 32) + CONVOLUTION.format(6) + YOLO, b"1234")
    yield "fifo.cfg", beside(".weights", fifo)
    yield "big.cfg", cfg(NET.format(1 << 30, 1 << 30) + CONVOLUTION.format(6) + YOLO)
    yield "filters.cfg", cfg(NET.format(32, 32) + CONVOLUTION.format(1 << 40) + YOLO)
    yield "digits.cfg", cfg(NET.format(HUGE_NUMBER, 32) + CONVOLUTION.format(6) + YOLO)
    yield "route.cfg", cfg(NET.format(32, 32) + "[route]\nlayers=0\n" + YOLO)
    yield "kept.cfg", cfg(NET.format(4096, 4096) + CONVOLUTION.format(256) * 400 + YOLO)
    yield "layers.cfg", cfg(NET.format(32, 32) + CONVOLUTION.format(1) * 100_000)
    yield "binary.cfg", cfg("\x00" * 5000)
    bomb = '<!DOCTYPE a [<!ENTITY a "ha">' + "".join(
        f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(12)
    )
    yield "bomb.xml", content(f"{bomb}]><net>&m;</net>")
    yield "fifo.xml", fifo
    yield "fifo.onnx", fifo
    yield "fifo.safetensors", fifo
    yield "bare.xml", content("<net name='x' version='11'><layers/><edges/></net>")


def with_nodes(*nodes: onnx.NodeProto, **constants: object) -> Make:
    """Return a maker of the tiny model with further nodes after its output; the last one gives `end`."""

    def make(path: Path) -> None:
        write_tiny_model(path)
        model = onnx.load(path)
        model.graph.node.extend(nodes)
        model.graph.initializer.extend(
            numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
        )
        model.graph.output[0].name = "end"
        path.write_bytes(model.SerializeToString())

    return make


def endless(path: Path) -> None:
    """Write a model that computes forever, until Ctrl-C."""
    node, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    body = onnx.helper.make_graph(
        [node("Identity", ["on"], ["still"]), node("Identity", ["given"], ["kept"])],
        "body",
        [info("i", onnx.TensorProto.INT64, []), info("on", onnx.TensorProto.BOOL, []),
         info("given", onnx.TensorProto.FLOAT, None)],
        [info("still", onnx.TensorProto.BOOL, []), info("kept", onnx.TensorProto.FLOAT, None)],
    )  # fmt: skip
    loop = node("Loop", ["count", "go", "candidates"], ["end"], body=body)
    with_nodes(loop, count=np.int64(1 << 62), go=np.bool_(True))(path)


def lying_models() -> Iterator[tuple[str, Make]]:
    """Yield models with false declarations, and models that never end."""
    node = onnx.helper.make_node
    yield "escapes.onnx", described(names=["\x1b]0;stolen\x07", "\u202egnp"], strides=[0])
    yield "numbers.onnx", described(names=[1, 2])
    yield "map.onnx", described(names={"0": "a"})
    yield "digits.onnx", described(input_size=[int("9" * 4000), 64])
    yield "depth.onnx", described(training=json.loads("[" * 500 + "]" * 500))
    yield "record.onnx", described(training={"seen": "x" * 10_000_000})
    yield "negative.onnx", described(strides=[-32])
    yield "many_strides.onnx", described(strides=[32] * 100_000)
    yield "many_anchors.onnx", described(anchors=[[[1, 1]] * 100_000])
    yield "version.onnx", described(format_version=10**9)
    yield "thresholds.onnx", described(thresholds=[float("nan")] * 2)
    yield "values.onnx", described(values=[1, float("inf")])
    yield "null.onnx", described(**dict.fromkeys(json.loads(INFO.to_json())))
    huge = with_nodes(node("Expand", ["candidates", "shape"], ["end"]), shape=np.array([1 << 20, 1 << 20, 7]))
    yield "huge_output.onnx", huge
    yield "fewer.onnx", with_nodes(node("Flatten", ["candidates"], ["end"]))
    yield "constant.onnx", with_nodes(node("ConstantOfShape", ["shape"], ["end"]), shape=np.array([1 << 40]))
    yield "unknown.onnx", with_nodes(node("DoesNotExist", ["candidates"], ["end"]))
    yield "divided.onnx", with_nodes(node("Div", ["candidates", "zero"], ["end"]), zero=np.float32(0))
    yield "circle.onnx", with_nodes(node("Identity", ["end"], ["end"]))
    for name, tensor in (
        ("dtype", {"dtype": "F13", "shape": [1], "data_offsets": [0, 4]}),
        ("shape", {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}),
        ("product", {"dtype": "F32", "shape": [1 << 62, 4], "data_offsets": [0, 4]}),
        ("backwards", {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}),
        ("text", {"dtype": "F32", "shape": "1", "data_offsets": [0, 4]}),
        ("dimensions", {"dtype": "F32", "shape": [1] * 100_000, "data_offsets": [0, 4]}),
    ):
        yield f"{name}.safetensors", safetensors(json.dumps({"a": tensor}))
    yield (
        "tensors.safetensors",
        safetensors(
            json.dumps(
                {str(i): {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(100_000)}
            )
        ),
    )
    yield "metadata.safetensors", safetensors(json.dumps({"__metadata__": {METADATA_KEY: "[" * 100_000}}))
    yield "no_metadata.safetensors", safetensors(json.dumps({"__metadata__": [1]}))
    first = NET.format(32, 32) + CONVOLUTION.format(6)
    for name, text in (
        ("upsample", "[upsample]\nstride=100000\n"),
        ("pool", "[maxpool]\nsize=100000\nstride=1\n"),
        ("no_stride", "[maxpool]\nsize=2\nstride=0\n"),
        ("kernel", CONVOLUTION.format(6).replace("size=1", "size=1000000")),
        ("groups", CONVOLUTION.format(6) + "groups=7\n"),
        ("routes", "[route]\nlayers=" + "-1," * 100_000 + "-1\n"),
        ("ahead", "[shortcut]\nfrom=5\nactivation=linear\n"),
        ("reorg", "[reorg]\nstride=7\n"),
        ("stride", CONVOLUTION.format(6).replace("stride=1", "stride=nan")),
        ("no_filters", CONVOLUTION.format(0)),
        ("doubling", "[route]\nlayers=-1,-1\n" * 40),
        ("growing", "[upsample]\nstride=2\n" * 20),
    ):
        yield f"{name}.cfg", cfg(first + text + YOLO, bytes(96))
    for name, yolo in (
        ("classes", YOLO.replace("classes=1", "classes=1000000")),
        ("mask", YOLO.replace("mask=0", "mask=5")),
        ("no_anchors", YOLO.replace("anchors=10,10", "anchors=")),
        ("nan_anchors", YOLO.replace("10,10", "nan,inf")),
        ("escapes", YOLO.replace("[yolo]", "[yo\x1b[2Jlo]")),
    ):
        yield f"{name}_yolo.cfg", cfg(first + yolo, bytes(96))
    layers = "<layer id='0' name='x' type='Parameter' version='opset1'/>"
    for name, inside in (("edges", "<edges><edge from-layer='0' to-layer='0'/></edges>"), ("attribute", ""),
                         ("entity", "&e;")):  # fmt: skip
        head = '<!DOCTYPE net [<!ENTITY e SYSTEM "file:///etc/passwd">]>' if name == "entity" else ""
        longest = "a" * (20_000_000 if name == "attribute" else 1)
        yield (
            f"{name}.xml",
            content(f"{head}<net name='{longest}' version='11'><layers>{layers}</layers>{inside}</net>"),
        )


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
BOX = "0 0.5 0.5 0.3 0.3\n"


def labels() -> Iterator[tuple[str, Make]]:
    """Yield YOLO label files for one image among others."""
    yield "passwd", link("/etc/passwd")
    yield "zero", link("/dev/zero")
    yield "fifo", fifo
    yield "itself", link("a.txt")
    yield "nowhere", link("b/c")
    yield "digits", content(f"{HUGE_NUMBER} 0.5 0.5 0.3 0.3\n")
    yield "long_float", content(f"0 0.{HUGE_NUMBER} 1e{HUGE_NUMBER} 0.3 0.3\n")
    yield "nan", content("0 nan nan nan nan\n")
    yield "inf", content("0 inf 0.5 1e308 0.3\n")
    yield "binary", content(bytes(range(256)) * 100)
    yield "escapes", content("\x1b]0;stolen\x07 0.5 0.5 0.3 0.3\n")
    yield "folder", lambda path: path.mkdir()
    yield "one_line", content("0 " * 2_000_000)
    yield "many_rows", content("x\n" * 200_000)
    yield "class", content("99999999999999999999 0.5 0.5 0.3 0.3\n")
    yield "minus", content("-1 0.5 0.5 0.3 0.3\n-0 0.5 0.5 0.3 0.3\n")
    yield "polygon", content("0 " + "0.5 0.25 " * 200_000 + "\n")
    yield "utf_16", content(BOX.encode("utf-16"))
    yield "returns", content(BOX.replace("\n", "\r") * 3)
    yield "zeros", content(bytes(1 << 20))


def coco(**changes: object) -> str:
    """Return a COCO file of one image and one box, with changed entries."""
    entry = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [8, 8, 32, 32], "area": 1024, "iscrowd": 0}
    picture = {"id": 1, "file_name": "a.png", "width": 96, "height": 64}
    for key in changes.keys() & (entry.keys() | picture.keys()):
        (entry if key in entry and key != "id" else picture)[key] = changes.pop(key)
    tree = {"images": [picture], "annotations": [entry], "categories": [{"id": 1, "name": "a"}]}
    return json.dumps(tree | changes)


def zipped(*entries: tuple[str, bytes]) -> bytes:
    """Return a zip file."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return stream.getvalue()


def large_zip(entries: Iterable[tuple[str, bytes, int]], method: int = zipfile.ZIP_DEFLATED) -> Make:
    """Return a maker of a zip file, from names and contents, given as a start and a number of spaces."""

    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, start, spaces in entries:
                archive.writestr(name, start + b" " * spaces)

    return make


def voc(size: str = "96", box: str = "8", name: str = "a", head: str = "") -> str:
    """Return a VOC file of one box."""
    return (
        f"{head}<annotation><filename>a.png</filename><size><width>{size}</width><height>64</height></size>"
        f"<object><name>{name}</name><bndbox><xmin>{box}</xmin><ymin>8</ymin><xmax>40</xmax><ymax>40</ymax>"
        "</bndbox></object></annotation>"
    )


def data_sets() -> Iterator[tuple[str, dict[str, Make]]]:
    """Yield data sets around `a.png`: name, and makers by file."""
    for name, yaml in (
        ("alias_bomb", f"{BOMB}names: *h\ntrain: images\n"),
        ("alias_paths", f"{BOMB}names: [a]\ntrain: *h\n"),
        ("own_alias", "names: &a [*a]\ntrain: images\n"),
        ("date", "names: [2001-99-99]\ntrain: images\n"),
        ("digits", f"names: [a]\nnc: {HUGE_NUMBER}\ntrain: images\n"),
        ("hex_digits", f"names: [a]\nnc: 0x{HUGE_NUMBER}\ntrain: images\n"),
        ("base_60", f"names: [a]\nnc: {'59:' * 5000}59\ntrain: images\n"),
        ("deep", f"names: {'[' * 20_000}\n"),
        ("python", "names: !!python/object/apply:os.system [false]\ntrain: images\n"),
        ("key", "? [a, {b: c}]\n: d\n"),
        ("no_lines", 'names: [a]\ntrain: "a\\0b"\n'),
        ("elsewhere", "names: [a]\npath: /dev\ntrain: zero\n"),
        ("escapes", 'names: ["\\e[2J"]\ntrain: "\\e[2J"\n'),
        ("many_names", f"names: [{','.join(map(str, range(100_000)))}]\ntrain: nowhere\n"),
    ):
        yield f"yaml_{name}", {"data.yaml": content(yaml)}
    for name, text in (
        ("deep", "[" * 100_000),
        ("digits", coco().replace('"area": 1024', f'"area": {HUGE_NUMBER}')),
        ("digits_id", coco().replace('"category_id": 1', f'"category_id": {HUGE_NUMBER}')),
        ("nan", coco(bbox=[float("nan"), 8, 32, 32])),
        ("inf", coco(bbox=[8, 8, float("inf"), 1e308])),
        ("text_box", coco(bbox="\x1b[2J")),
        ("device", coco(file_name="/dev/zero")),
        ("passwd", coco(file_name="../../../../../../../etc/passwd")),
        ("zero_byte", coco(file_name="a\0.png")),
        ("long_name", coco(file_name="x" * 100_000)),
        ("surrogate", coco(file_name="\ud800.png")),
        ("huge_size", coco(width=1 << 62)),
        ("lists", coco(images=[[]], annotations=[1])),
        ("ids", coco(image_id=[1])),
        ("nothing", coco(images=None, annotations=None, categories=None)),
        ("lone", "{"),
        ("objects", '{"images":' * 50_000),
        ("number", coco().replace("1024", "1e999999")),
        ("minus", coco().replace("1024", "-Infinity")),
        ("keys", coco(categories=[{"id": 1, "name": "a", "x": {str(i): i for i in range(100_000)}}])),
        ("formula", coco(categories=[{"id": 1, "name": "=1+1|' /C calc'!A0"}])),
        ("newline", coco(categories=[{"id": 1, "name": "a\n0 0.5 0.5 1 1"}])),
        ("dots", coco(categories=[{"id": 1, "name": "../../../x"}])),
        ("polygon", coco(segmentation=[[1e308, -1e308] * 3])),
        ("points", coco(segmentation=[list(range(1_000_000))])),
        ("mask", coco(segmentation={"size": [1 << 40, 1 << 40], "counts": [1]}, iscrowd=1)),
        ("counts", coco(segmentation={"size": [64, 96], "counts": "\u007f" * 100_000}, iscrowd=1)),
        ("boolean", coco(bbox=[True, False, None, 5])),
        (
            "twins",
            json.dumps(
                {
                    "images": [{"id": 1, "file_name": "a.png", "width": 96, "height": 64}] * 50_000,
                    "annotations": [],
                    "categories": [],
                }
            ),
        ),
        ("names", coco(categories=[{"id": i, "name": str(i)} for i in range(100_000)], category_id=200_000)),
    ):
        yield f"coco_{name}", {"coco.json": content(text)}
    entity = '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
    for name, text in (
        ("entity", voc(head=entity, name="&e;")),
        ("digits", voc(box=HUGE_NUMBER)),
        ("size", voc(size=HUGE_NUMBER)),
        ("nan", voc(box="nan")),
        ("deep", "<annotation>" * 100_000),
        ("name", voc(name="x" * 1_000_000, box="zero")),
        ("encoding", '<?xml version="1.0" encoding="utf-7"?>' + voc()),
        ("half", voc()[:100]),
        ("attribute", voc().replace("<annotation", f"<annotation x='{'a' * 20_000_000}'")),
        (
            "attributes",
            voc().replace("<annotation", "<annotation " + " ".join(f"a{i}='1'" for i in range(200_000))),
        ),
        ("bomb", voc(head='<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>', name="&b;")),
        ("parameter", voc(head='<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd">')),
        ("escapes", voc(name="&#27;[2J")),
        ("negative", voc(box="-1e308")),
        ("objects", voc().replace("</annotation>", "<object/>" * 100_000 + "</annotation>")),
    ):
        yield f"voc_{name}", {"a.xml": content(text)}
    yield "voc_fifo", {"a.xml": fifo}
    yield "voc_device", {"a.xml": link("/dev/zero")}
    yield (
        "csv_digits",
        {"a.csv": content(f"filename,xmin,ymin,xmax,ymax,class\na.png,{HUGE_NUMBER},1,9,9,a\n")},
    )
    yield "csv_field", {"a.csv": content(f"filename,xmin,ymin,xmax,ymax,class\n{'x' * 1_000_000}\n")}
    yield "csv_quote", {"a.csv": content('filename,xmin,ymin,xmax,ymax,class\n"a.png,1,1,9,9,a\n' * 1000)}
    yield "lines_digits", {"lines.txt": content(f"a.png {HUGE_NUMBER},1,9,9,0\n")}
    yield "lines_device", {"lines.txt": content("/dev/zero 1,1,9,9,0\n")}
    yield (
        "labelme_data",
        {"a.json": content(json.dumps({"shapes": [{"points": [[0]] * 9, "label": 1}], "imagePath": 5}))},
    )
    yield (
        "labelstudio",
        {"tasks.json": content('[{"data": {"image": 1}, "annotations": [{"result": [[]]}]}]')},
    )
    yield "createml", {"a.json": content('[{"image": 1, "annotations": [{"coordinates": []}]}]')}
    yield (
        "cvat",
        {"annotations.xml": content("<annotations><image id='x' name='' width='-1'/></annotations>")},
    )


def archives() -> Iterator[tuple[str, Make]]:
    """Yield zip files."""
    yield "climb.zip", content(zipped(("../../climbed.png", b"x"), ("coco.json", coco().encode())))
    yield "absolute.zip", content(zipped(("/tmp/climbed.png", b"x"), ("coco.json", coco().encode())))
    images = ((f"{i}.png", b"", 1 << 24) for i in range(20))
    yield "bomb.zip", large_zip([("coco.json", b"", 3 << 30 >> 3), *images])
    yield "itself.zip", content(zipped(("a.zip", zipped(("a.zip", b"PK")))))
    whole = zipped(("coco.json", coco().encode()), ("a.png", saved("PNG")))
    yield "half.zip", content(whole[: len(whole) // 2])
    yield "damaged.zip", content(whole.replace(b"IHDR", b"XXXX"))
    yield "empty.zip", content(b"")
    yield "million.zip", large_zip((str(i), b"", 0) for i in range(1_000_000))
    locked = bytearray(zipped(("coco.json", coco().encode()), ("a.png", saved("PNG"))))
    locked[6] |= 1
    locked[locked.index(b"PK\1\2") + 8] |= 1
    yield "locked.zip", content(bytes(locked))
    yield (
        "windows.zip",
        content(zipped(("..\\..\\climbed.png", b"x"), ("C:\\a.png", b"x"), ("coco.json", coco().encode()))),
    )
    yield "nested.zip", content(zipped(("set.zip", whole)))
    for name, member in (("backslash", "..\\..\\x.png"), ("dot", "."), ("long", "x" * 5000),
                         ("escapes", "\x1b[2J.png"), ("deep", "a/" * 2000 + "x.png")):  # fmt: skip
        yield f"{name}.zip", content(zipped((member, b"x"), ("coco.json", coco().encode())))
    yield "twins.zip", content(zipped(("a", b"x"), ("a/b.png", b"x"), ("coco.json", coco().encode())))
    yield "names.zip", content(zipped(*[(f"{i}.txt", b"") for i in range(5_000)]))
    linked = zipfile.ZipInfo("images")
    linked.external_attr = 0o120777 << 16
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(linked, "/etc")
        archive.writestr("coco.json", coco(file_name="images/passwd"))
    yield "link.zip", content(stream.getvalue())
    at = whole.index(b"PK\x01\x02")
    yield "lies.zip", content(whole[: at + 24] + b"\xff\xff\xff\x7f" + whole[at + 28 :])
