"""Parallel work: order, bounds, errors, and no thread left over."""

import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import cv2
import numpy as np
import pytest

from lookonce.errors import ImageError
from lookonce.images import write_image
from lookonce.runtime.cpu import usable_cores
from lookonce.runtime.pipeline import MEMORY, Parallel, Room, each_image, in_parallel, memory_of
from lookonce.samples import Problem


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


class Counter:
    """Counts up, and records the last number and the threads that requested one."""

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
    """Return the value of `made` once it no longer changes."""
    made = -1
    while made != counter.made:
        made = counter.made
        time.sleep(0.05)
    return made


def same(number: int) -> int:
    return number


def test_no_items_give_no_results() -> None:
    assert list(in_parallel([], same)) == []
    assert list(in_parallel([], same, workers=3)) == []


@pytest.mark.parametrize("workers", [1, 2, 7])
@pytest.mark.parametrize("ahead", [0, 1, 4])
def test_order_is_kept_with_slow_workers(workers: int, ahead: int) -> None:
    counter = Counter(300)
    random = Random(workers + ahead)
    workers_seen = set()

    def slow(number: int) -> int:
        workers_seen.add(threading.get_ident())
        time.sleep(random.choice([0, 0, 0.002]))
        return -number

    assert list(in_parallel(iter(counter), slow, workers, ahead)) == [-n for n in range(1, 301)]
    assert threading.get_ident() not in counter.threads | workers_seen
    assert len(workers_seen) == workers


def test_workers_work_at_the_same_time() -> None:
    together = threading.Barrier(3)

    assert len(list(in_parallel(range(9), lambda number: together.wait(timeout=30), workers=3))) == 9


def test_opencv_uses_one_thread_beside_several_workers() -> None:
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(3)
        assert set(in_parallel(range(4), lambda number: cv2.getNumThreads(), workers=1)) == {3}
        assert set(in_parallel(range(4), lambda number: cv2.getNumThreads(), workers=2)) == {1}
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)


@pytest.mark.parametrize("ends", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_opencv_threads_are_restored_in_any_order_of_ends(ends: tuple[int, ...]) -> None:
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(3)
        passes = [in_parallel(range(9), same, workers=2) for _ in ends]
        for numbers in passes:
            assert next(numbers) == 0
        for number in ends:
            assert cv2.getNumThreads() == 1
            passes[number].close()
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)


def test_a_single_worker_does_not_change_opencv_threads() -> None:
    before = cv2.getNumThreads()
    try:
        numbers = in_parallel(range(4), same, workers=1)
        assert next(numbers) == 0
        cv2.setNumThreads(3)
        assert list(numbers) == [1, 2, 3]
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)


def test_a_result_does_not_wait_for_the_next_item() -> None:
    used = threading.Event()

    def slow_source() -> Iterator[int]:
        yield 1
        assert used.wait(timeout=30)  # like a camera, whose next frame may take any time
        yield 2

    results = in_parallel(slow_source(), same, workers=2)
    assert next(results) == 1
    used.set()
    assert list(results) == [2]


@pytest.mark.parametrize(("workers", "ahead"), [(1, 3), (2, 4), (5, 0)])
def test_only_a_few_items_are_read_ahead(workers: int, ahead: int) -> None:
    counter = Counter(1000)
    with closing(in_parallel(iter(counter), same, workers, ahead)) as numbers:
        assert next(numbers) == 1
        assert settle(counter) == workers + ahead
        assert next(numbers) == 2
        assert settle(counter) == workers + ahead + 1


def test_a_slow_consumer_does_not_fill_the_memory() -> None:
    class Image:
        pass

    alive: weakref.WeakSet[Image] = weakref.WeakSet()
    most = 0

    def decode(number: int) -> Image:
        image = Image()
        alive.add(image)
        return image

    with closing(in_parallel(range(2000), decode, workers=3, ahead=4)) as images:
        for number, _ in enumerate(images):
            if number % 50 == 0:
                time.sleep(0.002)
            most = max(most, len(alive))
    assert number == 1999
    assert 3 <= most <= 3 + 4 + 1


def test_nothing_starts_before_the_first_result_is_asked_for() -> None:
    counter = Counter(10)
    numbers = in_parallel(iter(counter), same)

    assert settle(counter) == 0
    numbers.close()


def failing() -> Iterator[int]:
    yield 1
    yield 2
    raise OSError("the disk is gone")


def refuse_three(number: int) -> int:
    if number == 3:
        raise OSError("the disk is gone")
    return number


@pytest.mark.parametrize("workers", [1, 4])
def test_an_error_comes_after_the_results_before_it(workers: int) -> None:
    for numbers in (
        in_parallel(failing(), same, workers),
        in_parallel(iter(Counter(1000)), refuse_three, workers),
    ):
        assert [next(numbers), next(numbers)] == [1, 2]
        with pytest.raises(OSError, match="the disk is gone"):
            next(numbers)


def test_an_error_while_closing_the_items_is_raised() -> None:
    def sour() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            raise OSError("cannot close")

    with pytest.raises(OSError, match="cannot close"):
        list(in_parallel(sour(), same))


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("ahead", [0, 4])
@pytest.mark.parametrize("used", [1, 2, 7])
def test_leaving_early_closes_the_items(workers: int, ahead: int, used: int) -> None:
    for _ in range(20):  # the threads are stopped at different moments
        counter = Counter(1000)
        items = iter(counter)
        with closing(in_parallel(items, same, workers, ahead)) as numbers:
            for _ in range(used):
                next(numbers)
        assert counter.closed  # although `items` is still referenced here
        assert counter.made < 1000


def test_a_waiting_source_is_told_to_stop() -> None:
    stopped = threading.Event()

    def camera() -> Iterator[int]:
        yield 1
        stopped.wait(timeout=60)

    def interrupted() -> None:
        for _ in in_parallel(camera(), same, workers=2, stop=stopped.set):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert stopped.is_set()


def test_a_keyboard_interrupt_of_the_user_ends_the_threads() -> None:
    counter = Counter(1000)

    def interrupted() -> None:
        with closing(in_parallel(iter(counter), same, workers=2)) as numbers:
            next(numbers)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert counter.closed


@pytest.mark.parametrize(
    ("cores", "frames", "threads", "expected"),
    [
        (4, 0, None, Parallel(1, 4)),  # a video of unknown length
        (4, 1, None, Parallel(1, 4)),  # one image uses all cores
        (4, 2, None, Parallel(2, 2)),
        (4, 200, None, Parallel(4, 1)),
        (4, None, None, Parallel(1, 4, ahead=1)),  # live: lowest latency for the newest frame
        (4, 200, 2, Parallel(2, 2)),
        (4, 200, 9, Parallel(1, 9)),
        (4, None, 2, Parallel(1, 2, ahead=1)),
    ],
)
def test_workers_and_threads_follow_cores_and_frames(
    cores: int,
    frames: int | None,
    threads: int | None,
    expected: Parallel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lookonce.runtime.pipeline.usable_cores", lambda: cores)

    assert Parallel.of(frames, threads) == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs a choice of cores")
def test_only_usable_cores_count() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_large_items_are_processed_one_by_one() -> None:
    at_work: list[int] = []
    seen: list[tuple[int, ...]] = []
    lock = threading.Lock()

    def work(weight: int) -> int:
        with lock:
            at_work.append(weight)
            seen.append(tuple(at_work))
        time.sleep(0.01)
        with lock:
            at_work.remove(weight)
        return weight

    weights = [MEMORY // 2, MEMORY // 2, MEMORY // 2 + 1, MEMORY * 2, 1, 1, MEMORY] * 3
    assert list(in_parallel(weights, work, workers=4, ahead=0, weight=lambda item: item)) == weights
    assert all(sum(together) <= MEMORY or len(together) == 1 for together in seen)
    assert any(len(together) > 1 for together in seen)


def test_closing_releases_a_waiting_large_item() -> None:
    numbers = in_parallel([MEMORY, MEMORY, MEMORY], same, workers=2, weight=lambda item: item)
    assert next(numbers) == MEMORY
    numbers.close()


def test_images_that_cannot_be_read_are_skipped(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for number, path in enumerate(paths):
        write_image(path, np.full((8, 8, 3), number, np.uint8))
    paths[1].write_text("no image")
    paths[3].unlink()
    skipped: list[Problem] = []

    found = list(each_image(paths, lambda image: int(image[0, 0, 0]), skipped, Parallel(2, 1)))

    assert found == [(0, 0), (2, 2), (4, 4)]
    assert [problem.place for problem in skipped] == [str(paths[1]), str(paths[3])]
    with pytest.raises(ImageError, match=r"1\.png"):
        list(each_image(paths, np.sum, skipped, strict=True))


def test_the_memory_of_an_image_is_known_before_it_is_decoded(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros((8, 12, 3), np.uint8))
    assert memory_of(tmp_path / "a.png") == 3 * 96
    assert memory_of(tmp_path / "absent.png") == 0


def test_room_is_full_at_its_limits() -> None:
    room = Room(2, 10)
    assert room.enter()
    assert room.load(4)
    assert room.enter()
    assert room.load(6)  # ten of ten
    waited: list[bool] = []
    thread = threading.Thread(target=lambda: waited.append(room.enter()))
    thread.start()
    room.leave(6)
    thread.join(30)
    assert waited == [True]
    thread = threading.Thread(target=lambda: waited.append(room.load(7)))  # 4 + 7
    thread.start()
    thread.join(0.1)
    assert thread.is_alive()
    room.close()
    thread.join(30)
    assert waited == [True, False]
    assert not room.enter()
