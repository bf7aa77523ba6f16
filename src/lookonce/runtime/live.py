"""Read cameras and streams: always the newest frame, with reconnection when the stream breaks.

A thread reads continuously, so that frames are as recent as possible. A frame that is not taken before the
next one arrives is dropped and counted. A broken stream is reconnected after increasing pauses.
"""

import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from threading import Condition, Event, Thread
from time import monotonic
from typing import Any, Generic, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce._counted import counted
from lookonce._optional import install_line
from lookonce.errors import ImageError
from lookonce.runtime.video import connected
from lookonce.runtime.video_checks import Moment, check_whole, name_of

T = TypeVar("T")
log = logging.getLogger(__name__)

# Seconds before each attempt to reconnect; a received frame restarts the list.
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
STILL = 50  # identical frames after which to warn; a camera's frames always differ by noise
PARTING = 1.0  # seconds to wait at the end for a thread that is blocked in a read


@dataclass(slots=True)
class LiveCounts:
    """Counters of cameras and streams.

    Attributes:
        dropped: number of frames that newer ones replaced before they were processed.
        reconnects: number of successful reconnections.
    """

    dropped: int = 0
    reconnects: int = 0


class Handover(Generic[T]):
    """A slot for one item between a reading thread and a consumer."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._item: list[T] = []
        self._error: BaseException | None = None
        self._ended = False

    def offer(self, item: T) -> bool:
        """Put an item into the slot, replacing one that was not taken; return whether there was one."""
        with self._changed:
            replaced = bool(self._item)
            self._item[:] = [item]
            self._changed.notify_all()
        return replaced

    def put(self, item: T) -> None:
        """Put an item into the slot as soon as it is free; do not wait after the end."""
        with self._changed:
            self._changed.wait_for(lambda: not self._item or self._ended)
            self._item[:] = [item]
            self._changed.notify_all()

    def end(self, error: BaseException | None = None) -> None:
        """End the sequence of items; only the first call has an effect."""
        with self._changed:
            if not self._ended:
                self._ended, self._error = True, error
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Yield items until the end, then raise the error passed to `end`, if any."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._item or self._ended)
                if not self._item:
                    break
                item = self._item.pop()
                self._changed.notify_all()
            yield item
            del item
        if self._error is not None:
            raise self._error


class LiveFrames:
    """Frames of a camera or stream, as (H, W, 3) uint8 RGB with their position.

    `Moment.number` includes dropped frames, and `Moment.seconds` is the time since the first frame.

    A stream that declares its length is a remote file: no frame is dropped, and it is not reconnected at its
    end.
    """

    def __init__(self, origin: str | int, counts: LiveCounts) -> None:
        """Prepare the source; it is opened on iteration.

        Args:
            origin: URL of a stream, or number of a camera.
            counts: counters to update.
        """
        self._origin = origin
        self._counts = counts
        self._closed = Event()
        self._frames: Handover[tuple[NDArray[np.uint8], Moment]] = Handover()
        self._received = 0
        self._started = 0.0

    def __iter__(self) -> Generator[tuple[NDArray[np.uint8], Moment], None, None]:
        """Yield the newest frame, again and again.

        Raises:
            ImageError: the source cannot be opened, has no frames, or broke and could not be reconnected.
        """
        with reading(self._read, self._frames, self.close):
            yield from self._frames

    def close(self) -> None:
        """End the iteration, from any thread."""
        self._closed.set()
        self._frames.end()

    def _read(self) -> None:
        """Read until the source ends or cannot be reconnected."""
        endless = self._read_connection()
        failures = 0
        while endless and failures < len(PAUSES):
            if self._closed.wait(PAUSES[failures]):
                return
            before = self._received
            try:
                endless = self._read_connection()
            except ImageError:  # not back yet
                endless = True
            failures = 0 if self._received > before else failures + 1
        if endless:
            raise ImageError(
                f"{name_of(self._origin)}: the stream ended after {counted(self._received, 'frame')}, and "
                f"{len(PAUSES)} attempts to reconnect in {sum(PAUSES):.0f} s failed"
            )

    def _read_connection(self) -> bool:
        """Read until the connection ends; return whether to reconnect, as for streams of unknown length."""
        before = self._received
        with connected(self._origin) as (frames, rate, declared):
            alike = 0  # number of the last frame, if all frames so far equal the first
            for number, (image, seconds) in enumerate(frames):
                if self._closed.is_set():
                    return False
                thumbnail = image[::8, ::8]
                if number == 0:
                    first = thumbnail.copy()
                elif alike == number - 1 and np.array_equal(first, thumbnail):
                    alike = number
                    if alike == STILL and find_spec("av") is None:
                        log.warning(
                            "%s: the first %d frames are the same to the bit: a still image, or interlaced "
                            "frames, which OpenCV %s cannot convert; %s",
                            name_of(self._origin), STILL, cv2.__version__, install_line("video"),
                        )  # fmt: skip
                now, count = monotonic(), self._received
                self._started = self._started if count else now
                self._received += 1
                if declared:  # a remote file keeps all its frames and their times
                    self._frames.put((image, Moment(count, seconds, rate)))
                elif self._frames.offer((image, Moment(count, now - self._started, rate))):
                    self._counts.dropped += 1
                self._counts.reconnects += bool(before and self._received == before + 1)
        if declared or not self._received:
            check_whole(self._origin, 0, self._received)
        return not declared


@contextmanager
def reading(read: Callable[[], None], handover: Handover[Any], close: Callable[[], None]) -> Iterator[None]:
    """Run `read` in a separate thread, and pass its end or error to the handover.

    The thread may be blocked in an uninterruptible read, so at the end it is given `PARTING` seconds at most.
    """

    def run() -> None:
        try:
            read()
        except BaseException as error:
            handover.end(error)
        else:
            handover.end()

    thread = Thread(target=run, name="lookonce-reader", daemon=True)
    thread.start()
    try:
        yield
    finally:
        close()
        thread.join(PARTING)
