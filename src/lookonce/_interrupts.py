"""Handle Ctrl-C and SIGTERM at a safe point."""

import os
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Thread, Timer
from time import sleep
from types import FrameType, TracebackType
from typing import Any, ClassVar, Self, TypeVar

T = TypeVar("T")

GRACE = 0.8  # seconds from the second signal to the end of the process
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class SecondCtrlC(AbstractContextManager["SecondCtrlC"]):
    """A context in which Ctrl-C after another signal ends the process within a second.

    Python only runs a signal handler when the main thread returns from the engine, which can take minutes,
    and at exit a process waits for its threads. But the C handler runs at once: it writes the signal's number
    to a pipe, from which a thread reads it. After the first signal, the thread runs until the process ends.
    """

    _writes: ClassVar[int] = -1  # write end of the pipe

    def __init__(self) -> None:
        self._signaled = False

    def __enter__(self) -> Self:
        reads, SecondCtrlC._writes = os.pipe()
        if sys.platform != "win32":
            os.set_blocking(self._writes, False)
        signal.set_wakeup_fd(self._writes, warn_on_full_buffer=False)
        Thread(target=self._watch, args=[reads], daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._signaled:
            self.forget()

    @classmethod
    def forget(cls) -> None:
        """Stop watching; called in forked processes too, because Ctrl-C reaches them as well."""
        if cls._writes >= 0:
            signal.set_wakeup_fd(-1)
            os.close(cls._writes)  # ends the thread
            cls._writes = -1

    def _watch(self, reads: int) -> None:
        with os.fdopen(reads, "rb", buffering=0) as stream:
            while number := stream.read(1):
                if self._signaled and number[0] == signal.SIGINT:
                    sleep(GRACE)
                    _leave(128 + signal.SIGINT)
                self._signaled = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=SecondCtrlC.forget)


class _Signals(AbstractContextManager["_Signals"], ABC):
    """A context in which Ctrl-C and SIGTERM are recorded instead of acting at once.

    Attributes:
        signal: number of the received signal; 0 if there was none.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @abstractmethod
    def _note(self, number: int, frame: FrameType | None) -> None:
        """Record a signal."""


class Interrupts(_Signals):
    """A context in which a signal only takes effect in `wait_for`, so that no unit of work is interrupted.

    After a second signal, the block has `GRACE` seconds to end before the process ends, even if threads are
    still running. The results so far are in files with temporary names, from which `--resume` reads them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._waiting = False
        self._leave: Timer | None = None

    def wait_for(self, call: Callable[[], T]) -> T:
        """Call a function, unless a signal has arrived or arrives meanwhile.

        Raises:
            KeyboardInterrupt: a signal arrived.
        """
        self._waiting = True
        try:
            if self.signal:
                raise KeyboardInterrupt
            return call()
        finally:
            self._waiting = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if self._leave is not None:
            self._leave.cancel()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal and self._leave is None:
            self._leave = Timer(GRACE, _leave, [128 + number])
            self._leave.daemon = True
            self._leave.start()
        self.signal = number
        if self._waiting:
            self._waiting = False  # a second signal must not interrupt the cleanup
            raise KeyboardInterrupt


def _leave(code: int) -> None:
    """End the process and its workers now, and show the cursor, which a progress bar may have hidden."""
    if "multiprocessing" in sys.modules:
        for worker in sys.modules["multiprocessing"].active_children():
            worker.kill()
    if sys.stderr is not None and sys.stderr.isatty():
        os.write(sys.stderr.fileno(), b"\x1b[?25h\n")
    os._exit(code)


class StopRequest(_Signals):
    """A context in which the first signal is a request that the block polls, and a later Ctrl-C acts at once.

    A second SIGTERM has no effect, because schedulers send one to every process, and torchrun forwards its
    own.
    """

    def __call__(self) -> bool:
        """Return whether a signal arrived."""
        return self.signal != 0

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = self.signal or number
