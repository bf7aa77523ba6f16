"""Detect, by container, that the end of a video file is missing.

A decoder treats a truncated file as a shorter video. In containers with an index of frames (MP4, AVI), the
count of frames reveals it, see `video.check_whole`; the others are checked here.
"""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from lookonce._files import open_input
from lookonce.errors import ImageError

HEAD = 1 << 12  # bytes in which a header has its declarations
OGG_PAGE = 1 << 16  # longest page, about
ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")  # the object that declares the size
FLV_TAGS = (8, 9, 18)  # sound, picture, script


def check_bytes(path: Path) -> None:
    """Check that the end of a video file is there, as far as its container tells.

    Raises:
        ImageError: it is cut short.
    """
    with open_input(path, ImageError) as stream:
        size, head = path.stat().st_size, stream.read(HEAD)
        try:
            for is_format, fault in CONTAINERS:
                if is_format(head) and (what := fault(stream, head, size)):
                    raise ImageError(f"{path}: {what}: the video is cut short")
        except (struct.error, OSError, IndexError):  # too short for what its container has at the end
            raise ImageError(f"{path}: expected more than {size:,} bytes: the video is cut short") from None


def _matroska(_: BinaryIO, head: bytes, size: int) -> str:
    at = head.find(b"\x18\x53\x80\x67") + 4  # Segment, the element that holds all frames
    if at < 4:
        return ""
    octets = 9 - head[at].bit_length()  # the first set bit tells how many bytes the number takes
    unknown = (1 << 7 * octets) - 1  # as in live recordings
    declared = int.from_bytes(head[at : at + octets]) & unknown
    return "" if declared == unknown else _declared(at + octets + declared, size)


def _flash(stream: BinaryIO, head: bytes, size: int) -> str:
    """Each tag is followed by its length."""
    if b"filesize\0" in head:
        (declared,) = struct.unpack_from(">d", head, head.index(b"filesize\0") + 9)
        if 0 < declared < 1 << 62 and (what := _declared(int(declared), size)):
            return what
    stream.seek(size - 4)
    (length,) = struct.unpack(">I", stream.read(4))
    if length <= size - 4:
        stream.seek(size - 4 - length)
        tag = stream.read(4)
        if tag[0] & 31 in FLV_TAGS and int.from_bytes(tag[1:]) == length - 11:
            return ""
    return "expected a whole tag at the end"


def _transport_stream(_: BinaryIO, head: bytes, size: int) -> str:
    packet = 188 if head[188:189] == b"\x47" else 192
    return f"expected packets of {packet} bytes, found part of one at the end" if size % packet else ""


def _ogg(stream: BinaryIO, _: bytes, size: int) -> str:
    """The last page of a stream has a flag."""
    stream.seek(max(0, size - 2 * OGG_PAGE))
    tail = stream.read()
    at = tail.rfind(b"OggS")
    lengths = tail[at + 27 : at + 27 + tail[at + 26]]
    if tail[at + 5] & 4 and at + 27 + len(lengths) + sum(lengths) <= len(tail):
        return ""
    return "expected the end of the stream"


def _asf(_: BinaryIO, head: bytes, size: int) -> str:
    at = head.find(ASF_FILE)
    return _declared(struct.unpack_from("<Q", head, at + 40)[0], size) if at >= 0 else ""


def _declared(expected: int, size: int) -> str:
    return f"expected {expected:,} bytes, found {size:,}" if expected > size else ""


CONTAINERS: tuple[tuple[Callable[[bytes], bool], Callable[[BinaryIO, bytes, int], str]], ...] = (
    (lambda head: head[:4] == b"\x1a\x45\xdf\xa3", _matroska),
    (lambda head: head[:3] == b"FLV", _flash),
    (
        lambda head: head[:1] == head[188:189] == b"\x47" or head[4:5] == head[196:197] == b"\x47",
        _transport_stream,
    ),
    (lambda head: head[:4] == b"OggS", _ogg),
    (lambda head: head[:16] == ASF, _asf),
)
