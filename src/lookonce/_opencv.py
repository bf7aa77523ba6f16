"""Change a global setting of OpenCV for the duration of a block: its messages, its number of threads."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock

import cv2


class Setting:
    """Setting that several threads may need changed at overlapping times: the last to leave restores it.

    Attributes:
        users: number of those that need the other value now.
        usual: value before the first of them.
    """

    def __init__(self, exchange: Callable[[int], int], value: int) -> None:
        """Describe the setting.

        Args:
            exchange: function that changes the setting and returns the value before.
            value: value while there are users.
        """
        self.users = self.usual = 0
        self._exchange, self._value = exchange, value
        self._changing = RLock()  # a generator may be closed as garbage here, in this same thread

    @contextmanager
    def changed(self) -> Iterator[None]:
        """Give the setting its other value."""
        with self._changing:
            if not self.users:
                self.usual = self._exchange(self._value)
            self.users += 1
        try:
            yield
        finally:
            with self._changing:
                self.users -= 1
                if not self.users:
                    self._exchange(self.usual)


def _exchange_threads(number: int) -> int:
    before = cv2.getNumThreads()
    cv2.setNumThreads(number)
    return before


silent_opencv = Setting(cv2.utils.logging.setLogLevel, 0).changed  # lookonce's own messages name the file
single_threaded_opencv = Setting(_exchange_threads, 1).changed
