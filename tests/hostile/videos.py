"""Hostile videos: damaged, cut short, with false size, rate and length, or with references to other files."""

import random
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from tests.hostile.inputs import Content
from tests.videos import write_video

HEIGHT, WIDTH, FRAMES = 64, 96, 20
KINDS = {
    "avi": "MJPG",
    "mp4": "mp4v",
    "mkv": "mp4v",
    "webm": "VP90",
    "flv": "FLV1",
    "wmv": "WMV2",
    "ts": "mp4v",
}
MUTATIONS = 15  # per kind
HUGE = (0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)


def videos() -> Iterator[tuple[str, Content]]:
    """Yield name and content."""
    with tempfile.TemporaryDirectory() as made:
        whole = {kind: _whole(Path(made) / f"whole.{kind}", codec) for kind, codec in KINDS.items()}
    for kind, data in whole.items():
        for share in (0.01, 0.1, 0.3, 0.5, 0.9, 0.99):
            yield f"cut_{share}.{kind}", data[: int(share * len(data))]
        yield f"no_end_but_noise.{kind}", data[: len(data) // 2] + random.Random(0).randbytes(len(data))
        yield f"twice.{kind}", data * 2
        yield f"no_frames.{kind}", data[:400] + bytes(len(data) - 400)
        for number in range(MUTATIONS):
            yield f"mutated_{number}.{kind}", _mutated(data, number)
    yield from _avis(whole["avi"])
    yield from _mp4s(whole["mp4"])
    yield from _raw()
    yield from _texts()


def _whole(path: Path, codec: str) -> bytes:
    """Return a video of a growing bar."""
    frames = []
    for number in range(FRAMES):
        frames.append(np.full((HEIGHT, WIDTH, 3), 40, np.uint8))
        frames[-1][:, : 4 * number] = (200, 200, 0)
    return write_video(path, frames, 10, codec).read_bytes()


def _mutated(data: bytes, seed: int) -> bytes:
    """Return the data with a few bytes changed, half of them in the first KiB."""
    chosen, changed = random.Random(seed), bytearray(data)
    for number in range(chosen.randint(1, 12)):
        end = min(1024, len(data)) if number % 2 else len(data)
        changed[chosen.randrange(end)] = chosen.choice((0, 1, 127, 128, 255, chosen.randrange(256)))
    return bytes(changed)


def _patched(data: bytes, at: int, *values: int) -> bytes:
    """Return the data with 32-bit little-endian numbers at an offset."""
    packed = struct.pack(f"<{len(values)}I", *values)
    return data[:at] + packed + data[at + len(packed) :]


def _avis(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield AVIs with false headers."""
    main, stream, form = (data.index(word) + 8 for word in (b"avih", b"strh", b"strf"))
    for value in HUGE:
        yield f"avi_interval_{value}.avi", _patched(data, main, value)
        yield f"avi_count_{value}.avi", _patched(_patched(data, main + 16, value), stream + 32, value)
        yield f"avi_rate_{value}.avi", _patched(data, stream + 20, 1, value)
        yield f"avi_scale_{value}.avi", _patched(data, stream + 20, value, 1)
        yield f"avi_start_{value}.avi", _patched(data, stream + 28, value)
        yield f"avi_buffer_{value}.avi", _patched(data, stream + 36, value)
        yield f"avi_streams_{value}.avi", _patched(data, main + 24, value)
    for height, width in ((0, 0), (60_000, 60_000), (0xFFFF_FFC0, 96), (64, 0x7FFF_FFFF), (1, 8_000_000)):
        sized = _patched(_patched(data, main + 32, width, height), form + 4, width, height)
        yield f"avi_size_{height}x{width}.avi", sized
    frame = data.index(b"00dc", data.index(b"movi"))
    for value in HUGE:
        yield f"avi_chunk_{value}.avi", _patched(data, frame + 4, value)


def _mp4s(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield MP4s with false tables."""
    for box, places in {
        "mvhd": (12, 16),
        "tkhd": (20, 76, 80),
        "mdhd": (12, 16),
        "stts": (4, 8, 12),
        "stsz": (4, 8, 12),
        "stsc": (4, 8, 12),
        "stco": (4, 8),
        "stsd": (4, 8),
    }.items():
        start = data.index(box.encode()) + 4
        for place in places:
            for value in HUGE:
                packed = struct.pack(">I", value)
                changed = data[: start + place] + packed + data[start + place + 4 :]
                yield f"mp4_{box}_{place}_{value}.mp4", changed
    sample = data.index(b"mp4v") + 28
    for height, width in ((0, 0), (65_535, 65_535), (1, 65_535)):
        changed = data[:sample] + struct.pack(">HH", width, height) + data[sample + 4 :]
        yield f"mp4_size_{height}x{width}.mp4", changed
    boxes = b"".join(struct.pack(">I4s", 80_000 - 8 * depth, b"trak") for depth in range(1, 9_000))
    start = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + struct.pack(">I4s", 80_000, b"moov")
    yield "mp4_nested.mp4", start + boxes


def _raw() -> Iterator[tuple[str, Content]]:
    """Yield videos without a container, which have a size in each frame."""

    def jpeg(height: int, width: int) -> bytes:
        return cv2.imencode(".jpg", np.full((height, width, 3), 90, np.uint8))[1].tobytes()

    sizes = [(64, 96), (32, 32), (480, 640), (64, 96), (2000, 3000), (8, 8)]
    yield "sizes.mjpeg", b"".join(jpeg(*size) for size in sizes * 4)
    yield "sizes.mjpg", lambda: jpeg(64, 96) * 10 + jpeg(4000, 6000) * 3
    whole = jpeg(64, 96)
    at = whole.index(b"\xff\xc0") + 5
    large = whole[:at] + struct.pack(">HH", 60_000, 60_000) + whole[at + 4 :]
    yield "large_jpeg.mjpeg", large * 20
    yield "later_large.mjpeg", whole * 20 + large * 5
    yield "half_jpegs.mjpeg", whole[:200] * 200
    plain = b"\x80" * (64 * 96 * 3 // 2)
    for name, head in {
        "plain": "W96 H64 F10:1",
        "large": "W99999 H99999 F10:1",
        "no_rate": "W96 H64 F0:0",
        "rate": "W96 H64 F2147483647:1",
        "minus": "W-96 H64 F10:1",
        "no_size": "F10:1",
        "one_pixel": "W1 H1 F10:1",
        "long_comment": "W96 H64 F10:1 X" + "x" * 100_000,
    }.items():
        yield f"{name}.y4m", f"YUV4MPEG2 {head}\n".encode() + (b"FRAME\n" + plain) * 5
    yield "half_frame.y4m", b"YUV4MPEG2 W96 H64 F10:1\nFRAME\n" + plain[:100]
    yield "packets.ts", (b"\x47\x40\0\x10" + bytes(184)) * 2000
    yield "zeros.mp4", bytes(1 << 20)
    yield "noise.mp4", random.Random(1).randbytes(1 << 20)
    yield "nothing.mp4", b""


def _texts() -> Iterator[tuple[str, bytes]]:
    """Yield texts that refer to other files and hosts, with the suffix of a video."""
    segments = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n"
    for name, target in {
        "passwd": "file:///etc/passwd",
        "itself": "{}",
        "network": "http://127.0.0.1:9/secret.ts",
        "beside": "../a.png",
    }.items():
        for suffix in ("mp4", "m3u8", "mkv"):
            itself = target.format(f"list_{name}.{suffix}")
            yield f"list_{name}.{suffix}", segments.format(itself).encode()
            yield f"concat_{name}.{suffix}", f"ffconcat version 1.0\nfile {itself}\n".encode()
    yield (
        "session.mp4",
        (
            b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n"
            b"a=rtpmap:96 H264/90000\n"
        ),
    )
    yield "rtsp.mp4", b"rtsptext rtsp://127.0.0.1:9/x\n"
    yield "reference.asf", b"[Reference]\nRef1=http://127.0.0.1:9/x\n"
    yield "reference.wmv", b'<asx version="3.0"><entry><ref href="http://127.0.0.1:9/x"/></entry></asx>'
    yield (
        "dash.mp4",
        (
            b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
            b'<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>'
            b"http://127.0.0.1:9/x.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>"
        ),
    )
    yield "page.mp4", b"<!doctype html><video src=file:///etc/passwd>"
    yield "picture.mp4", cv2.imencode(".png", np.zeros((64, 96, 3), np.uint8))[1].tobytes()
