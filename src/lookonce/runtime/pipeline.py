"""Process many items in parallel, with results in order and bounded memory.

```
            ┌─► worker: take the next item, work on it ─┐
   items ───┼─► worker: take the next item, work on it ─┼──► results, in the order of the items
            └─► worker: take the next item, work on it ─┘
```

A worker does everything for its image: decode, letterbox, network, post-processing. No worker waits for
another stage, and a network that runs on one thread per image does not wait for its own threads
(`benchmarks/folder.md` has the figures).
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Condition, Lock, Thread
from typing import Any, Self, TypeVar

import cv2

from lookonce._image_limits import MAX_MEMORY
from lookonce.eight_bits import Values
from lookonce.errors import ImageError
from lookonce.images import Size, read_image_header, read_or_reduce
from lookonce.runtime.cpu import usable_cores
from lookonce.samples import Problem

T = TypeVar("T")
R = TypeVar("R")

# results in the order of the items, each with its weight; None is the end
Slots = SimpleQueue[tuple[Future[R], int] | None]

AHEAD = 4  # results that may wait for a slow predecessor, or for the consumer
MEMORY = MAX_MEMORY  # bytes of all images being processed: one of the largest, or many of usual size


@dataclass(frozen=True, slots=True)
class Parallel:
    """Distribution of the work over the cores.

    Attributes:
        workers: images processed in parallel.
        threads: threads of the engine per image.
        ahead: results that may wait.
    """

    workers: int
    threads: int
    ahead: int = AHEAD

    @classmethod
    def of(cls, frames: int | None, threads: int | None = None) -> Self:
        """Choose the distribution for a number of frames.

        Many frames: one core each, for the highest rate. Live frames: all cores for the newest one, for the
        shortest delay, with at most one result waiting to be written.

        Args:
            frames: number of frames; None if it is unknown, as with a camera.
            threads: threads of the engine that the user chose; None: decide here.
        """
        cores = usable_cores()
        if frames is None:
            return cls(1, threads or cores, ahead=1)
        workers = max(1, min(frames, cores // (threads or 1)))
        return cls(workers, threads or max(1, cores // workers))


def each_image(
    paths: Iterable[Path],
    work: Callable[[Any], R],
    skipped: list[Problem],
    parallel: Parallel = Parallel(1, 1),
    *,
    values: Values | None = None,
    least: Callable[[Size], Size] | None = None,
    strict: bool = False,
) -> Generator[tuple[int, R], None, None]:
    """Read images and process several in parallel; skip unreadable ones.

    Args:
        paths: image files.
        work: called in several threads with RGB pixels (H, W, 3); with `least` perhaps with a `ReducedImage`.
        skipped: receives a problem per image that cannot be read.
        parallel: number of workers.
        values: range of images of more than 8 bits, as in `read_image`.
        least: size of an image -> the smallest that a JPEG may be decoded at; None: always the whole image.
        strict: raise the error of the first image that cannot be read.

    Yields:
        The number of the path and the result, in order.

    Raises:
        ImageError: an image cannot be read, with `strict`.
    """

    def attempt(item: tuple[int, Path]) -> tuple[int, Path, R | ImageError]:
        number, path = item
        try:
            return number, path, work(read_or_reduce(path, str(path), values, least))
        except ImageError as error:
            return number, path, error

    def memory(item: tuple[int, Path]) -> int:
        return memory_of(item[1])

    with closing(
        in_parallel(enumerate(paths), attempt, parallel.workers, parallel.ahead, weight=memory)
    ) as results:
        for number, path, result in results:
            if not isinstance(result, ImageError):
                yield number, result
            elif strict:
                raise result
            else:
                skipped.append(Problem(str(path), str(result)))


def memory_of(path: Path) -> int:
    """Return the bytes that reading an image takes at its peak; 0 if it will not be decoded."""
    try:
        header = read_image_header(path)
    except ImageError:
        return 0
    return int(header.height * header.width * header.memory)


class Room:
    """Limits the items in progress, by number and by weight."""

    def __init__(self, items: int, weight: int) -> None:
        self._most, self._heaviest = items, weight
        self._items = self._weight = 0
        self._changed = Condition()
        self.closed = False

    def enter(self) -> bool:
        """Wait for a free place; return False if the room was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self.closed or self._items < self._most)
            self._items += 1
            return not self.closed

    def load(self, weight: int) -> bool:
        """Wait until there is room for this weight; a weight above the limit is admitted alone."""
        with self._changed:
            self._changed.wait_for(
                lambda: self.closed or not self._weight or self._weight + weight <= self._heaviest
            )
            self._weight += weight
            return not self.closed

    def leave(self, weight: int) -> None:
        """Free a place."""
        with self._changed:
            self._items, self._weight = self._items - 1, self._weight - weight
            self._changed.notify_all()

    def close(self) -> None:
        """Release all waiting threads."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()


def in_parallel(
    items: Iterable[T],
    work: Callable[[T], R],
    workers: int = 1,
    ahead: int = AHEAD,
    *,
    weight: Callable[[T], int] = lambda item: 0,
    stop: Callable[[], None] = lambda: None,
) -> Generator[R, None, None]:
    """Map in threads; results come in the order of the items, each as soon as it and all before it are done.

    An error of `items` or `work` is raised here in order, after the results before it. The threads
    end with the items, or when this iterator is closed (`contextlib.closing`), which also closes `items`.
    Meanwhile OpenCV uses no threads of its own if there are several workers.

    Args:
        items: used by one thread at a time, from the first `next` on.
        work: called in any of the threads.
        workers: number of threads.
        ahead: items that may be taken early, besides one per worker. At most `workers + ahead` items are in
            progress, which bounds the memory.
        weight: an item's share of `MEMORY`, the limit for all items in progress.
        stop: called at the end, before joining the threads: `items` may be blocked, for example on a camera.
    """
    slots: Slots[R] = SimpleQueue()
    room = Room(workers + ahead, MEMORY)
    shared = iter(items), work, weight, Lock(), room, slots
    threads = [Thread(target=serve, args=shared, name=f"lookonce-{n}", daemon=True) for n in range(workers)]
    opencv_threads = cv2.getNumThreads()
    try:
        if workers > 1:  # OpenCV's own threads would compete: 10% of a small network's time
            cv2.setNumThreads(1)
        for thread in threads:
            thread.start()
        while (taken := slots.get()) is not None:
            result, share = taken
            yield result.result()
            del result, taken
            room.leave(share)
    finally:
        room.close()
        cv2.setNumThreads(opencv_threads)
        stop()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        if isinstance(items, Generator):
            items.close()


def serve(
    items: Iterator[T],
    work: Callable[[T], R],
    weight: Callable[[T], int],
    taking: Lock,
    room: Room,
    slots: Slots[R],
) -> None:
    """Process item after item in a thread of `in_parallel`, until nothing is left."""
    while True:
        slot: Future[R] = Future()
        with taking:  # taking an item and its slot is one atomic step, which keeps the order
            if not room.enter():
                return
            try:
                item = next(items)
                share = weight(item)
            except BaseException as error:
                room.close()
                if not isinstance(error, StopIteration):
                    slot.set_exception(error)  # raised in the consumer's thread
                    slots.put((slot, 0))
                slots.put(None)
                return
            if not room.load(share):
                return
            slots.put((slot, share))
        try:
            slot.set_result(work(item))
        except BaseException as error:
            slot.set_exception(error)
        del item, slot  # they hold an image
