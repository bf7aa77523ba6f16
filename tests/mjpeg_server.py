"""A typical network camera: a web server that sends one JPEG after another in an endless answer.

It is a separate process, so that it can be killed: `python mjpeg_server.py PORT RATE`. Each frame has one
color, slightly brighter than the previous frame. `/stall` sends ten frames and then nothing more. The
frames of `/grows` are larger from the third one on.
"""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np

SIZE = (48, 64)


class Camera(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        number = 0
        while self.path != "/stall" or number < 10:
            self._send(number)
            number += 1
        time.sleep(600)

    def _send(self, number: int) -> None:
        height, width = SIZE
        larger = 2 if self.path == "/grows" and number >= 2 else 1
        frame = np.full((larger * height, larger * width, 3), number % 256, np.uint8)
        jpeg = cv2.imencode(".jpg", frame)[1].tobytes()
        self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg))
        self.wfile.write(jpeg + b"\r\n")
        time.sleep(1 / RATE)

    def log_message(self, *words: object) -> None:
        pass


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def camera(port: int, rate: float = 100) -> Iterator[subprocess.Popen[bytes]]:
    """Start the server; it is listening when the context is entered."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__)), str(port), str(rate)], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"listening\n"
        yield process
    finally:
        process.kill()
        process.communicate()


if __name__ == "__main__":
    RATE = float(sys.argv[2])
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Camera)
    print("listening", flush=True)
    server.serve_forever()
