"""Turn OpenCV's messages off for the duration of a block."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import cv2

_lock = Lock()
_depth = 0
_level_before = 0


@contextmanager
def silent_opencv() -> Iterator[None]:
    """Turn OpenCV's messages off, because those of lookonce also name the file.

    The log level is global, and several threads decode images: the first to enter turns the log off, and the
    last to leave restores it.
    """
    global _depth, _level_before
    with _lock:
        if _depth == 0:
            _level_before = cv2.utils.logging.setLogLevel(0)
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                cv2.utils.logging.setLogLevel(_level_before)
