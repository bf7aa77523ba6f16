"""HTTP requests that leave no connection open, and end whatever the server does."""

import time
from concurrent.futures import Future
from http.client import IncompleteRead
from threading import Thread
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

PIECE = 1 << 16
SLOWEST = 1 << 14  # bytes within the time for an answer, or it is too slow


class _Redirects(HTTPRedirectHandler):
    """Redirects that stay with HTTP, and take no password to another server."""

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        """Follow the redirect; close an answer whose redirect fails, which urllib leaves open."""
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except BaseException:
            fp.close()
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Return the next request."""
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        if after.scheme not in ("http", "https"):
            raise HTTPError(newurl, code, f"{msg}: a redirect to {after.scheme}", headers, fp)
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        is_upgrade = after.scheme == "https" and after.hostname == before.hostname
        if following is not None and after[:2] != before[:2] and not is_upgrade:
            following.remove_header("Authorization")
        return following


def open_url(request: Request, timeout: float) -> Any:
    """Send a request and follow its redirects.

    Args:
        request: an http or https address, and headers.
        timeout: seconds until the headers of the last answer are there, and between two pieces of its body.

    Raises:
        OSError: no answer, or an HTTP error.
        HTTPException: a malformed answer.
        ValueError: a malformed address.
    """
    asking: Future[Any] = Future()

    def ask() -> None:
        try:
            asking.set_result(build_opener(_Redirects).open(request, timeout=timeout))
        except Exception as error:  # raised below, in the caller's thread
            asking.set_exception(error)

    def close(late: Future[Any]) -> None:
        found = late.exception() or late.result()
        if hasattr(found, "close"):  # an answer, or an HTTPError, which holds one
            found.close()

    # in a thread, because a server may send its headers byte by byte for ever
    Thread(target=ask, daemon=True).start()
    try:
        return asking.result(timeout)
    except TimeoutError:
        asking.add_done_callback(close)  # runs at once if the answer has come in the meantime
        raise


class Pace:
    """Speed at which a body arrives: too slow if fewer than `SLOWEST` bytes come within a time."""

    def __init__(self, timeout: float) -> None:
        """Start the clock; `timeout` in seconds."""
        self._timeout, self._since, self._before = timeout, time.monotonic(), 0

    def is_slow(self, received: int) -> bool:
        """Return whether a body of which so many bytes have arrived is too slow."""
        now = time.monotonic()
        if received - self._before >= SLOWEST:
            self._since, self._before = now, received
        return now - self._since > self._timeout


def read_body(answer: Any, count: int, timeout: float, longest: float) -> bytes:
    """Read a body, or as much of it as asked for.

    Args:
        answer: an open answer.
        count: number of bytes after which to stop.
        timeout: seconds within which `SLOWEST` bytes must arrive.
        longest: seconds for all of them.

    Raises:
        TimeoutError: the server is too slow.
        OSError: the connection broke.
        HTTPException: a malformed answer, or less than it declares.
    """
    data, pace, deadline = bytearray(), Pace(timeout), time.monotonic() + longest
    while len(data) < count:
        piece = answer.read1(min(PIECE, count - len(data)))
        if not piece:
            if answer.length:
                raise IncompleteRead(bytes(data), answer.length)
            break
        data += piece
        if pace.is_slow(len(data)) or time.monotonic() > deadline:
            raise TimeoutError
    return bytes(data)
