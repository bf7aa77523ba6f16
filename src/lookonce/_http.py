"""HTTP requests that always close their connections, and end within a time limit."""

import time
from concurrent.futures import Future, InvalidStateError, wait
from http.client import IncompleteRead
from threading import Thread
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

PIECE = 1 << 16  # bytes per read
SLOWEST = 1 << 14  # bytes that must arrive within each `timeout`


class _Redirects(HTTPRedirectHandler):
    """A redirect handler that only follows http and https, and sends no password to another server."""

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        """Follow a redirect; if that fails, close the response, which urllib leaves open."""
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except BaseException:
            fp.close()
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Return the request for the new URL.

        Raises:
            HTTPError: the new URL is neither http nor https.
        """
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
        request: http or https URL, with headers.
        timeout: seconds for all headers to arrive, redirects included, and between two reads of the body.

    Raises:
        OSError: there is no response in time, or it is an HTTP error.
        HTTPException: the response is malformed.
        ValueError: the URL is malformed.
    """
    outcome: Future[Any] = Future()  # a response or an error

    def send() -> None:
        found: Any
        try:
            found = build_opener(_Redirects).open(request, timeout=timeout)
        except Exception as error:  # raised below, in the caller's thread
            found = error
        try:
            outcome.set_result(found)
        except InvalidStateError:  # canceled after the timeout
            if hasattr(found, "close"):  # a response, or an HTTPError with one
                found.close()

    # in a thread, because a server may send its headers byte by byte forever
    Thread(target=send, daemon=True).start()
    wait([outcome], timeout)
    if outcome.cancel():
        raise TimeoutError
    found = outcome.result()
    if isinstance(found, Exception):
        raise found
    return found


class Pace:
    """A check of the speed of a response, too slow with fewer than `SLOWEST` bytes within the timeout."""

    def __init__(self, timeout: float) -> None:
        """Start the clock; `timeout` is in seconds."""
        self._timeout, self._since, self._before = timeout, time.monotonic(), 0

    def is_slow(self, received: int) -> bool:
        """Return whether the response is too slow, given the number of bytes received so far."""
        now = time.monotonic()
        if received - self._before >= SLOWEST:
            self._since, self._before = now, received
        return now - self._since > self._timeout


def read_body(answer: Any, count: int, timeout: float, longest: float) -> bytes:
    """Read the body of a response, at most `count` bytes.

    Args:
        answer: open response.
        count: largest number of bytes to read.
        timeout: seconds in which `SLOWEST` bytes must arrive.
        longest: largest number of seconds for the whole body.

    Raises:
        TimeoutError: the server is too slow.
        OSError: the connection broke.
        HTTPException: the response is malformed, or shorter than it declares.
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
