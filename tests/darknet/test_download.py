"""Downloads from a server that cuts, redirects and rejects requests, and sends wrong headers."""

import errno
import gc
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from lookonce.darknet import download as module
from lookonce.darknet.download import RemoteFile, address_of, download
from lookonce.errors import DownloadError
from tests.file_server import Handler, Server, deaf, dripping, redirect, serving, sound

CONTENT = np.random.default_rng(3).bytes(300_000)
KNOWN = RemoteFile("a.weights", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
UNKNOWN = RemoteFile("a.weights", len(CONTENT))


class Watch:
    """A progress meter that records its calls."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.bytes = 0

    def begin(self, url: str, done: int) -> None:
        self.begun.append(done)

    def advance(self, count: int) -> None:
        self.bytes += count


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as server:
        yield server


def get(
    folder: Path, *mirrors: str, file: RemoteFile = KNOWN, watch: Watch | None = None, **headers: str
) -> Path:
    return download(file, folder, mirrors, headers, watch or Watch())


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_a_file_arrives_whole_and_is_not_fetched_twice(server: Server, tmp_path: Path) -> None:
    server.answers["/files/a.weights"] = sound(CONTENT)
    watch = Watch()

    for _ in range(2):
        path = get(tmp_path / "new", f"{server.url}/files/", watch=watch, Referer="https://pjreddie.com")

    assert path.read_bytes() == CONTENT
    assert left_in(tmp_path / "new") == ["a.weights"]
    assert [headers["Referer"] for _, headers in server.seen] == ["https://pjreddie.com"]
    assert (watch.begun, watch.bytes) == ([0], len(CONTENT))


@pytest.mark.parametrize("file", [KNOWN, UNKNOWN])
def test_a_broken_connection_is_resumed(server: Server, tmp_path: Path, file: RemoteFile) -> None:
    server.answers["/a.weights"] = sound(CONTENT, stop_after=130_000)
    watch = Watch()

    path = get(tmp_path, server.url, file=file, watch=watch)

    assert path.read_bytes() == CONTENT
    assert server.ranges() == [None, "bytes=130000-", "bytes=260000-"]
    assert server.seen[1][1]["If-Range"] == '"1"'
    assert (watch.begun, watch.bytes) == ([0, 130_000, 260_000], len(CONTENT))


def test_a_server_without_range_starts_over(server: Server, tmp_path: Path) -> None:
    server.answers["/a.weights"] = deaf(CONTENT)
    (tmp_path / "a.weights.part").write_bytes(CONTENT[:1000])

    assert get(tmp_path, server.url).read_bytes() == CONTENT
    assert server.ranges() == ["bytes=1000-"]


def test_a_server_without_range_that_always_breaks_is_given_up(server: Server, tmp_path: Path) -> None:
    server.answers["/a.weights"] = deaf(CONTENT, stop_after=1000)

    with pytest.raises(DownloadError, match=r"ended after 1,000 of 300,000 bytes.* 1,000 bytes are kept"):
        get(tmp_path, server.url)

    assert len(server.seen) == 2
    assert "a.weights" not in left_in(tmp_path)


def test_a_server_that_breaks_too_often_is_given_up(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ATTEMPTS", 3)
    server.answers["/a.weights"] = sound(CONTENT, stop_after=1000)

    with pytest.raises(DownloadError, match=r"broke 3 times.* 3,000 bytes are kept"):
        get(tmp_path, server.url)


def test_a_file_that_changed_in_between_is_not_mixed(server: Server, tmp_path: Path) -> None:
    server.answers["/a.weights"] = sound(bytes(len(CONTENT)), '"old"', stop_after=1000)
    answer_old = server.answers["/a.weights"]

    def renewed(request: Handler) -> None:
        (answer_old if len(server.seen) == 1 else sound(CONTENT, '"new"'))(request)

    server.answers["/a.weights"] = renewed

    assert get(tmp_path, server.url, file=UNKNOWN).read_bytes() == CONTENT
    assert server.seen[1][1]["If-Range"] == '"old"'


def test_the_date_stands_in_for_a_weak_etag(server: Server, tmp_path: Path) -> None:
    def do(request: Handler) -> None:
        date = {"ETag": 'W/"1"', "Last_Modified": "Tue, 02 Oct 2018 10:00:00 GMT"}
        request.answer(200, CONTENT[: 1000 * len(server.seen)], length=len(CONTENT), **date)

    server.answers["/a.weights"] = do

    with pytest.raises(DownloadError):
        get(tmp_path / "no progress", server.url, file=RemoteFile("a.weights", 5))
    server.seen.clear()
    server.answers["/a.weights"] = lambda r: do(r) if len(server.seen) == 1 else deaf(CONTENT)(r)
    get(tmp_path, server.url)
    assert server.seen[1][1]["If-Range"] == "Tue, 02 Oct 2018 10:00:00 GMT"


def test_redirects_are_followed_and_keep_the_headers(server: Server, tmp_path: Path) -> None:
    server.answers["/a.weights"] = redirect("/elsewhere")
    server.answers["/elsewhere"] = sound(CONTENT, stop_after=200_000)

    assert get(tmp_path, server.url, Referer="https://pjreddie.com").read_bytes() == CONTENT
    path, headers = server.seen[-1]
    assert (path, headers["Range"]) == ("/elsewhere", "bytes=200000-")
    assert headers["Referer"] == "https://pjreddie.com"


def html(request: Handler) -> None:
    request.answer(200, b"<html>Please log in</html>", Content_Type="text/html; charset=utf-8")


def html_in_disguise(request: Handler) -> None:
    request.answer(200, b"\n<!DOCTYPE html>" + bytes(len(CONTENT) - 16), length=None)


def wrong_place(request: Handler) -> None:
    request.answer(206, CONTENT[10:], Content_Range=f"bytes 10-{len(CONTENT) - 1}/{len(CONTENT)}")


BAD: dict[str, tuple[Callable[[Handler], None], str]] = {
    "forbidden": (lambda request: request.answer(403, b"no"), "HTTP 403 Forbidden"),
    "error": (lambda request: request.answer(500, b""), "HTTP 500 Internal Server Error"),
    "endless redirect": (redirect("/bad/a.weights"), "HTTP 302"),
    "html": (html, "found an HTML page"),
    "html in disguise": (html_in_disguise, "found an HTML page"),
    "shorter": (lambda request: request.answer(200, CONTENT[:-1]), "expected 300,000 bytes, found 299,999"),
    "longer": (lambda request: request.answer(200, CONTENT + b"!"), "expected 300,000 bytes, found 300,001"),
    "longer, unsaid": (lambda request: request.answer(200, CONTENT + b"!", length=None), "found more"),
    "other content": (sound(bytes(len(CONTENT))), f"expected SHA-256 {KNOWN.sha256}, found "),
    "other place": (wrong_place, "expected the bytes from 0 on, found others"),
    "not http": (lambda request: request.wfile.write(b"SSH-2.0-OpenSSH\r\n") and None, "SSH-2.0"),
    "hangs up": (lambda request: None, "closed connection without response"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_mirror_is_named_and_the_next_one_used(server: Server, tmp_path: Path, fault: str) -> None:
    server.answers["/bad/a.weights"], reason = BAD[fault]
    server.answers["/good/a.weights"] = sound(CONTENT)

    with pytest.raises(DownloadError, match=r"a\.weights cannot be fetched") as raised:
        get(tmp_path, f"{server.url}/bad")

    assert f"{server.url}/bad/a.weights: " in str(raised.value)
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)
    assert all(path.stat().st_size == 0 for path in tmp_path.glob("a.weights*") if path.suffix != ".from")
    assert get(tmp_path, f"{server.url}/bad", f"{server.url}/good").read_bytes() == CONTENT


def test_a_partial_file_moves_to_another_mirror_only_with_a_checksum(server: Server, tmp_path: Path) -> None:
    server.answers["/1/a.weights"] = deaf(CONTENT, stop_after=1000)
    server.answers["/2/a.weights"] = sound(CONTENT)
    urls = [f"{server.url}/1", f"{server.url}/2"]

    assert get(tmp_path / "known", *urls).read_bytes() == CONTENT
    assert get(tmp_path / "unknown", *urls, file=UNKNOWN).read_bytes() == CONTENT

    last = [headers.get("Range") for path, headers in server.seen if path == "/2/a.weights"]
    assert last == ["bytes=1000-", None]


def test_a_damaged_partial_file_is_fetched_again(server: Server, tmp_path: Path) -> None:
    server.answers["/a.weights"] = sound(CONTENT)
    (tmp_path / "a.weights.part").write_bytes(b"damaged")

    assert get(tmp_path, server.url).read_bytes() == CONTENT
    assert server.ranges() == ["bytes=7-", None]


def test_a_partial_file_that_is_too_long_is_discarded(server: Server, tmp_path: Path) -> None:
    server.answers["/a.weights"] = sound(CONTENT)
    (tmp_path / "a.weights.part").write_bytes(CONTENT + b"!")

    assert get(tmp_path, server.url).read_bytes() == CONTENT


def test_a_damaged_file_is_named_and_fetched_again(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers["/a.weights"] = sound(CONTENT)
    (tmp_path / "a.weights").write_bytes(b"<html>")

    assert get(tmp_path, server.url).read_bytes() == CONTENT
    assert "a.weights: expected 300,000 bytes, found 6; it is fetched again" in caplog.text


def test_offline_says_where_to_put_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as server:
        closed = server.url  # no server listens there after the block

    with pytest.raises(DownloadError, match="Connection refused") as raised:
        get(tmp_path, closed)

    assert f"put the file here by hand: {tmp_path}/a.weights" in str(raised.value)
    assert "LOOKONCE_MIRROR" in str(raised.value)


def test_a_silent_server_times_out(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.1)
    over = threading.Event()
    server.answers["/a.weights"] = lambda request: over.wait(60) and None
    try:
        with pytest.raises(DownloadError, match=r"no answer for 0.1 s"):
            get(tmp_path, server.url)
    finally:
        over.set()


def test_a_full_disk_is_an_error(server: Server, tmp_path: Path) -> None:
    server.answers["/a.weights"] = sound(CONTENT)

    class Full(Watch):
        def advance(self, count: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(DownloadError, match=r"a\.weights: cannot be written: No space left on device"):
        get(tmp_path, server.url, watch=Full())

    assert (tmp_path / "a.weights.part").stat().st_size > 0
    assert get(tmp_path, server.url).read_bytes() == CONTENT


def test_a_folder_that_cannot_be_made_is_an_error(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(DownloadError, match=r"file/models/a\.weights: cannot be written: Not a directory"):
        get(tmp_path / "file" / "models", server.url)


def test_two_processes_do_not_fetch_the_same_file(server: Server, tmp_path: Path) -> None:
    def meanwhile(request: Handler) -> None:
        with pytest.raises(DownloadError, match="another process is fetching it"):
            get(tmp_path, server.url)
        second.append(True)
        sound(CONTENT)(request)

    second: list[bool] = []
    server.answers["/a.weights"] = meanwhile

    assert get(tmp_path, server.url).read_bytes() == CONTENT
    assert second == [True]


CHILD = """
import sys
from pathlib import Path
from lookonce.darknet.download import RemoteFile, download

class Nobody:
    def begin(self, url, done): pass
    def advance(self, count): print(count, flush=True)

folder, url, size, sha256 = sys.argv[1:]
download(RemoteFile("a.weights", int(size), sha256), Path(folder), [url], {}, Nobody())
"""


def test_a_killed_download_is_resumed(server: Server, tmp_path: Path) -> None:
    killed = threading.Event()

    def half(request: Handler) -> None:
        request.answer(200, CONTENT[: len(CONTENT) // 2], length=len(CONTENT), ETag='"1"')
        killed.wait(60)

    server.answers["/a.weights"] = half
    words = [str(tmp_path), server.url, str(KNOWN.size), str(KNOWN.sha256)]
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, *words], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as child:
        assert child.stdout is not None
        saved = int(child.stdout.readline())  # bytes that are on the disk so far
        child.kill()
    killed.set()
    assert not (tmp_path / "a.weights").exists()
    kept = (tmp_path / "a.weights.part").read_bytes()
    assert len(kept) >= saved > 0
    assert CONTENT.startswith(kept)

    server.answers["/a.weights"] = sound(CONTENT)
    watch = Watch()
    assert get(tmp_path, server.url, watch=watch).read_bytes() == CONTENT
    assert server.ranges() == [None, f"bytes={len(kept)}-"]
    assert watch.bytes == len(CONTENT) - len(kept)


def raw(answer: bytes) -> Callable[[Handler], None]:
    """Return an answer that sends exactly these bytes."""
    return lambda handler: handler.wfile.write(answer)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabc",
        b"HTTP/1.1 206 P\r\nContent-Range: bytes " + b"9" * 5000 + b"-1/2\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 206 P\r\nContent-Range: bytes 0-2/" + b"9" * 5000 + b"\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 206 P\r\nContent-Range: bytes \xb2-\xb2/\xb2\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 302 F\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 F\r\nLocation: http://127.0.0.1:99999/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 F\r\nLocation: http://127.0.0.1:abc/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 F\r\nLocation: http://" + b"a" * 70 + b".com/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 F\r\nLocation: http://\xff\xfe/\x01\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 F\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 F\r\nLocation: ftp://127.0.0.1:1/a.weights\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 F\r\nLocation: data:,abc\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZZZ\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 60_000 + b"\r\nabc",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
        b"HTTP/1.1 " + b"9" * 100 + b" OK\r\n\r\n",
        b"HTTP/1.1 500 \x1b[31mRED\x1b[0m\r\nContent-Length:0\r\n\r\n",
        b"\0\1\2garbage",
        b"",
    ],
    ids=lambda answer: repr(answer[:60]),
)
def test_after_a_malformed_answer_the_next_mirror_is_used(
    server: Server, tmp_path: Path, answer: bytes
) -> None:
    server.answers["/bad/a.weights"] = raw(answer)
    server.answers["/good/a.weights"] = sound(CONTENT)

    with pytest.raises(DownloadError) as caught:
        get(tmp_path / "bad", f"{server.url}/bad")
    assert str(caught.value).isprintable()
    assert get(tmp_path / "good", f"{server.url}/bad", f"{server.url}/good").read_bytes() == CONTENT
    del caught
    gc.collect()  # a connection left open would give a warning here


@pytest.mark.parametrize(
    ("start", "why"),
    [
        (b"HTTP/1.1 200 OK\r\nX: ", "no answer for 0.3 s"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n", "too slow: more than 0.3 s for 16,384 bytes"),
    ],
)
def test_after_too_slow_an_answer_the_next_mirror_is_used(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: bytes, why: str
) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.3)
    server.answers["/bad/a.weights"] = dripping(start)
    server.answers["/good/a.weights"] = sound(CONTENT)
    with pytest.raises(DownloadError, match=f"bad/a.weights: {why}"):
        get(tmp_path / "bad", f"{server.url}/bad")
    assert get(tmp_path / "good", f"{server.url}/bad", f"{server.url}/good").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host/a.weights?sig=s3cret", "https://host/a.weights"),
        ("https://me:s3?cret@host/a.weights", "https://host/a.weights"),
        ("https://host/token=s3cret", "https://host/token=***"),
        ("file:///mirror/a.weights", "file:///mirror/a.weights"),
    ],
)
def test_an_address_is_shown_without_secrets(url: str, shown: str) -> None:
    assert address_of(url) == shown


def test_a_password_is_sent_and_shown_nowhere(server: Server, tmp_path: Path) -> None:
    mirror = server.url.replace("://", "://me:s3cret%40x@")
    with pytest.raises(DownloadError) as caught:
        get(tmp_path, f"{mirror}/none?token=s3cret")
    assert "s3cret" not in str(caught.value)

    server.answers["/files/a.weights"] = sound(CONTENT[:1000])
    with pytest.raises(DownloadError):
        get(tmp_path, f"{mirror}/files")
    assert server.seen[-1][1]["Authorization"] == "Basic bWU6czNjcmV0QHg="
    assert all(b"s3cret" not in file.read_bytes() for file in tmp_path.iterdir())


def test_a_redirect_does_not_send_the_password_to_another_server(server: Server, tmp_path: Path) -> None:
    with serving() as other:
        server.answers["/a.weights"] = redirect(f"{other.url}/a.weights")
        other.answers["/a.weights"] = sound(CONTENT)
        mirror = server.url.replace("://", "://me:s3cret@")
        assert get(tmp_path, mirror, Referer="https://pjreddie.com").read_bytes() == CONTENT
        ((path, headers),) = other.seen
    assert "Authorization" in server.seen[0][1]
    assert "Authorization" not in headers
    assert (path, headers["Referer"]) == ("/a.weights", "https://pjreddie.com")
