"""HTTP requests that leave no connection open."""

from typing import Any
from urllib.request import HTTPRedirectHandler, Request, build_opener


class _Redirects(HTTPRedirectHandler):
    """Close an answer whose redirect fails; urllib leaves it open."""

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        """Follow the redirect."""
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except BaseException:
            fp.close()
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def open_url(request: Request, timeout: float) -> Any:
    """Send a request and follow its redirects, as `urllib.request.urlopen` does.

    Raises:
        OSError: no answer, or an HTTP error.
        HTTPException: a malformed answer.
        ValueError: a malformed address.
    """
    return build_opener(_Redirects).open(request, timeout=timeout)
