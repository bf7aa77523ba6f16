"""Download a file from the first mirror that has it: resumable, verified, and renamed when complete.

```
NAME        the complete file, verified
NAME.part   the bytes received so far; a killed download is resumed from them
NAME.from   the origin of NAME.part: URL, and ETag or date, so that parts of different files are not joined
NAME.lock   a lock held by the downloading process; the system releases it when the process ends
```
"""

import hashlib
import json
import logging
import os
import re
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.error import HTTPError, URLError
from urllib.parse import unquote
from urllib.request import Request

from lookonce._files import write_text
from lookonce._http import SLOWEST, Pace, open_url
from lookonce._urls import redacted, split_credentials
from lookonce.errors import DownloadError

try:
    import fcntl
except ImportError:  # not on Windows; if two processes write the same file, the final check notices
    fcntl = None  # type: ignore[assignment]

CHUNK = 1 << 16  # bytes
TIMEOUT = 30.0  # seconds without a byte or a response after which a connection counts as broken
LONGEST = 6 * 3600.0  # seconds for one file from one mirror
NUMBER = r"[0-9]{1,18}"
ATTEMPTS = 20  # per mirror; an attempt that receives nothing is the last
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file to fetch.

    Attributes:
        name: last part of the URL, and local file name.
        size: size in bytes.
        sha256: SHA-256 of the content, in hexadecimal; None if none is published.
    """

    name: str
    size: int
    sha256: str | None = None


class Meter(Protocol):
    """Observer of a download."""

    def begin(self, url: str, done: int) -> None:
        """Report that the bytes from offset `done` on now come from `url`."""

    def advance(self, count: int) -> None:
        """Report that `count` more bytes were stored."""


class _RefusedError(Exception):
    """The mirror cannot provide the file, so a retry is pointless."""


class _BrokenError(Exception):
    """The connection failed, so a retry may help."""


@dataclass(frozen=True, slots=True)
class Download:
    """A download in progress.

    Attributes:
        file: expected file.
        part: file with the bytes received so far.
        headers: HTTP headers to send.
        meter: observer of the progress.
    """

    file: RemoteFile
    part: Path
    headers: Mapping[str, str]
    meter: Meter

    def have(self) -> int:
        """Return the number of bytes received so far."""
        return self.part.stat().st_size if self.part.exists() else 0

    def origin(self) -> dict[str, Any]:
        """Return the origin of the received bytes, as in `NAME.from`; empty if unknown."""
        try:
            origin = json.loads(self.part.with_suffix(".from").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return origin if isinstance(origin, dict) else {}

    def from_any(self, target: Path, urls: Sequence[str]) -> None:
        """Try one mirror after another; with a known SHA-256, each continues where the last one stopped.

        Raises:
            DownloadError: no mirror has the file.
        """
        reasons = []
        for url in urls:
            try:
                self.from_one(url)
            except _RefusedError as refusal:
                words = " ".join(str(refusal).split())  # may be a server's text, which is not trusted
                printable = "".join(letter if letter.isprintable() else "?" for letter in words)[:200]
                reasons.append(f"{address_of(url)}: {printable}")
            else:
                self.part.replace(target)
                self.part.with_suffix(".from").unlink(missing_ok=True)
                return
        kept = f" {self.have():,} bytes are kept; run the same command to resume." if self.have() else ""
        raise DownloadError(
            f"{self.file.name} cannot be fetched. {'; '.join(reasons)}.{kept} Without a network, put the "
            f"file here by hand: {target}; or name a server that has it: LOOKONCE_MIRROR=https://..."
        )

    def from_one(self, url: str) -> None:
        """Download from one mirror until the file is complete; retry as long as bytes arrive."""
        # with a known SHA-256, bytes of any origin are used, because a mix of two files is noticed at the end
        foreign = self.file.sha256 is None and self.origin().get("url") != address_of(url)
        if foreign or self.have() > self.file.size:
            self.part.unlink(missing_ok=True)
        begun_before = self.have() > 0
        deadline = time.monotonic() + LONGEST
        for _ in range(ATTEMPTS):
            before = self.have()
            if before == self.file.size:
                break
            try:
                self.receive(url, deadline)
            except _BrokenError as broken:
                if self.have() <= before:
                    raise _RefusedError(str(broken)) from broken
        if self.have() < self.file.size:
            raise _RefusedError(f"the connection broke {ATTEMPTS} times")
        if wrong := difference(self.part, self.file):
            self.part.unlink()
            if not begun_before:
                raise _RefusedError(wrong)
            self.from_one(url)  # the bytes from before may have been wrong

    def receive(self, url: str, deadline: float) -> None:
        """Request the missing bytes from a mirror and store them."""
        have = self.have()
        address, user, password = split_credentials(url)
        sent = dict(self.headers)
        if user or password:
            token = b64encode(unquote(f"{user}:{password}").encode()).decode()
            sent["Authorization"] = f"Basic {token}"
        else:
            address = url
        if have:  # request the rest, or the whole file if it has changed (RFC 9110, 13.1.5 and 14.2)
            sent["Range"], origin = f"bytes={have}-", self.origin()
            if origin.get("url") == address_of(url) and origin.get("validator"):
                sent["If-Range"] = origin["validator"]
        try:
            request = Request(address, headers=sent)
        except ValueError as error:
            raise _RefusedError("expected an address, found none") from error
        try:
            answer = open_url(request, TIMEOUT)
        except HTTPError as error:
            error.close()
            raise _BrokenError(f"HTTP {error.code} {error.reason}") from error
        except (OSError, HTTPException, ValueError, OverflowError) as error:  # malformed headers or addresses
            raise _BrokenError(_reason(error)) from error
        with answer:
            start = self.start_of(answer, have)
            if start == 0:
                self.part.unlink(missing_ok=True)
                tag = answer.headers.get("ETag")  # a weak tag (W/) does not identify the exact bytes
                version = tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified")
                write_text(
                    self.part.with_suffix(".from"), json.dumps({"url": address_of(url), "validator": version})
                )
            self.meter.begin(address_of(url), start)
            with self.part.open("ab", buffering=0) as out:  # a kill loses at most one chunk
                self.copy(answer, out, start, deadline)

    def start_of(self, answer: Any, have: int) -> int:
        """Return the offset in the file at which the response starts.

        Raises:
            _RefusedError: the response is a different file, or another part of it.
        """
        if answer.headers.get_content_type() == "text/html":
            raise _RefusedError(f"expected {self.file.size:,} bytes, found an HTML page")
        length, start = answer.headers.get("Content-Length", ""), 0
        total = f"{int(length):,}" if re.fullmatch(NUMBER, length) else None
        if answer.status == 206:
            sent = re.fullmatch(
                rf"bytes ({NUMBER})-{NUMBER}/({NUMBER}|\*)", answer.headers.get("Content-Range", "")
            )
            if sent is None or int(sent[1]) != have:
                raise _RefusedError(f"expected the bytes from {have:,} on, found others")
            start, total = have, f"{int(sent[2]):,}" if sent[2] != "*" else None
        if total not in (None, f"{self.file.size:,}"):
            raise _RefusedError(f"expected {self.file.size:,} bytes, found {total}")
        return start

    def copy(self, answer: Any, out: IO[bytes], start: int, deadline: float) -> None:
        """Store the bytes of a response.

        Raises:
            _RefusedError: the file is too long or a web page, or the mirror is too slow.
            _BrokenError: the connection ended early.
        """
        done, pace = start, Pace(TIMEOUT)
        while True:
            count = min(CHUNK, self.file.size - done + 1)  # one byte more, to notice a file that is too long
            try:
                chunk: bytes = answer.read1(count) if hasattr(answer, "read1") else answer.read(count)
            except (OSError, HTTPException, ValueError) as error:  # ValueError for a malformed chunk
                raise _BrokenError(_reason(error)) from error
            if not chunk:
                break
            if done == 0 and chunk.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
                raise _RefusedError(f"expected {self.file.size:,} bytes, found an HTML page")
            done += len(chunk)
            if time.monotonic() > deadline:
                raise _RefusedError(f"too slow: more than {LONGEST / 3600:g} hours")
            if pace.is_slow(done - start):
                raise _RefusedError(f"too slow: more than {TIMEOUT:g} s for {SLOWEST:,} bytes")
            if done > self.file.size:
                out.truncate(0)
                raise _RefusedError(f"expected {self.file.size:,} bytes, found more")
            out.write(chunk)
            self.meter.advance(len(chunk))
        os.fsync(out.fileno())
        if done < self.file.size:
            raise _BrokenError(f"the connection ended after {done:,} of {self.file.size:,} bytes")


def download(
    file: RemoteFile, folder: Path, mirrors: Sequence[str], headers: Mapping[str, str], meter: Meter
) -> Path:
    """Return the path of a file, which is downloaded if it is missing or wrong.

    Args:
        file: expected file.
        folder: folder of the file.
        mirrors: URLs to which the file's name is added, tried in order.
        headers: HTTP headers to send.
        meter: observer of the progress.

    Raises:
        DownloadError: no mirror has the file (the message has a reason for each), the folder cannot be
            written, or another process is downloading the file.
    """
    target = folder / file.name
    urls = [f"{base.rstrip('/')}/{file.name}" for base in mirrors]
    try:
        wrong = difference(target, file)
        if wrong and target.exists():
            log.warning("%s: %s; it is fetched again", target, wrong)
        if wrong:
            folder.mkdir(parents=True, exist_ok=True)
            with target.with_name(f"{target.name}.lock").open("wb") as held:
                if fcntl is not None:
                    try:
                        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError as error:
                        raise DownloadError(f"{target}: another process is fetching it") from error
                part = target.with_name(f"{target.name}.part")
                Download(file, part, headers, meter).from_any(target, urls)
    except OSError as error:  # an error of the disk; those of the network became `_BrokenError`
        raise DownloadError(f"{target}: cannot be written: {error.strerror or error}") from error
    return target


def difference(path: Path, file: RemoteFile) -> str | None:
    """Describe how a file on disk differs from the expected file; None if it does not."""
    if not path.exists():
        return "not there yet"
    if (size := path.stat().st_size) != file.size:
        return f"expected {file.size:,} bytes, found {size:,}"
    if file.sha256 is None:
        return None
    with path.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    return None if found == file.sha256 else f"expected SHA-256 {file.sha256}, found {found}"


def address_of(url: str) -> str:
    """Return a URL without user, password and query, for messages and for `NAME.from`."""
    return redacted(url).partition("?")[0]


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, TimeoutError):
        return f"no answer for {TIMEOUT:g} s"
    return str(getattr(cause, "strerror", None) or cause or type(cause).__name__)
