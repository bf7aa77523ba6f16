import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from lookonce.bench.contenders import CONTENDERS, BenchCase, Run
from lookonce.bench.files import Files, prepare
from lookonce.bench.measure import BenchEntry, Result, measure
from lookonce.bench.worker import Turn, Worker, peak_bytes
from lookonce.errors import ContenderError, LookonceError

CASE = BenchCase((64, 96), batch=2, threads=1)


def opener(contender: str, files: Files) -> Callable[[], Run]:
    return partial(CONTENDERS[contender].open, files, CASE)


@pytest.fixture(scope="module")
def files(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Files:
    return prepare(small_model, tmp_path_factory.mktemp("forms"))


@pytest.mark.parametrize("contender", ["lookonce", "onnxruntime", "openvino", "torch", "opencv"])
def test_every_contender_runs_the_same_model(contender: str, files: Files) -> None:
    with Worker(contender, opener(contender, files)) as worker:
        turn = worker.run(3)

    assert len(turn.seconds) == 3
    assert all(seconds > 0 for seconds in turn.seconds)
    assert worker.opening_seconds > sum(turn.seconds) / 3


def test_memory_of_a_contender_excludes_the_parent(files: Files) -> None:
    ballast = bytearray(400 * 2**20)
    ballast[::4096] = b"x" * len(ballast[::4096])
    with Worker("lookonce", opener("lookonce", files)) as worker:
        peak = worker.run(1).peak_bytes

    mine = peak_bytes()
    assert mine is not None
    assert peak is not None
    assert mine > len(ballast)
    assert peak < len(ballast)


def test_rows_keep_their_order_and_a_failed_one_says_why(files: Files) -> None:
    absent = Files(Path("gone.cfg"), None, Path("gone.onnx"), Path("gone.onnx"), is_float=True)
    entries = [
        BenchEntry("first", partial(CONTENDERS["onnxruntime"].open, files)),
        BenchEntry("gone", partial(CONTENDERS["onnxruntime"].open, absent)),
        BenchEntry("last", partial(CONTENDERS["lookonce"].open, files)),
    ]
    advances: list[str] = []

    results = measure(entries, CASE, rounds=2, advance=advances.append)

    assert [result.label for result in results] == ["first", "gone", "last"]
    assert [len(result.turns) for result in results] == [2, 0, 2]
    assert "gone.onnx" in results[1].error
    assert advances == ["first", "gone", "last", "first", "last", "first", "last"]


@dataclass(frozen=True)
class Noted:
    """An opener or a check of a contender that records its process, and fails if `fault` is given."""

    file: Path
    fault: str | None = None

    def __call__(self, case: BenchCase) -> Run:
        with self.file.open("a") as file:
            file.write(f"{os.getpid()}\n")
        if self.fault:
            raise LookonceError(self.fault)
        return lambda: None


def test_a_contender_is_checked_in_a_process_that_is_not_timed(tmp_path: Path) -> None:
    checked, opened = tmp_path / "checked", tmp_path / "opened"
    entries = [
        BenchEntry("right", Noted(opened), Noted(checked)),
        BenchEntry("wrong", Noted(opened), Noted(checked, "its maps differ")),
    ]
    right, wrong = measure(entries, CASE, rounds=1)
    assert (len(right.turns), right.error) == (1, "")
    assert (wrong.turns, wrong.error) == ((), "wrong: LookonceError: its maps differ")
    assert len({*checked.read_text().split(), *opened.read_text().split()}) == 3


def test_opencv_is_checked(files: Files) -> None:
    assert BenchEntry.of(CONTENDERS["opencv"], files).check is not None
    assert BenchEntry.of(CONTENDERS["onnxruntime"], files).check is None


class Sleepy:
    """A worker whose first batch in a turn is slow, as after a pause."""

    opening_seconds = 1.0

    def __init__(self, *_: object) -> None:
        pass

    def run(self, batches: int) -> Turn:
        return Turn((9.0,) + (0.2,) * (batches - 1), None)

    def __enter__(self) -> "Sleepy":
        return self

    def __exit__(self, *_: object) -> None:
        pass


def test_a_warm_up_batch_is_not_counted(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lookonce.bench.measure.Worker", Sleepy)

    (result,) = measure([BenchEntry("sleepy", partial(CONTENDERS["lookonce"].open, files))], CASE, rounds=1)

    assert result.turns == ((200.0, 200.0),)


def test_a_killed_process_is_an_error_not_a_hang(files: Files) -> None:
    with Worker("onnxruntime", opener("onnxruntime", files)) as worker:
        assert worker._process.pid is not None
        os.kill(worker._process.pid, signal.SIGKILL)
        with pytest.raises(ContenderError, match="onnxruntime: its process"):
            worker.run(1)


def test_the_worker_process_exits_cleanly(files: Files) -> None:
    with Worker("onnxruntime", opener("onnxruntime", files)) as worker:
        pass
    assert worker._process.exitcode == 0


def test_a_row_gives_percentiles_and_rate() -> None:
    row = Result("a", BenchCase((32, 32), 4, 1), ((10.0, 20.0), (30.0, 40.0)))

    assert row.percentile(50) == 25
    assert row.percentile(99) == pytest.approx(39.7)
    assert row.per_second == 160


def test_ratios_are_computed_within_a_round() -> None:
    """In the second round, the machine was three times slower for both."""
    fast = Result("fast", CASE, ((10.0,), (30.0,), (10.0,)))
    slow = Result("slow", CASE, ((20.0,), (60.0,), (21.0,)))

    assert slow.ratio(fast) == 2
