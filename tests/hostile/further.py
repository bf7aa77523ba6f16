"""More hostile files of the kinds in `inputs`, written after all problems with those were fixed."""

import gzip
import io
import json
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import onnx

from lookonce.metadata import METADATA_KEY
from tests.hostile.inputs import (
    BOX,
    CONVOLUTION,
    GOOD,
    NET,
    YOLO,
    Content,
    Make,
    bomb,
    cfg,
    chunk,
    coco,
    content,
    header,
    large_zip,
    link,
    png,
    saved,
    tiff,
    voc,
    with_nodes,
    zipped,
)
from tests.tiny_onnx import INFO, write_tiny_model

HARMLESS_MODELS = {  # unusual but valid; they run as in Darknet or the engine
    "average.cfg",
    "beta_head.cfg",
    "deep.onnx",
    "float_route.cfg",
    "keys.onnx",
    "minus_side.onnx",
    "no_mask_head.cfg",
    "odd_net.cfg",
    "one_net.cfg",
    "own_shortcut.cfg",
    "shape_lies.onnx",
    "shrink.cfg",
}


def images() -> Iterator[tuple[str, Content]]:
    """Yield name and content of images."""
    yield from strange_formats()
    yield from strange_pngs()
    yield from strange_jpegs()
    yield from strange_tiffs()
    yield from strange_webps_and_gifs()
    yield from strange_rasters()


def strange_formats() -> Iterator[tuple[str, Content]]:
    """Yield files in formats that only plugins of a decoder support, with a usual image suffix."""
    eps = (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 60000 60000\n%%EndComments\n(touched) (w) file\n%%EOF\n"
    )
    for suffix in ("png", "jpg", "tif", "gif"):
        yield f"postscript.{suffix}", eps
    yield "fonts.png", b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF"
    yield "vector.png", b'<svg xmlns="http://www.w3.org/2000/svg" width="60000" height="60000"/>'
    radiance = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n"
    yield "radiance.png", radiance + b"-Y 60000 +X 60000\n" + bytes(100)
    yield "runs.jpg", radiance + b"-Y 8 +X 32000\n" + b"\x02\x02\x7d\x00" + b"\xff\x00" * 1000
    yield "sun.png", struct.pack(">8I", 0x59A66A95, 60_000, 60_000, 24, 0xFFFF_FFFF, 1, 0, 0) + bytes(100)
    yield "sgi.png", struct.pack(">HBBHHHH", 474, 1, 1, 3, 60_000, 60_000, 3) + bytes(600)
    yield "exr.png", b"v/1\x01\x02\0\0\0channels\0chlist\0\xff\xff\xff\x7f"
    yield "dds.png", b"DDS " + struct.pack("<7I", 124, 0x1007, 60_000, 60_000, 0, 0, 0) + bytes(96)
    yield "layers.jpg", b"8BPS" + struct.pack(">H6xHIIHH", 1, 56, 30_000, 30_000, 16, 3) + bytes(12)
    yield "arbitrary.png", b"P7\nWIDTH 60000\nHEIGHT 60000\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n"
    yield "floats.ppm", b"PF\n60000 60000\n-1.0\n" + bytes(100)
    yield "bitmap.png", b"#define a_width 60000\n#define a_height 60000\nstatic char a_bits[] = {0x00};"
    yield "pixmap.png", b'/* XPM */\nstatic char *a[] = {"60000 60000 1 1", "a c #000000"};'
    yield "cursor.png", struct.pack("<HHHBBBBHHII", 0, 2, 0xFFFF, 0, 0, 0, 0, 1, 32, 60, 22)
    yield "icns.png", b"icns\0\0\0\x18ic10\0\0\0\x10" + b"\x89PNG\r\n\x1a\n"
    yield "gzipped.png", gzip.compress(saved("PNG"))
    yield "gzipped.jpg", lambda: gzip.compress(bytes(50 << 20))
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../../a.png"))
    yield "tar.png", tar.getvalue()
    yield "ink.png", b"\x89PNG\r\n\x1a\n"
    yield "brands.avif", b"\0\0\0\x20ftypavif\0\0\0\0" + b"avif" * 4 + b"\0\0\0\0meta"
    yield "forever.avif", b"\0\0\0\x10ftypavif\0\0\0\0" + b"\0\0\0\0free" * 200_000


def strange_pngs() -> Iterator[tuple[str, Content]]:
    """Yield PNGs whose chunks have an unusual size, number or order."""
    scanline = chunk(b"IDAT", zlib.compress(bytes(193 * 64)))
    bits = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
    yield "long_head.png", png(chunk(b"IHDR", bits + b"\0"), scanline)
    yield "short_head.png", png(chunk(b"IHDR", bits[:9]), scanline)
    yield "no_data.png", png(header(64, 64))
    for length in (1, 0x7FFF_FFFF, 0xFEFF_0000):
        yield (
            f"end_of_{length}.png",
            png(header(64, 64), scanline)[:-12] + struct.pack(">I", length) + b"IEND",
        )
    yield "few_rows.png", png(header(64, 64), chunk(b"IDAT", zlib.compress(bytes(193 * 3))))
    yield "filters.png", png(header(64, 64), chunk(b"IDAT", zlib.compress(b"\x09" * 193 * 64)))
    yield "preset.png", png(header(64, 64), chunk(b"IDAT", b"\x78\xbb" + bytes(60)))
    yield "woven.png", png(chunk(b"IHDR", bits[:-1] + b"\x01"), scanline)
    yield (
        "woven_huge.png",
        png(chunk(b"IHDR", struct.pack(">IIBBBBB", 13_000, 13_000, 16, 6, 0, 0, 1)), scanline),
    )
    yield "tall.png", png(header(1, 178_000_000), scanline)
    yield "wide.png", png(header(178_000_000, 1), scanline)
    yield "transparent.png", png(header(64, 64), chunk(b"tRNS", bytes(5000)), scanline)
    indexed = chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 3, 0, 0, 0))
    yield "colors.png", png(indexed, chunk(b"PLTE", bytes(3 * 300)), scanline)
    yield (
        "one_color.png",
        png(indexed, chunk(b"PLTE", bytes(3)), chunk(b"IDAT", zlib.compress(b"\0" + b"\xff" * 64) * 64)),
    )
    yield "gamma.png", png(header(64, 64), chunk(b"gAMA", bytes(4)), chunk(b"cHRM", bytes(32)), scanline)
    yield "compressed_text.png", bomb(b"iTXt", b"a\0\1\0\0\0", 200, scanline)
    frame = struct.pack(">IIIIIHHBB", 0, 64, 64, 1 << 31, 1 << 31, 0, 0, 9, 9)
    yield (
        "offsets.png",
        png(
            header(64, 64),
            chunk(b"acTL", struct.pack(">II", 2, 0)),
            chunk(b"fcTL", frame),
            scanline,
            chunk(b"fcTL", frame),
            chunk(b"fdAT", bytes(4)),
        ),
    )
    yield "film.png", partial(film, 20_000)
    yield "apple.png", png(chunk(b"CgBI", b"\x50\0\x20\x02"), header(64, 64), scanline)


def film(frames: int) -> bytes:
    """Return an animated PNG with `frames` frames after the first one."""
    control = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 64, 64, 0, 0, 1, 1, 0, 0))
    pixels = zlib.compress(bytes(193 * 64))
    more = (control + chunk(b"fdAT", struct.pack(">I", number) + pixels) for number in range(frames))
    count = chunk(b"acTL", struct.pack(">II", frames, 0))
    return png(header(64, 64), count, control, chunk(b"IDAT", pixels), *more)


def strange_jpegs() -> Iterator[tuple[str, bytes]]:
    """Yield JPEGs with unusual colors, thumbnails, and late sizes."""
    jpeg = saved("JPEG")
    at = jpeg.index(b"\xff\xc0") + 5
    cmyk = io.BytesIO()
    GOOD.convert("CMYK").save(cmyk, "JPEG")
    adobe = cmyk.getvalue()
    yield "adobe.jpg", adobe.replace(b"Adobe\0", b"Adobe\xff")
    yield "two_sizes.jpg", jpeg[: at - 5] + jpeg[at - 5 : at + 12] * 2 + jpeg[at + 12 :]
    start = jpeg[at - 5 : at + 12]
    other = start[:5] + struct.pack(">HH", 60_000, 60_000) + start[9:]
    yield "later_size.jpg", jpeg[:-2] + other + jpeg[-2:]
    yield "earlier_size.jpg", jpeg[:2] + start + jpeg[2 : at - 5] + other + jpeg[at + 12 :]
    late = jpeg[:at] + struct.pack(">H", 0) + jpeg[at + 2 :]
    yield "number_of_lines.jpg", late[:-2] + b"\xff\xdc\0\x04\xff\xff" + late[-2:]
    yield "row.jpg", jpeg[:at] + struct.pack(">HH", 1, 65_500) + jpeg[at + 4 :]
    yield "nested_exif.jpg", jpeg[:2] + (b"\xff\xe1\x00\x08Exif\0\0") * 60_000 + jpeg[2:]
    far = b"Exif\0\0MM\0*" + struct.pack(">IH", 0xFFFF_FFFF, 1)
    yield "far_exif.jpg", jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(far) + 2) + far + jpeg[2:]
    profile = b"ICC_PROFILE\0\xff\xff" + b"\xff" * 60_000
    yield (
        "profile.jpg",
        jpeg[:2] + (b"\xff\xe2" + struct.pack(">H", len(profile) + 2) + profile) * 300 + jpeg[2:],
    )
    several = (
        b"MPF\0II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHII", 0xB001, 4, 1, 0xFFFF_FFFF) + bytes(4)
    )
    yield "several.jpg", jpeg[:2] + b"\xff\xe2" + struct.pack(">H", len(several) + 2) + several + jpeg[2:]
    yield "interval.jpg", jpeg.replace(b"\xff\xda", b"\xff\xdd\0\4\0\1\xff\xda", 1)
    yield "huffman.jpg", jpeg.replace(b"\xff\xc4\0", b"\xff\xc4\xff", 1)
    yield "zero_table.jpg", jpeg.replace(b"\xff\xdb\0\x43", b"\xff\xdb\0\x02", 1)
    yield "hierarchy.jpg", jpeg.replace(b"\xff\xc0", b"\xff\xc5")
    yield "jpeg_ls.jpg", jpeg.replace(b"\xff\xc0", b"\xff\xf7")


def packed_tiff(compression: int, data: bytes) -> bytes:
    """Return a gray TIFF of 64x64 pixels with one compressed strip."""
    sides, kind = ((256, 1, 64), (257, 1, 64)), ((258, 1, 8), (259, 1, compression), (262, 1, 1))
    return tiff(*sides, *kind, (273, 1, 122), (277, 1, 1), (278, 1, 64), (279, 1, len(data))) + data


def strange_tiffs() -> Iterator[tuple[str, Content]]:
    """Yield TIFFs with false compression, tables or pages."""
    sides = ((256, 1, 64), (257, 1, 64))
    one = ((262, 1, 1), (273, 1, 8), (277, 1, 1), (278, 1, 64))
    yield "deflate_bomb.tif", lambda: packed_tiff(8, zlib.compress(bytes(500 << 20), 1))
    yield "lzw_bomb.tif", packed_tiff(5, b"\x80\x00\x60" * 100_000)
    yield "packbits_bomb.tif", packed_tiff(32_773, b"\x81\x00" * 200_000)
    for name, code in (
        ("fax", 4),
        ("thunder", 32_809),
        ("old_jpeg", 6),
        ("zstd", 50_000),
        ("webp", 50_001),
        ("lerc", 34_887),
        ("jbig", 34_661),
        ("lzma", 34_925),
        ("sgi_log", 34_676),
    ):
        yield f"{name}.tif", tiff(*sides, (258, 1, 8), (259, 1, code), *one, (279, 1, 4096)) + b"\x5a" * 5000
    plain = ((258, 1, 8), (259, 1, 1))
    yield "no_map.tif", tiff(*sides, *plain, (262, 1, 3), *one[1:], (279, 1, 4096)) + bytes(4096)
    yield "mask.tif", tiff((254, 1, 4), *sides, *plain, (262, 1, 4), *one[1:], (279, 1, 4096)) + bytes(4096)
    yield (
        "ycbcr.tif",
        tiff(*sides, *plain, (262, 1, 6), (273, 1, 8), (277, 1, 3), (278, 1, 64), (279, 1, 4096), (530, 1, 0))
        + bytes(4096),
    )
    yield (
        "predictor.tif",
        tiff(*sides, (258, 1, 8), (259, 1, 5), *one, (279, 1, 4096), (317, 1, 3)) + bytes(4096),
    )
    yield "zero_rows.tif", tiff(*sides, *plain, *one[:3], (278, 1, 0), (279, 1, 4096)) + bytes(4096)
    yield "no_strips.tif", tiff(*sides, *plain, (262, 1, 1), (277, 1, 1), (278, 1, 64))
    yield "no_bytes.tif", tiff(*sides, *plain, *one, (279, 1, 0))
    yield (
        "many_strips.tif",
        tiff(
            (256, 1, 8),
            (257, 1, 8),
            *plain,
            (262, 1, 1),
            (273, 0x3FFF_FFFF, 8),
            (277, 1, 1),
            (278, 1, 1),
            (279, 0x3FFF_FFFF, 8),
        ),
    )
    yield "one_bit.tif", tiff((256, 1, 60_000), (257, 1, 60_000), (258, 1, 1), (259, 1, 1), *one, (279, 1, 9))
    yield (
        "floats.tif",
        tiff(*sides, (258, 1, 32), (259, 1, 1), *one, (279, 1, 16_384), (339, 1, 3)) + b"\xff" * 20_000,
    )
    yield (
        "doubles.tif",
        tiff(*sides, (258, 1, 64), (259, 1, 1), *one, (279, 1, 32_768), (339, 1, 3)) + b"\x7f" * 40_000,
    )
    yield (
        "half_floats.tif",
        tiff(*sides, (258, 1, 16), (259, 1, 1), *one, (279, 1, 8192), (339, 1, 3)) + b"\x7c" * 9000,
    )
    yield (
        "complex.tif",
        tiff(*sides, (258, 1, 64), (259, 1, 1), *one, (279, 1, 32_768), (339, 1, 6)) + bytes(40_000),
    )
    yield "signed.tif", tiff(*sides, *plain, *one, (279, 1, 4096), (339, 1, 2)) + bytes(5000)
    pages = bytearray(b"II*\0" + struct.pack("<I", 8))
    for _ in range(30_000):
        pages += (
            struct.pack("<H", 2) + struct.pack("<HHII", 256, 4, 1, 8) * 2 + struct.pack("<I", len(pages) + 30)
        )
    yield "pages.tif", bytes(pages)
    yield (
        "odd_place.tif",
        b"II*\0" + struct.pack("<I", 9) + b"\0" + tiff(*sides, *plain, *one, (279, 1, 8))[8:],
    )
    yield "back.tif", tiff(*sides, *plain, *one, (279, 1, 4096), then=4) + bytes(4096)
    yield "itself.tif", b"II*\0" + bytes(4)
    yield (
        "dng.tif",
        tiff((254, 1, 1), *sides, *plain, (262, 1, 32_803), *one[1:], (279, 1, 4096)) + bytes(4096),
    )


def strange_webps_and_gifs() -> Iterator[tuple[str, bytes]]:
    """Yield WebP, GIF, AVIF and JPEG 2000 images with false sizes, frames or parts."""
    lossy, lossless = saved("WEBP"), saved("WEBP", lossless=True)
    at = lossy.index(b"\x9d\x01\x2a") + 3
    yield "largest.webp", lossy[:at] + b"\xff\x3f\xff\x3f" + lossy[at + 4 :]
    yield "flat.webp", lossy[:at] + bytes(4) + lossy[at + 4 :]
    yield "odd_length.webp", lossy[:4] + b"\xff\xff\xff\xff" + lossy[8:]
    yield "no_length.webp", lossy[:4] + bytes(4) + lossy[8:]
    yield "version.webp", lossless[:24] + bytes([lossless[24] | 0xE0]) + lossless[25:]

    def extended(flags: int, width: int, height: int, *parts: bytes) -> bytes:
        sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        body = struct.pack("<4sI", b"VP8X", 10) + bytes([flags, 0, 0, 0]) + sides + b"".join(parts)
        return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body

    alpha = struct.pack("<4sI", b"ALPH", 6) + b"\x01\xff\xff\xff\xff\xff"
    yield "alpha.webp", extended(0x10, 96, 64, alpha, lossy[12:])
    yield "empty.webp", extended(0, 96, 64)
    yield "largest_canvas.webp", extended(2, 1 << 24, 1 << 24, struct.pack("<4sI", b"ANIM", 6) + bytes(6))
    yield "other_canvas.webp", extended(0, 4000, 4000, lossy[12:])
    yield "unknown.webp", extended(0, 96, 64, b"abcd\xff\xff\xff\x7f", lossy[12:])
    yield "many_parts.webp", extended(0, 96, 64, b"abcd\0\0\0\0" * 500_000, lossy[12:])
    gif = saved("GIF")
    where = gif.index(b",\0\0\0\0")
    yield "no_code_size.gif", gif[: where + 10] + b"\0" + gif[where + 11 :]
    yield "code_size.gif", gif[: where + 10] + b"\x0d" + gif[where + 11 :]
    yield "no_screen.gif", gif[:6] + bytes(4) + gif[10:]
    yield "no_frame.gif", gif[:where] + b";"
    yield "outside.gif", gif[: where + 1] + struct.pack("<HH", 60_000, 60_000) + gif[where + 5 :]
    yield "empty_frame.gif", gif[: where + 5] + bytes(4) + gif[where + 9 :]
    yield "frames.gif", gif[:-1] + gif[where:-1] * 20_000 + b";"
    yield "interlaced.gif", gif[: where + 9] + bytes([gif[where + 9] | 0x40]) + gif[where + 10 :]
    yield "extensions.gif", gif[:13] + b"!\xf9\x04\x09\xff\xff\xff\0" * 100_000 + gif[13:]
    avif = saved("AVIF")
    for name, old, new in (
        ("grid", b"av01", b"grid"),
        ("turned", b"ispe", b"irot"),
        ("codec", b"av1C", b"av1X"),
        ("location", b"iloc", b"iloX"),
        ("primary", b"pitm", b"pitX"),
    ):
        yield f"{name}.avif", avif.replace(old, new)
    extent = avif.index(b"iloc")
    yield "extent.avif", avif[: extent + 16] + b"\xff" * 8 + avif[extent + 24 :]
    jp2 = saved("JPEG2000", no_jp2=True)
    yield "channels.j2k", jp2[:40] + struct.pack(">H", 16_384) + jp2[42:]
    yield "depth.j2k", jp2[:42] + b"\x25" + jp2[43:]
    yield "steps.j2k", jp2[:43] + b"\xff\xff" + jp2[45:]
    yield "no_steps.j2k", jp2[:43] + b"\0\0" + jp2[45:]
    style = jp2.index(b"\xff\x52")
    yield "levels.j2k", jp2[: style + 9] + b"\x20" + jp2[style + 10 :]
    yield "layers.j2k", jp2[: style + 6] + b"\xff\xff" + jp2[style + 8 :]
    yield "blocks.j2k", jp2[: style + 10] + b"\xff\xff" + jp2[style + 12 :]


def strange_rasters() -> Iterator[tuple[str, bytes]]:
    """Yield BMP and PNM images with false numbers."""
    bmp = saved("BMP")
    for name, place, value in (
        ("planes", 26, b"\xff\xff"),
        ("start", 10, b"\xff\xff\xff\x7f"),
        ("start_zero", 10, bytes(4)),
        ("sixteen", 28, b"\x10\0\x03\0\0\0"),
        ("jpeg", 28, b"\0\0\x04\0\0\0"),
        ("png", 28, b"\0\0\x05\0\0\0"),
        ("four", 28, b"\x04\0\x02\0\0\0"),
        ("one", 28, b"\x01\0"),
        ("sixty_four", 28, b"\x40\0"),
        ("flat", 22, bytes(4)),
        ("wide", 18, struct.pack("<ii", 2**31 - 1, 1)),
        ("min", 18, struct.pack("<ii", -(2**31), -(2**31))),
        ("no_head", 14, bytes(4)),
        ("colors_used", 28, b"\x08\0" + bytes(4) + b"\xff\xff\xff\xff" + bytes(8) + b"\xff\xff\xff\xff"),
    ):
        yield f"{name}.bmp", bmp[:place] + value + bmp[place + len(value) :]
    yield "old.bmp", b"BM" + bytes(8) + struct.pack("<IIHHHH", 26, 12, 65_535, 65_535, 1, 24)
    runs = (
        b"BM"
        + bytes(8)
        + struct.pack("<IIiiHHIIiiII", 1078, 40, 64, 64, 1, 8, 1, 0, 0, 0, 0, 0)
        + bytes(1024)
    )
    yield "run_outside.bmp", runs + b"\0\x02\x3f\x3f" * 3 + b"\xff\x01" * 1000
    yield "run_forever.bmp", runs + b"\0\0" * 1_000_000
    for name, text in (
        ("maximum.ppm", b"P6 64 64 65536\n" + bytes(99)),
        ("minus.ppm", b"P6 -64 64 255\n" + bytes(99)),
        ("sides.pgm", b"P5 0 64 255\n" + bytes(99)),
        ("ascii.ppm", b"P3 8000 8000 255\n" + b"1 " * 100),
        ("above.ppm", b"P3 2 2 9\n" + b"99999 " * 12),
        ("letters.pgm", b"P2 2 2 255\na b c d"),
        ("comments.pgm", b"P5\n" + b"#\n" * 1_000_000 + b"8 8 255\n" + bytes(64)),
        ("deep.ppm", b"P6 8 8 65535\n" + b"\xff" * 100),
        ("bits.pbm", b"P1 20000 20000\n" + b"1" * 100),
        ("spaces.pgm", b"P5" + b" " * 5_000_000 + b"8 8 255\n" + bytes(64)),
        ("joined.pgm", b"P5 8 8 255" + bytes(64)),
    ):
        yield name, text


def models() -> Iterator[tuple[str, Make]]:
    """Yield model files: name and maker."""
    yield from strange_safetensors()
    yield from strange_onnx()
    yield from strange_cfgs()
    ports = "<layer id='0' name='x' type='{}' version='opset1'><data element_type='u8' shape='{}'/></layer>"
    for name, body in (
        ("size", ports.format("Parameter", "1,999999999,999999999,3")),
        ("kind", ports.format("Nonsense", "1")),
        ("shape", ports.format("Parameter", "-5,x")),
        ("many", ports.format("Parameter", "1") * 100_000),
    ):
        yield f"{name}.xml", content(f"<net name='x' version='11'><layers>{body}</layers><edges/></net>")
    yield "weights.xml", _openvino_without_numbers


def _openvino_without_numbers(path: Path) -> None:
    layer = (
        "<layer id='0' name='w' type='Const' version='opset1'><data element_type='f32' shape='1000000000' "
        "offset='0' size='4000000000'/><output><port id='0' precision='FP32'><dim>1000000000</dim></port>"
        "</output></layer>"
    )
    path.write_text(f"<net name='x' version='11'><layers>{layer}</layers><edges/></net>")
    path.with_suffix(".bin").write_bytes(bytes(8))


def packed(tensors: dict[str, object], data: bytes, metadata: object = None) -> Make:
    """Return a maker of a safetensors file."""
    described_as = {METADATA_KEY: INFO.to_json()} if metadata is None else metadata
    head = json.dumps({"__metadata__": described_as} | tensors).encode()
    return content(struct.pack("<Q", len(head)) + head + data)


def strange_safetensors() -> Iterator[tuple[str, Make]]:
    """Yield safetensors files with false headers, types or numbers."""

    def tensor(kind: str, start: int, end: int, *shape: int) -> dict[str, object]:
        return {"dtype": kind, "shape": list(shape), "data_offsets": [start, end]}

    yield (
        "overlap.safetensors",
        packed({"a": tensor("F32", 0, 8, 2), "b": tensor("F32", 4, 12, 2)}, bytes(12)),
    )
    yield "gap.safetensors", packed({"a": tensor("F32", 8, 16, 2)}, bytes(16))
    yield "rest.safetensors", packed({"a": tensor("F32", 0, 8, 2)}, bytes(5000))
    yield "cut.safetensors", packed({"a": tensor("F32", 0, 8, 2)}, bytes(3))
    for kind, width in (
        ("BF16", 2),
        ("F64", 8),
        ("F16", 2),
        ("I64", 8),
        ("BOOL", 1),
        ("F8_E4M3", 1),
        ("C64", 8),
    ):
        yield f"{kind.lower()}.safetensors", packed({"a": tensor(kind, 0, 2 * width, 2)}, b"\xff" * 2 * width)
    twice = '{"__metadata__":{},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},' * 1
    twice += '"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    yield "twice.safetensors", content(struct.pack("<Q", len(twice)) + twice.encode() + bytes(4))
    yield "huge_head.safetensors", content(struct.pack("<Q", 99_000_000) + b" " * 99_000_000)
    yield "spaces.safetensors", content(struct.pack("<Q", 20_000_000) + b"{" + b" " * 19_999_998 + b"}")
    yield "list.safetensors", content(struct.pack("<Q", 2) + b"[]")
    yield "eight.safetensors", content(bytes(8))
    yield "seven.safetensors", content(bytes(7))
    yield "latin.safetensors", content(struct.pack("<Q", 9) + b'{"\xe9\xff": 1}')
    yield "names.safetensors", packed({"x" * 1_000_000: tensor("F32", 0, 4, 1)}, bytes(4))
    yield "escapes.safetensors", packed({"\x1b[2J": tensor("F32", 0, 4, 1)}, bytes(4))
    yield (
        "floats.safetensors",
        packed({"a": {"dtype": "F32", "shape": [1.5], "data_offsets": [0, 4]}}, bytes(4)),
    )
    yield "zip.safetensors", content(zipped(("archive/data.pkl", b"\x80\x02cos\nsystem\n")))
    yield "pickle.safetensors", content(b"\x80\x04\x95\x1d\0\0\0\0\0\0\0\x8c\x05posix\x8c\x06system\x93")
    yield "pickle.weights", content(b"\x80\x04\x95\x1d\0\0\0\0\0\0\0\x8c\x05posix\x8c\x06system\x93")
    yield "numbers.safetensors", packed({}, b"", {METADATA_KEY: "1"})
    yield "digits.safetensors", packed({}, b"", {METADATA_KEY: "9" * 5000})
    yield "constant.safetensors", packed({}, b"", {METADATA_KEY: "NaN"})
    yield (
        "surrogate.safetensors",
        packed({}, b"", {METADATA_KEY: '{"format_version": 1, "names": ["\\ud800"]}'}),
    )


def strange_onnx() -> Iterator[tuple[str, Make]]:
    """Yield ONNX models with unusual ports, types, functions or weights."""
    node, helper = onnx.helper.make_node, onnx.helper

    def changed(change: object) -> Make:
        def make(path: Path) -> None:
            write_tiny_model(path)
            model = onnx.load(path)
            change(model)
            path.write_bytes(model.SerializeToString())

        return make

    def elsewhere(place: str, **more: str) -> Make:
        def change(model: onnx.ModelProto) -> None:
            constant = model.graph.initializer[0]
            constant.ClearField("raw_data")
            constant.data_location = onnx.TensorProto.EXTERNAL
            for key, value in {"location": place, **more}.items():
                constant.external_data.add(key=key, value=value)

        return changed(change)

    yield "absolute.onnx", elsewhere("/etc/passwd")
    yield "offset.onnx", elsewhere("a.png", offset="999999999999", length="4")
    yield "minus_offset.onnx", elsewhere("a.png", offset="-1")
    yield "itself_data.onnx", elsewhere("itself_data.onnx")
    yield "device.onnx", elsewhere("/dev/zero", length="4")
    yield "url.onnx", elsewhere("http://127.0.0.1:9/a")
    yield "opset.onnx", changed(lambda model: setattr(model.opset_import[0], "version", 10**6))
    yield "no_opset.onnx", changed(lambda model: model.ClearField("opset_import"))
    yield "ir.onnx", changed(lambda model: setattr(model, "ir_version", 10**6))
    yield "domain.onnx", changed(lambda model: setattr(model.graph.node[0], "domain", "\x1b[2J"))
    yield "no_input.onnx", changed(lambda model: model.graph.ClearField("input"))
    yield "no_output.onnx", changed(lambda model: model.graph.ClearField("output"))
    yield "no_graph.onnx", changed(lambda model: model.ClearField("graph"))
    yield (
        "inputs.onnx",
        changed(lambda model: model.graph.input.append(helper.make_tensor_value_info("more", 1, [1, 2]))),
    )
    yield (
        "text_input.onnx",
        changed(
            lambda model: setattr(model.graph.input[0].type.tensor_type, "elem_type", onnx.TensorProto.STRING)
        ),
    )
    yield "rank.onnx", changed(lambda model: model.graph.input[0].type.tensor_type.shape.dim.add(dim_value=5))
    yield (
        "minus_side.onnx",
        changed(lambda model: setattr(model.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", -64)),
    )
    yield (
        "huge_side.onnx",
        changed(
            lambda model: setattr(model.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", 1 << 40)
        ),
    )
    yield (
        "zero_side.onnx",
        changed(lambda model: setattr(model.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", 0)),
    )
    nan, big = np.float32("nan"), np.float32(1e38)
    yield "nan_output.onnx", with_nodes(node("Mul", ["candidates", "x"], ["end"]), x=nan)
    yield (
        "overflow.onnx",
        with_nodes(node("Mul", ["candidates", "x"], ["more"]), node("Mul", ["more", "x"], ["end"]), x=big),
    )
    yield "text_output.onnx", with_nodes(node("Cast", ["candidates"], ["end"], to=onnx.TensorProto.STRING))
    yield "half.onnx", with_nodes(node("Cast", ["candidates"], ["end"], to=onnx.TensorProto.FLOAT16))
    yield "doubles.onnx", with_nodes(node("Cast", ["candidates"], ["end"], to=onnx.TensorProto.DOUBLE))
    yield (
        "tile.onnx",
        with_nodes(node("Tile", ["candidates", "by"], ["end"]), by=np.array([1, 1 << 30, 1], np.int64)),
    )
    yield (
        "deep.onnx",
        with_nodes(
            *[node("Identity", ["candidates" if i == 0 else f"n{i}"], [f"n{i + 1}"]) for i in range(50_000)],
            node("Identity", ["n50000"], ["end"]),
        ),
    )
    keys = {f"key{i}": "x" for i in range(100_000)}
    yield (
        "keys.onnx",
        changed(lambda model: helper.set_model_props(model, keys | {METADATA_KEY: INFO.to_json()})),
    )
    yield (
        "twins.onnx",
        changed(lambda model: [model.metadata_props.add(key=METADATA_KEY, value="{}") for _ in range(3)]),
    )
    yield "varint.onnx", content(b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
    yield "group.onnx", content(b"\x3b" * 100_000)
    yield "levels.onnx", content(_nested_message(5_000))
    yield (
        "infinite_half.onnx",
        changed(
            lambda model: model.graph.initializer.append(
                onnx.numpy_helper.from_array(np.array([np.inf], np.float16), "more")
            )
        ),
    )
    yield (
        "bfloat16.onnx",
        changed(
            lambda model: model.graph.initializer.append(
                helper.make_tensor("more", onnx.TensorProto.BFLOAT16, [1], b"\x80\x7f", raw=True)
            )
        ),
    )
    yield (
        "shape_lies.onnx",
        changed(
            lambda model: (
                model.graph.initializer.append(
                    helper.make_tensor("more", onnx.TensorProto.FLOAT, [1 << 20], bytes(4 << 20), raw=True)
                )
                or setattr(model.graph.initializer[-1], "raw_data", bytes(8))
            )
        ),
    )


def _nested_message(levels: int) -> bytes:
    """Return nested fields of kind 7."""
    data = b""
    for _ in range(levels):
        length, size = len(data), b""
        while True:
            size += bytes([length & 0x7F | (0x80 if length > 0x7F else 0)])
            length >>= 7
            if not length:
                break
        data = b"\x3a" + size + data
    return data


def strange_cfgs() -> Iterator[tuple[str, Make]]:
    """Yield Darknet models with false layers, numbers or weights."""
    first, whole = NET.format(32, 32) + CONVOLUTION.format(6), bytes(96)
    for name, text in (
        ("own_route", "[route]\nlayers=1\n"),
        ("own_shortcut", "[shortcut]\nfrom=0\nactivation=linear\n"),
        ("far_route", "[route]\nlayers=-999999999\n"),
        ("no_route", "[route]\nlayers=\n"),
        ("word_route", "[route]\nlayers=a,b\n"),
        ("float_route", "[route]\nlayers=-1.5\n"),
        ("groups_route", "[route]\nlayers=-1\ngroups=5\ngroup_id=9\n"),
        ("minus_groups", "[route]\nlayers=-1\ngroups=-2\ngroup_id=-1\n"),
        ("negative_filters", CONVOLUTION.format(-5)),
        ("negative_size", CONVOLUTION.format(6).replace("size=1", "size=-1")),
        ("zero_size", CONVOLUTION.format(6).replace("size=1", "size=0")),
        ("zero_stride", CONVOLUTION.format(6).replace("stride=1", "stride=0")),
        ("minus_stride", CONVOLUTION.format(6).replace("stride=1", "stride=-1")),
        ("huge_pad", CONVOLUTION.format(6) + "padding=1000000\n"),
        ("minus_pad", CONVOLUTION.format(6) + "padding=-5\n"),
        ("no_groups", CONVOLUTION.format(6) + "groups=0\n"),
        ("dilation", CONVOLUTION.format(6) + "dilation=100000\n"),
        ("activation", CONVOLUTION.format(6).replace("linear", "\x1b[2J")),
        ("infinite", CONVOLUTION.format("inf")),
        ("hexadecimal", CONVOLUTION.format("0x6")),
        ("underscore", CONVOLUTION.format("1_0")),
        ("arabic", CONVOLUTION.format("\u0666")),
        ("minus_upsample", "[upsample]\nstride=-2\n"),
        ("no_upsample", "[upsample]\nstride=0\n"),
        ("minus_pool", "[maxpool]\nsize=-2\nstride=2\n"),
        ("zero_pool", "[maxpool]\nsize=0\nstride=2\n"),
        ("shrink", "[maxpool]\nsize=2\nstride=2\n" * 12),
        ("unknown", "[teleport]\n"),
        ("second_net", "[net]\nwidth=64\nheight=64\n"),
        ("unclosed", "[convolutional\nfilters=6\n"),
        ("no_section", "filters=6\n=5\n"),
        ("long_line", "#" + "x" * 5_000_000 + "\n"),
        ("long_value", "[route]\nlayers=" + "9" * 500_000 + "\n"),
        ("weighted", "[shortcut]\nfrom=-1\nweights_type=per_channel\nweights_normalization=\x1b\n"),
        ("scale", "[scale_channels]\nfrom=-1\n"),
        ("scale_far", "[scale_channels]\nfrom=-50\n"),
        ("sam", "[sam]\nfrom=7\n"),
        ("average", "[avgpool]\n"),
        ("local_average", "[local_avgpool]\nsize=1000\nstride=0\n"),
        ("share", CONVOLUTION.format(6) + "share_index=1\n"),
        ("share_far", CONVOLUTION.format(6) + "share_index=-9\n"),
        ("antialiasing", CONVOLUTION.format(6) + "antialiasing=1\nstride=2\n"),
        ("assisted", "[batchnorm]\n[dropout]\nprobability=nan\n"),
        ("connected", "[connected]\noutput=1000000000\n"),
        ("connected_huge", "[upsample]\nstride=32\n" * 2 + "[connected]\noutput=1000000\n"),
        ("lstm", "[lstm]\noutput=5\n"),
        ("softmax", "[softmax]\ngroups=0\n"),
        ("crop", "[crop]\ncrop_width=-5\n"),
        ("empty_end", "[cost]\n"),
    ):
        yield f"{name}.cfg", cfg(first + text + YOLO, whole)
    for name, yolo in (
        ("minus_classes", YOLO.replace("classes=1", "classes=-1")),
        ("no_classes", YOLO.replace("classes=1", "classes=0")),
        ("twice_mask", YOLO.replace("mask=0", "mask=0,0,0,0")),
        ("minus_mask", YOLO.replace("mask=0", "mask=-1")),
        ("no_mask", YOLO.replace("mask=0\n", "")),
        ("num", YOLO.replace("num=1", "num=1000000000")),
        ("minus_num", YOLO.replace("num=1", "num=-1")),
        ("zero_anchors", YOLO.replace("10,10", "0,0")),
        ("minus_anchors", YOLO.replace("10,10", "-10,-10")),
        ("huge_anchors", YOLO.replace("10,10", "1e30,1e300")),
        ("scale_x_y", YOLO + "scale_x_y=nan\n"),
        ("beta", YOLO + "nms_kind=greedynms\nbeta_nms=inf\nnew_coords=1\nscale_x_y=1e30\n"),
        ("nowhere", ""),
        ("detection", "[detection]\nclasses=1\ncoords=4\nside=7\nnum=2\n"),
        ("region", "[region]\nanchors=1,1\nclasses=1\nnum=1\ncoords=5\nsoftmax=1\n"),
        ("region_tree", "[region]\nanchors=1,1\nclasses=1\nnum=1\ncoords=4\ntree=/etc/passwd\n"),
        ("gaussian", YOLO.replace("[yolo]", "[Gaussian_yolo]")),
        ("many", YOLO * 2000),
    ):
        yield f"{name}_head.cfg", cfg(first + yolo, whole)
    for name, sides in (
        ("minus", (-32, -32)),
        ("nought", (0, 0)),
        ("odd", (33, 31)),
        ("one", (1, 1)),
        ("word", ("a", "b")),
        ("nothing", ("", "")),
    ):
        yield f"{name}_net.cfg", cfg(NET.format(*sides) + CONVOLUTION.format(6) + YOLO, whole)
    for channels in (0, -3, 2, 1_000_000_000):
        text = NET.format(32, 32).replace("channels=3", f"channels={channels}")
        yield f"channels{channels}.cfg", cfg(text + CONVOLUTION.format(6) + YOLO, whole)
    text = first + YOLO
    for name, head in (
        ("version", struct.pack("<iiiq", 999, 999, 999, 0) + whole),
        ("minus_version", struct.pack("<iiiq", -1, -1, -1, -1) + whole),
        ("old_version", struct.pack("<iiii", 0, 1, 0, 0) + whole[:-9]),
        ("longer", struct.pack("<iiiq", 0, 2, 0, 0) + whole + bytes(1_000_003)),
        ("empty", b""),
        ("head_only", struct.pack("<iiiq", 0, 2, 0, 0)),
        ("three_bytes", b"\0\0\0"),
        ("infinite", struct.pack("<iiiq", 0, 2, 0, 0) + struct.pack("<f", float("inf")) * 24),
        ("lfs", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"),
        ("html", b"<!DOCTYPE html><html></html>"),
    ):
        yield f"{name}_weights.cfg", with_weights(text, head)
    yield "loop_weights.cfg", with_weights_link(text, "loop_weights.weights")
    yield "device_weights.cfg", with_weights_link(text, "/dev/urandom")
    yield "utf_16.cfg", content(text.encode("utf-16") + b"\0")
    yield "latin.cfg", content(text.encode() + b"# caf\xe9\n")
    yield "empty.cfg", content(b"")
    yield "comment.cfg", content(b"# nothing\n")


def with_weights(text: str, weights: bytes) -> Make:
    """Return a maker of a Darknet model with given content of the weights file."""

    def make(path: Path) -> None:
        path.write_text(text)
        path.with_suffix(".weights").write_bytes(weights)

    return make


def with_weights_link(text: str, target: str) -> Make:
    """Return a maker of a Darknet model whose weights are a link."""

    def make(path: Path) -> None:
        path.write_text(text)
        path.with_suffix(".weights").symlink_to(target)

    return make


def labels() -> Iterator[tuple[str, Make]]:
    """Yield YOLO label files for one image among others."""
    yield "urandom", link("/dev/urandom")
    yield "parent", link("..")
    yield "long_link", link("x" * 250)
    yield "proc", link("/proc/self/maps")
    yield "mem", link("/proc/self/mem")
    yield "arabic", content("\u0660 0.5 0.5 0.3 0.3\n")
    yield "underscores", content("0 0.5_0 0.5 0.3 0.3\n1_0 0.5 0.5 0.3 0.3\n")
    yield "hexadecimal", content("0x0 0x1p-1 0.5 0.3 0.3\n")
    yield "commas", content("0,0.5,0.5,0.3,0.3\n")
    yield "decimal_commas", content("0 0,5 0,5 0,3 0,3\n")
    yield "subnormal", content("0 5e-324 5e-324 5e-324 5e-324\n")
    yield "overflow", content("0 1e400 -1e400 1e400 1e400\n")
    yield "spaces", content(" " * 5_000_000 + "\n")
    yield "blank_lines", content("\n" * 5_000_000)
    yield "separators", content("0 0.5 0.5 0.3 0.3\x0b0 0.5 0.5 0.3 0.3\x0c\u2028\x85\n")
    yield "no_break", content("0\u00a00.5\u20030.5\u30000.3\u200b0.3\n")
    yield "direction", content("\u202e0 0.5 0.5 0.3 0.3\u202c\n")
    yield "mark", content(b"\xef\xbb\xbf\xef\xbb\xbf0 0.5 0.5 0.3 0.3\n")
    yield "utf_32", content(BOX.encode("utf-32"))
    yield "surrogate", content(b"0 0.5 0.5 0.3 \xed\xa0\x80\n")
    yield "float_class", content("0.0 0.5 0.5 0.3 0.3\n1.5 0.5 0.5 0.3 0.3\n1e0 0.5 0.5 0.3 0.3\n")
    yield "nan_class", content("nan 0.5 0.5 0.3 0.3\ninf 0.5 0.5 0.3 0.3\n")
    yield "two_columns", content("0 0.5\n")
    yield "columns", content("0 0.5 0.5 0.3 0.3 " + "0.9 " * 99 + "\n")
    yield "many_boxes", content("0 0.5 0.5 0.3 0.3\n" * 20_000)
    yield "many_classes", content("".join(f"{i} 0.5 0.5 0.3 0.3\n" for i in range(50_000)))
    yield "formula", content("=1+1 0.5 0.5 0.3 0.3\n@SUM(1) 0.5 0.5 0.3 0.3\n")
    yield "gzipped", content(gzip.compress(BOX.encode()))


def data_sets() -> Iterator[tuple[str, dict[str, Make]]]:
    """Yield data sets around `a.png`: name, and makers by file."""
    for name, yaml in (
        ("root", "names: [a]\npath: /\ntrain: .\n"),
        ("root_alone", "names: [a]\ntrain: /\n"),
        ("above", "names: [a]\npath: ../../../../../../..\ntrain: .\n"),
        ("above_inside", "names: [a]\npath: ../../../../../..\ntrain: usr\n"),
        ("proc", "names: [a]\npath: /proc\ntrain: .\n"),
        ("system", "names: [a]\npath: /\ntrain: [proc, sys, usr]\n"),
        ("home", "names: [a]\npath: '~'\ntrain: '~/x'\n"),
        ("itself", "names: [a]\ntrain: data.yaml\n"),
        ("itself_many", "names: [a]\ntrain: [data.yaml, data.yaml, data.yaml]\nval: data.yaml\n"),
        ("merge", "base: &b {names: [a]}\n<<: *b\ntrain: .\n"),
        ("merge_key", "names: [a]\ntrain: .\n<<: {train: /etc}\n"),
        ("anchor_only", "names: &n [a]\ntrain: .\n"),
        ("tag_python", "names: !!python/name:os.system\ntrain: .\n"),
        ("tag_new", "names: !!python/object/new:os.system [false]\ntrain: .\n"),
        ("tag_binary", "names: !!binary aGVsbG8=\ntrain: .\n"),
        ("tag_set", "names: !!set {a, b}\ntrain: .\n"),
        ("tag_unknown", "names: !x/y [a]\ntrain: .\n"),
        ("documents", "names: [a]\ntrain: .\n---\nnames: [b]\n"),
        ("directive", "%YAML 9.9\n---\nnames: [a]\ntrain: .\n"),
        ("directives", "%TAG ! tag:evil,2000:\n---\nnames: !x [a]\ntrain: .\n"),
        ("tabs", "names:\n\t- a\ntrain: .\n"),
        ("twice", "names: [a]\nnames: [b]\ntrain: .\n"),
        ("long_key", f"{'x' * 100_000}: 1\nnames: [a]\ntrain: .\n"),
        ("many_keys", "names: [a]\ntrain: .\n" + "".join(f"k{i}: 1\n" for i in range(50_000))),
        ("null", "names: ~\ntrain: ~\n"),
        ("null_path", "names: [a]\npath: ~\ntrain: .\n"),
        ("path_list", "names: [a]\npath: [a, b]\ntrain: .\n"),
        ("path_map", "names: [a]\npath: {a: b}\ntrain: .\n"),
        ("nan_names", "names: {.nan: a, .inf: b}\ntrain: .\n"),
        ("names_far", "names: {0: a, 4000000000: b}\ntrain: .\n"),
        ("names_minus", "names: {-1: a, 0: b}\ntrain: .\n"),
        ("names_number", "names: 5\nnc: 5\ntrain: .\n"),
        ("names_path", "names: /etc/passwd\ntrain: .\n"),
        ("names_twins", "names: [a, a, A]\ntrain: .\n"),
        ("newline", 'names: ["a\\nb", "c\\r\\nd"]\ntrain: .\n'),
        ("direction", 'names: ["\\u202Eabc", "\\u200b"]\ntrain: .\n'),
        ("surrogate", 'names: ["\\uD800"]\ntrain: .\n'),
        ("nul_path", 'names: [a]\ntrain: .\npath: "\\0"\n'),
        ("fifo_path", "names: [a]\ntrain: /dev/stdin\n"),
        ("url", "names: [a]\ntrain: https://127.0.0.1:9/x.zip\ndownload: bash rm -rf /\n"),
        ("glob", "names: [a]\ntrain: '**/*'\n"),
        ("shell", "names: [a]\ntrain: '$(touch touched)'\n"),
        ("dates", "names: [2024-01-01, 12:30:45, 1e5, yes, null]\ntrain: .\n"),
        ("classes_loop", "names: [a, b]\nclasses: {a: b, b: a}\ntrain: .\n"),
        ("classes_list", "names: [a]\nclasses: [a]\ntrain: .\n"),
        ("ignore_points", "names: [a]\nignore: [[[.nan, 0], [1e400, 5], [-5, 9]]]\ntrain: .\n"),
        ("ignore_many", f"names: [a]\nignore: [[{','.join(['[1, 2]'] * 50_000)}]]\ntrain: .\n"),
        ("annotated", "names: [a]\ntrain:\n  - path: .\n    annotated: [zzz]\n"),
        ("deep_path", f"names: [a]\ntrain: {'a/' * 3000}\n"),
        ("long_path", f"names: [a]\ntrain: {'a' * 300}\n"),
        ("utf_16", "names: [a]\ntrain: .\n".encode("utf-16")),
        ("latin", "names: [caf\u00e9]\ntrain: .\n".encode("latin-1")),
        ("keypoints", "names: [a]\ntrain: .\nkpt_shape: [99999999, 99999999]\n"),
        ("comments", "#" + "x" * 5_000_000 + "\nnames: [a]\ntrain: .\n"),
        ("flow", "{" * 5000),
        ("quotes", "'" + "''" * 1_000_000 + "': 1\nnames: [a]\n"),
    ):
        yield f"yaml_{name}", {"data.yaml": content(yaml)}
    yield from strange_cocos()
    yield from strange_xmls()
    for name, rows in (
        ("formula", '=cmd|calc,1,1,9,9,a\na.png,1,1,9,9,"=HYPERLINK(""http://x"")"\n'),
        ("at", "a.png,1,1,9,9,@SUM(A1)\na.png,1,1,9,9,+1\na.png,1,1,9,9,-1\n"),
        ("tab", "a.png,1,1,9,9,\t=1+1\na.png,1,1,9,9,\r=1\n"),
        ("nul", "a.png,1,1,9,9,a\0b\n"),
        ("columns", "a.png,1,1,9,9,a" + ",x" * 100_000 + "\n"),
        ("infinite", "a.png,inf,nan,1e400,-1e400,a\n"),
        ("swapped", "a.png,40,40,8,8,a\n"),
        ("device", "/dev/zero,1,1,9,9,a\n../../../../etc/passwd,1,1,9,9,a\n"),
        ("url", "http://127.0.0.1:9/a.png,1,1,9,9,a\nfile:///etc/passwd,1,1,9,9,a\n"),
        ("newline", '"a\nb.png",1,1,9,9,"a\nb"\n'),
        ("many", "a.png,1,1,9,9,a\n" * 100_000),
        ("classes", "".join(f"a.png,1,1,9,9,c{i}\n" for i in range(50_000))),
        ("missing", "".join(f"{i}.png,1,1,9,9,a\n" for i in range(50_000))),
    ):
        yield f"csv_{name}", {"a.csv": content("filename,xmin,ymin,xmax,ymax,class\n" + rows)}
    yield "csv_head", {"a.csv": content("filename," * 100_000)}
    yield "csv_twice", {"a.csv": content("filename,filename,xmin,xmin,ymax,class\na.png,1,1,9,9,a\n")}
    yield "csv_utf_16", {"a.csv": content("filename,xmin,ymin,xmax,ymax,class\n".encode("utf-16"))}
    for name, text in (
        (
            "labelme_numbers",
            json.dumps(
                {
                    "shapes": [
                        {"label": "a", "points": [[1e308, -1e308], [5, 5]], "shape_type": "rectangle"}
                    ],
                    "imagePath": "a.png",
                }
            ),
        ),
        ("labelme_inside", json.dumps({"shapes": [], "imagePath": "a.png", "imageData": "A" * 20_000_000})),
        (
            "labelme_kind",
            json.dumps(
                {"shapes": [{"label": "a", "points": [], "shape_type": "\x1b[2J"}], "imagePath": "a.png"}
            ),
        ),
        (
            "labelme_many",
            json.dumps(
                {
                    "shapes": [{"label": "a", "points": [[0, 0], [5, 5]], "shape_type": "rectangle"}]
                    * 50_000,
                    "imagePath": "a.png",
                }
            ),
        ),
        (
            "labelme_points",
            json.dumps(
                {
                    "shapes": [
                        {"label": "a", "points": [[i, i] for i in range(200_000)], "shape_type": "polygon"}
                    ],
                    "imagePath": "a.png",
                }
            ),
        ),
        (
            "labelme_path",
            json.dumps(
                {
                    "shapes": [{"label": "a", "points": [[0, 0], [5, 5]]}],
                    "imagePath": "../../../../../../dev/zero",
                }
            ),
        ),
        (
            "createml_text",
            json.dumps(
                [
                    {
                        "image": "a.png",
                        "annotations": [
                            {
                                "label": "a",
                                "coordinates": {"x": "9" * 5000, "y": None, "width": [], "height": {}},
                            }
                        ],
                    }
                ]
            ),
        ),
        (
            "createml_nan",
            '[{"image": "a.png", "annotations": [{"label": "a", "coordinates": {"x": NaN, "y": 1, "width": Infinity, "height": 5}}]}]',  # noqa: E501
        ),
        (
            "studio_url",
            json.dumps(
                [
                    {
                        "data": {"image": "http://u:p@127.0.0.1:9/a.png?token=secret"},
                        "annotations": [{"result": []}],
                    }
                ]
            ),
        ),
        (
            "studio_values",
            json.dumps(
                [
                    {
                        "data": {"image": "a.png"},
                        "annotations": [
                            {
                                "result": [
                                    {
                                        "type": "rectanglelabels",
                                        "original_width": 0,
                                        "original_height": -1,
                                        "value": {
                                            "x": 1e308,
                                            "y": 1,
                                            "width": 1e308,
                                            "height": 1,
                                            "rectanglelabels": ["a"],
                                            "rotation": 1e308,
                                        },
                                    }
                                ]
                            }
                        ],
                    }
                ]
            ),
        ),
        (
            "studio_labels",
            json.dumps(
                [
                    {
                        "data": {"image": "a.png"},
                        "annotations": [
                            {
                                "result": [
                                    {
                                        "type": "rectanglelabels",
                                        "original_width": 96,
                                        "original_height": 64,
                                        "value": {
                                            "x": 1,
                                            "y": 1,
                                            "width": 9,
                                            "height": 9,
                                            "rectanglelabels": [1, None, {}],
                                        },
                                    }
                                ]
                            }
                        ],
                    }
                ]
            ),
        ),
    ):
        yield name, {"a.json": content(text)}
    for name, text in (
        (
            "cvat_numbers",
            "<annotations><image id='0' name='a.png' width='96' height='64'><box label='a' xtl='nan' ytl='1e400' xbr='-inf' ybr='9'/></image></annotations>",  # noqa: E501
        ),
        (
            "cvat_points",
            f"<annotations><image id='0' name='a.png' width='96' height='64'><polygon label='a' points='{'1,1;' * 200_000}'/></image></annotations>",  # noqa: E501
        ),
        (
            "cvat_names",
            "<annotations><image id='0' name='../../../../etc/passwd' width='96' height='64'/><image id='0' name='/dev/zero' width='96' height='64'/></annotations>",  # noqa: E501
        ),
        (
            "cvat_many",
            "<annotations>"
            + "<image id='0' name='a.png' width='96' height='64'><box label='a' xtl='1' ytl='1' xbr='9' ybr='9'/></image>"  # noqa: E501
            * 30_000
            + "</annotations>",
        ),
        (
            "cvat_mask",
            "<annotations><image id='0' name='a.png' width='96' height='64'><mask label='a' rle='99999999999, 5' left='-5' top='x' width='1e9' height='9999999999'/></image></annotations>",  # noqa: E501
        ),
        (
            "cvat_rotation",
            "<annotations><image id='0' name='a.png' width='96' height='64'><box label='a' xtl='1' ytl='1' xbr='9' ybr='9' rotation='1e308'/></image></annotations>",  # noqa: E501
        ),
        (
            "cvat_track",
            "<annotations><track id='0' label='a'><box frame='99999999999' xtl='1' ytl='1' xbr='9' ybr='9' outside='0'/></track></annotations>",  # noqa: E501
        ),
    ):
        yield name, {"annotations.xml": content(text)}
    for name, files in (
        (
            "darknet_data",
            {"obj.data": content("classes=1\ntrain=/dev/zero\nvalid=/proc/self/mem\nnames=/etc/passwd\n")},
        ),
        (
            "darknet_root",
            {"obj.data": content("classes=1\ntrain=/\nnames=obj.names\n"), "obj.names": content("a\n")},
        ),
        ("darknet_shell", {"obj.data": content("classes=$(id)\ntrain=`id`\nnames=x;id\n")}),
        ("classes_binary", {"classes.txt": content(bytes(range(256)) * 1000), "a.txt": content(BOX)}),
        ("classes_long", {"classes.txt": content("x" * 5_000_000), "a.txt": content(BOX)}),
        ("classes_escapes", {"classes.txt": content("\x1b]0;x\x07\n\u202eb\n"), "a.txt": content(BOX)}),
        ("classes_device", {"classes.txt": link("/dev/zero"), "a.txt": content(BOX)}),
        ("lines_escapes", {"lines.txt": content("a.png 1,1,9,9,0\n\x1b[2J.png 1,1,9,9,0\n")}),
        (
            "lines_url",
            {"lines.txt": content("a.png 1,1,9,9,0\nhttp://u:secret@127.0.0.1:9/a.png 1,1,9,9,0\n")},
        ),
        ("lines_many", {"lines.txt": content("a.png" + " 1,1,9,9,0" * 50_000 + "\n")}),
        ("lines_classes", {"lines.txt": content("a.png 1,1,9,9,4000000000\na.png 1,1,9,9,-1\n")}),
    ):
        yield name, files


def strange_cocos() -> Iterator[tuple[str, dict[str, Make]]]:
    """Yield COCO files with false ids, names, sizes or structure."""
    for name, text in (
        ("float_ids", coco(image_id=1.5)),
        ("huge_id", coco(image_id=1e308)),
        ("nan_id", coco(image_id=float("nan"))),
        ("true_id", coco(image_id=True)),
        ("text_id", coco(image_id="1\n")),
        ("object_id", coco(image_id={"a": 1})),
        ("null_id", coco(image_id=None)),
        ("category_list", coco(categories={"a": 1})),
        ("category_name", coco(categories=[{"id": 1, "name": 5}])),
        ("category_null", coco(categories=[{"id": 1, "name": None}])),
        ("category_twins", coco(categories=[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}])),
        ("category_loop", coco(categories=[{"id": 1, "name": "a", "supercategory": "a"}])),
        ("box_five", coco(bbox=[1, 1, 9, 9, 9])),
        ("box_object", coco(bbox={"x": 1})),
        ("box_texts", coco(bbox=["1", "1", "9", "9"])),
        ("box_minus", coco(bbox=[9, 9, -5, -5])),
        ("box_outside", coco(bbox=[1e6, 1e6, 9, 9])),
        ("sides_minus", coco(width=-96, height=-64)),
        ("sides_text", coco(width="96", height="64")),
        ("sides_float", coco(width=96.5)),
        ("file_list", coco(file_name=["a.png"])),
        ("file_number", coco(file_name=5)),
        ("file_folder", coco(file_name=".")),
        ("file_direction", coco(file_name="\u202egnp.a")),
        ("file_newline", coco(file_name="a\n.png")),
        ("file_url", coco(file_name="http://u:secret@127.0.0.1:9/a.png")),
        ("file_file", coco(file_name="file:///etc/passwd")),
        ("file_proc", coco(file_name="/proc/self/environ")),
        ("crowd", coco(iscrowd="yes")),
        ("crowd_float", coco(iscrowd=0.5)),
        ("counts_text", coco(segmentation={"size": [64, 96], "counts": "\x00\x7f"}, iscrowd=1)),
        ("counts_minus", coco(segmentation={"size": [64, 96], "counts": [-5, 9]}, iscrowd=1)),
        ("counts_huge", coco(segmentation={"size": [64, 96], "counts": [1 << 70]}, iscrowd=1)),
        ("size_text", coco(segmentation={"size": "64", "counts": [1]}, iscrowd=1)),
        ("points_odd", coco(segmentation=[[1, 2, 3]])),
        ("points_text", coco(segmentation=["abc"])),
        ("points_nested", coco(segmentation=[[[1, 2], [3, 4], [5, 6]]])),
        ("scores", coco(score=float("nan"))),
        ("keypoints", coco(keypoints=[1] * 100_000, num_keypoints=-1)),
        ("mark", "\ufeff" + coco()),
        ("utf_16", coco().encode("utf-16")),
        ("twice_keys", coco().replace('"images":', '"images": [], "images":')),
        ("escapes", coco(file_name="\x1b[2J\x07.png")),
        ("wide", coco(info={"a" * 1_000_000: 1})),
        ("licenses", coco(licenses=[{"url": "x" * 1_000_000}] * 20)),
        (
            "boxes",
            json.dumps(
                {
                    "images": [{"id": 1, "file_name": "a.png", "width": 96, "height": 64}],
                    "categories": [{"id": 1, "name": "a"}],
                    "annotations": [
                        {"id": i, "image_id": 1, "category_id": 1, "bbox": [8, 8, 9, 9]}
                        for i in range(60_000)
                    ],
                }
            ),
        ),
        (
            "missing",
            json.dumps(
                {
                    "images": [
                        {"id": i, "file_name": f"{i}.png", "width": 96, "height": 64} for i in range(60_000)
                    ],
                    "categories": [{"id": 1, "name": "a"}],
                    "annotations": [
                        {"id": i, "image_id": i, "category_id": 1, "bbox": [8, 8, 9, 9]}
                        for i in range(60_000)
                    ],
                }
            ),
        ),
    ):
        yield f"coco_{name}", {"coco.json": content(text)}


def strange_xmls() -> Iterator[tuple[str, dict[str, Make]]]:
    """Yield VOC files with false text, encoding or structure."""
    good = voc()
    for name, text in (
        ("utf_16", ('<?xml version="1.0" encoding="utf-16"?>' + good).encode("utf-16")),
        ("utf_16_lie", '<?xml version="1.0" encoding="utf-16"?>' + good),
        ("rot", '<?xml version="1.0" encoding="rot13"?>' + good),
        ("zlib", '<?xml version="1.0" encoding="zlib"?>' + good),
        ("idna", '<?xml version="1.0" encoding="idna"?>' + good),
        ("punycode", '<?xml version="1.0" encoding="punycode"?>' + good),
        ("unicode_escape", '<?xml version="1.0" encoding="unicode_escape"?>' + good),
        ("undefined", '<?xml version="1.0" encoding="undefined"?>' + good),
        ("base64", '<?xml version="1.0" encoding="base64"?>' + good),
        ("mbcs", '<?xml version="1.0" encoding="mbcs"?>' + good),
        ("oem", '<?xml version="1.0" encoding="oem"?>' + good),
        ("raw_unicode_escape", '<?xml version="1.0" encoding="raw-unicode-escape"?>' + good),
        ("utf_32", '<?xml version="1.0" encoding="utf-32"?>' + good),
        (
            "include",
            good.replace(
                "<annotation>",
                '<annotation xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="/etc/passwd"/>',
            ),
        ),
        ("style", '<?xml-stylesheet href="http://127.0.0.1:9/a"?>' + good),
        ("namespace", good.replace("<annotation>", "<annotation xmlns='x'>")),
        ("cdata", voc(name="<![CDATA[\x1b<b>]]>")),
        ("character", voc(name="&#0;")),
        ("huge_character", voc(name="&#99999999999;")),
        ("comment", voc(name="<!--" + "x" * 5_000_000 + "-->")),
        ("nothing", "<annotation/>"),
        ("no_box", "<annotation><filename>a.png</filename><object><name>a</name></object></annotation>"),
        ("two_names", good.replace("<name>a</name>", "<name>a</name><name>b</name>")),
        ("file_passwd", good.replace("a.png", "../../../../../etc/passwd")),
        ("file_url", good.replace("a.png", "http://u:secret@127.0.0.1:9/a.png")),
        ("folder", good.replace("<filename>", "<folder>/dev</folder><path>/dev/zero</path><filename>")),
        ("swapped", good.replace("<xmin>8", "<xmin>80")),
        ("float", voc(box="8.5e0")),
        ("arabic", voc(box="\u0668")),
        ("infinite", voc(box="inf")),
        ("size_minus", voc(size="-96")),
        ("depth", good.replace("</size>", "<depth>" + "9" * 5000 + "</depth></size>")),
        ("parts", good.replace("</object>", "<part><name>x</name></part>" * 50_000 + "</object>")),
        ("direction", voc(name="\u202eabc")),
        ("formula", voc(name="=cmd|calc")),
        ("newline", voc(name="a\n0 0.5 0.5 1 1")),
        ("slash", voc(name="../../x")),
        (
            "many_attributes",
            good.replace("<object>", "<object " + " ".join(f"a{i}='&amp;'" for i in range(50_000)) + ">"),
        ),
        (
            "names",
            "<annotation><filename>a.png</filename>"
            + "".join(
                f"<object><name>c{i}</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"
                for i in range(30_000)
            )
            + "</annotation>",
        ),
    ):
        yield f"voc_{name}", {"a.xml": content(text)}


def archives() -> Iterator[tuple[str, Make]]:
    """Yield zip files."""
    set_ = (("coco.json", coco().encode()), ("a.png", saved("PNG")))
    whole = zipped(*set_)
    for name, member in (
        ("newline", "a\nb.png"),
        ("direction", "\u202egnp.exe"),
        ("drive", "C:/Windows/a.png"),
        ("share", "//server/share/a.png"),
        ("device", "/dev/null"),
        ("reserved", "NUL.png"),
        ("stream", "a.png:hidden"),
        ("dots", ".../.../a.png"),
        ("inside", "x/../../y.png"),
        ("surrogate", "\udcff.png"),
        ("hidden", ".bashrc"),
        ("folder", "coco.json/"),
        ("twin", "coco.json"),
        ("case", "COCO.JSON"),
        ("components", "a" * 256 + "/b.png"),
    ):
        try:
            yield f"{name}.zip", content(zipped((member, b"x"), *set_))
        except UnicodeEncodeError:
            info = whole.replace(b"a.png", b"\xff.png")
            yield f"{name}.zip", content(info)
    yield "many_bombs.zip", large_zip((f"{i}.json", b"[", 40 << 20) for i in range(50))
    for method, name in ((zipfile.ZIP_BZIP2, "bzip2"), (zipfile.ZIP_LZMA, "lzma")):
        yield f"{name}.zip", large_zip([("coco.json", b"", 400 << 20)], method)
    for name, kind in (("fifo", 0o010644), ("device", 0o020644), ("socket", 0o140644), ("setuid", 0o104755)):
        entry = zipfile.ZipInfo("images/x.png")
        entry.create_system, entry.external_attr = 3, kind << 16
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr(entry, b"x")
            archive.writestr("coco.json", coco())
        yield f"kind_{name}.zip", content(stream.getvalue())
    chained = io.BytesIO()
    with zipfile.ZipFile(chained, "w") as archive:
        for target, name in (("..", "up"), ("up/..", "higher")):
            entry = zipfile.ZipInfo(name)
            entry.create_system, entry.external_attr = 3, 0o120777 << 16
            archive.writestr(entry, target)
        archive.writestr("up/climbed.txt", b"x")
        archive.writestr("coco.json", coco())
    yield "chain.zip", content(chained.getvalue())
    at = whole.index(b"PK\x01\x02")
    yield "method.zip", content(whole[: at + 10] + b"\x63\0" + whole[at + 12 :])
    yield "checksum.zip", content(whole[: at + 16] + b"\xff" * 4 + whole[at + 20 :])
    yield "offset.zip", content(whole[: at + 42] + b"\xff\xff\xff\x7f" + whole[at + 46 :])
    yield "smaller.zip", content(whole[: at + 24] + b"\x01\0\0\0" + whole[at + 28 :])
    yield "before.zip", content(b"#!/bin/sh\nexit\n" * 100_000 + whole)
    end = whole.index(b"PK\x05\x06")
    yield "count.zip", content(whole[: end + 8] + b"\xff\xff\xff\xff" + whole[end + 12 :])
    yield "comment.zip", content(whole[:-2] + struct.pack("<H", 65_535) + b"x" * 65_535)
    yield "overlap.zip", _overlapping()
    yield "tar.zip", gzip.compress(whole)
    yield "text.zip", b"PK\x03\x04" + b"x" * 1000
    yield "levels.zip", zipped(("a" + "/a" * 500 + "/coco.json", coco().encode()))


def _overlapping() -> bytes:
    """Return an archive whose many entries share one compressed stream."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.json", b" " * (30 << 20))
        first = archive.infolist()[0]
        for i in range(1, 400):
            entry = zipfile.ZipInfo(f"{i}.json")
            for field in ("compress_type", "CRC", "compress_size", "file_size", "header_offset"):
                setattr(entry, field, getattr(first, field))
            archive.filelist.append(entry)
            archive.NameToInfo[entry.filename] = entry
        archive._didModify = True  # type: ignore[attr-defined]
    return stream.getvalue()
