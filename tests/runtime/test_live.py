"""Live streams, from a real server that is killed and restarted."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from lookonce.errors import ImageError
from lookonce.runtime import live
from lookonce.runtime.live import Handover, LiveCounts, LiveFrames
from lookonce.runtime.pipeline import Parallel
from lookonce.runtime.sources import Sources
from tests.mjpeg_server import SIZE, camera, free_port


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def test_a_slow_reader_gets_the_newest_frame(port: int) -> None:
    counts = LiveCounts()
    with camera(port), closing(iter(LiveFrames(f"http://127.0.0.1:{port}/", counts))) as frames:
        taken = []
        for image, moment in islice(frames, 6):
            assert image.shape == (*SIZE, 3)
            assert abs(int(image[0, 0, 0]) - moment.number % 256) <= 2  # exactly the frame with this number
            taken.append(moment)
            time.sleep(0.1)

    numbers, seconds = [m.number for m in taken], [m.seconds for m in taken]
    assert numbers == sorted(set(numbers))
    assert seconds == sorted(seconds)
    assert counts.dropped >= numbers[-1] - 5 > 0
    assert counts.reconnects == 0


def test_an_interrupted_stream_is_resumed(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PAUSES", (0.05,) * 1000)
    sources = Sources([f"http://127.0.0.1:{port}/"])
    with closing(sources.map(lambda frame: frame.image.shape, Parallel.of(sources.count()))) as results:
        with camera(port):
            before = [frame.moment.number for frame, _ in islice(results, 5) if frame.moment]
        with camera(port):  # the first server was killed
            after: list[Any] = []
            while sources.live.reconnects == 0 or len(after) < 5:
                frame, _ = next(results)
                assert frame.moment is not None
                after.append(frame.moment.number)

    numbers = before + after
    assert numbers == sorted(set(numbers))
    assert sources.live.reconnects == 1
    assert sources.problems == []


def test_a_stream_that_does_not_come_back_is_named(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PAUSES", (0.05, 0.1, 0.2))
    sources = Sources([f"http://user:secret@127.0.0.1:{port}/"])
    with closing(sources.map(lambda frame: None, Parallel.of(None))) as results:
        with camera(port):
            next(results)
        rest = len(list(results))

    (problem,) = sources.problems
    assert problem.place == f"http://127.0.0.1:{port}/"
    assert "ended after" in problem.what
    assert "3 attempts to reconnect in 0 s failed" in problem.what
    assert rest <= 3  # frames that had already been sent


def test_a_stream_of_frames_that_are_too_large_is_an_error(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lookonce.runtime.video_checks.MAX_FRAME", SIZE[0] * SIZE[1] - 1)
    error = pytest.raises(ImageError, match=r"expected frames of at most 3,071 pixels .*found 48x64")
    frames = iter(LiveFrames(f"http://127.0.0.1:{port}/", LiveCounts()))
    with camera(port), closing(frames), error:
        next(frames)


def test_a_stream_that_never_existed_is_an_immediate_error(port: int) -> None:
    with pytest.raises(
        ImageError, match=rf"^http://127\.0\.0\.1:{port}/: expected a video, found no server there"
    ):
        next(iter(LiveFrames(f"http://user:secret@127.0.0.1:{port}/", LiveCounts())))


def test_a_missing_camera_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ImageError, match="camera 99: expected a video"):
        next(iter(LiveFrames(99, LiveCounts())))
    assert capfd.readouterr().err == ""


def test_a_silent_server_does_not_delay_closing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PARTING", 0.05)
    for reader in ("opencv_video", "av_video"):
        monkeypatch.setattr(f"lookonce.runtime.{reader}.PATIENCE_MS", 700)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        frames = LiveFrames(f"http://127.0.0.1:{silent.getsockname()[1]}/", LiveCounts())
        closer = threading.Timer(0.2, frames.close)
        closer.start()
        assert list(frames) == []
        closer.join()
        readers = [thread for thread in threading.enumerate() if thread.name == "lookonce-reader"]
        assert readers  # still blocked, and not waited for
        for reader in readers:
            reader.join(30)


def taken_from(handover: Handover[int], work: Callable[[], None]) -> list[int]:
    """Return the results that arrive while `work` runs in another thread."""
    thread = threading.Thread(target=work)
    thread.start()
    taken = list(handover)
    thread.join()
    return taken


def test_handover_keeps_every_item_put() -> None:
    handover: Handover[int] = Handover()

    def work() -> None:
        for number in range(500):
            handover.put(number)
        handover.end()

    assert taken_from(handover, work) == list(range(500))


def test_handover_replaces_an_offered_item() -> None:
    handover: Handover[int] = Handover()

    assert [handover.offer(number) for number in range(3)] == [False, True, True]
    handover.end()
    assert list(handover) == [2]


def test_handover_ends_with_its_error_after_the_last_item() -> None:
    handover: Handover[int] = Handover()
    handover.put(1)
    handover.end(OSError("unplugged"))
    handover.end()
    taken = iter(handover)

    assert next(taken) == 1
    with pytest.raises(OSError, match="unplugged"):
        next(taken)


def test_ending_handover_releases_a_waiting_producer() -> None:
    handover: Handover[int] = Handover()
    handover.put(1)
    waiting = threading.Thread(target=handover.put, args=(2,))
    waiting.start()
    handover.end()

    waiting.join(30)
    assert not waiting.is_alive()


def test_an_interlaced_stream_is_converted_or_reported(port: int, caplog: pytest.LogCaptureFixture) -> None:
    """For endless interlaced video over HTTP, OpenCV may return unwritten memory for each frame."""
    program = (Path(__file__).parents[1] / "data" / "interlaced.mpg").read_bytes()

    class Station(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "video/mpeg")
            self.end_headers()
            with suppress(OSError):
                for _ in range(40):
                    self.wfile.write(program)

        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Station) as server:
        threading.Thread(target=server.serve_forever).start()
        with closing(iter(LiveFrames(f"http://user:secret@127.0.0.1:{port}/", LiveCounts()))) as frames:
            taken = []
            for image, _ in frames:
                taken.append(image.mean())
                if len(taken) >= 5 and (find_spec("av") or "same to the bit" in caplog.text):
                    break
        server.shutdown()

    if find_spec("av"):
        assert taken == pytest.approx([103] * len(taken), abs=5)
    else:
        assert (
            f"http://127.0.0.1:{port}/: the first 50 frames are the same to the bit: a still" in caplog.text
        )
