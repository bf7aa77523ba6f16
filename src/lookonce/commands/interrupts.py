"""Ctrl-C, and a polite kill, at a place of our choosing."""

import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts(AbstractContextManager["Interrupts"]):
    """While the block runs, a signal stops it in `wait_for` alone, so no piece of work is cut in two.

    Attributes:
        signal: the number of the signal that came; 0 while none has.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._waiting = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def wait_for(self, call: Callable[[], T]) -> T:
        """Call, and give way to a signal that comes meanwhile or came before.

        Raises:
            KeyboardInterrupt: there was a signal.
        """
        self._waiting = True
        try:
            if self.signal:
                raise KeyboardInterrupt
            return call()
        finally:
            self._waiting = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        if self._waiting:
            self._waiting = False  # a second signal must not disturb what ends the run
            raise KeyboardInterrupt
