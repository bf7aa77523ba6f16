"""Many items worked on at the same time, results in their order, memory bounded.

```
            ┌─► worker: take the next item, work on it ─┐
   items ───┼─► worker: take the next item, work on it ─┼──► results, in the order of the items
            └─► worker: take the next item, work on it ─┘
```

A worker does everything for its image: decode, letterbox, network, post-processing. Workers take turns on
no stage, so none waits for another, and a network that runs on one thread for each of several images
wastes nothing on waiting for its own threads (`benchmarks/folder.md` has the figures).
"""

import os
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Lock, Semaphore, Thread
from typing import Generic, Self, TypeVar

import cv2

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 4  # results that may wait while a slow one, or the consumer, is waited for


@dataclass(frozen=True, slots=True)
class Plan:
    """How the cores are shared out.

    Attributes:
        workers: images worked on at the same time.
        threads: of the engine, for each of them.
        ahead: results that may wait.
    """

    workers: int
    threads: int
    ahead: int = AHEAD

    @classmethod
    def of(cls, frames: int | None, threads: int | None = None) -> Self:
        """The plan for so many frames.

        Many frames: one core for each, which gives the highest rate. Frames that come as they happen: all
        cores for the newest, which gives the shortest delay, and one result at most waits to be written.

        Args:
            frames: how many there will be; None where nobody knows, as with a camera.
            threads: what the user wants of the engine; None: decide here.
        """
        cores = usable_cores()
        if frames is None:
            return cls(1, threads or cores, ahead=1)
        workers = max(1, min(frames, cores // (threads or 1)))
        return cls(workers, threads or max(1, cores // workers))


def usable_cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_parallel(
    items: Iterable[T],
    work: Callable[[T], R],
    workers: int = 1,
    ahead: int = AHEAD,
    *,
    stop: Callable[[], None] = lambda: None,
) -> Generator[R, None, None]:
    """Map in threads; results come in the order of the items, each as soon as it and all before it are done.

    An error, of `items` or of `work`, is raised here in its turn, after the results before it. The threads
    end with the items, or when this iterator is closed (`contextlib.closing`), which also closes `items`.
    Meanwhile OpenCV uses no threads of its own where there are several workers.

    Args:
        items: touched by one thread at a time, from the first `next` on.
        work: called in any of the threads.
        workers: threads.
        ahead: items that may be taken before their turn, beside one for each worker. So at most
            `workers + ahead` are taken and not yet handed out; memory holds no more, and the one in use.
        stop: called at the end, before the threads are waited for: `items` may be waiting for what never
            comes, as a camera does.
    """
    line = _Line(items, work, workers + ahead)
    threads = [Thread(target=line.serve, name=f"lookonce-{n}", daemon=True) for n in range(workers)]
    opencv_threads = cv2.getNumThreads()
    try:
        if workers > 1:  # OpenCV's own threads would only wait for each other: 10 % of a small network's time
            cv2.setNumThreads(1)
        for thread in threads:
            thread.start()
        while (result := line.slots.get()) is not None:
            yield result.result()
            del result  # the slot holds an image
            line.room.release()
    finally:
        line.close(workers)
        cv2.setNumThreads(opencv_threads)
        stop()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        if isinstance(items, Generator):
            items.close()


class _Line(Generic[T, R]):
    """What the workers share.

    Attributes:
        slots: a place for each result, in the order of the items; None after the last.
        room: acquired for each item that is taken, released when its result was used.
    """

    def __init__(self, items: Iterable[T], work: Callable[[T], R], room: int) -> None:
        self.slots: SimpleQueue[Future[R] | None] = SimpleQueue()
        self.room = Semaphore(room)
        self._work = work
        self._iterator = iter(items)
        self._taking = Lock()
        self._ended = False

    def serve(self) -> None:
        """Take and work until nothing is left."""
        while taken := self._take():
            item, slot = taken
            try:
                slot.set_result(self._work(item))
            except BaseException as error:  # whatever it is, it belongs to the consumer's thread
                slot.set_exception(error)
            del item, slot, taken

    def close(self, workers: int) -> None:
        """No item is taken from now on; whoever waits for room goes home."""
        self._ended = True
        self.room.release(workers)

    def _take(self) -> tuple[T, "Future[R]"] | None:
        """The next item and the place for its result: both in one step, which keeps the order."""
        self.room.acquire()
        with self._taking:
            if self._ended:
                return None
            slot: Future[R] = Future()
            try:
                item = next(self._iterator)
            except StopIteration:
                self._ended = True
                self.slots.put(None)
                return None
            except BaseException as error:
                self._ended = True
                slot.set_exception(error)
                self.slots.put(slot)
                return None
            self.slots.put(slot)
            return item, slot
