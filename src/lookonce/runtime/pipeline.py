"""Work that goes on in the background while its earlier results are used.

```
   decode ──► queue ──► detect ──► queue ──► draw and write      one thread each, order kept
```
"""

from collections.abc import Generator, Iterable
from queue import Empty, Queue
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")

AHEAD = 4  # items made before they are asked for: evens out slow ones, and bounds memory


class _End:
    """Closes the queue; carries the error that ended the items early."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def in_background(items: Iterable[T], ahead: int = AHEAD) -> Generator[T, None, None]:
    """Iterate in a thread of its own, a few items ahead of the caller; order is kept.

    An error of `items` is raised here, after the items before it. The thread ends with the items, or when
    this iterator is closed (`contextlib.closing`), which also closes `items` in the thread that ran them.

    Args:
        items: touched by the background thread alone, from the first `next` on.
        ahead: how many finished items may wait; memory holds that many, one in the making, one in use.
    """
    ready: Queue[T | _End] = Queue(ahead)
    closed = Event()
    thread = Thread(target=_fill, args=(ready, items, closed), name="lookonce-ahead", daemon=True)
    thread.start()
    try:
        while not isinstance(item := ready.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        closed.set()
        _drain(ready)
        thread.join()


def _fill(ready: "Queue[T | _End]", items: Iterable[T], closed: Event) -> None:
    """Put items until they end or nobody wants them.

    Whoever closes sets the event and then empties the queue; since the event is looked at before each put,
    at most one more follows, and there is room for it. So no put can block for good.
    """
    error = None
    try:
        for item in items:
            if closed.is_set():
                break
            ready.put(item)
        if isinstance(items, Generator):
            items.close()
    except BaseException as raised:  # whatever it is, it belongs to the caller's thread
        error = raised
    if not closed.is_set():
        ready.put(_End(error))


def _drain(ready: "Queue[T | _End]") -> None:
    try:
        while True:
            ready.get_nowait()
    except Empty:
        pass
