"""A local web server with configurable faults."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Answers a path as configured, and other paths with 404; records the headers of every request."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:
        self.close_connection = True
        self.server.seen.append((self.path, dict(self.headers)))
        self.server.answers.get(self.path, missing)(self)

    def answer(self, status: int, body: bytes, **headers: object) -> None:
        """Send an answer; `length` replaces Content-Length, and None removes it; headers have `_` for `-`."""
        length = headers.pop("length", len(body))
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def wanted(self) -> int:
        """Return the first byte that the request asks for."""
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(asked[1]) if asked else 0

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


class Server(ThreadingHTTPServer):
    """Attributes: `answers`, path -> what to do; `seen`, (path, headers) of requests; `over`, its end."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, Callable[[Handler], None]] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.over = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def ranges(self) -> list[str | None]:
        return [headers.get("Range") for _, headers in self.seen]


@contextmanager
def serving() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()


def missing(request: Handler) -> None:
    request.answer(404, b"")


def sound(content: bytes, etag: str = '"1"', stop_after: int | None = None) -> Callable[[Handler], None]:
    """Return a correct answer, which may break each connection after a number of bytes."""

    def do(request: Handler) -> None:
        start = request.wanted()
        if start and request.headers.get("If-Range", etag) != etag:
            start = 0
        if start > len(content):
            return request.answer(416, b"")
        sent = content[start:][:stop_after]
        headers = {"ETag": etag, "length": len(content) - start}
        if start:
            place = f"bytes {start}-{len(content) - 1}/{len(content)}"
            request.answer(206, sent, Content_Range=place, **headers)
        else:
            request.answer(200, sent, **headers)

    return do


def deaf(content: bytes, stop_after: int | None = None) -> Callable[[Handler], None]:
    """Return an answer that ignores Range."""
    return lambda request: request.answer(200, content[:stop_after], length=len(content))


def dripping(start: bytes, piece: bytes = b"x") -> Callable[[Handler], None]:
    """Return an answer that is too slow, for at most ten seconds, so that no client waits forever."""

    def do(request: Handler) -> None:
        request.wfile.write(start)
        for _ in range(200):
            if request.server.over.wait(0.05):
                return
            try:
                request.wfile.write(piece)
            except OSError:
                return

    return do


def redirect(url: str) -> Callable[[Handler], None]:
    return lambda request: request.answer(302, b"", Location=url)
