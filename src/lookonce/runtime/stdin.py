"""Read images from standard input: one of any format, or a sequence of JPEGs, as from `ffmpeg -f mjpeg -`."""

import os
from collections.abc import Callable, Iterator
from typing import BinaryIO

from lookonce.errors import ImageError
from lookonce.runtime.live import Handover, reading

PIECE = 1 << 16
LARGEST = 1 << 28  # bytes of one image; a limit, so that endless input does not fill the memory

JPEG_START, JPEG_END = b"\xff\xd8", 0xD9
JPEG_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
JPEG_SCAN = 0xDA
IN_SCAN = frozenset({0x00, *range(0xD0, 0xD8)})  # an escaped 0xFF byte; restart markers


class PipedImages:
    """Encoded images in a stream of bytes, each with whether it is the only one.

    No image is dropped; the sender has to wait. A separate thread reads, because a read cannot be
    interrupted.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._descriptor = stream.fileno()  # not `stream`, whose lock a blocked read would hold at exit
        self._images: Handover[tuple[bytes, bool]] = Handover()

    def __iter__(self) -> Iterator[tuple[bytes, bool]]:
        """Yield image after image.

        Raises:
            ImageError: there is no input, or an image is too large.
        """
        with reading(self._read, self._images, self.close):
            yield from self._images

    def close(self) -> None:
        """End the iteration, from any thread."""
        self._images.end()

    def _read(self) -> None:
        images = split_images(lambda: os.read(self._descriptor, PIECE))
        first, second = next(images, None), next(images, None)
        if first is None:
            raise ImageError("-: expected an image on standard input, found nothing")
        self._images.put((first, second is None))
        if second is not None:
            self._images.put((second, False))
        for image in images:
            self._images.put((image, False))


def split_images(read: Callable[[], bytes]) -> Iterator[bytes]:
    """Split a stream of bytes into images.

    JPEGs are separated by their markers, and bytes between them are skipped. Anything else is one image.

    Args:
        read: function that returns the next bytes, or none at the end.

    Raises:
        ImageError: an image is too large.
    """
    buffer = _Buffer(read)
    if not (buffer.has(len(JPEG_START)) and buffer.data.startswith(JPEG_START)):
        while buffer.has(len(buffer.data) + 1):
            pass
        if buffer.data:
            yield buffer.take(len(buffer.data))
        return
    while buffer.skip_to_jpeg():
        yield buffer.take(buffer.jpeg_length())


class _Buffer:
    """A buffer of bytes that were read but not yet taken."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        self.data = bytearray()
        self._read = read
        self._ended = False

    def has(self, count: int) -> bool:
        """Read until the buffer has at least `count` bytes; return False if the input ends before."""
        while len(self.data) < count and not self._ended:
            piece = self._read()
            self._ended = not piece
            self.data.extend(piece)
            if len(self.data) > LARGEST:
                raise ImageError(f"-: expected images of at most {LARGEST:,} bytes, found a larger one")
        return len(self.data) >= count

    def skip_to_jpeg(self) -> bool:
        """Drop everything before the next JPEG; return whether there is one."""
        while self.has(len(JPEG_START)):
            start = self.data.find(JPEG_START)
            if start >= 0:
                del self.data[:start]
                return True
            del self.data[:-1]  # the last byte may be half a marker
        return False

    def take(self, count: int) -> bytes:
        head = bytes(self.data[:count])
        del self.data[:count]
        return head

    def jpeg_length(self) -> int:
        """Return the length of the JPEG at the start (ITU T.81, annex B), or of a truncated one's rest."""
        at = len(JPEG_START)
        while self.has(at + 2):
            marker = self.data[at + 1]
            if marker == JPEG_END:
                return at + 2
            if marker in JPEG_WITHOUT_LENGTH:
                at += 2
            elif not self.has(at + 4):
                break
            else:
                at += 2 + int.from_bytes(self.data[at + 2 : at + 4])
                if marker == JPEG_SCAN:
                    at = self.skip_scan(at)
        return len(self.data)

    def skip_scan(self, at: int) -> int:
        """Return the position of the first marker after the coded data at `at`."""
        while self.has(at + 2):
            at = self.data.find(b"\xff", at)
            if at < 0:
                at = len(self.data)
            elif self.has(at + 2) and self.data[at + 1] not in IN_SCAN:
                break
            else:
                at += 2
        return at
