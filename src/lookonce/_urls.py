"""Remove users, passwords and tokens from URLs, so that they are safe to show."""

import re
from typing import NamedTuple

# Parameters with secret values, in a query or in a path such as /user=admin&password=x.
SECRET = re.compile(
    r"([\w.%-]*(?:user|usr|login|account|pass|pwd|psw|pas|token|secret|key|auth|sig|cred|session|jwt|code)"
    r"[\w.%-]*=)[^&;#\s]*",
    re.IGNORECASE,
)


class Credentials(NamedTuple):
    """A URL without user and password, and these two; empty if the URL has none."""

    url: str
    user: str
    password: str


def split_credentials(url: str) -> Credentials:
    """Separate user and password from a URL.

    The host begins after the last `@` of the authority, because passwords may contain `@`. An unescaped `/`,
    `?` or `#` in a password ends the authority too early, which shows in a port that is not a number.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    end = re.search(r"[/?#]", rest)
    authority = rest[: end.start()] if end else rest
    broken = re.search(r":[^\]]*[^\d\]][^\]]*$", authority) and "@" not in authority
    if not separator or broken:
        authority = rest[: rest.rfind("@") + 1] or authority
    at = authority.rfind("@")
    user, _, password = authority[: max(at, 0)].partition(":")
    return Credentials(scheme + separator + rest[at + 1 :], user, password)


def redacted(url: str) -> str:
    """Return a URL without user and password, and with `***` in place of values that may be secret."""
    return SECRET.sub(r"\1***", split_credentials(url).url)
