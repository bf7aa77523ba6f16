"""Find out why a URL cannot be opened, for error messages."""

import socket
from ssl import SSLError
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from lookonce._urls import split_credentials

PATIENCE = 10.0  # seconds for a server to answer, and for each further chunk
PORTS = {"rtsp": 554, "rtsps": 322, "rtmp": 1935, "http": 80, "https": 443}
STATUS = {401: "the server refuses user and password", 403: "the server forbids it", 404: "no such page"}


def reason(error: Exception) -> str:
    """Describe in a few words why a server cannot be reached."""
    if isinstance(error, HTTPError):
        return f"HTTP status {error.code}: {STATUS.get(error.code, error.reason)}"
    if isinstance(error, URLError) and isinstance(error.reason, Exception):
        error = error.reason
    match error:
        case socket.gaierror():
            return "an unknown host"
        case ConnectionRefusedError():
            return "no server there: the connection is refused"
        case TimeoutError():
            return f"no answer within {PATIENCE:g} s"
        case SSLError():
            return f"a connection that is not secure: {error.reason}"
        case OSError(strerror=str(text)):
            return text
    return f"an answer that is not HTTP ({type(error).__name__})"


def diagnose(url: str) -> str:
    """Describe why a stream cannot be opened, which FFmpeg does not report."""
    plain, user, _ = split_credentials(url)
    try:
        parts = urlsplit(plain)
        port = parts.port or PORTS[parts.scheme]
        with socket.create_connection((parts.hostname or "", port), PATIENCE) as connection:
            if parts.scheme != "rtsp":
                return "data that cannot be opened as one"
            connection.sendall(f"DESCRIBE {plain} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())
            answer = connection.recv(64).split()
    except KeyError:
        return "data that cannot be opened as one"
    except (OSError, ValueError) as error:
        return reason(error)
    match answer:
        case [bytes(), b"401", *_] if user:
            return STATUS[401]
        case [bytes(), b"401", *_]:
            return "a stream that wants user and password"
        case [bytes(), b"404", *_]:
            return "a server without this stream"
    return "data that cannot be opened as one"
