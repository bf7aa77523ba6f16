"""Detect video files that are cut short, by their container format.

A decoder reads a truncated file as a shorter video. In containers with an index of frames (MP4, AVI),
`video_checks.check_whole` notices the missing frames; the other containers are checked here.
"""

import struct
from pathlib import Path
from typing import BinaryIO

from lookonce._files import open_input
from lookonce.errors import ImageError

HEAD = 1 << 12  # bytes at the start of a file that contain the declared sizes
OGG_PAGE = 1 << 16  # bytes of the longest page, approximately
ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")  # the object that declares the size
FLV_TAGS = (8, 9, 18)  # audio, video, script


def check_bytes(path: Path) -> None:
    """Check that a video file is not cut short, as far as its container shows it.

    Raises:
        ImageError: the file is cut short.
    """
    with open_input(path, ImageError) as stream:
        size, head = path.stat().st_size, stream.read(HEAD)
        try:
            fault = _fault(stream, head, size)
        except (struct.error, OSError, IndexError):  # shorter than the last element of its container
            raise ImageError(f"{path}: expected more than {size:,} bytes: the video is cut short") from None
    if fault:
        raise ImageError(f"{path}: {fault}: the video is cut short")


def _fault(stream: BinaryIO, head: bytes, size: int) -> str:
    """Describe the fault at the end of a file; empty if there is none, or if the container cannot show it."""
    declared = 0
    if head[:4] == b"\x1a\x45\xdf\xa3":  # Matroska, WebM
        at = head.find(b"\x18\x53\x80\x67") + 4  # Segment, the element that holds all frames
        if at >= 4:
            octets = 9 - head[at].bit_length()  # the position of the first set bit gives the length in bytes
            unknown = (1 << 7 * octets) - 1  # all ones, in live recordings
            length = int.from_bytes(head[at : at + octets]) & unknown
            declared = 0 if length == unknown else at + octets + length
    elif head[:3] == b"FLV":
        if b"filesize\0" in head:
            (given,) = struct.unpack_from(">d", head, head.index(b"filesize\0") + 9)
            declared = int(given) if 0 < given < 1 << 62 else 0
        stream.seek(size - 4)
        (length,) = struct.unpack(">I", stream.read(4))  # each tag is followed by its length
        stream.seek(max(0, size - 4 - length))
        tag = stream.read(4)
        if declared <= size and not (
            length <= size - 4 and tag[0] & 31 in FLV_TAGS and int.from_bytes(tag[1:]) == length - 11
        ):
            return "expected a whole tag at the end"
    elif head[:1] == head[188:189] == b"\x47" or head[4:5] == head[196:197] == b"\x47":  # MPEG-TS
        packet = 188 if head[188:189] == b"\x47" else 192
        if size % packet:
            return f"expected packets of {packet} bytes, found part of one at the end"
    elif head[:4] == b"OggS":
        stream.seek(max(0, size - 2 * OGG_PAGE))
        tail = stream.read()
        at = tail.rfind(b"OggS")
        lengths = tail[at + 27 : at + 27 + tail[at + 26]]
        is_last = tail[at + 5] & 4
        if not is_last or at + 27 + len(lengths) + sum(lengths) > len(tail):
            return "expected the end of the stream"
    elif head[:16] == ASF and (at := head.find(ASF_FILE)) >= 0:
        (declared,) = struct.unpack_from("<Q", head, at + 40)
    return f"expected {declared:,} bytes, found {size:,}" if declared > size else ""
