"""Cameras and streams: the newest frame, and back again after a cut.

A thread keeps reading, so that a frame is never older than it must be. A frame that nobody takes before the
next one comes is dropped and counted. A stream that breaks off is asked for again, with growing pauses.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition, Event, Thread
from time import monotonic
from typing import Any, Generic, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce.errors import ImageError
from lookonce.runtime.video import Moment, check_whole, frames_of, name_of, opened, rate_of

T = TypeVar("T")

# Seconds before each new attempt; the first frame that comes begins the list anew.
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
PARTING = 1.0  # seconds that a reader which is stuck in a read is waited for


@dataclass(slots=True)
class LiveCounts:
    """What became of the frames of cameras and streams.

    Attributes:
        dropped: frames that were read, but were too old when there was time for them.
        reconnects: how often a stream that had broken off came back.
    """

    dropped: int = 0
    reconnects: int = 0


class Handover(Generic[T]):
    """One place between a thread that reads and whoever takes; neither holds more than one item."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._item: list[T] = []
        self._error: BaseException | None = None
        self._ended = False

    def offer(self, item: T) -> bool:
        """Put the item in the place of what nobody has taken; returns whether there was something."""
        with self._changed:
            replaced = bool(self._item)
            self._item[:] = [item]
            self._changed.notify_all()
        return replaced

    def put(self, item: T) -> None:
        """Put the item as soon as the place is free; after the end it goes nowhere."""
        with self._changed:
            self._changed.wait_for(lambda: not self._item or self._ended)
            self._item[:] = [item]
            self._changed.notify_all()

    def end(self, error: BaseException | None = None) -> None:
        """No more items come; the first end counts."""
        with self._changed:
            if not self._ended:
                self._ended, self._error = True, error
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Take until the end, then raise its error if it had one."""
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
    """The frames of a camera or stream, as (H, W, 3) uint8 RGB and where each stands.

    `Moment.number` counts dropped frames too, and `Moment.seconds` is the time since the first frame.

    A stream that declares a length is a file elsewhere: all its frames come, none is dropped, and its end is
    the end.
    """

    def __init__(self, origin: str | int, counts: LiveCounts) -> None:
        """Nothing is opened yet.

        Args:
            origin: a stream's URL, or a camera's number.
            counts: what happens is added here.
        """
        self._origin = origin
        self._counts = counts
        self._closed = Event()
        self._frames: Handover[tuple[NDArray[np.uint8], Moment]] = Handover()
        self._received = 0
        self._started = 0.0

    def __iter__(self) -> Generator[tuple[NDArray[np.uint8], Moment], None, None]:
        """Take the newest frame, again and again.

        Raises:
            ImageError: it does not open, has no frame, or broke off and did not come back.
        """
        with reading(self._read, self._frames, self.close):
            yield from self._frames

    def close(self) -> None:
        """End the iteration, from any thread."""
        self._closed.set()
        self._frames.end()

    def _read(self) -> None:
        """Read until the end, or until it has broken off for good."""
        endless = self._read_connection()
        failures = 0
        while endless and failures < len(PAUSES):
            if self._closed.wait(PAUSES[failures]):
                return
            before = self._received
            try:
                endless = self._read_connection()
            except ImageError:  # not there yet
                endless = True
            failures = 0 if self._received > before else failures + 1
        if endless:
            raise ImageError(
                f"{name_of(self._origin)}: the stream broke off after {self._received} frames, and "
                f"{len(PAUSES)} attempts in {sum(PAUSES):.0f} s did not bring it back"
            )

    def _read_connection(self) -> bool:
        """Read until the connection ends; returns whether more can come, that is, no length was declared."""
        before = self._received
        with opened(self._origin) as capture:
            declared = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
            rate = rate_of(capture)
            for image, seconds in frames_of(capture):
                if self._closed.is_set():
                    return False
                self._receive(image, seconds if declared else None, rate)
                self._counts.reconnects += bool(before and self._received == before + 1)
        if declared or not self._received:
            check_whole(self._origin, 0, self._received)
        return not declared

    def _receive(self, image: NDArray[np.uint8], seconds: float | None, rate: float) -> None:
        """Hand a frame over; `seconds` is its place in a video of known length, which keeps all frames."""
        now = monotonic()
        if not self._received:
            self._started = now
        number = self._received
        self._received += 1
        if seconds is not None:
            self._frames.put((image, Moment(number, seconds, rate)))
        elif self._frames.offer((image, Moment(number, now - self._started, rate))):
            self._counts.dropped += 1


@contextmanager
def reading(read: Callable[[], None], handover: Handover[Any], close: Callable[[], None]) -> Iterator[None]:
    """Run `read` in a thread of its own; its end, or its error, is the handover's.

    It may be stuck in a read that nothing can interrupt, so after `close` it is not waited for long.
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
