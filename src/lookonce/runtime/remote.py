"""Download images from http and https URLs."""

from base64 import b64encode
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import PurePosixPath
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import Request

from lookonce._http import open_url, read_body
from lookonce._image_header import is_image
from lookonce._urls import redacted, split_credentials
from lookonce.errors import ImageError
from lookonce.runtime.diagnosis import PATIENCE, reason
from lookonce.runtime.stdin import LARGEST
from lookonce.runtime.video import VIDEO_SUFFIXES

CODINGS = "gzip", "x-gzip", "deflate", "compress", "x-compress", "br", "zstd"
LONGEST = 600.0  # seconds for the download of an image


def open_remote_image(url: str) -> Callable[[], bytes] | None:
    """Request a URL and return a function that downloads its image; None if it is not an image.

    An image is recognized by its content type and first bytes, unless the URL has a video's suffix.

    Raises:
        ImageError: the server cannot be reached, or rejects the request.
    """
    plain, user, password = split_credentials(url)
    try:
        parts = urlsplit(plain)
    except ValueError as error:  # for example, unbalanced brackets of an IPv6 address
        raise ImageError(f"{redacted(url)}: expected a URL, found a damaged one: {error}") from error
    if parts.scheme not in ("http", "https"):
        return None
    request = Request(plain, headers={"User-Agent": "lookonce", "Accept": "*/*"})
    if user or password:
        pair = f"{unquote(user)}:{unquote(password)}".encode()
        request.add_header("Authorization", f"Basic {b64encode(pair).decode()}")
    response: HTTPResponse | None = None
    try:
        response = open_url(request, PATIENCE)  # an http URL, as checked
        coding = response.headers.get("Content-Encoding", "")
        if any(word.strip().lower() in CODINGS for word in coding.split(",")):  # some servers send `utf-8`
            response.close()
            raise ImageError(
                f"{redacted(url)}: expected an image or a video as it is, found it encoded: {coding!r}"
            )
        kind = response.headers.get_content_type()
        path = PurePosixPath(parts.path)
        start = b""
        if kind.partition("/")[0] not in ("multipart", "video") and path.suffix.lower() not in VIDEO_SUFFIXES:
            start = read_body(response, 64, PATIENCE, PATIENCE)
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, HTTPError):
            error.close()
        if response is not None:
            response.close()
        raise ImageError(f"{redacted(url)}: expected an image or a video, found {reason(error)}") from error
    if not is_image(start):
        response.close()
        return None

    def read() -> bytes:
        try:
            with response:
                data = start + read_body(response, LARGEST + 1 - len(start), PATIENCE, LONGEST)
        except (OSError, HTTPException) as error:
            raise ImageError(f"{redacted(url)}: expected an image, found {reason(error)}") from error
        if len(data) > LARGEST:
            raise ImageError(
                f"{redacted(url)}: expected an image of at most {LARGEST:,} bytes, found a larger one"
            )
        return data

    return read
