"""Iterating in the background: order, bounds, errors, and no thread left behind."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from lookonce.runtime.pipeline import in_background


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


class Counter:
    """Counts up, and remembers how far it got and who asked."""

    def __init__(self, stop: int) -> None:
        self.made = 0
        self.stop = stop
        self.threads: set[int] = set()
        self.closed = False

    def __iter__(self) -> Iterator[int]:
        try:
            while self.made < self.stop:
                self.threads.add(threading.get_ident())
                self.made += 1
                yield self.made
        finally:
            self.closed = True


def settle(counter: Counter) -> int:
    """What `made` comes to once nothing more happens."""
    made = -1
    while made != counter.made:
        made = counter.made
        time.sleep(0.05)
    return made


def test_nothing() -> None:
    assert list(in_background([])) == []


def test_order_is_kept_in_another_thread() -> None:
    counter = Counter(200)

    assert list(in_background(iter(counter), ahead=3)) == list(range(1, 201))
    assert threading.get_ident() not in counter.threads
    assert len(counter.threads) == 1


def test_no_more_than_a_few_ahead() -> None:
    counter = Counter(1000)
    with closing(in_background(iter(counter), ahead=3)) as numbers:
        assert next(numbers) == 1
        assert settle(counter) == 1 + 3 + 1  # used, waiting, in the making


def test_nothing_begins_before_it_is_wanted() -> None:
    counter = Counter(10)
    numbers = in_background(iter(counter))

    assert settle(counter) == 0
    numbers.close()


def test_an_error_comes_after_the_items_before_it() -> None:
    def failing() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("the disk is gone")

    numbers = in_background(failing())

    assert [next(numbers), next(numbers)] == [1, 2]
    with pytest.raises(OSError, match="the disk is gone"):
        next(numbers)


def test_an_error_while_closing_the_items_is_not_a_hang() -> None:
    def sour() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            raise OSError("cannot close")

    with pytest.raises(OSError, match="cannot close"):
        list(in_background(sour()))


@pytest.mark.parametrize("ahead", [1, 4])
@pytest.mark.parametrize("used", [1, 2, 7])
def test_leaving_early_closes_the_items(ahead: int, used: int) -> None:
    for _ in range(30):  # the thread is met in different moments
        counter = Counter(1000)
        items = iter(counter)
        with closing(in_background(items, ahead)) as numbers:
            for _ in range(used):
                next(numbers)
        assert counter.closed  # although `items` is still held here
        assert counter.made < 1000


def test_chains_end_from_the_outside_in() -> None:
    counter = Counter(1000)

    def doubled() -> Iterator[int]:
        with closing(in_background(iter(counter))) as numbers:
            for number in numbers:
                yield 2 * number

    with closing(in_background(doubled())) as results:
        assert [next(results), next(results)] == [2, 4]
        assert threading.active_count() >= 3
    assert counter.closed


def test_a_keyboard_interrupt_of_the_user_ends_the_thread() -> None:
    counter = Counter(1000)

    def interrupted() -> None:
        with closing(in_background(iter(counter))) as numbers:
            next(numbers)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert counter.closed
