"""Process many items in parallel, with results in order and bounded memory.

```
            ┌─► worker: take the next item, work on it ─┐
   items ───┼─► worker: take the next item, work on it ─┼──► results, in the order of the items
            └─► worker: take the next item, work on it ─┘
```

A worker does everything for its image: decoding, letterbox, network, post-processing. So no worker waits for
another stage, and a network with one thread per image does not wait for threads of its own
(measured in `benchmarks/folder.md`).
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Condition, Lock, Thread
from typing import Any, Self, TypeVar

from lookonce._image_limits import MAX_MEMORY
from lookonce._opencv import single_threaded_opencv
from lookonce.eight_bits import Values
from lookonce.errors import ImageError
from lookonce.images import Size, read_image_header, read_or_reduce
from lookonce.runtime.cpu import usable_cores
from lookonce.samples import Problem

T = TypeVar("T")
R = TypeVar("R")

# Results in the order of the items, each with its weight; None marks the end.
Slots = SimpleQueue[tuple[Future[R], int] | None]

AHEAD = 4  # results that may wait for a slow predecessor or for the consumer
MEMORY = MAX_MEMORY  # bytes of all images in progress: one of the largest size, or many of the usual size


@dataclass(frozen=True, slots=True)
class Parallel:
    """Distribution of the work over the cores.

    Attributes:
        workers: number of images processed in parallel.
        threads: engine threads per image.
        ahead: number of finished results that may wait.
    """

    workers: int
    threads: int
    ahead: int = AHEAD

    @classmethod
    def of(cls, frames: int | None, threads: int | None = None) -> Self:
        """Choose the distribution for a number of frames.

        Many frames get one core each, for the highest rate. Live frames get all cores for the newest frame,
        for the shortest delay, and at most one result waits.

        Args:
            frames: number of frames; None if it is unknown, as for a camera.
            threads: engine threads per image; None to choose them here.
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
        work: function called in several threads with RGB pixels (H, W, 3), or with a `ReducedImage` if
            `least` is given and allows one.
        skipped: list to which a problem is added for each image that cannot be read.
        parallel: number of workers.
        values: range of pixel values in images of more than 8 bits, as in `read_image`.
        least: function from an image's size to the smallest size at which a JPEG may be decoded; None to
            decode at full size.
        strict: whether to raise the error of the first image that cannot be read.

    Yields:
        Index of the path, and the result, in order.

    Raises:
        ImageError: with `strict`, an image cannot be read.
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
    """Return the peak memory for reading an image, in bytes; 0 if its header cannot be read."""
    try:
        header = read_image_header(path)
    except ImageError:
        return 0
    return int(header.height * header.width * header.memory)


class Room:
    """A limit on the number and the total weight of the items in progress."""

    def __init__(self, items: int, weight: int) -> None:
        self._most, self._heaviest = items, weight
        self._items = self._weight = 0
        self._changed = Condition()
        self.closed = False

    def enter(self) -> bool:
        """Wait for a free place and take it; return False if the room was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self.closed or self._items < self._most)
            self._items += 1
            return not self.closed

    def load(self, weight: int) -> bool:
        """Wait until there is room for a weight and add it; return False if the room was closed.

        A weight above the limit is admitted when no other is present.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self.closed or not self._weight or self._weight + weight <= self._heaviest
            )
            self._weight += weight
            return not self.closed

    def leave(self, weight: int) -> None:
        """Free a place and its weight."""
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
    """Apply a function to items in several threads; yield the results in the order of the items.

    An error of `items` or `work` is raised here in order, after the results before it. The threads end with
    the items, or when this iterator is closed (`contextlib.closing`), which also closes `items` if it is a
    generator. Until then, OpenCV uses no threads of its own if there are several workers.

    Args:
        items: items, read by one thread at a time from the first `next` on.
        work: function called in the threads.
        workers: number of threads.
        ahead: number of items that may be taken early, besides one per worker. At most `workers + ahead`
            items are in progress, which bounds the memory.
        weight: function that returns an item's share of `MEMORY`, the limit for all items in progress.
        stop: function called at the end, before the threads are joined, because `items` may be blocked, for
            example on a camera.
    """
    slots: Slots[R] = SimpleQueue()
    room = Room(workers + ahead, MEMORY)
    shared = iter(items), work, weight, Lock(), room, slots
    threads = [Thread(target=serve, args=shared, name=f"lookonce-{n}", daemon=True) for n in range(workers)]
    # OpenCV's own threads would slow a small network by 10%
    with single_threaded_opencv() if workers > 1 else nullcontext():
        try:
            for thread in threads:
                thread.start()
            while (slot := slots.get()) is not None:
                result, share = slot
                yield result.result()
                del result, slot
                room.leave(share)
        finally:
            room.close()
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
    """Process item after item in a thread of `in_parallel`, until none is left."""
    while True:
        slot: Future[R] = Future()
        with taking:  # one thread at a time takes an item and its slot, which keeps the order
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
        del item, slot  # free the image before waiting for the next
