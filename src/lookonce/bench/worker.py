"""Run a contender in a separate process, which uses no CPU time until its turn."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from threading import current_thread, main_thread
from time import perf_counter
from types import TracebackType
from typing import Any, Self

from lookonce.bench.contenders import Run
from lookonce.errors import ContenderError

WARM_UP = 2  # batches run when a contender is opened, without timing them
PATIENCE = 10.0  # seconds to wait for a process to end


@dataclass(frozen=True, slots=True)
class Turn:
    """The measurements of one turn of a contender.

    Attributes:
        seconds: time of each batch.
        peak_bytes: peak memory of the process so far; None if the system does not report it.
    """

    seconds: tuple[float, ...]
    peak_bytes: int | None


class Worker:
    """Opens a contender and runs it on request. Use it in a `with` block."""

    def __init__(self, name: str, open_: Callable[[], Run]) -> None:
        """Start the process and wait for the end of the warm-up.

        Args:
            name: name for error messages.
            open_: function, sent to the process, that returns the function to time.

        Raises:
            ContenderError: the contender cannot be opened; the message is the engine's.
        """
        context = multiprocessing.get_context("spawn")  # a forked process would inherit this one's memory
        self._pipe, child_end = context.Pipe()
        self._name = name
        self._process = context.Process(target=_serve, args=(child_end, open_), daemon=True)
        with _ignoring_ctrl_c():
            self._process.start()
        child_end.close()
        self.opening_seconds: float = self._answer()

    def run(self, batches: int) -> Turn:
        """Run some batches and time each of them.

        Raises:
            ContenderError: the engine fails, or its process has ended.
        """
        try:
            self._pipe.send(batches)
        except OSError as error:
            raise ContenderError(f"{self._name}: its process has ended") from error
        turn: Turn = self._answer()
        return turn

    def _answer(self) -> Any:
        try:
            answer = self._pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join(PATIENCE)
            raise ContenderError(
                f"{self._name}: its process ended with code {self._process.exitcode}; out of memory?"
            ) from None
        if isinstance(answer, str):
            raise ContenderError(f"{self._name}: {answer}")
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(PATIENCE)
        if self._process.is_alive():
            self._process.kill()


@contextmanager
def _ignoring_ctrl_c() -> Iterator[None]:
    """Let processes started here ignore Ctrl-C; they end when their pipe closes, without a traceback."""
    if current_thread() is not main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(pipe: Connection, open_: Callable[[], Run]) -> None:
    """Serve the parent process until its end of the pipe closes; errors are sent as text."""
    try:
        start = perf_counter()
        run = open_()
        for _ in range(WARM_UP):
            run()
        pipe.send(perf_counter() - start)
        while True:
            batches = pipe.recv()
            seconds = []
            for _ in range(batches):
                start = perf_counter()
                run()
                seconds.append(perf_counter() - start)
            pipe.send(Turn(tuple(seconds), peak_bytes()))
    except EOFError:
        return
    except Exception as error:  # engines raise exceptions of any type
        pipe.send(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


def peak_bytes() -> int | None:
    """Return the peak memory of this process in bytes; None if the system does not report it."""
    try:  # getrusage would include the memory of the parent process at the start
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return None
    (peak,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(peak.split()[1]) * 1024
