"""Requests with a deadline, against a socket that answers byte by byte."""

import socket
import time
from threading import Thread
from urllib.request import Request

import pytest

from lookonce._http import open_url

HEADERS = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"


def test_an_answer_after_the_deadline_is_closed() -> None:
    received: list[bytes] = []

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            for number in range(8):  # the pauses are shorter than the timeout
                connection.sendall(HEADERS[number : number + 1])
                time.sleep(0.1)
            connection.sendall(HEADERS[8:])
            connection.settimeout(5)
            received.append(connection.recv(1))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Thread(target=answer, daemon=True)
        server.start()
        with pytest.raises(TimeoutError) as kept:  # the traceback keeps the objects of `open_url` alive
            open_url(Request(f"http://127.0.0.1:{listener.getsockname()[1]}/"), 0.4)
        server.join(10)
    assert kept.tb
    assert received == [b""]  # the other side has closed the connection
